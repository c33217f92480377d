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
pub(crate) fn manifests(top: &Path) -> Vec<(String, Digest)> {
    let repositories = top.join("repositories");
    let mut found = Vec::new();
    find_repositories(&repositories, &mut found);
    let of = |repository: PathBuf| {
        let name = repository
            .strip_prefix(&repositories)
            .expect("it was found there");
        let name = name.to_str().expect("names are text").to_owned();
        let revisions = digests_with("link", &repository.join("_manifests/revisions"));
        revisions.into_iter().map(move |digest| {
            let digest = Digest::parse(&digest).expect("a revision has a digest");
            (name.clone(), digest)
        })
    };
    found.into_iter().flat_map(of).collect()
}

/// Items of a repository that are alive by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roots {
    /// All manifests, with and without a tag.
    Manifests,
    Tags,
}

/// Asserts that a directory in registry:2's layout holds the roots and what they refer to, and nothing else.
pub(crate) fn assert_exact(top: &Path, roots: Roots) {
    let mut reachable = BTreeSet::new();
    let mut repositories = Vec::new();
    find_repositories(&top.join("repositories"), &mut repositories);
    assert!(!repositories.is_empty());
    for repository in &repositories {
        let alive = Alive::of(top, repository, roots);
        let links = digests_with("link", &repository.join("_layers"));
        assert_eq!(links, alive.blobs, "the blobs of {}", repository.display());
        let revisions = digests_with("link", &repository.join("_manifests/revisions"));
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
    let mut stored = BTreeSet::new();
    for algorithm in entries(&top.join("blobs")) {
        for shard in entries(&algorithm) {
            let names = names_with("data", &shard).into_iter();
            stored.extend(names.map(|hex| format!("{}:{hex}", name_of(&algorithm))));
        }
    }
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

/// Returns the digests whose directories contain a file, below a directory for each algorithm.
fn digests_with(file: &str, directory: &Path) -> BTreeSet<String> {
    let of = |algorithm: &PathBuf| {
        let name = name_of(algorithm);
        let hexes = names_with(file, algorithm).into_iter();
        hexes.map(move |hex| format!("{name}:{hex}"))
    };
    entries(directory).iter().flat_map(of).collect()
}

/// Digests of everything in a repository to which its roots lead.
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
            alive.add(top, &link);
        }
        let all: Vec<(String, Value)> = digests_with("link", &repository.join("_manifests/revisions"))
            .into_iter()
            .map(|digest| (digest.clone(), document(top, &digest)))
            .collect();
        if roots == Roots::Manifests {
            all.iter().for_each(|(digest, _)| alive.add(top, digest));
        }
        loop {
            let referrer = all.iter().find(|(digest, document)| {
                let subject = document["subject"]["digest"].as_str();
                let is_alive = subject.is_some_and(|subject| alive.manifests.contains(subject));
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
            self.blobs.insert(digest.to_owned());
        }
        for child in list("manifests") {
            self.add(top, child["digest"].as_str().expect("a descriptor has a digest"));
        }
    }
}

fn document(top: &Path, digest: &str) -> Value {
    let (algorithm, hex) = digest.split_once(':').expect("a digest names its algorithm");
    let path = top.join(format!("blobs/{algorithm}/{}/{hex}/data", &hex[..2]));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("a manifest is JSON")
}
