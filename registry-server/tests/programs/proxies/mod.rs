//! Pushes and pulls through reverse proxies in front of a registry, with the directives of their public guides: nginx
//! and Apache as installed, on ports 80 and 443 of an address of the test's own.
//!
//! Most pushes break there by a `Location` that names another scheme, host or port than the client uses. The client
//! then loses its way (`unknown blob`) or its credentials (`authentication required`). With
//! `REGISTRY_TEST_AGAINST=docker-registry` the tests whose names end in `_without_help` fail for that reason.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Trial;
use registry_conformance::tools::Process;

use crate::{
    docker::Engine,
    image::{DockerArchive, Layer, Layout, digest_of},
    program::{Printed, Workbench, argument, output_of},
    server::Server,
};

mod apache;
mod nginx;
mod nginx_proxy;

pub(crate) use nginx_proxy::registry_behind_nginx_proxy;

pub(crate) fn trials() -> Vec<Trial> {
    [nginx::trials(), nginx_proxy::trials(), apache::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// User, and a password with characters that are easily mangled.
pub(crate) const LOGIN: (&str, &str) = ("dockeruser", "se:cret ü");

/// A registry, an address for proxies, and a certificate for that address.
pub(crate) struct Site {
    pub(crate) bench: Workbench,
    pub(crate) layout: Layout,
    pub(crate) server: Server,
    pub(crate) host: Ipv4Addr,
    /// The certificate is its own authority; clients trust the files here.
    pub(crate) authority: PathBuf,
}

impl Site {
    /// Makes a registry without logins, which the proxy has to ask for.
    pub(crate) fn new() -> Self {
        Self::around(Server::under_test)
    }

    /// Makes a registry that asks for [`LOGIN`] itself.
    pub(crate) fn with_login() -> Self {
        Self::with(|bench| {
            make_password_file(bench, "-Bbc", "registry.htpasswd", LOGIN);
            Server::under_test_with_users(&bench.path("registry"), &bench.path("registry.htpasswd"))
        })
    }

    /// Makes a site around a registry that is started on this directory.
    pub(crate) fn around(serve: impl FnOnce(&Path) -> Server) -> Self {
        Self::with(|bench| serve(&bench.path("registry")))
    }

    /// Makes a site whose registry starts after its certificate exists: `site.key`, `authority/ca.crt`.
    pub(crate) fn with(server: impl FnOnce(&Workbench) -> Server) -> Self {
        let bench = Workbench::new();
        let layout = Layout::sample(bench.path("layout"));
        let host = free_host();
        let authority = bench.path("authority");
        fs::create_dir(&authority).expect("the test's directory is writable");
        make_certificate(&bench, host);
        make_password_file(&bench, "-bc", "proxy.htpasswd", LOGIN);
        let server = server(&bench);
        Self {
            bench,
            layout,
            server,
            host,
            authority,
        }
    }

    /// Fills in a configuration: the site's values replace `{registry}`, `{host}`, `{certificate}`, `{key}` and
    /// `{passwords}`.
    pub(crate) fn configured(&self, text: &str) -> String {
        [
            ("{registry}", self.server.address().to_string()),
            ("{host}", self.host.to_string()),
            (
                "{certificate}",
                argument(&self.authority.join("ca.crt")).to_owned(),
            ),
            ("{key}", argument(&self.bench.path("site.key")).to_owned()),
            (
                "{passwords}",
                argument(&self.bench.path("proxy.htpasswd")).to_owned(),
            ),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Starts a proxy in the foreground and waits until it accepts connections.
    pub(crate) fn start(&self, command: &mut Command, port: u16) -> Proxy {
        let mut process = Process::start(command).expect("the proxy can be started");
        process
            .wait_for_connections(SocketAddr::from((self.host, port)))
            .unwrap_or_else(|error| panic!("the proxy does not start: {error}"));
        Proxy(process)
    }

    /// Returns the proxy on this port as clients name it: over TLS on 443, in plain HTTP on other ports.
    fn door(&self, port: u16) -> Door<'_> {
        let name = match port {
            80 | 443 => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        };
        Door {
            site: self,
            name,
            tls: port == 443,
        }
    }
}

/// A running proxy. On drop it is asked to end, so that it ends its workers as well.
pub(crate) struct Proxy(Process);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Killed, if that fails.
        _ = self.0.stop();
    }
}

/// A proxy as its clients see it.
struct Door<'a> {
    site: &'a Site,
    name: String,
    tls: bool,
}

