//! A server on Azure's and on Google's storage, as far as Azurite and a fake have them.

use std::{fs, path::Path};

use libtest_mimic::Trial;
use object_stores::{Azurite, GcsFake};

use super::{OURS, Scene, push, target};
use crate::{
    image::Layout,
    program::{Workbench, argument, output_of},
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    let azure = trials!(["azurite-blob", "crane"]; a_container_of_azure_holds_a_registry);
    let gcs = trials!(["crane"]; a_bucket_of_google_holds_a_registry);
    [azure, gcs].into_iter().flatten().collect()
}

fn a_container_of_azure_holds_a_registry() {
    let store = Azurite::start().unwrap();
    let made = store.container("images").unwrap().build();
    drop(made.unwrap());
    holds_a_registry(&format!(
        "  azure:\n    accountname: {}\n    accountkey: {}\n    container: images\n    serviceurl: {}\n",
        store.account(),
        store.access_key(),
        store.endpoint(),
    ));
}

fn a_bucket_of_google_holds_a_registry() {
    let store = GcsFake::start().unwrap();
    drop(store.bucket("images").build().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.json");
    fs::write(&key, store.service_account()).unwrap();
    holds_a_registry(&format!(
        "  gcs:\n    bucket: images\n    keyfile: {}\n",
        key.display()
    ));
}

/// Pushes to a server on this storage, pulls from another one, and runs commands of operators.
fn holds_a_registry(storage: &str) {
    let bench = Workbench::new();
    let config = bench.path("registry.yml");
    let text = format!(
        "version: 0.1\nstorage:\n{storage}  redirect: {{ disable: true }}\n  delete: {{ enabled: true }}\n  \
         maintenance: {{ collect: {{ grace: 0s, delay: 8s }} }}\nhttp: {{ addr: '127.0.0.1:0' }}\n"
    );
    fs::write(&config, text).unwrap();
    let serve = || Server::start(Scene::serving(&config), "listening on http://");
    let operate = |arguments: &[&str]| operate(&bench, &config, arguments);
    let probed = operate(&["storage", "check"]);
    assert!(probed.contains("any number of replicas"), "{probed}");
    let (one, other) = (serve(), serve());

    let layout = Layout::sample(bench.path("layout"));
    let reference = one.repository("team/app:multi");
    bench.crane(&[
        "push",
        "--insecure",
        "--index",
        argument(layout.path()),
        &reference,
    ]);
    bench.crane(&[
        "validate",
        "--insecure",
        "--remote",
        &other.repository("team/app:multi"),
    ]);
    let digest = push(&one, "team/app", "gone", 1);
    assert_eq!(target(&other, "team/app", "gone"), digest);
    other
        .request("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], b"")
        .expect_status(202);
    one.request("GET", "/v2/team/app/manifests/gone", &[], b"")
        .expect_status(404);

    let collected = operate(&["garbage-collect"]);

    assert!(collected.contains(&digest), "{collected}");
    bench.crane(&["validate", "--insecure", "--remote", &reference]);
    operate(&["verify"]);
}

/// Runs a command of operators, and returns its output.
fn operate(bench: &Workbench, config: &Path, arguments: &[&str]) -> String {
    let mut command = bench.command(OURS);
    command.args(arguments);
    match arguments {
        ["storage", ..] => command.arg(config),
        _ => command.arg("--config").arg(config),
    };
    output_of(command).unwrap().text().to_owned()
}
