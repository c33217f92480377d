//! `http.tls` and `http.redirect` of a configuration, with the programs that depend on them.

use std::{fs, net::SocketAddr, process::Command};

use libtest_mimic::Trial;
use registry_conformance::tools::{Process, free_port};

use super::{Place, Secured};
use crate::program::output_of;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(["openssl", "curl"];
        clients_show_a_certificate_of_the_authority_or_are_kept_out,
        versions_and_suites_are_those_of_the_configuration,
        plain_http_is_redirected_with_its_method_and_path,
        problems_name_file_line_and_key,
    );
    trials.extend(trials!(["openssl", "skopeo"]; skopeo_shows_its_certificate));
    trials.extend(trials!(["pebble", "pebble-challtestsrv", "openssl", "curl"];
        an_authority_certifies_by_either_challenge,
    ));
    trials
}

impl Place {
    /// Writes a configuration with these keys of `http`, in flow style, on a port of 127.0.0.1.
    fn configure(&self, port: u16, http: &str) {
        let root = self.path("registry");
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http:\n  addr: 127.0.0.1:{port}\n{http}",
            root.display()
        );
        self.write("config.yml", &config);
    }

    fn configured_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        command.arg("serve").arg(self.path("config.yml"));
        command.current_dir(self.path("."));
        command
    }

    /// Starts a server with `config.yml`. Its paths are relative to the test's directory.
    fn serve_configured(&self, http: &str) -> Secured {
        self.configure(0, http);
        self.serve_config_file()
    }

    fn serve_config_file(&self) -> Secured {
        let process = Process::start(&mut self.configured_command()).expect("the server can be started");
        Secured::announced(process, "listening on https://")
    }

    /// Makes an authority, and a certificate of it for a client called `ci`: `NAME-ca.crt`, `NAME.crt`, `NAME.key`.
    fn client_of(&self, name: &str) {
        self.authority(&format!("{name}-ca"));
        self.issue(name, &format!("{name}-ca"), "ci", "extendedKeyUsage=clientAuth");
    }
}

const WITH_CLIENTS: &str = "  tls: { certificate: tls.crt, key: tls.key, clientcas: [right-ca.crt] }\n";

fn clients_show_a_certificate_of_the_authority_or_are_kept_out() {
    let place = Place::new();
    place.self_signed("tls");
    place.client_of("right");
    place.client_of("wrong");
    let server = place.serve_configured(WITH_CLIENTS);
    let with = |name: &str| {
        let (certificate, key) = (
            place.path(&format!("{name}.crt")),
            place.path(&format!("{name}.key")),
        );
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        server.curl(&place, "tls.crt", &["--cert", &certificate, "--key", &key])
    };

    assert_eq!(with("right").unwrap(), "200 HTTP/2");
    with("wrong").unwrap_err();
    server
        .process
        .wait_for_output("the certificate of the client is not accepted")
        .unwrap();
    server.curl(&place, "tls.crt", &[]).unwrap_err();
    server
        .process
        .wait_for_output("the client presented no certificate")
        .unwrap();
}

fn skopeo_shows_its_certificate() {
    let place = Place::new();
    place.self_signed("tls");
    place.client_of("right");
    let server = place.serve_configured(WITH_CLIENTS);
    fs::create_dir(place.path("certs.d")).unwrap();
    for (from, to) in [
        ("tls.crt", "ca.crt"),
        ("right.crt", "client.cert"),
        ("right.key", "client.key"),
    ] {
        place.copy(from, &format!("certs.d/{to}"));
    }
    let layout = crate::image::Layout::sample(place.path("layout"));
    let trust = place.path("certs.d").display().to_string();
    let to = format!("docker://localhost:{}/team/app:one", server.address.port());

    place
        .bench
        .skopeo(&["copy", "--dest-cert-dir", &trust, &layout.oci("one"), &to]);
}

fn versions_and_suites_are_those_of_the_configuration() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve_configured(
        "  tls: { certificate: tls.crt, key: tls.key, minimumtls: tls1.2, \
         ciphersuites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_RSA_WITH_AES_128_CBC_SHA] }\n",
    );

    let suite = |name: &str| server.s_client(&place, &format!("-tls1_2 -cipher {name}"));
    assert!(suite("ECDHE-ECDSA-AES256-GCM-SHA384").contains("New, TLSv1.2"));
    assert!(suite("ECDHE-ECDSA-AES128-GCM-SHA256").contains("alert"));
    assert!(server.s_client(&place, "-tls1_3").contains("New, TLSv1.3"));
    assert!(
        server.log().contains("TLS_RSA_WITH_AES_128_CBC_SHA is ignored"),
        "{}",
        server.log()
    );

    // One process owns the directory.
    drop(server);
    let server =
        place.serve_configured("  tls: { certificate: tls.crt, key: tls.key, minimumtls: tls1.3 }\n");
    assert!(server.s_client(&place, "-tls1_2").contains("alert"));
    assert!(server.s_client(&place, "-tls1_3").contains("New, TLSv1.3"));
}

