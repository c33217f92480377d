//! `registry garbage-collect`.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Desk, INDEX, Pushed, digest, of_manifest};
use crate::{
    image::{noise, sha256},
    program::output_of,
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        a_dry_run_removes_nothing,
        without_a_server_everything_unused_goes_at_once,
        what_was_used_recently_is_due_later,
        a_hold_prevents_a_collection,
        a_collection_that_misses_most_manifests_has_to_be_forced,
        a_first_collection_without_repositories_has_to_be_forced,
        the_command_line_of_registry_2_works,
        what_ends_every_collection_is_named_and_found_by_a_verification,
        a_run_that_keeps_the_trash_says_what_it_keeps,
    );
    trials.extend(trials!(["crane"];
        deleted_images_are_freed_beside_a_server,
        untagged_images_are_freed_and_parts_and_signatures_stay,
    ));
    trials
}

/// A repository with everything that a collection has to keep: a multi-platform image, a signature of its kind each, and
/// an image beside them that can be deleted.
pub(super) struct Shop {
    pub(super) desk: Desk,
    pub(super) server: Server,
    pub(super) old: Pushed,
    /// References of everything that stays: `v1`, the index `multi`, the digests of `v1` and of the two parts of `multi`, and
    /// the signatures of `v1`.
    pub(super) kept: Vec<String>,
}

impl Shop {
    fn open() -> Self {
        let desk = Desk::new();
        let server = desk.serve();
        Self::with(desk, server)
    }

    /// Pushes everything to a running server.
    pub(super) fn with(desk: Desk, server: Server) -> Self {
        let old = Pushed::to(&server, "team/app", "old", 1);
        let image = Pushed::to(&server, "team/app", "v1", 2);
        let mut kept = vec!["v1".to_owned(), "multi".to_owned(), image.digest.clone()];

        let mut parts = Vec::new();
        for seed in [3, 4] {
            let part = Pushed::to(&server, "team/app", "part", seed);
            // By its digest alone.
            server
                .request("DELETE", "/v2/team/app/manifests/part", &[], b"")
                .expect_status(202);
            kept.push(part.digest.clone());
            parts.push(of_manifest(&part));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
        server.push_manifest("team/app", "multi", INDEX, index.as_bytes());

        // A signature under a tag, as cosign pushes it, and one with a subject.
        let tag = format!("{}.sig", image.digest.replace(':', "-"));
        Pushed::to(&server, "team/app", &tag, 5);
        kept.push(tag);
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": "application/vnd.example.signature",
            "manifests": [],
            "subject": of_manifest(&image),
        })
        .to_string();
        server.push_manifest("team/app", &digest(&referrer), INDEX, referrer.as_bytes());
        kept.push(digest(&referrer));
        Self {
            desk,
            server,
            old,
            kept,
        }
    }

    /// Returns everything that stays, as a client pulls it.
    pub(super) fn content(&self) -> Vec<Vec<u8>> {
        let mut content = Vec::new();
        for reference in &self.kept {
            let manifest = self
                .server
                .get(&format!("/v2/team/app/manifests/{reference}"))
                .body;
            let document: Value = serde_json::from_slice(&manifest).unwrap();
            let layers = document["layers"].as_array().into_iter().flatten();
            for blob in layers.chain(document.get("config")) {
                let target = format!("/v2/team/app/blobs/{}", blob["digest"].as_str().unwrap());
                content.push(self.server.get(&target).body);
            }
            content.push(manifest);
        }
        content
    }

    pub(super) fn crane_delete(&self, image: &str) {
        let image = format!("{}{image}", self.server.repository("team/app"));
        self.desk.bench.crane(&["delete", &image]);
    }
}

fn deleted_images_are_freed_beside_a_server() {
    let shop = Shop::open();
    let Shop {
        desk, server, old, ..
    } = &shop;
    let other = Pushed::to(server, "team/gone", "v1", 6);
    let target = format!("/v2/team/gone/manifests/{}", other.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);
    let before = shop.content();
    shop.crane_delete(&format!("@{}", old.digest));

    let printed = desk.run(&["garbage-collect"]);

    for image in [old, &other] {
        for digest in image.content() {
            assert!(!desk.blob(digest).exists(), "{digest}: {printed:?}");
        }
    }
    let freed = old.size + other.size;
    let report = printed.text();
    assert!(report.contains(&old.layer), "{report}");
    assert!(freed > 0 && report.contains("removed"), "{report}");
    assert!(shop.content() == before, "what stays is as it was");
    let catalog: Value = serde_json::from_slice(&server.get("/v2/_catalog").body).unwrap();
    assert_eq!(catalog, json!({"repositories": ["team/app"]}));
}

