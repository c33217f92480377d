//! Clients over HTTPS, and clients that use `http://` by mistake.

use std::fs;

use libtest_mimic::Trial;

use super::{Place, Secured};
use crate::{
    http,
    image::Layout,
    program::{Workbench, output_of},
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(["openssl", "curl"];
        http_2_and_http_1_are_chosen_by_the_client,
        plain_http_is_told_to_use_https,
    );
    trials.extend(trials!(["skopeo"]; tls_on_a_plain_port_is_told_to_the_client_and_once_to_the_log));
    trials.extend(trials!(["openssl", "skopeo", "crane", "regctl"];
        clients_go_on_although_there_is_room_for_one_request_at_a_time,
    ));
    trials.extend(trials!(["openssl", "skopeo"];
        skopeo_pushes_and_pulls_and_verifies,
        skopeo_does_not_trust_a_stranger_and_the_log_says_so,
    ));
    trials
}

fn http_2_and_http_1_are_chosen_by_the_client() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve();

    assert_eq!(
        server.curl(&place, "tls.crt", &["--http2"]).unwrap(),
        "200 HTTP/2"
    );
    assert_eq!(
        server.curl(&place, "tls.crt", &["--http1.1"]).unwrap(),
        "200 HTTP/1.1"
    );
    // Without ALPN, as old clients are.
    assert_eq!(
        server.curl(&place, "tls.crt", &["--no-alpn"]).unwrap(),
        "200 HTTP/1.1"
    );
}

fn plain_http_is_told_to_use_https() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve();

    let answer = http::request(server.address, "GET", "/v2/", &[], b"").expect_status(400);

    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("this port speaks TLS, use https://"), "{body}");
    server
        .process
        .wait_for_output("the client speaks HTTP without TLS")
        .unwrap();
}

fn tls_on_a_plain_port_is_told_to_the_client_and_once_to_the_log() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("registry"));
    let image = format!("docker://{}", server.repository("team/app:one"));

    for _ in 0..2 {
        let refused = output_of({
            let mut skopeo = bench.command("skopeo");
            skopeo.args(["inspect", &image]);
            skopeo
        });
        let said = refused.err().unwrap();
        assert!(
            said.contains("server gave HTTP response to HTTPS client"),
            "{said}"
        );
    }

    server.terminate();
    let log = server.wait_and_listen();
    assert_eq!(
        log.matches("a client speaks TLS to this port").count(),
        1,
        "{log}"
    );
    // docker and podman do so at every first push to this machine: nothing is wrong.
    assert!(!log.contains("level=warning"), "{log}");
}

/// Returns the directory where skopeo looks for trusted authorities, with this certificate in it.
fn trusting(place: &Place, certificate: &str) -> String {
    let directory = place.path("certs.d");
    fs::create_dir_all(&directory).unwrap();
    fs::copy(place.path(certificate), directory.join("ca.crt")).unwrap();
    directory.display().to_string()
}

fn image(server: &Secured) -> String {
    format!("docker://localhost:{}/team/app:one", server.address.port())
}

fn skopeo_pushes_and_pulls_and_verifies() {
    let place = Place::new();
    place.self_signed("tls");
    let server = place.serve();
    let (layout, trust) = (Layout::sample(place.path("layout")), trusting(&place, "tls.crt"));

    place.bench.skopeo(&[
        "copy",
        "--dest-cert-dir",
        &trust,
        &layout.oci("one"),
        &image(&server),
    ]);

    let raw = place
        .bench
        .skopeo(&["inspect", "--raw", "--cert-dir", &trust, &image(&server)]);
    assert_eq!(raw.out, layout.blob(&layout.digest("one")));
    let back = format!("dir:{}", place.path("back").display());
    place
        .bench
        .skopeo(&["copy", "--src-cert-dir", &trust, &image(&server), &back]);
}

/// Requests that are refused at once were not begun, so clients send them again.
fn clients_go_on_although_there_is_room_for_one_request_at_a_time() {
    let place = Place::new();
    place.self_signed("tls");
    let room = [("LIMITS_HTTP2REQUESTS", "1"), ("HTTP_TIMEOUTS_QUEUE", "1ms")];
    let server = place.serve_within(&room);
    let (layout, trust) = (Layout::sample(place.path("layout")), trusting(&place, "tls.crt"));
    let from = layout.oci("one");
    place
        .bench
        .skopeo(&["copy", "--dest-cert-dir", &trust, &from, &image(&server)]);
    let at = |name: &str| format!("localhost:{}/{name}", server.address.port());
    let trusted = |program: &str, arguments: &[&str]| {
        let mut command = place.bench.command(program);
        command
            .env("SSL_CERT_FILE", place.path("tls.crt"))
            .args(arguments);
        output_of(command).unwrap();
    };

    trusted("crane", &["copy", &at("team/app:one"), &at("other/app:crane")]);
    trusted(
        "regctl",
        &["image", "copy", &at("team/app:one"), &at("third/app:regctl")],
    );

    for copied in ["other/app:crane", "third/app:regctl"] {
        let copied = format!("docker://{}", at(copied));
        let raw = place
            .bench
            .skopeo(&["inspect", "--raw", "--cert-dir", &trust, &copied]);
        assert_eq!(raw.out, layout.blob(&layout.digest("one")));
    }
}

fn skopeo_does_not_trust_a_stranger_and_the_log_says_so() {
    let place = Place::new();
    place.self_signed("tls");
    place.self_signed("stranger");
    let server = place.serve();
    let mut command = place.bench.command("skopeo");
    command.args([
        "inspect",
        "--cert-dir",
        &trusting(&place, "stranger.crt"),
        &image(&server),
    ]);

    let failed = output_of(command).map(|printed| printed.log).unwrap_err();

    assert!(failed.contains("unknown authority"), "{failed}");
    server
        .process
        .wait_for_output("it does not trust the issuer")
        .unwrap();
}
