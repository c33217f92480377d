//! Everything that a registry serves, to compare two registries, or one before and after.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::Digest;
use serde_json::Value;

use crate::{
    http::MANIFEST_TYPES,
    image::{digest_of, references},
    server::Server,
};

/// Everything that a registry serves: by path, the bytes and, for a manifest, its media type.
pub(crate) struct Content(BTreeMap<String, (Option<String>, Vec<u8>)>);

impl Content {
    /// Reads all repositories, tags, manifests and blobs, and the `untagged` manifests.
    pub(crate) fn of(server: &Server, untagged: &[(&str, Digest)]) -> Self {
        let mut content = Self(BTreeMap::new());
        for repository in names(server, "/v2/_catalog", "repositories") {
            for tag in names(server, &format!("/v2/{repository}/tags/list"), "tags") {
                content.read_manifest(server, &repository, &tag);
            }
        }
        for (repository, digest) in untagged {
            content.read_manifest(server, repository, &digest.to_string());
        }
        content
    }

    fn read_manifest(&mut self, server: &Server, repository: &str, reference: &str) {
        let path = format!("/v2/{repository}/manifests/{reference}");
        if self.0.contains_key(&path) {
            return;
        }
        let response = server.get(&path);
        let (children, blobs) = references(&response.body);
        let media_type = response.header("content-type").map(str::to_owned);
        self.0.insert(path, (media_type, response.body));
        for child in children {
            self.read_manifest(server, repository, &digest_of(&child).to_string());
        }
        for blob in blobs {
            let path = format!("/v2/{repository}/blobs/{}", digest_of(&blob));
            let bytes = server.get(&path).body;
            self.0.insert(path, (None, bytes));
        }
    }

    /// Reads everything from another server. Returns the paths that it does not have; what it has is the same.
    pub(crate) fn lost_in(&self, server: &Server) -> BTreeSet<&str> {
        let mut lost = BTreeSet::new();
        for (path, (media_type, bytes)) in &self.0 {
            let response = server.request("GET", path, &[("Accept", MANIFEST_TYPES)], b"");
            if response.status == 404 {
                lost.insert(path.as_str());
                continue;
            }
            let response = response.expect_status(200);
            if let Some(media_type) = media_type {
                assert_eq!(
                    response.header("content-type"),
                    Some(media_type.as_str()),
                    "{path}"
                );
            }
            assert!(response.body == *bytes, "{path} has the same bytes");
        }
        lost
    }

    /// Returns the blobs that only these manifests name.
    pub(crate) fn named_by(&self, manifests: &BTreeSet<&str>) -> BTreeSet<&str> {
        let others = self
            .0
            .iter()
            .filter(|(path, _)| !manifests.contains(path.as_str()));
        let named_by_others: BTreeSet<String> = others
            .filter_map(|(path, (_, bytes))| Some((path.split_once("/manifests/")?.0, bytes)))
            .flat_map(|(repository, bytes)| {
                let blobs = references(bytes).1.into_iter();
                blobs.map(move |blob| format!("{repository}/blobs/{}", digest_of(&blob)))
            })
            .collect();
        let blobs = self.paths().filter(|path| path.contains("/blobs/"));
        blobs.filter(|path| !named_by_others.contains(*path)).collect()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the path and the bytes of each manifest.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = self.0.iter().filter(|(path, _)| path.contains("/manifests/"));
        all.map(|(path, (_, bytes))| (path.as_str(), bytes.as_slice()))
    }

    pub(crate) fn manifest(&self, repository: &str, tag: &str) -> &[u8] {
        &self.0[&format!("/v2/{repository}/manifests/{tag}")].1
    }

    /// Compares the paths first, so that a difference is readable, and then the content of each path.
    pub(crate) fn assert_same(&self, other: &Self) {
        assert!(
            self.paths().eq(other.paths()),
            "{:?} are {:?}",
            self.0.keys(),
            other.0.keys()
        );
        for (path, (media_type, bytes)) in &self.0 {
            let (other_type, other_bytes) = &other.0[path];
            assert_eq!(media_type, other_type, "{path} has the same media type");
            assert!(bytes == other_bytes, "{path} has the same bytes");
        }
    }
}

/// Returns a sorted list of names; registry:2 does not sort tags, and returns `null` for none.
fn names(server: &Server, path: &str, key: &str) -> Vec<String> {
    let answer: Value = serde_json::from_slice(&server.get(path).body).unwrap();
    let names = answer[key].as_array().into_iter().flatten();
    let mut names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
