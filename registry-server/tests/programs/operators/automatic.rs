//! Collections that nobody asks for.

use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Desk, Pushed};
use crate::{
    image::{noise, sha256},
    operations::Observed,
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([]; deleted_images_are_freed_without_a_command);
    trials.extend(
        trials!(["docker-registry"]; a_directory_of_registry_2_is_only_reported_until_somebody_collects),
    );
    trials
}

/// Returns the command line of a server that keeps nothing that it can free.
fn keeping_nothing(desk: &Desk) -> Command {
    let mut command = Server::ours_command(&desk.root());
    command
        .env("REGISTRY_STORAGE_MAINTENANCE_TRASH_KEEP", "0s")
        .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE", "0s");
    command
}

fn deleted_images_are_freed_without_a_command() {
    let desk = Desk::new();
    let server = Server::start(keeping_nothing(&desk), "http://");
    let kept = Pushed::to(&server, "team/app", "v1", 1);
    let gone = Pushed::to(&server, "team/gone", "v1", 2);
    let target = format!("/v2/team/gone/manifests/{}", gone.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);

    server.says("a collection has ended");

    for digest in gone.content() {
        assert!(!desk.blob(digest).exists(), "{digest}");
    }
    for digest in kept.content() {
        assert!(desk.blob(digest).exists(), "{digest}");
    }
    let catalog: Value = serde_json::from_slice(&server.get("/v2/_catalog").body).unwrap();
    assert_eq!(catalog, json!({"repositories": ["team/app"]}));
}

fn a_directory_of_registry_2_is_only_reported_until_somebody_collects() {
    let desk = Desk::new();
    let server = Server::registry2(&desk.root());
    let named = Pushed::to(&server, "team/app", "v1", 1);
    let orphan = noise(2, 5000);
    let digest = sha256(&orphan).to_string();
    server.push_blob("team/app", &digest, &orphan);
    server.stop();
    let orphan = desk.blob(&digest);

    let server = Observed::start_as(keeping_nothing(&desk));
    server.says("collections only report");
    server.says("a collection would free bytes");
    assert!(orphan.exists());
    server.metrics_with("registry_storage_overdue_bytes 5000");
    assert_eq!(server.gauge("registry_storage_collected_bytes_total"), 0);
    drop(server);

    let server = Server::ours(&desk.root());
    desk.run(&["garbage-collect"]);
    assert!(orphan.exists(), "it was used in the last 24 hours");
    assert_eq!(server.stop().code(), Some(0));

    let server = Observed::start_as(keeping_nothing(&desk));
    server.says("a collection has ended");
    assert!(!orphan.exists());
    server.metrics_with("registry_storage_collected_bytes_total 5000");
    assert_eq!(server.gauge("registry_storage_due_items"), 0);
    for digest in named.content() {
        assert!(desk.blob(digest).exists(), "{digest}");
    }
}
