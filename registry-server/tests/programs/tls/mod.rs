//! The server with HTTPS, with programs that make certificates and programs that check them.

mod certificates;
mod changes;
mod clients;
mod configured;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use libtest_mimic::Trial;
use registry_conformance::tools::Process;

use crate::{
    program::Workbench,
    server::{Server, address_after},
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = certificates::trials();
    trials.extend(changes::trials());
    trials.extend(clients::trials());
    trials.extend(configured::trials());
    trials
}

/// A directory with certificates, and the programs for them.
struct Place {
    bench: Workbench,
}

/// A server with TLS. On drop it is killed.
struct Secured {
    process: Process,
    address: SocketAddr,
}

impl Place {
    fn new() -> Self {
        Self {
            bench: Workbench::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    /// Starts a server with `tls.crt` and `tls.key`.
    fn serve(&self) -> Secured {
        self.serve_with("tls.crt", "tls.key", &[])
    }

    fn serve_with(&self, certificate: &str, key: &str, more: &[&str]) -> Secured {
        let mut command = self.serving(certificate, key);
        command.args(more);
        Self::started(command)
    }

    /// Starts a server as [`serve`](Self::serve) does, with variables prefixed by `REGISTRY_`.
    fn serve_within(&self, variables: &[(&str, &str)]) -> Secured {
        let mut command = self.serving("tls.crt", "tls.key");
        command.envs(
            variables
                .iter()
                .map(|(name, value)| (format!("REGISTRY_{name}"), value)),
        );
        Self::started(command)
    }

    fn serving(&self, certificate: &str, key: &str) -> Command {
        let mut command = Server::ours_command(&self.path("registry"));
        command.arg("--tls-cert").arg(self.path(certificate));
        command.arg("--tls-key").arg(self.path(key));
        command
    }

    fn started(mut command: Command) -> Secured {
        let process = Process::start(&mut command).expect("the server can be started");
        process.wait_for_output("push one:").unwrap();
        Secured::announced(process, "listens on https://")
    }

    /// Returns the output of a server that does not start.
    fn refusal(&self, certificate: &str, key: &str) -> String {
        let (status, said) = crate::server::end_of(self.serving(certificate, key));
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    /// Runs `openssl` with arguments without blanks; it must succeed.
    fn openssl(&self, words: &str) -> String {
        let mut command = self.bench.command("openssl");
        command.args(words.split_ascii_whitespace());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        assert!(
            status.success(),
            "openssl {words}: {}",
            String::from_utf8_lossy(&stderr)
        );
        String::from_utf8(stdout).unwrap()
    }

    /// Makes a self-signed certificate for `localhost`, 127.0.0.1 and `name`, and its key: `NAME.crt`, `NAME.key`.
    fn self_signed(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.crt \
             -subj /CN={name} -days 30 -addext subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:{name}"
        ));
    }

    /// Makes a root: `NAME.crt`, `NAME.key`.
    fn authority(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -subj /CN={name}"
        ));
    }

    /// Makes a certificate that `issuer` signs for `subject`, with one extension: `NAME.crt`, `NAME.key`.
    fn issue(&self, name: &str, issuer: &str, subject: &str, extension: &str) {
        self.write("extensions", extension);
        self.openssl(&format!(
            "req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={subject}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial -out {name}.crt \
             -extfile extensions"
        ));
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

impl Secured {
    /// Waits for a server that prints its address after `announces`; lines are printed whole.
    fn announced(process: Process, announces: &str) -> Self {
        process.wait_for_output(announces).unwrap();
        let mut secured = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        secured.address = secured.address_after(announces);
        secured
    }

    /// Returns another address that it printed.
    fn address_after(&self, announces: &str) -> SocketAddr {
        let output = self.log();
        let mut lines = output.lines();
        lines
            .find_map(|line| address_after(line, announces))
            .unwrap_or_else(|| panic!("no address in {output:?}"))
    }

    /// Returns the status that curl gets with trust in `ca`, or its error.
    fn curl(&self, place: &Place, ca: &str, more: &[&str]) -> Result<String, String> {
        self.curl_at(
            place,
            &format!("https://localhost:{}/v2/", self.address.port()),
            ca,
            more,
        )
    }

    fn curl_at(&self, place: &Place, url: &str, ca: &str, more: &[&str]) -> Result<String, String> {
        let mut command = place.bench.command("curl");
        command.args(["-sS", "--noproxy", "*", "--max-time", "60", "-o", "/dev/null"]);
        // The name may resolve to another address than the server listens on.
        command.args([
            "--resolve",
            &format!("localhost:{}:127.0.0.1", self.address.port()),
        ]);
        command.args(["-w", "%{http_code} HTTP/%{http_version}", "--cacert"]);
        command.arg(place.path(ca)).args(more).arg(url);
        crate::program::output_of(command).map(|printed| printed.text().to_owned())
    }

    /// Returns the output of `openssl s_client` for a connection that it opens and closes.
    fn s_client(&self, place: &Place, options: &str) -> String {
        let mut command = place.bench.command("openssl");
        command.args(["s_client", "-connect", &self.address.to_string()]);
        command.args(options.split_ascii_whitespace());
        // It reads what to send, and ends with its input.
        command.stdin(std::process::Stdio::null());
        let Output { stdout, stderr, .. } = command.output().unwrap();
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
    }

    fn log(&self) -> String {
        self.process.output()
    }
}

/// Replaces a symlink atomically, as certbot and kubelet do.
fn swap_link(target: &str, link: &Path) {
    let aside = link.with_extension("aside");
    std::os::unix::fs::symlink(target, &aside).unwrap();
    fs::rename(aside, link).unwrap();
}
