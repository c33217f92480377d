//! Every client at a registry with its own TLS and login: a deployment without a proxy.
//!
//! Each logs in, pushes, pushes again, and pulls by tag and by digest, with a certificate that it is told to trust.
//! Nothing stands between client and registry, so the access log shows the requests. The pushed content is compared
//! after a restart without TLS and login, byte for byte.

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use registry_test::tap::Tap;

use super::Scene;
use crate::{
    image::{Layout, noise},
    program::{Printed, Workbench, argument, output_of},
    server::Server,
};

mod artifacts;
mod images;

const USER: &str = "dockeruser";

/// A password with the characters that get lost.
const PASSWORD: &str = "se:cret ü";

/// An address that clients do not take for their own machine, which they would exempt from TLS.
const HOST: &str = "127.20.0.1";

pub(super) fn trials() -> Vec<Trial> {
    [artifacts::trials(), images::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// A registry with TLS and a password file, set by its configuration file, and the sample to push.
struct Guarded {
    bench: Workbench,
    layout: Layout,
    server: Server,
    name: String,
}

impl Guarded {
    fn new() -> Self {
        let bench = Workbench::new();
        make_certificates(&bench);
        let users = bench.path("users");
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        command.args(["htpasswd", "-bc", argument(&users), USER, PASSWORD]);
        output_of(command).unwrap();
        let config = bench.path("config.yml");
        let at = |name: &str| bench.path(name).display().to_string();
        let text = format!(
            "version: 0.1\n\
             storage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
             http: {{ addr: '{HOST}:0', tls: {{ certificate: {}, key: {} }} }}\n\
             auth: {{ htpasswd: {{ realm: Registry, path: {} }} }}\n",
            at("root"),
            at("site.crt"),
            at("site.key"),
            at("users"),
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        command.arg("serve").arg(config);
        let server = Server::start(command, "listening on https://");
        Self {
            layout: Layout::sample(bench.path("layout")),
            name: server.address().to_string(),
            server,
            bench,
        }
    }

    /// Returns `HOST:PORT`, which clients log in to.
    fn name(&self) -> &str {
        &self.name
    }

    fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// Returns the directory with the certificates that podman and similar clients trust.
    fn authority(&self) -> String {
        self.bench.path("authority").display().to_string()
    }

    /// Returns the certificate of the authority.
    fn certificate(&self) -> PathBuf {
        self.bench.path("authority/ca.crt")
    }

    /// Runs a Go program with its system trust set to the authority.
    fn trusting(&self, program: &str, arguments: &[&str]) -> Result<Printed, String> {
        let mut command = self.bench.command(program);
        command.env("SSL_CERT_FILE", self.certificate()).args(arguments);
        output_of(command)
    }

    /// Runs a line of Python with a client that has logged in.
    fn oras(&self, line: &str, arguments: &[&str]) -> Printed {
        let script = format!(
            "import sys, oras.client\nhost, ca, user, password, *argv = sys.argv[1:]\n\
             client = oras.client.OrasClient(hostname=host, tls_verify=ca, auth_backend='basic')\n\
             client.login(hostname=host, username=user, password=password)\n{line}\n"
        );
        let certificate = self.certificate();
        let login = [self.name(), argument(&certificate), USER, PASSWORD];
        self.bench
            .run("python3", &[&["-c", &script], &login[..], arguments].concat())
    }

    /// Writes the file `leaves` into the directory that programs run in.
    fn file(&self, length: usize) -> Vec<u8> {
        let bytes = noise(31, length);
        fs::write(self.bench.path("leaves"), &bytes).unwrap();
        bytes
    }

    /// Restarts the registry in plain HTTP without logins. Checks the access log of the first one: so many uploaded
    /// blobs, only requests of this protocol, and no password.
    fn opened(self, uploads: usize, protocol: &str) -> Scene {
        self.server.terminate();
        let log = self.server.wait_and_listen();
        let requests: Vec<_> = log.lines().filter(|line| line.contains("] \"")).collect();
        let closed = |line: &&&str| {
            line.contains("\"PUT /v2/") && line.contains("/blobs/uploads/") && line.contains("\" 201 ")
        };
        assert_eq!(requests.iter().filter(closed).count(), uploads, "{log}");
        let others = requests.iter().find(|line| !line.contains(protocol));
        assert_eq!(others, None, "{log}");
        for secret in [PASSWORD, "c2U6Y3JldCDDvA", "ZG9ja2VydXNlcj"] {
            assert!(!log.contains(secret), "{log}");
        }
        let server = Server::ours(&self.bench.path("root"));
        Scene {
            tap: Tap::start(server.address()).expect("the loopback interface has a free port"),
            bench: self.bench,
            layout: self.layout,
            server,
        }
    }
}

/// Makes an authority, and a certificate for [`HOST`]: `authority/ca.crt`, `site.crt` and `site.key`.
fn make_certificates(bench: &Workbench) {
    fs::create_dir(bench.path("authority")).unwrap();
    let key = [
        "-nodes",
        "-days",
        "2",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    let request = |more: &[&str]| bench.run("openssl", &[&["req", "-x509"], &key[..], more].concat());
    request(&[
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "authority/ca.crt",
    ]);
    let name = format!("subjectAltName=IP:{HOST}");
    request(&[
        "-CA",
        "authority/ca.crt",
        "-CAkey",
        "ca.key",
        "-subj",
        "/CN=registry",
        "-addext",
        &name,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "site.key",
        "-out",
        "site.crt",
    ]);
}