fn untagged_images_are_freed_and_parts_and_signatures_stay() {
    let shop = Shop::open();
    let Shop { desk, old, .. } = &shop;
    let before = shop.content();
    shop.crane_delete(":old");

    let kept = desk.run(&["garbage-collect"]);
    assert!(kept.text().contains("without a tag"), "{kept:?}");
    assert!(kept.text().contains("-m"), "{kept:?}");
    assert!(desk.blob(&old.layer).exists());
    desk.run(&["garbage-collect", "--delete-untagged"]);

    for digest in old.content() {
        assert!(!desk.blob(digest).exists(), "{digest}");
    }
    assert!(shop.content() == before, "what stays is as it was");
}

fn a_dry_run_removes_nothing() {
    let shop = Shop::open();
    let Shop {
        desk, server, old, ..
    } = &shop;
    let target = format!("/v2/team/app/manifests/{}", old.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);

    let preview = desk.items(&["garbage-collect", "--dry-run"]);

    assert!(desk.blob(&old.layer).exists());
    let report = &preview.last().unwrap()["report"];
    assert_eq!(
        (&report["dry_run"], &report["stopped"]),
        (&true.into(), &Value::Null)
    );
    let run = desk.items(&["garbage-collect"]);
    let result = &run.last().unwrap()["report"];
    assert_eq!(report["bytes"], result["bytes"]);
    assert_eq!(result["bytes"], old.size);
}

/// Pushes a blob that no manifest names.
fn push_orphan(server: &Server) -> String {
    let orphan = noise(7, 5000);
    let digest = sha256(&orphan).to_string();
    server.push_blob("team/app", &digest, &orphan);
    digest
}

fn what_was_used_recently_is_due_later() {
    let shop = Shop::open();
    let orphan = push_orphan(&shop.server);

    let printed = shop.desk.run(&["garbage-collect"]);

    assert!(printed.text().contains("free at 2"), "{printed:?}");
    assert!(shop.desk.blob(&orphan).exists());
}

fn without_a_server_everything_unused_goes_at_once() {
    let shop = Shop::open();
    let orphan = push_orphan(&shop.server);
    let before = shop.content();
    let Shop {
        desk,
        server,
        kept,
        old,
    } = shop;
    server.stop();

    desk.run(&["garbage-collect"]);

    assert!(!desk.blob(&orphan).exists());
    let server = desk.serve();
    let shop = Shop {
        desk,
        server,
        old,
        kept,
    };
    assert!(shop.content() == before, "what stays is as it was");
}

/// Runs a collection that has to end with exit code 1 because of this, and that has to remove nothing.
#[track_caller]
fn assert_stopped(desk: &Desk, reason: &str, layers: &[&str]) {
    for arguments in [&["--dry-run"][..], &[], &["-m"]] {
        let arguments = [&["garbage-collect"], arguments].concat();
        let stopped = desk.attempt(&arguments).expect_err(reason);
        assert!(
            stopped.starts_with("exit status: 1\n") && stopped.contains(reason),
            "{arguments:?}: {stopped}"
        );
    }
    for layer in layers {
        assert!(desk.blob(layer).exists(), "{layer}");
    }
}

/// Pushes an image without a tag, to a repository of its own.
fn push_untagged(server: &Server, repository: &str, seed: u64) -> Pushed {
    let image = Pushed::to(server, repository, "v1", seed);
    let target = format!("/v2/{repository}/manifests/v1");
    server.request("DELETE", &target, &[], b"").expect_status(202);
    image
}

