//! Programs in common use, which find the registry and log in to it by [`TestRegistry::envs`] alone.
//!
//! A test whose program is not installed is ignored; with `REGISTRY_TEST_REQUIRE_TOOLS=1` it fails.

use libtest_mimic::{Arguments, Trial};
use registry_conformance::tools;
use registry_test::{Builder, TestRegistry, image, index};
use std::process::{Command, ExitCode};

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
            ]
        })
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

/// Copies an index with two platforms to another repository.
fn copies(registry: Builder, copy: Copy) -> TestRegistry {
    let images =
        ["linux/amd64", "linux/arm64"].map(|platform| image().files([("a", "1")]).platform(platform));
    let registry = registry.seed("team/app:v1", index(images)).start();

    let mut command = copy(&registry, "team/app:v1", "other/app:v2");
    let output = command.envs(registry.envs()).output().expect("the program runs");

    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{:?}", registry.requests());
    registry.assert_pushed("other/app:v2");
    assert_eq!(registry.digest("other/app:v2"), registry.digest("team/app:v1"));
    registry
}

fn skopeo(registry: &TestRegistry, from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command
        .args([
            "copy",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ])
        .args([registry.transport(from), registry.transport(to)]);
    command
}

fn crane(registry: &TestRegistry, from: &str, to: &str) -> Command {
    let mut command = Command::new("crane");
    command.args(["copy", &registry.reference(from), &registry.reference(to)]);
    command
}
