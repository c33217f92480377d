//! Collectors of registry:2 and of its successor on copies of the directory that killed servers leave.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use libtest_mimic::Trial;
use registry_core::Digest;

use super::{Soak, disk};
use crate::{
    collectors::{Collector, PROGRAMS, THEIRS, copy_of},
    content::Content,
    image::{digest_of, references, sha256},
    program::Workbench,
};

/// Number of acknowledged operations after which each repository has tags. Version 2.8.2 with `-m` ends at a repository
/// that never had one.
const OPERATIONS: u64 = 150;

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS; everything_with_a_tag_outlives_the_collectors_of_registry_2)
}

fn everything_with_a_tag_outlives_the_collectors_of_registry_2() {
    let bench = Workbench::new();
    let mut soak = Soak::new(&bench);
    while soak.counts.acknowledged < OPERATIONS {
        soak.round();
    }
    let server = soak.serve();
    soak.check(&server);
    let all = disk::manifests(&soak.place.top());
    let all: Vec<_> = all
        .iter()
        .map(|(repository, digest)| (&**repository, *digest))
        .collect();
    let before = Content::of(&server, &all);
    server.kill();

    for theirs in THEIRS {
        let copy = copy_of(soak.place.root());
        let root = copy.path("copy");
        let Lost { lost, unneeded } = Lost::by(theirs, &before);
        theirs.run(&root);
        for server in [theirs, theirs.ours()] {
            assert_lost(
                &before,
                &lost,
                &unneeded,
                server,
                &root,
                &format!("after {theirs:?}"),
            );
        }
        // Ours has counted more manifests, and would remove nothing.
        theirs.ours().run_with(&["--force"], &root);
        let when = format!("after {theirs:?} and ours");
        assert_lost(&before, &unneeded, &unneeded, theirs.ours(), &root, &when);
    }
}

/// Asserts that a server has everything but the lost manifests, and what only unneeded ones name.
#[track_caller]
fn assert_lost(
    before: &Content,
    lost: &BTreeSet<&str>,
    unneeded: &BTreeSet<&str>,
    server: Collector,
    root: &Path,
    when: &str,
) {
    let served = server.serve(root);
    let missing = before.lost_in(&served).into_iter();
    served.stop();
    let (manifests, blobs): (BTreeSet<&str>, BTreeSet<&str>) = missing.partition(|path| is_manifest(path));
    assert_eq!(manifests, *lost, "{when}, by {}", server.program);
    assert!(
        blobs.is_subset(&before.named_by(unneeded)),
        "{when}, by {}: {blobs:?}",
        server.program
    );
}

fn is_manifest(path: &str) -> bool {
    path.contains("/manifests/")
}

/// Paths of manifests, as by `collectors/differences.txt`.
struct Lost<'a> {
    /// Manifests that a collector of theirs removes.
    lost: BTreeSet<&'a str>,
    /// Manifests that no tag of their repository keeps.
    unneeded: BTreeSet<&'a str>,
}

impl<'a> Lost<'a> {
    /// Without `-m`, nothing is lost. With it, version 3.1.1 keeps the images of indexes, and what is in use in any
    /// repository. Both remove referrers.
    fn by(theirs: Collector, before: &'a Content) -> Self {
        if !theirs.untagged {
            return Self {
                lost: BTreeSet::new(),
                unneeded: BTreeSet::new(),
            };
        }
        let is_version_3 = theirs.program == PROGRAMS[1];
        let documents: BTreeMap<&str, &[u8]> = before.manifests().collect();
        let mut kept = BTreeSet::new();
        let mut digests = BTreeSet::new();
        let mut unread: Vec<&str> = documents.keys().copied().collect();
        unread.retain(|path| !path.contains("/manifests/sha256:"));
        while let Some(path) = unread.pop() {
            let (repository, _) = path.split_once("/manifests/").unwrap();
            let bytes = documents[path];
            let path_of = |digest: Digest| {
                let path = format!("{repository}/manifests/{digest}");
                *documents.get_key_value(&*path).unwrap().0
            };
            let digest = sha256(bytes);
            digests.insert(digest.to_string());
            if kept.insert(path_of(digest)) && is_version_3 {
                let (parts, _) = references(bytes);
                unread.extend(parts.iter().map(|part| path_of(digest_of(part))));
            }
            kept.insert(path);
        }
        let unneeded: BTreeSet<&str> = documents
            .into_keys()
            .filter(|path| !kept.contains(path))
            .collect();
        let is_used_elsewhere =
            |path: &&str| is_version_3 && digests.contains(path.rsplit_once('/').unwrap().1);
        Self {
            lost: unneeded
                .iter()
                .copied()
                .filter(|path| !is_used_elsewhere(path))
                .collect(),
            unneeded,
        }
    }
}