impl Door<'_> {
    /// Logs in by docker, podman and skopeo, pushes an image with a layer of 2 MB each, and pulls it back whole.
    fn serves_everybody(&self, login: Option<(&str, &str)>) {
        self.serves_docker(login);
        self.serves_podman(login);
        self.serves_skopeo(login);
    }

    fn serves_docker(&self, login: Option<(&str, &str)>) {
        let bench = &self.site.bench;
        let docker = Engine::start(bench, "docker-pushes");
        if let Some((user, password)) = login {
            docker.run(&["login", "--username", user, "--password", password, &self.name]);
        }
        let image = large_image(1);
        let reference = self.repository("docker/app:one");

        docker.load(&image.to_load(&reference));
        docker.run(&["push", &reference]);

        let docker = Engine::start(bench, "docker-pulls");
        docker.run(&["pull", "--quiet", &reference]);
        docker.assert_has(&reference, &image);
    }

    fn serves_podman(&self, login: Option<(&str, &str)>) {
        let bench = &self.site.bench;
        if let Some((user, password)) = login {
            let login = ["login", "--username", user, "--password", password];
            self.podman("podman-pushes", &login, &[&self.name]);
        }
        let image = large_image(2);
        let archive = bench.path("podman.tar");
        let reference = self.repository("podman/app:one");
        fs::write(&archive, image.to_load(&reference)).expect("the test's directory is writable");
        bench.podman(
            "podman-pushes",
            &["load", "--quiet", "--input", argument(&archive)],
        );

        self.podman("podman-pushes", &["push"], &[&reference]);
        self.podman("podman-pulls", &["pull"], &[&reference]);

        let inspect = ["image", "inspect", "--format", "{{.Id}}", &reference];
        let pulled = bench.podman("podman-pulls", &inspect);
        assert_eq!(pulled.text(), image.id().hex());
    }

    fn serves_skopeo(&self, login: Option<(&str, &str)>) {
        let bench = &self.site.bench;
        if let Some((user, password)) = login {
            let options = self.trust("");
            bench.skopeo(
                &[
                    &["login", "--username", user, "--password", password],
                    &options[..],
                    &[&self.name],
                ]
                .concat(),
            );
        }
        let repository = format!("docker://{}", self.repository("skopeo/app"));
        let there = format!("{repository}:one");

        let trust = self.trust("dest-");
        bench.skopeo(
            &[
                &["copy", "--all"],
                &trust[..],
                &[&self.site.layout.oci("multi"), &there],
            ]
            .concat(),
        );
        let trust = self.trust("");
        let listed = bench.skopeo(&[&["list-tags"], &trust[..], &[&repository]].concat());
        let trust = self.trust("src-");
        bench.skopeo(&[&["copy", "--all"], &trust[..], &[&there, "oci:returned:multi"]].concat());

        let listed: serde_json::Value = serde_json::from_slice(&listed.out).unwrap();
        assert_eq!(listed["Tags"], serde_json::json!(["one"]));
        // An index is copied as it is, so that its digest vouches for every byte.
        let returned = fs::read(bench.path("returned/index.json")).unwrap();
        let returned: serde_json::Value = serde_json::from_slice(&returned).unwrap();
        assert_eq!(
            digest_of(&returned["manifests"][0]),
            self.site.layout.digest("multi")
        );
    }

    fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    fn podman(&self, storage: &str, command: &[&str], arguments: &[&str]) -> Printed {
        let trust = self.trust("");
        self.site
            .bench
            .podman(storage, &[command, &trust, arguments].concat())
    }

    /// Returns the options by which podman and skopeo trust the site's own authority, or use plain HTTP.
    fn trust(&self, side: &str) -> Vec<&str> {
        let options: [&str; 2] = match (self.tls, side) {
            (true, "dest-") => ["--dest-cert-dir", argument(&self.site.authority)],
            (true, "src-") => ["--src-cert-dir", argument(&self.site.authority)],
            (true, _) => ["--cert-dir", argument(&self.site.authority)],
            (false, "dest-") => return vec!["--dest-tls-verify=false"],
            (false, "src-") => return vec!["--src-tls-verify=false"],
            (false, _) => return vec!["--tls-verify=false"],
        };
        options.to_vec()
    }
}

/// Makes an image whose first layer exceeds the default limit of proxies.
fn large_image(seed: u64) -> DockerArchive {
    DockerArchive::new(&[&Layer::new(seed, 2_000_000), &Layer::new(seed + 100, 20_000)])
}

/// Returns a loopback address with no listener on ports 80 and 443.
pub(crate) fn free_host() -> Ipv4Addr {
    let random = RandomState::new();
    (0..100_u8)
        .map(|attempt| {
            let [a, b, c, ..] = random.hash_one(attempt).to_ne_bytes();
            // Not in 127.0.0.0/16, where everything else of a machine listens.
            Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
        })
        .find(|host| {
            [80, 443]
                .iter()
                .all(|port| TcpListener::bind((*host, *port)).is_ok())
        })
        .expect("of the 16 million loopback addresses, one is free")
}

/// Makes a certificate for this address that is its own authority: `site.key`, `authority/ca.crt`.
fn make_certificate(bench: &Workbench, host: Ipv4Addr) {
    let subject = format!("subjectAltName=IP:{host}");
    let mut command = bench.command("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=registry"]);
    command.args([
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-addext",
        &subject,
    ]);
    command.args(["-keyout", "site.key", "-out", "authority/ca.crt"]);
    must(command);
}

/// Writes a password file as the guides do: by `htpasswd -bc`, which is apr1, or by `-Bbc`, which registry:2 can read.
pub(crate) fn make_password_file(
    bench: &Workbench,
    options: &str,
    name: &str,
    (user, password): (&str, &str),
) {
    let mut command = bench.command("htpasswd");
    command.args([options, name, user, password]);
    must(command);
}

fn must(command: Command) {
    let line = format!("{command:?}");
    output_of(command).unwrap_or_else(|failed| panic!("{line}: {failed}"));
}
