//! Collections that nobody asks for.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Desk, Pushed, collect::Shop};
use crate::{
    image::{noise, references, sha256},
    operations::Observed,
    server::Server,
};

/// Time until a collection has freed what was deleted; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([]; deleted_images_are_freed_without_a_command);
    trials.extend(trials!(["crane"]; what_crane_deletes_is_freed_without_a_command_and_nothing_else));
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

/// The images of a deleted index stay, and so do the signatures of a deleted image. They go when they are deleted.
fn what_crane_deletes_is_freed_without_a_command_and_nothing_else() {
    let desk = Desk::new();
    let server = Server::start(keeping_nothing(&desk), "http://");
    let mut shop = Shop::with(desk, server);
    let digest_of = |shop: &Shop, reference: &str| {
        let manifest = shop.server.get(&format!("/v2/team/app/manifests/{reference}"));
        manifest.header("docker-content-digest").unwrap().to_owned()
    };
    let [_, multi, image, part, _, signature, referrer] = &*shop.kept.clone() else {
        panic!("{:?}", shop.kept);
    };
    let [index, signature] = [multi, signature].map(|tag| digest_of(&shop, tag));
    let steps = [
        vec![index],
        vec![image.clone(), part.clone()],
        vec![signature, referrer.clone()],
    ];
    shop.crane_delete(&format!(":{multi}"));
    shop.kept.retain(|reference| reference != multi);

    for deleted in steps {
        let freed: Vec<String> = deleted
            .iter()
            .flat_map(|digest| content_of(&shop, digest))
            .collect();
        let kept = shop.kept.iter();
        let kept = kept.filter(|reference| !deleted.contains(&digest_of(&shop, reference)));
        shop.kept = kept.cloned().collect();
        let before = shop.content();

        for digest in &deleted {
            shop.crane_delete(&format!("@{digest}"));
        }

        for digest in &freed {
            wait_until(|| !shop.desk.blob(digest).exists(), digest);
        }
        assert!(shop.content() == before, "what stays is as it was");
    }
    let catalog: Value = serde_json::from_slice(&shop.server.get("/v2/_catalog").body).unwrap();
    assert_eq!(catalog, json!({"repositories": ["team/app"]}));
    assert_eq!(shop.kept.len(), 1);
    shop.server.stop();
    shop.desk.run(&["verify"]);
}

/// Returns the digests of a manifest and its blobs.
fn content_of(shop: &Shop, digest: &str) -> Vec<String> {
    let manifest = shop.server.get(&format!("/v2/team/app/manifests/{digest}"));
    let (_, blobs) = references(&manifest.body);
    let blobs = blobs
        .iter()
        .map(|blob| blob["digest"].as_str().unwrap().to_owned());
    blobs.chain([digest.to_owned()]).collect()
}

/// Waits for the result of a collection that the server runs soon.
#[track_caller]
fn wait_until(happened: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
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