fn plain_http_is_redirected_with_its_method_and_path() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve_configured(
        "  redirect: { addr: '127.0.0.1:0' }\n  tls: { certificate: tls.crt, key: tls.key }\n  http2: { disabled: true }\n",
    );
    let plain = server.address_after("redirecting to https from http://");

    let answer =
        crate::http::request(plain, "PATCH", "/v2/a/blobs/uploads/1?x=y", &[], b"").expect_status(308);

    let location = format!(
        "https://127.0.0.1:{}/v2/a/blobs/uploads/1?x=y",
        server.address.port()
    );
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let url = format!("http://127.0.0.1:{}/v2/", plain.port());
    assert_eq!(
        server.curl_at(&place, &url, "tls.crt", &["--location"]).unwrap(),
        "200 HTTP/1.1"
    );
}

fn problems_name_file_line_and_key() {
    let place = Place::new();
    for (http, problem) in [
        (
            "  tls: { certificate: tls.crt }\n",
            "http.tls: both `certificate` and `key` are required",
        ),
        (
            "  tls: { minimumtls: '1.2' }\n",
            "http.tls.minimumtls: `1.2`: invalid minimum TLS version",
        ),
        (
            "  tls:\n    letsencrypt: { cachefile: acme }\n",
            "http.tls.letsencrypt: invalid host of the ACME certificates",
        ),
        (
            "  tls:\n    letsencrypt: { cachefile: acme, hosts: [a.test], challenge: http-01 }\n",
            "http.redirect.addr: :80",
        ),
        (
            "  redirect: { addr: ':80' }\n",
            "http.redirect: no effect without `http.tls`",
        ),
    ] {
        place.configure(0, http);
        let (status, said) = crate::server::end_of(place.configured_command());
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(problem), "{problem:?} is not in {said:?}");
        assert!(said.contains("config.yml:"), "{said}");
    }
}

fn an_authority_certifies_by_either_challenge() {
    let place = Place::new();
    place.authority("ca");
    place.issue("pebble", "ca", "pebble", "subjectAltName=IP:127.0.0.1");
    let [https, http, dns, directory, management] = std::array::from_fn(|_| free_port().unwrap());
    let mut names = place.bench.command("pebble-challtestsrv");
    names.args([
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
        "-defaultIPv6",
        "",
    ]);
    names.args(["-defaultIPv4", "127.0.0.1", "-dns01", &format!("127.0.0.1:{dns}")]);
    names.args(["-management", &format!("127.0.0.1:{}", free_port().unwrap())]);
    let mut names = Process::start(&mut names).unwrap();
    names
        .wait_for_connections(SocketAddr::from(([127, 0, 0, 1], dns)))
        .unwrap();
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{directory}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": place.path("pebble.crt"),
        "privateKey": place.path("pebble.key"),
        "httpPort": http,
        "tlsPort": https,
    }});
    place.write("pebble.json", &config.to_string());
    let mut pebble = place.bench.command("pebble");
    pebble.args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}"), "-config"]);
    pebble
        .arg(place.path("pebble.json"))
        .env("PEBBLE_VA_NOSLEEP", "1");
    let mut pebble = Process::start(&mut pebble).unwrap();
    pebble
        .wait_for_connections(SocketAddr::from(([127, 0, 0, 1], management)))
        .unwrap();
    let mut root = place.bench.command("curl");
    root.args(["-sS", "--fail", "--noproxy", "*", "-o", "root.crt", "--cacert"]);
    root.arg(place.path("ca.crt"))
        .arg(format!("https://127.0.0.1:{management}/roots/0"));
    output_of(root).unwrap();

    for challenge in ["tls-alpn-01", "http-01"] {
        place.configure(
            https,
            &format!(
                "  redirect: {{ addr: '127.0.0.1:{http}' }}\n  tls:\n    letsencrypt:\n      cachefile: {challenge}\n      \
                 email: admin@a.test\n      hosts: [{challenge}.test]\n      challenge: {challenge}\n      \
                 directoryurl: https://127.0.0.1:{directory}/dir\n      directoryca: ca.crt\n"
            ),
        );
        let server = place.serve_config_file();
        let served = format!("serves a new certificate for {challenge}.test");
        server.process.wait_for_output(&served).unwrap();

        let name = format!("{challenge}.test:{https}");
        let resolve = format!("{name}:127.0.0.1");
        let got = server.curl_at(
            &place,
            &format!("https://{name}/v2/"),
            "root.crt",
            &["--resolve", &resolve],
        );
        assert_eq!(got.as_deref(), Ok("200 HTTP/2"), "{challenge}");
        // Nobody has to have a certificate for what was not listed.
        server.curl(&place, "root.crt", &[]).unwrap_err();
    }
}
