//! Programs in common use, which find the registry and log in to it by [`TestRegistry::envs`] alone.
//!
//! A test whose program is not installed is ignored; with `REGISTRY_TEST_REQUIRE_TOOLS=1` it fails.

use libtest_mimic::{Arguments, Trial};
use registry_conformance::tools;
use registry_test::{Builder, TestRegistry, image, index};
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    process::{Command, ExitCode},
    sync::Arc,
};

/// Command of a program that copies an image within the registry.
type Copy = fn(&TestRegistry, from: &str, to: &str) -> Command;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let programs: [(&str, Copy); 2] = [("skopeo", skopeo), ("crane", crane)];
    let trials: Vec<Trial> = programs
        .into_iter()
        .flat_map(|(program, copy)| {
            let trial = |name: &str, test: fn(Copy)| {
                tools::trial(format!("{program}_{name}"), &[program], move || {
                    test(copy);
                    Ok(())
                })
            };
            [
                trial("copies_without_a_login", copies_without_a_login),
                trial("logs_in_with_basic_credentials", logs_in_with_basic_credentials),
                trial("gets_tokens", gets_tokens),
                trial("trusts_the_certificate", trusts_the_certificate),
            ]
        })
        .chain(seeds())
        .chain([tools::trial("curl_trusts_the_authority", &["curl"], || {
            curl_trusts_the_authority();
            Ok(())
        })])
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn copies_without_a_login(copy: Copy) {
    copies(TestRegistry::builder(), copy);
}

fn logs_in_with_basic_credentials(copy: Copy) {
    copies(TestRegistry::builder().basic("ann", "secret"), copy);
}

fn gets_tokens(copy: Copy) {
    let registry = copies(TestRegistry::builder().bearer("ann", "secret"), copy);
    let requests = registry.requests();
    assert!(requests.clone().token().status(200).count() > 0, "{requests:?}");
}

fn trusts_the_certificate(copy: Copy) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    copies(TestRegistry::builder().basic("ann", "secret").tls(provider), copy);
}

/// OpenSSL accepts the certificate for the address and for `localhost`, and has the one of a client.
fn curl_trusts_the_authority() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let registry = TestRegistry::builder().tls(provider).client_certificate().start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("a temporary file");
        path
    };
    let identity = registry.client_certificate().expect("it is required");
    let ca = file("ca.pem", registry.ca_pem().expect("there is TLS"));
    let certificate = file("cert.pem", &identity.certificate_pem);
    let key = file("key.pem", &identity.key_pem);
    let by_name = format!("https://localhost:{}", registry.addr().port());
    for url in [registry.url(), &by_name] {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--write-out",
            "%{http_code} %{http_version}",
        ])
        .arg("--cacert")
        .arg(&ca)
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key)
        .arg(format!("{url}/v2/"));
        assert_eq!(succeeds(&registry, &mut curl), b"{}200 1.1");
    }
}

/// Tests of seeds with programs that check them.
fn seeds() -> [Trial; 2] {
    let trial = |name: &str, program: &str, test: fn()| {
        tools::trial(name, &[program], move || {
            test();
            Ok(())
        })
    };
    [
        trial("crane_exports_a_seed", "crane", crane_exports_a_seed),
        trial(
            "skopeo_writes_a_layout_that_is_a_seed",
            "skopeo",
            skopeo_writes_a_layout_that_is_a_seed,
        ),
    ]
}

/// The program reads every layer, and writes the files of all of them.
fn crane_exports_a_seed() {
    let long = format!("{}/é", "long".repeat(40));
    let image = image()
        .files([("etc/motd", "hello\n"), ("a", "old")])
        .layer([("a", "new"), (&long, "")])
        .config(r#"{"Cmd": ["/bin/sh"]}"#);
    let registry = TestRegistry::builder().seed("app:v1", image).start();
    let mut crane = Command::new("crane");
    crane.args(["export", &registry.reference("app:v1"), "-"]);

    let exported = succeeds(&registry, &mut crane);

    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(&exported[..]);
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("a whole entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("a text");
        if !path.ends_with('/') && entry.header().entry_type().is_file() {
            files.insert(path, content);
        }
    }
    let expected = [("a", "new"), ("etc/motd", "hello\n"), (&long, "")];
    let expected = expected.map(|(path, content)| (path.to_owned(), content.to_owned()));
    assert_eq!(files, BTreeMap::from(expected));
}

fn skopeo_writes_a_layout_that_is_a_seed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("app");
    let images = ["linux/amd64", "linux/arm64"].map(|platform| image().platform(platform));
    let registry = TestRegistry::builder().seed("app:v1", index(images)).start();
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false"])
        .args([registry.transport("app:v1"), format!("oci:{}:v2", path.display())]);
    succeeds(&registry, &mut skopeo);

    let other = TestRegistry::start();

    assert_eq!(other.seed_layout(&path), ["app:v2"]);
    assert_eq!(other.digest("app:v2"), registry.digest("app:v1"));
    other.assert_pushed("app:v2");
}

/// Copies an index with two platforms to another repository.
fn copies(registry: Builder, copy: Copy) -> TestRegistry {
    let images =
        ["linux/amd64", "linux/arm64"].map(|platform| image().files([("a", "1")]).platform(platform));
    let registry = registry.seed("team/app:v1", index(images)).start();

    let mut command = copy(&registry, "team/app:v1", "other/app:v2");
    succeeds(&registry, &mut command);

    registry.assert_pushed("other/app:v2");
    assert_eq!(registry.digest("other/app:v2"), registry.digest("team/app:v1"));
    registry
}

/// Runs a program with the environment of the registry; returns its output.
fn succeeds(registry: &TestRegistry, command: &mut Command) -> Vec<u8> {
    let output = command.envs(registry.envs()).output().expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{:?}", registry.requests());
    output.stdout
}

fn skopeo(registry: &TestRegistry, from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--all", "--preserve-digests"]);
    if registry.ca_pem().is_none() {
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
    }
    command.args([registry.transport(from), registry.transport(to)]);
    command
}

fn crane(registry: &TestRegistry, from: &str, to: &str) -> Command {
    let mut command = Command::new("crane");
    command.args(["copy", &registry.reference(from), &registry.reference(to)]);
    command
}
