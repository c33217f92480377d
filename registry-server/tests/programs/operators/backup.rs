//! Backups of a running server, by the commands of `docs/deploying.md` and `docs/durability.md`.

use std::{os::unix::fs::symlink, path::Path, thread};

use libtest_mimic::Trial;
use serde_json::Value;

use super::{Desk, INDEX, Pushed, of_manifest};
use crate::{
    guide::block,
    image::{OCI_MANIFEST, sha256},
    program::output_of,
    server::Server,
};

const DEPLOYING: &str = include_str!("../../../../docs/deploying.md");
const DURABILITY: &str = include_str!("../../../../docs/durability.md");

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(["find", "tar"]; a_backup_by_tar_has_everything_acknowledged_before);
    trials.extend(trials!(["rsync"]; a_backup_by_rsync_has_everything_acknowledged_before));
    trials
}

fn a_backup_by_tar_has_everything_acknowledged_before() {
    back_up_and_restore(
        &block(DEPLOYING, "backup"),
        "mkdir copy\ntar -C copy -xf backup.tar",
    );
}

fn a_backup_by_rsync_has_everything_acknowledged_before() {
    back_up_and_restore(&block(DURABILITY, "rsync"), "");
}

/// Copies a directory while clients push, and checks the copy.
fn back_up_and_restore(back_up: &str, restore: &str) {
    let desk = Desk::new();
    symlink(desk.root(), desk.bench.path("data")).unwrap();
    let server = desk.serve();
    let images = push_before(&server);
    desk.sh(&block(DURABILITY, "hold"), &[]);

    thread::scope(|scope| {
        let copying = scope.spawn(|| desk.sh(back_up, &[]));
        for round in 100.. {
            // A new repository, new tags, and a tag that moves.
            Pushed::to(&server, &format!("load/n{round}"), "v1", 3 * round);
            Pushed::to(&server, "team/app", &format!("n{round}"), 3 * round + 1);
            Pushed::to(&server, "team/app", "moving", 3 * round + 2);
            if copying.is_finished() {
                break;
            }
        }
        copying.join().unwrap();
    });
    let refused = desk.attempt(&["garbage-collect"]).unwrap_err();
    assert!(refused.contains("held"), "{refused}");
    desk.sh(&block(DURABILITY, "release"), &[]);
    desk.run(&["garbage-collect"]);
    server.stop();

    desk.sh(restore, &[]);
    let copy = desk.bench.path("copy");
    let server = Server::ours(&copy);
    for (repository, tag, image) in &images {
        let served = server.get(&format!("/v2/{repository}/manifests/{tag}"));
        assert_eq!(
            String::from_utf8_lossy(&served.body),
            image.manifest,
            "{repository}:{tag}"
        );
    }
    assert_everything_is_complete(&server);
    server.stop();
    desk.assert_sound(&copy);
}

/// Pushes images, one of them for two platforms. Returns them with their repositories and tags.
fn push_before(server: &Server) -> Vec<(&'static str, String, Pushed)> {
    let mut images = Vec::new();
    for (repository, seeds) in [("team/app", 1..8), ("other", 5..12)] {
        for seed in seeds {
            let tag = format!("v{seed}");
            let image = Pushed::to(server, repository, &tag, seed);
            images.push((repository, tag, image));
        }
    }
    let parts = [of_manifest(&images[0].2), of_manifest(&images[1].2)];
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
    server.push_manifest("team/app", "multi", INDEX, index.as_bytes());
    let first = images[0].2.manifest.clone();
    server.push_manifest("team/app", "moving", OCI_MANIFEST, first.as_bytes());
    images
}

/// Pulls everything that has a tag.
fn assert_everything_is_complete(server: &Server) {
    let json = |target: &str| -> Value { serde_json::from_slice(&server.get(target).body).unwrap() };
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    for repository in names(&json("/v2/_catalog?n=10000")["repositories"]) {
        let tags = names(&json(&format!("/v2/{repository}/tags/list?n=10000"))["tags"]);
        let mut references = tags;
        while let Some(reference) = references.pop() {
            let manifest = json(&format!("/v2/{repository}/manifests/{reference}"));
            let of = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
            let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
            references.extend(of("manifests").iter().map(digest));
            for blob in of("layers").iter().chain(manifest.get("config")) {
                let digest = digest(blob);
                let served = server.get(&format!("/v2/{repository}/blobs/{digest}"));
                assert_eq!(
                    sha256(&served.body).to_string(),
                    digest,
                    "{repository}:{reference}"
                );
            }
        }
    }
}

impl Desk {
    /// Checks that nothing in a directory is wrong, whether it has a tag or not.
    fn assert_sound(&self, root: &Path) {
        let mut command = self.bench.command(env!("CARGO_BIN_EXE_registry"));
        command.args(["verify", "--root"]).arg(root);
        output_of(command).unwrap();
    }
}