fn a_collection_that_misses_most_manifests_has_to_be_forced() {
    let desk = Desk::new();
    let server = desk.serve();
    let images = [("a", 1), ("b", 2), ("c", 3)].map(|(name, seed)| push_untagged(&server, name, seed));
    // It counts the manifests.
    desk.run(&["garbage-collect"]);
    let repositories = desk.root().join("docker/registry/v2/repositories");
    for lost in ["a", "b"] {
        fs::remove_dir_all(repositories.join(lost)).unwrap();
    }
    let reason = "only 1 of 3 expected manifests found";
    let layers = images.each_ref().map(|image| &*image.layer);

    assert_stopped(&desk, reason, &layers);
    server.stop();
    assert_stopped(&desk, reason, &layers);

    let server = desk.serve();
    assert_stopped(&desk, reason, &layers);
    desk.run(&["garbage-collect", "--force"]);
    server.stop();
    desk.run(&["garbage-collect"]);
    let left = layers.map(|layer| desk.blob(layer).exists());
    assert_eq!(left, [false, false, true]);
}

fn a_first_collection_without_repositories_has_to_be_forced() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = push_untagged(&server, "a", 1);
    server.stop();
    let top = desk.root().join("docker/registry/v2");
    for kept in ["blobs", "repositories"] {
        assert!(top.join(kept).exists());
    }
    // What another program has written: nothing but its own directories.
    for entry in fs::read_dir(&top).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str() {
            Some("blobs") => {}
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    let reason = "0 repositories found, so that all content would go";

    assert_stopped(&desk, reason, &[&image.layer]);
    let server = desk.serve();
    assert_stopped(&desk, reason, &[&image.layer]);
    server.stop();

    desk.run(&["garbage-collect", "--force"]);
    assert!(!desk.blob(&image.layer).exists());
}

fn a_hold_prevents_a_collection() {
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);

    let held = desk.run(&["garbage-collect", "--hold", "6h"]);
    assert!(
        held.text().starts_with("no collection removes anything until 2"),
        "{held:?}"
    );
    let refused = desk.attempt(&["garbage-collect"]).unwrap_err();
    assert!(refused.contains("--hold 0"), "{refused}");
    desk.run(&["garbage-collect", "--hold", "0"]);
    desk.run(&["garbage-collect"]);

    server.stop();
    let none = desk.run(&["garbage-collect", "--hold", "6h"]);
    assert!(none.text().contains("no server runs"), "{none:?}");
}

fn the_command_line_of_registry_2_works() {
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);
    let config = desk.bench.path("config.yml");
    let root = desk.root();
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
        root.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    command
        .args(["garbage-collect", "--dry-run", "-m", "-q"])
        .arg(config);

    let printed = output_of(command).unwrap();

    assert!(
        printed
            .text()
            .starts_with("would free 0 B: would remove 0 manifests"),
        "{printed:?}"
    );
    server.get("/v2/team/app/manifests/v1");
}

fn a_run_that_keeps_the_trash_says_what_it_keeps() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    let leaked = Pushed::to(&server, "team/app", "v2", 2);
    desk.run(&["rm", "--yes", &format!("team/app@{}", image.digest)]);
    let removed = desk.run(&["rm", "--yes", "--now", &format!("team/app@{}", leaked.digest)]);
    assert!(removed.text().starts_with("removed for good"), "{removed:?}");

    let printed = desk.run(&["garbage-collect", "--keep-trash", "-q"]);
    let report = desk.items(&["garbage-collect", "--keep-trash"]);

    assert!(
        printed
            .text()
            .contains("can be restored: 1 tag and 1 manifest with "),
        "{printed:?}"
    );
    let report = &report.last().unwrap()["report"]["restorable"];
    assert_eq!(report, &json!({"tags": 1, "manifests": 1, "bytes": image.size}));
}

fn what_ends_every_collection_is_named_and_found_by_a_verification() {
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);
    Pushed::to(&server, "team/other", "v1", 2);
    server.stop();
    let repositories = desk.root().join("docker/registry/v2/repositories");
    for part in ["_uploads", "_layers", "_manifests"] {
        let path = repositories.join("team/other").join(part);
        let aside = repositories.with_file_name("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        fs::write(&path, "").unwrap();

        let refused = desk.attempt(&["garbage-collect"]).unwrap_err();
        let found = desk.attempt(&["verify"]).unwrap_err();

        for told in [&refused, &found] {
            assert!(told.contains(path.to_str().unwrap()), "{part}: {told}");
        }
        assert!(refused.contains("registry verify"), "{refused}");
        fs::remove_file(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
        desk.run(&["garbage-collect"]);
        desk.run(&["verify"]);
    }
}
