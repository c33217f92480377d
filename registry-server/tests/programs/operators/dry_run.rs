//! Commands that change nothing, not even a file of their own.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use libtest_mimic::Trial;

use super::{Desk, Pushed};
use crate::{
    image::{noise, sha256},
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        without_a_server_a_look_changes_nothing,
        in_a_directory_of_registry_2_a_look_changes_nothing,
        beside_a_server_a_look_changes_nothing,
        a_dry_run_works_while_collections_are_held,
    )
}

const RULES: &str = "rules:\n  - repository: 'team/**'\n    keep: {newest: 1}\n";

/// Files that a server writes without being asked: the note about its clock, by way of the staging directory.
const OF_THE_SERVER: [&str; 3] = ["_notes", "_notes/clock", "_staging"];

/// Kind, time of the last change, and bytes of a file, by its path below a directory.
type Tree = BTreeMap<String, (&'static str, (i64, i64), Vec<u8>)>;

fn tree(top: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut unread = vec![top.to_path_buf()];
    while let Some(path) = unread.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let (kind, bytes) = if kind.is_dir() {
            unread.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            ("directory", Vec::new())
        } else if kind.is_socket() {
            ("socket", Vec::new())
        } else {
            ("file", fs::read(&path).unwrap())
        };
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        tree.insert(name, (kind, (metadata.mtime(), metadata.mtime_nsec()), bytes));
    }
    tree
}

/// Returns the paths at which two trees differ.
fn differences(before: &Tree, after: &Tree) -> Vec<String> {
    let paths = before.keys().chain(after.keys());
    let mut differing: Vec<_> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .cloned()
        .collect();
    differing.dedup();
    differing
}

/// A directory with everything that a look could tempt a command to change.
fn furnished() -> (Desk, Server) {
    let desk = Desk::new();
    let server = Server::start(quiet(&desk), "http://");
    for (tag, seed) in [("v1", 1), ("v2", 2), ("v3", 3)] {
        Pushed::to(&server, "team/app", tag, seed);
    }
    let other = Pushed::to(&server, "team/gone", "v1", 4);
    for target in [
        "/v2/team/app/manifests/v1".to_owned(),
        format!("/v2/team/gone/manifests/{}", other.digest),
    ] {
        server.request("DELETE", &target, &[], b"").expect_status(202);
    }
    let orphan = noise(5, 5000);
    server.push_blob("team/app", &sha256(&orphan).to_string(), &orphan);
    server.open_upload("team/open");
    (desk, server)
}

/// Returns the command line of a server that collects nothing by itself.
fn quiet(desk: &Desk) -> std::process::Command {
    let mut command = Server::ours_command(&desk.root());
    command.env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_ENABLED", "false");
    command
}

/// Runs each command that changes nothing, and compares the directory before and after, but for these paths.
fn look(desk: &Desk, except: &[&str]) {
    let rules = desk.bench.path("rules.yml");
    fs::write(&rules, RULES).unwrap();
    let rules = rules.to_str().unwrap();
    let looks: [&[&str]; 14] = [
        &["garbage-collect", "--dry-run"],
        &["garbage-collect", "--dry-run", "-m", "--keep-trash"],
        &["garbage-collect", "--dry-run", "-m", "--force", "--json"],
        &["retention", "run", "--dry-run", "--rules", rules],
        &["retention", "explain", "--rules", rules],
        &["verify"],
        &["ls"],
        &["ls", "-l", "team/app"],
        &["du"],
        &["history", "team/app"],
        &["history", "--deleted", "team/app"],
        &["uploads"],
        &["rm", "--quarantined"],
        // Without a terminal there is no answer.
        &["rm", "team/app:v2"],
    ];
    let top = desk.root();
    let read = || {
        let mut tree = tree(&top);
        tree.retain(|path, _| {
            let path = path.strip_prefix("docker/registry/v2/").unwrap_or(path);
            !except.contains(&path)
        });
        tree
    };
    for arguments in looks {
        let before = read();
        let printed = desk.attempt(arguments);
        // In a directory of registry:2 no deletion can be undone.
        if !arguments.contains(&"rm") && !arguments.contains(&"--deleted") {
            printed.unwrap_or_else(|failed| panic!("{arguments:?}: {failed}"));
        }
        let changed = differences(&before, &read());
        assert!(changed.is_empty(), "{arguments:?} has changed {changed:?}");
    }
}

fn without_a_server_a_look_changes_nothing() {
    let (desk, server) = furnished();
    server.stop();

    look(&desk, &[]);

    let preview = desk.items(&["garbage-collect", "--dry-run", "-m"]);
    let run = desk.items(&["garbage-collect", "-m"]);
    let bytes = |items: &[serde_json::Value]| items.last().unwrap()["report"]["bytes"].clone();
    assert_eq!(bytes(&preview), bytes(&run));
}

fn in_a_directory_of_registry_2_a_look_changes_nothing() {
    let (desk, server) = furnished();
    server.stop();
    // What only we keep there.
    let top = desk.root().join("docker/registry/v2");
    for entry in fs::read_dir(top).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with('_') {
            let path = entry.path();
            fs::remove_dir_all(&path)
                .or_else(|_| fs::remove_file(&path))
                .unwrap();
        }
    }

    look(&desk, &[]);
}

fn beside_a_server_a_look_changes_nothing() {
    let (desk, _server) = furnished();

    look(&desk, &OF_THE_SERVER);
}

fn a_dry_run_works_while_collections_are_held() {
    let (desk, _server) = furnished();
    desk.run(&["garbage-collect", "--hold", "6h"]);

    look(&desk, &OF_THE_SERVER);
    desk.attempt(&["garbage-collect"]).unwrap_err();
}
