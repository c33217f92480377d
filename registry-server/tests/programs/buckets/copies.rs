//! `registry copy-storage` and `registry storage check`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;

use super::{Scene, push, target};
use crate::{program::argument, server::Server};

pub(super) fn trials() -> Vec<Trial> {
    let seaweedfs = trials!(["weed"]; a_directory_that_moves_into_seaweedfs_and_out_is_the_same);
    let versitygw = trials!(["versitygw"];
        a_directory_that_moves_into_versitygw_and_out_is_the_same,
        damaged_content_is_told_and_not_copied,
        what_the_store_can_do_is_printed_with_the_rule_to_set,
    );
    [seaweedfs, versitygw].into_iter().flatten().collect()
}

/// Returns the content of all files that are copied.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let top = root.join("docker/registry/v2");
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = ["blobs", "repositories", "_trash", "_history"]
        .map(|part| top.join(part))
        .into();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&top).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Fills a directory with images, a history, and a deletion that can be undone.
fn filled(root: &Path) -> String {
    let server = Server::ours(root);
    push(&server, "team/app", "latest", 1);
    let digest = push(&server, "team/app", "latest", 2);
    push(&server, "other", "gone", 3);
    server
        .request("DELETE", "/v2/other/manifests/gone", &[], b"")
        .expect_status(202);
    assert!(server.stop().success());
    digest
}

fn a_directory_that_moves_into_seaweedfs_and_out_is_the_same() {
    moves_and_is_the_same(&Scene::seaweedfs());
}

fn a_directory_that_moves_into_versitygw_and_out_is_the_same() {
    moves_and_is_the_same(&Scene::versitygw());
}

fn moves_and_is_the_same(scene: &Scene) {
    let (first, back) = (scene.bench.path("first"), scene.bench.path("back"));
    let digest = filled(&first);
    let url = scene.url("moved");

    let printed = scene.operate(&["copy-storage", argument(&first), &url]).unwrap();
    assert!(printed.text().starts_with("copied 9 blobs"), "{}", printed.text());
    let again = scene.operate(&["copy-storage", argument(&first), &url]).unwrap();
    assert!(
        again.text().starts_with("copied 0 blobs (0 bytes)"),
        "{}",
        again.text()
    );
    scene.operate(&["copy-storage", &url, argument(&back)]).unwrap();

    let (before, after) = (files(&first), files(&back));
    assert!(before.keys().any(|path| path.starts_with("_trash")));
    assert!(before.keys().any(|path| path.starts_with("_history")));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    for (path, content) in &before {
        assert!(after[path] == *content, "{}", path.display());
    }

    // Both are served, with what can be undone.
    let server = scene.serve("moved", "");
    let config = scene.config("moved", "");
    scene
        .operate(&["restore", "--config", argument(&config), "other:gone"])
        .unwrap();
    for (server, tag) in [(&server, "latest"), (&Server::ours(&back), "latest")] {
        assert_eq!(target(server, "team/app", tag), digest);
    }
    target(&server, "other", "gone");
    let history = scene
        .operate(&["history", "--config", argument(&config), "team/app:latest"])
        .unwrap();
    assert_eq!(history.text().lines().count(), 2, "{}", history.text());
}

fn damaged_content_is_told_and_not_copied() {
    let scene = Scene::versitygw();
    let first = scene.bench.path("first");
    filled(&first);
    let blobs = files(&first);
    let (damaged, _) = blobs
        .iter()
        .find(|(path, content)| path.starts_with("blobs") && content.len() == 100_000)
        .unwrap();
    fs::write(first.join("docker/registry/v2").join(damaged), vec![0; 100_000]).unwrap();
    let url = scene.url("damaged");

    let told = scene
        .operate(&["copy-storage", argument(&first), &url])
        .unwrap_err();

    assert!(told.contains("exit status: 1"), "{told}");
    assert!(told.contains("another digest than its name"), "{told}");
    assert!(told.contains(damaged.to_str().unwrap()), "{told}");
    assert!(told.contains("copied 8 blobs"), "{told}");
}

fn what_the_store_can_do_is_printed_with_the_rule_to_set() {
    let scene = Scene::versitygw();

    let printed = scene.operate(&["storage", "check", &scene.url("team")]).unwrap();

    let text = printed.text();
    for told in [
        "s3://images/team",
        "any number of replicas",
        "aws s3api put-bucket-lifecycle-configuration --endpoint-url http://127.0.0.1:",
        " --bucket images",
        r#""DaysAfterInitiation":7"#,
        r#""Prefix":"team/""#,
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    // Nothing stays behind.
    let listed = scene.operate(&["storage", "check", &scene.url("team")]).unwrap();
    assert_eq!(listed.text(), text);
}
