//! Every client at a registry that speaks TLS by itself and asks for a login: what a deployment without a proxy is.
//!
//! Each logs in, pushes, pushes again, and pulls by tag and by digest, with a certificate that it is told to trust.
//! Nobody stands between it and the registry, so that the access log is what tells how it got on; what it pushed is
//! compared after a restart without either, byte for byte.

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use oci_client::{
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use registry_core::Digest;
use registry_testkit::tap::Tap;

use super::{Scene, ctr::Containerd, helm, oci_client as rust, oras};
use crate::{
    docker::{self, Engine, where_engines_start},
    image::{DockerArchive, Layer, Layout, digest_of, noise, references, sha256},
    program::{Printed, Workbench, argument, output_of},
    server::Server,
};

const USER: &str = "dockeruser";

/// With the characters that get lost.
const PASSWORD: &str = "se:cret ü";

/// Not the address that clients know to be their own machine, and hence spare from TLS.
const HOST: &str = "127.20.0.1";

pub(super) fn trials() -> Vec<Trial> {
    [
        trials!(["openssl", "buildah"]; buildah_pushes_and_pulls),
        trials!(["openssl", "crane"]; crane_pushes_and_pulls),
        where_engines_start(trials!(["openssl", "containerd", "ctr"]; ctr_pushes_and_pulls)),
        where_engines_start(
            trials!(["openssl", docker::PROGRAMS[0], docker::PROGRAMS[1]]; docker_pushes_and_pulls),
        ),
        trials!(["openssl", "helm"]; helm_pushes_and_pulls),
        trials!(["openssl"]; oci_client_pushes_and_pulls),
        oras::where_it_is_installed(trials!(["openssl", "python3"];
            oras_pushes_and_pulls,
            oras_pushes_in_chunks_that_are_each_refused_once,
        )),
        trials!(["openssl", "podman"]; podman_pushes_and_pulls),
        trials!(["openssl", "regctl"]; regctl_pushes_and_pulls),
        trials!(["openssl", "skopeo"]; skopeo_pushes_and_pulls),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn buildah_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let buildah = |storage: &str, arguments: &[&str]| {
        let at = |part: &str| place.bench.path(storage).join(part).display().to_string();
        let (root, run) = (at("root"), at("run"));
        let storage = ["--storage-driver", "vfs", "--root", &root, "--runroot", &run];
        place.bench.run("buildah", &[&storage, arguments].concat())
    };
    buildah(
        "first",
        &[
            "login",
            "--cert-dir",
            &trust,
            "-u",
            USER,
            "-p",
            PASSWORD,
            place.name(),
        ],
    );
    buildah("first", &["manifest", "create", "both"]);
    for tag in ["one", "two"] {
        buildah("first", &["manifest", "add", "both", &place.layout.oci(tag)]);
    }

    let tagged = format!("docker://{}", place.repository("team/app:both"));
    for _ in 0..2 {
        buildah(
            "first",
            &["manifest", "push", "--cert-dir", &trust, "--all", "both", &tagged],
        );
    }
    let digest = place.layout.digest("one");
    let by_digest = format!("docker://{}@{digest}", place.repository("team/app"));
    for reference in [&tagged, &by_digest] {
        buildah("second", &["pull", "--quiet", "--cert-dir", &trust, reference]);
    }

    // Three layers, one of them in both images, and two configurations.
    let scene = place.opened(5, "HTTP/1.1");
    for digest in ["one", "two"].map(|tag| scene.layout.digest(tag)) {
        scene.assert_served("team/app", &digest.to_string(), &digest);
    }
}

fn crane_pushes_and_pulls() {
    let place = Guarded::new();
    let mut alone = Layout::create(place.bench.path("alone"));
    alone.import(&place.layout, "one");
    let tagged = place.repository("team/app:one");
    let refused = place
        .trusting("crane", &["push", argument(alone.path()), &tagged])
        .unwrap_err();
    assert!(refused.contains("401 Unauthorized"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("crane", arguments).unwrap();
    run(&[
        "auth",
        "login",
        "--username",
        USER,
        "--password",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        run(&["push", argument(alone.path()), &tagged]);
    }
    let digest = place.layout.digest("one");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    for (reference, directory) in [(&tagged, "by-tag"), (&by_digest, "by-digest")] {
        run(&["pull", "--format", "oci", reference, directory]);
    }
    run(&["tag", &tagged, "two"]);
    run(&["delete", &place.repository("team/app:two")]);

    let scene = place.opened(3, "HTTP/2.0");
    scene.assert_served("team/app", "one", &digest);
    scene.assert_unknown("team/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("one", &scene.bench.path(directory));
    }
}

fn ctr_pushes_and_pulls() {
    let place = Guarded::new();
    // What a node is told of a registry with an authority of its own; without it, ctr would not verify loopback.
    let hosts = place.bench.path("hosts");
    let about = hosts.join(place.name());
    fs::create_dir_all(&about).unwrap();
    let text = format!(
        "server = \"https://{0}\"\n[host.\"https://{0}\"]\nca = {1:?}\n",
        place.name(),
        place.certificate()
    );
    fs::write(about.join("hosts.toml"), text).unwrap();
    let user = format!("{USER}:{PASSWORD}");
    let options = ["--hosts-dir", argument(&hosts), "--user", &user];
    let tagged = place.repository("team/app:one");
    let digest = place.layout.digest("one");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));

    let pushing = Containerd::start(&place.bench, "first");
    pushing.import(&place.layout, &place.repository("team/app"));
    let refused = pushing.attempt(&["images", "push", "--hosts-dir", argument(&hosts), &tagged]);
    assert!(refused.is_err_and(|said| said.contains("401 Unauthorized") || said.contains("no basic auth")));
    for _ in 0..2 {
        pushing.run(&[&["images", "push"], &options[..], &[&tagged]].concat());
    }
    for (directory, reference) in [("second", &tagged), ("third", &by_digest)] {
        let pulling = Containerd::start(&place.bench, directory);
        let pull = ["images", "pull", "--snapshotter", "native"];
        pulling.run(&[&pull, &options[..], &[reference]].concat());
        pulling.assert_has(&place.layout, &digest);
    }

    drop(pushing);
    let scene = place.opened(3, "HTTP/");
    scene.assert_served("team/app", "one", &digest);
}

fn docker_pushes_and_pulls() {
    let place = Guarded::new();
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let reference = place.repository("team/app:one");
    let docker = Engine::start(&place.bench, "first");
    docker.load(&image.to_load(&reference));
    let refused = docker.refused(&["push", &reference]);
    assert!(refused.contains("no basic auth credentials"), "{refused}");

    docker.run(&["login", "-u", USER, "-p", PASSWORD, place.name()]);
    docker.run(&["push", &reference]);
    let digest = docker.push(&image, &reference);
    let pulling = Engine::start(&place.bench, "second");
    for reference in [&reference, &format!("{}@{digest}", place.repository("team/app"))] {
        pulling.run(&["pull", "--quiet", reference]);
        pulling.assert_has(reference, &image);
    }

    drop((docker, pulling));
    let scene = place.opened(3, "HTTP/1.1");
    scene.assert_holds("team/app", "one", &image);
}

fn helm_pushes_and_pulls() {
    let place = Guarded::new();
    let chart = helm::chart(&place.bench);
    let charts = format!("oci://{}", place.repository("charts"));
    let push = ["push", "autumn-1.2.3.tgz", &charts];
    let refused = place.trusting("helm", &push).unwrap_err();
    assert!(refused.contains("basic credential not found"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("helm", arguments).unwrap();
    run(&[
        "registry",
        "login",
        "--username",
        USER,
        "--password",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        run(&push);
    }
    let (tagged, directories) = (format!("{charts}/autumn"), ["by-version", "by-digest"]);
    for directory in directories {
        fs::create_dir(place.bench.path(directory)).unwrap();
    }
    let digest = helm::digest(&run(&push));
    run(&[
        "pull",
        "--version",
        "1.2.3",
        "--destination",
        directories[0],
        &tagged,
    ]);
    run(&[
        "pull",
        "--destination",
        directories[1],
        &format!("{tagged}@{digest}"),
    ]);
    for directory in directories {
        // It names the file for what it was asked for.
        let mut pulled = fs::read_dir(place.bench.path(directory)).unwrap();
        let pulled = pulled.next().unwrap().unwrap().path();
        assert!(
            fs::read(pulled).is_ok_and(|pulled| pulled == chart),
            "{directory}: the chart is what was pushed"
        );
    }

    let scene = place.opened(2, "HTTP/2.0");
    let manifest = scene.server.get("/v2/charts/autumn/manifests/1.2.3").body;
    assert_eq!(sha256(&manifest), digest);
    scene.assert_holds_file("charts/autumn", &manifest, &chart);
}

fn oci_client_pushes_and_pulls() {
    let place = Guarded::new();
    let digest = place.layout.digest("one");
    let login = RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned());
    let config = || ClientConfig {
        protocol: ClientProtocol::Https,
        extra_root_certificates: vec![Certificate {
            encoding: CertificateEncoding::Pem,
            data: fs::read(place.certificate()).unwrap(),
        }],
        ..ClientConfig::default()
    };
    let tagged = place.repository("team/app:one").parse().unwrap();
    let by_digest = format!("{}@{digest}", place.repository("team/app"))
        .parse()
        .unwrap();

    let (stranger, client) = (rust::client_with(config()), rust::client_with(config()));
    let (refused, pulled) = rust::run(async {
        let refused = rust::push(&stranger, &place.layout, &tagged, &RegistryAuth::Anonymous).await;
        rust::push(&client, &place.layout, &tagged, &login).await.unwrap();
        // It does not ask by itself: a second `push` would send everything again.
        let (_, blobs) = references(&place.layout.blob(&digest));
        for blob in blobs {
            let digest = digest_of(&blob).to_string();
            assert!(client.blob_exists(&tagged, &digest).await.unwrap());
        }
        let pulled = [
            rust::pull(&client, &tagged, &login).await,
            rust::pull(&client, &by_digest, &login).await,
        ];
        (refused, pulled)
    });

    assert!(refused.is_err());
    let (mut layers, config) = rust::image(&place.layout, "one");
    layers.sort();
    for pulled in pulled {
        assert!(
            pulled == (layers.clone(), config.clone()),
            "the image is what was pushed"
        );
    }
    let scene = place.opened(3, "HTTP/1.1");
    scene.assert_served("team/app", "one", &digest);
}

fn oras_pushes_and_pulls() {
    let place = Guarded::new();
    let leaves = place.file(200_000);
    let tagged = place.repository("team/artifacts:one");
    let push = "client.push(target=argv[0], files=['leaves'])";

    for _ in 0..2 {
        place.oras(push, &[&tagged]);
    }
    place.oras("client.pull(target=argv[0], outdir='by-tag')", &[&tagged]);
    let ask = "print(client.do_request(argv[0], 'HEAD').headers['Docker-Content-Digest'])";
    let manifest = format!("https://{}/v2/team/artifacts/manifests/one", place.name());
    let digest = place.oras(ask, &[&manifest]);
    let by_digest = format!("{}@{}", place.repository("team/artifacts"), digest.text());
    place.oras("client.pull(target=argv[0], outdir='by-digest')", &[&by_digest]);

    for directory in ["by-tag", "by-digest"] {
        let pulled = fs::read(place.bench.path(directory).join("leaves")).unwrap();
        assert!(pulled == leaves, "{directory}: the file is what was pushed");
    }
    let scene = place.opened(2, "HTTP/1.1");
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

/// It sends every request without its login first, bodies and all, and has to see the answer to that.
fn oras_pushes_in_chunks_that_are_each_refused_once() {
    let place = Guarded::new();
    let leaves = place.file(30_000_000);
    let tagged = place.repository("team/artifacts:one");

    place.oras(
        "client.push(target=argv[0], files=['leaves'], do_chunked=True)",
        &[&tagged],
    );

    let scene = place.opened(2, "HTTP/1.1");
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

fn podman_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let reference = place.repository("team/app:one");
    let image = place
        .bench
        .podman("first", &["pull", "--quiet", "oci:layout:one"]);
    let podman = |storage, command: &[&str], arguments: &[&str]| {
        let options = ["--cert-dir", &trust];
        place
            .bench
            .podman(storage, &[command, &options, arguments].concat())
    };

    podman("first", &["login"], &["-u", USER, "-p", PASSWORD, place.name()]);
    let digest_file = place.bench.path("digest");
    for _ in 0..2 {
        podman(
            "first",
            &["push", "--digestfile", argument(&digest_file)],
            &[image.text(), &reference],
        );
    }
    let digest = Digest::parse(&fs::read_to_string(&digest_file).unwrap()).unwrap();
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    for (storage, reference) in [("second", &reference), ("third", &by_digest)] {
        let pulled = podman(storage, &["pull", "--quiet"], &[reference]);
        assert_eq!(
            pulled.text(),
            image.text(),
            "the id is the digest of the configuration"
        );
    }
    // `search` has no option for it: this is where the engine looks by itself.
    let trusted = place
        .bench
        .path("home/.config/containers/certs.d")
        .join(place.name());
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(place.certificate(), trusted.join("ca.crt")).unwrap();
    let search = |arguments: &[&str]| place.bench.podman("first", &[&["search"], arguments].concat());
    let found = search(&[&format!("{}/app", place.name())]);
    assert!(found.text().contains("team/app"), "{}", found.text());
    let tags = search(&["--list-tags", &place.repository("team/app")]);
    assert!(tags.text().ends_with("one"), "{}", tags.text());

    place
        .bench
        .podman("first", &["push", image.text(), "oci:written:one"]);
    let scene = place.opened(3, "HTTP/1.1");
    scene.assert_served_from(&scene.bench.path("written"), "team/app", "one", &digest);
}

fn regctl_pushes_and_pulls() {
    let place = Guarded::new();
    let digest = place.layout.digest("multi");
    let from = format!("ocidir://{}:multi", place.layout.path().display());
    let tagged = place.repository("team/app:multi");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    let refused = place
        .trusting("regctl", &["image", "copy", &from, &tagged])
        .unwrap_err();
    assert!(refused.contains("unauthorized"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("regctl", arguments).unwrap();
    run(&["registry", "login", "-u", USER, "-p", PASSWORD, place.name()]);
    for _ in 0..2 {
        run(&["image", "copy", &from, &tagged]);
    }
    for (reference, directory) in [(&tagged, "by-tag"), (&by_digest, "by-digest")] {
        let to = format!("ocidir://{}:pulled", place.bench.path(directory).display());
        run(&["image", "copy", reference, &to]);
    }
    run(&["image", "copy", &tagged, &place.repository("team/app:two")]);
    run(&["tag", "delete", &place.repository("team/app:two")]);

    let scene = place.opened(5, "HTTP/2.0");
    scene.assert_served("team/app", "multi", &digest);
    scene.assert_unknown("team/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("multi", &scene.bench.path(directory));
    }
}

fn skopeo_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let digest = place.layout.digest("multi");
    let there = |name: &str| format!("docker://{}", place.repository(name));
    let copy = |to: &str| {
        let from = place.layout.oci("multi");
        place
            .bench
            .skopeo(&["copy", "--all", "--dest-cert-dir", &trust, &from, to]);
    };

    place.bench.skopeo(&[
        "login",
        "--cert-dir",
        &trust,
        "-u",
        USER,
        "-p",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        copy(&there("team/app:multi"));
    }
    let by_digest = format!("docker://{}@{digest}", place.repository("team/app"));
    for (from, directory) in [(&there("team/app:multi"), "by-tag"), (&by_digest, "by-digest")] {
        let to = format!("oci:{directory}:pulled");
        place
            .bench
            .skopeo(&["copy", "--all", "--src-cert-dir", &trust, from, &to]);
    }
    let from = place.layout.oci("two");
    place
        .bench
        .skopeo(&["copy", "--dest-cert-dir", &trust, &from, &there("other/app:two")]);
    place
        .bench
        .skopeo(&["delete", "--cert-dir", &trust, &there("other/app:two")]);

    // Of `two`, the layers are mounted; its configuration is sent again.
    let scene = place.opened(6, "HTTP/1.1");
    scene.assert_served("team/app", "multi", &digest);
    scene.assert_unknown("other/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("multi", &scene.bench.path(directory));
    }
}

/// A registry with TLS and a password file, as its configuration file says; and the sample to push.
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

    /// `HOST:PORT`, which clients log in to.
    fn name(&self) -> &str {
        &self.name
    }

    fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The directory with what podman and its kin are to trust.
    fn authority(&self) -> String {
        self.bench.path("authority").display().to_string()
    }

    /// The certificate of the authority.
    fn certificate(&self) -> PathBuf {
        self.bench.path("authority/ca.crt")
    }

    /// Runs a program in Go that trusts what the system trusts.
    fn trusting(&self, program: &str, arguments: &[&str]) -> Result<Printed, String> {
        let mut command = self.bench.command(program);
        command.env("SSL_CERT_FILE", self.certificate()).args(arguments);
        output_of(command)
    }

    /// Runs a line of Python with a client at hand that has logged in.
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

    /// The same registry in plain HTTP for everybody. The access log of the other has so many blobs that came in,
    /// only requests of this protocol, and no password.
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

/// An authority, and what it signs for [`HOST`]: `authority/ca.crt`, `site.crt` and `site.key`.
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
