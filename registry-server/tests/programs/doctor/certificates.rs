//! Certificates made by openssl with old and new instructions, and served by nginx unchanged.

use libtest_mimic::Trial;

use super::{Examined, examine, https};
use crate::{program::argument, proxies::Site, server::Server};

const PROGRAMS: [&str; 3] = ["nginx", "openssl", "htpasswd"];

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        a_chain_in_order_is_sound,
        version_1_is_found,
        a_common_name_alone_is_found,
        another_name_is_found,
        the_end_is_foretold,
        the_end_is_found,
        a_wrong_order_is_found,
        a_missing_intermediate_is_found,
        an_unknown_authority_is_found,
        versions_that_no_client_speaks_are_found,
        a_server_that_wants_a_certificate_is_left_alone,
    )
}

const PORT: u16 = 8443;

/// A root and an intermediate authority, with their site.
struct Authorities {
    site: Site,
}

impl Authorities {
    fn new() -> Self {
        let this = Self { site: Site::new() };
        this.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 400 -keyout root.key -out \
             root.crt -subj /CN=root",
        );
        this.issue("middle", "root", "basicConstraints=critical,CA:TRUE", "-days 400");
        this
    }

    /// Makes `NAME.crt` and `NAME.key`, signed by `issuer`.
    fn issue(&self, name: &str, issuer: &str, extension: &str, options: &str) {
        std::fs::write(self.site.bench.path("extension"), extension).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr \
             -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial -out {name}.crt \
             -extfile extension {options}"
        ));
    }

    /// Makes a server's certificate, signed by the intermediate authority.
    fn issue_server(&self, options: &str) {
        let names = format!("subjectAltName=IP:{}", self.site.host);
        self.issue("server", "middle", &names, options);
    }

    fn openssl(&self, words: &str) {
        let words: Vec<_> = words.split_ascii_whitespace().collect();
        self.site.bench.run("openssl", &words);
    }

    /// Examines a server that sends these certificates, in this order, with the key of the first.
    fn served(&self, chain: &[&str], more: &[&str]) -> Examined {
        let path = |name: String| self.site.bench.path(&name);
        let bundle: String = chain
            .iter()
            .map(|name| std::fs::read_to_string(path(format!("{name}.crt"))).unwrap())
            .collect();
        std::fs::write(path("bundle.pem".to_owned()), bundle).unwrap();
        let servers = format!(
            "server {{ listen {{host}}:{PORT} ssl; ssl_certificate {}; ssl_certificate_key {}; \
             client_max_body_size 0; location / {{ proxy_pass http://{{registry}}; proxy_set_header Host \
             $http_host; proxy_set_header X-Forwarded-Proto $scheme; }} }}",
            argument(&path("bundle.pem".to_owned())),
            argument(&path(format!("{}.key", chain[0]))),
        );
        let _nginx = self.site.nginx(PORT, &servers);
        examine(
            &[&[&format!("https://{}:{PORT}", self.site.host)[..]], more].concat(),
            None,
        )
    }

    fn trusted(&self, chain: &[&str]) -> Examined {
        let root = self.site.bench.path("root.crt");
        self.served(chain, &["--ca", argument(&root)])
    }
}

/// Returns the faults of certificates only; these tests allow anonymous pushes on purpose.
fn wrong(examined: &Examined) -> Vec<String> {
    let mut wrong = examined.wrong();
    wrong.retain(|found| found.starts_with("certificate"));
    wrong
}

fn a_chain_in_order_is_sound() {
    let authorities = Authorities::new();
    authorities.issue_server("-days 90");

    let examined = authorities.trusted(&["server", "middle"]);

    examined.is_at_fault(&[]);
    assert!(wrong(&examined).is_empty(), "{:#}", examined.report);
    examined.says("certificate-order", &["2 certificates"]);
    examined.says("certificate-validity", &["ok\n", "more days"]);
    examined.says("tls-versions", &["ok\n", "1.2"]);
}

/// Follows old instructions: a request, signed by its own key.
fn version_1_is_found() {
    let authorities = Authorities::new();
    let host = authorities.site.host;
    authorities.openssl("genrsa -out old.key 2048");
    authorities.openssl(&format!(
        "req -new -subj /C=US/CN={host} -key old.key -out old.csr"
    ));
    authorities.openssl("x509 -req -days 3650 -in old.csr -signkey old.key -out old.crt");

    let examined = authorities.served(&["old"], &[]);

    assert_eq!(
        wrong(&examined),
        ["certificate-version: fault", "certificate-name: fault"],
        "{:#}",
        examined.report
    );
    assert_eq!(examined.code, Some(1));
    let remade = format!("-addext subjectAltName=IP:{host}");
    examined.says("certificate-version", &["version 1", &remade]);
    // What is behind it is looked at all the same.
    examined.says("base", &["ok\n"]);
}

