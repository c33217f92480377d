//! The directory itself, read without the code under test.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use registry_core::Digest;
use serde_json::Value;

use super::entries;

/// Returns all manifests, with and without a tag, with the names of their repositories.
pub(super) fn manifests(top: &Path) -> Vec<(String, Digest)> {
    let repositories = top.join("repositories");
    let mut found = Vec::new();
    find_repositories(&repositories, &mut found);
    let of = |repository: PathBuf| {
        let name = repository
            .strip_prefix(&repositories)
            .expect("it was found there");
        let name = name.to_str().expect("names are text").to_owned();
        let revisions = names_with("link", &repository.join("_manifests/revisions/sha256"));
        revisions.into_iter().map(move |hex| {
            let digest = Digest::parse(&format!("sha256:{hex}"));
            (name.clone(), digest.expect("a revision has a digest"))
        })
    };
    found.into_iter().flat_map(of).collect()
}

/// Items of a repository that are alive by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Roots {
    /// All manifests, with and without a tag.
    Manifests,
    Tags,
}

/// Asserts that a directory in registry:2's layout holds the roots and what they refer to, and nothing else.
pub(super) fn assert_exact(top: &Path, roots: Roots) {
    let mut reachable = BTreeSet::new();
    let mut repositories = Vec::new();
    find_repositories(&top.join("repositories"), &mut repositories);
    assert!(!repositories.is_empty());
    for repository in &repositories {
        let alive = Alive::of(top, repository, roots);
        let links = names_with("link", &repository.join("_layers/sha256"));
        assert_eq!(links, alive.blobs, "the blobs of {}", repository.display());
        let revisions = names_with("link", &repository.join("_manifests/revisions/sha256"));
        assert_eq!(
            revisions,
            alive.manifests,
            "the manifests of {}",
            repository.display()
        );
        assert!(entries(&repository.join("_uploads")).is_empty());
        reachable.extend(alive.blobs);
        reachable.extend(alive.manifests);
    }
    let shards = entries(&top.join("blobs/sha256"));
    let stored: BTreeSet<String> = shards
        .iter()
        .flat_map(|shard| names_with("data", shard))
        .collect();
    assert_eq!(stored, reachable, "the stored bytes and the reachable ones");
    for leftover in ["_trash", "_quarantine", "_staging", "_sessions"] {
        assert_eq!(entries(&top.join(leftover)), [] as [PathBuf; 0], "{leftover}");
    }
}

fn find_repositories(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.join("_layers").exists() || path.join("_manifests").exists() {
            found.push(path.clone());
        }
        if !name_of(&path).starts_with('_') {
            find_repositories(&path, found);
        }
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("an entry has a name");
    name.to_str().expect("names are text").to_owned()
}

/// Returns the names of the directories that contain a file. A deletion leaves the directory of a link.
fn names_with(file: &str, directory: &Path) -> BTreeSet<String> {
    let entries = entries(directory);
    let with = entries.iter().filter(|path| path.join(file).exists());
    with.map(|path| name_of(path)).collect()
}

/// Everything in a repository to which its roots lead, in hexadecimal.
#[derive(Default)]
struct Alive {
    manifests: BTreeSet<String>,
    blobs: BTreeSet<String>,
}

impl Alive {
    fn of(top: &Path, repository: &Path, roots: Roots) -> Self {
        let mut alive = Self::default();
        for tag in entries(&repository.join("_manifests/tags")) {
            let link = fs::read_to_string(tag.join("current/link")).expect("a tag has a link");
            alive.add(top, hex(&link));
        }
        let all: Vec<(String, Value)> = names_with("link", &repository.join("_manifests/revisions/sha256"))
            .into_iter()
            .map(|digest| (digest.clone(), document(top, &digest)))
            .collect();
        if roots == Roots::Manifests {
            all.iter().for_each(|(digest, _)| alive.add(top, digest));
        }
        loop {
            let referrer = all.iter().find(|(digest, document)| {
                let subject = document["subject"]["digest"].as_str();
                let is_alive = subject.is_some_and(|subject| alive.manifests.contains(hex(subject)));
                is_alive && !alive.manifests.contains(digest)
            });
            let Some((digest, _)) = referrer else {
                return alive;
            };
            alive.add(top, digest);
        }
    }

    fn add(&mut self, top: &Path, digest: &str) {
        if !self.manifests.insert(digest.to_owned()) {
            return;
        }
        let document = document(top, digest);
        let list = |field: &str| document[field].as_array().cloned().unwrap_or_default();
        for blob in list("layers").iter().chain(document.get("config")) {
            let digest = blob["digest"].as_str().expect("a descriptor has a digest");
            self.blobs.insert(hex(digest).to_owned());
        }
        for child in list("manifests") {
            self.add(
                top,
                hex(child["digest"].as_str().expect("a descriptor has a digest")),
            );
        }
    }
}

fn hex(digest: &str) -> &str {
    digest.split_once(':').expect("a digest names its algorithm").1
}

fn document(top: &Path, digest: &str) -> Value {
    let path = top.join(format!("blobs/sha256/{}/{digest}/data", &digest[..2]));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("a manifest is JSON")
}