fn a_common_name_alone_is_found() {
    let authorities = Authorities::new();
    authorities.issue("server", "middle", "keyUsage=digitalSignature", "-days 90");

    let examined = authorities.trusted(&["server", "middle"]);

    assert_eq!(
        wrong(&examined),
        ["certificate-name: fault"],
        "{:#}",
        examined.report
    );
    examined.says("certificate-name", &["`CN=server`", "common name only"]);
}

fn another_name_is_found() {
    let authorities = Authorities::new();
    authorities.issue(
        "server",
        "middle",
        "subjectAltName=DNS:client.example.io",
        "-days 90",
    );

    let examined = authorities.trusted(&["server", "middle"]);

    assert_eq!(
        wrong(&examined),
        ["certificate-name: fault"],
        "{:#}",
        examined.report
    );
    examined.says("certificate-name", &["is for client.example.io, not for 127."]);
}

fn the_end_is_foretold() {
    let authorities = Authorities::new();
    authorities.issue_server("-days 5");

    let examined = authorities.trusted(&["server", "middle"]);

    examined.is_at_fault(&[]);
    assert_eq!(wrong(&examined), ["certificate-validity: warning"]);
    examined.says("certificate-validity", &["it expires in ", "renew"]);
}

fn the_end_is_found() {
    let authorities = Authorities::new();
    authorities.issue_server("-days -1");

    let examined = authorities.trusted(&["server", "middle"]);

    assert_eq!(
        wrong(&examined),
        ["certificate-validity: fault"],
        "{:#}",
        examined.report
    );
    examined.says("certificate-validity", &["it expired at"]);
}

fn a_wrong_order_is_found() {
    let authorities = Authorities::new();
    authorities.issue_server("-days 90");

    let examined = authorities.trusted(&["server", "root", "middle"]);

    examined.is_at_fault(&[]);
    assert_eq!(
        wrong(&examined),
        ["certificate-order: warning"],
        "{:#}",
        examined.report
    );
    examined.says(
        "certificate-order",
        &["`server`, `root`, `middle`", "then its issuer"],
    );
}

fn a_missing_intermediate_is_found() {
    let authorities = Authorities::new();
    authorities.issue_server("-days 90");

    let examined = authorities.trusted(&["server"]);

    assert_eq!(
        wrong(&examined),
        ["certificate-trust: fault"],
        "{:#}",
        examined.report
    );
    examined.says(
        "certificate-trust",
        &[
            "only its own certificate",
            "`middle`",
            "unknown authority",
            "fullchain.pem",
        ],
    );
}

fn an_unknown_authority_is_found() {
    let authorities = Authorities::new();
    authorities.issue_server("-days 90");

    let examined = authorities.served(&["server", "middle"], &[]);

    assert_eq!(
        wrong(&examined),
        ["certificate-trust: fault"],
        "{:#}",
        examined.report
    );
    examined.says("certificate-trust", &["the chain ends at `root`", "certs.d"]);
}

fn versions_that_no_client_speaks_are_found() {
    let site = Site::new();
    let _nginx = site.nginx(
        443,
        "server { {tls} ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; location / { proxy_pass \
         http://{registry}; } }",
    );

    let examined = examine(&[&https(site.host)], None);

    examined.is_at_fault(&["tls-versions"]);
    examined.says("tls-versions", &["neither TLS 1.2 nor 1.3", "ssl_protocols"]);
}

fn a_server_that_wants_a_certificate_is_left_alone() {
    let site = Site::with(|bench| {
        let mut command = Server::ours_command(&bench.path("registry"));
        command.args(["--tls-cert", argument(&bench.path("authority/ca.crt"))]);
        command.args(["--tls-key", argument(&bench.path("site.key"))]);
        command.env(
            "REGISTRY_HTTP_TLS_CLIENTCAS",
            format!("[{}]", argument(&bench.path("authority/ca.crt"))),
        );
        Server::start(command, "https://")
    });

    let examined = examine(&[&format!("https://{}", site.server.address())], None);

    examined.says("base", &["skipped\n", "requires a client certificate"]);
}
