//! Pushes and pulls by the clients that people use, over HTTP on the loopback interface.
//!
//! After each push, what the registry serves is compared with what the client was given: every manifest and every
//! blob, byte for byte. Which requests a client makes of all that is no specification: only running it tells.

use std::{collections::BTreeSet, path::Path};

use libtest_mimic::Trial;
use registry_core::Digest;
use serde_json::Value;

use crate::{
    image::{Layout, OCI_INDEX, OCI_MANIFEST, digest_of, read_blob, references},
    program::{Workbench, argument},
    server::Server,
};

mod crane;
mod docker;
mod podman;
mod skopeo;

pub(crate) fn trials() -> Vec<Trial> {
    [
        skopeo::trials(),
        crane::trials(),
        podman::trials(),
        docker::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A registry with nothing in it, and a layout to push.
struct Scene {
    bench: Workbench,
    layout: Layout,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let bench = Workbench::new();
        let root = bench.path("registry");
        Self {
            layout: Layout::sample(bench.path("layout")),
            server: Server::under_test(&root),
            bench,
        }
    }

    /// What skopeo and podman call something in the registry.
    fn docker(&self, name: &str) -> String {
        format!("docker://{}", self.server.repository(name))
    }

    /// Copies an image of the layout to the registry.
    fn skopeo_push(&self, tag: &str, to: &str, options: &[&str]) {
        let (from, to) = (self.layout.oci(tag), self.docker(to));
        self.bench
            .skopeo(&[&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    /// Puts an image or index of the layout into the registry by crane, from a layout with nothing else in it.
    fn crane_push(&self, tag: &str, to: &str) {
        let mut alone = Layout::create(self.bench.path(&format!("{tag}-alone")));
        alone.import(&self.layout, tag);
        let to = self.server.repository(to);
        self.bench.crane(&["push", argument(alone.path()), &to]);
    }

    /// Compares a manifest, and everything that it refers to, with the layout that it was pushed from.
    fn assert_served(&self, repository: &str, reference: &str, digest: &Digest) {
        self.assert_served_from(self.layout.path(), repository, reference, digest);
    }

    fn assert_served_from(&self, layout: &Path, repository: &str, reference: &str, digest: &Digest) {
        let expected = read_blob(layout, digest);
        let served = self
            .server
            .get(&format!("/v2/{repository}/manifests/{reference}"));
        assert_eq!(
            String::from_utf8_lossy(&served.body),
            String::from_utf8_lossy(&expected),
            "the manifest is served as it was pushed"
        );
        assert_eq!(
            served.header("docker-content-digest"),
            Some(digest.to_string().as_str())
        );
        let (children, blobs) = references(&expected);
        assert!(
            !(children.is_empty() && blobs.is_empty()),
            "there is something to compare"
        );
        let media_type = if children.is_empty() {
            OCI_MANIFEST
        } else {
            OCI_INDEX
        };
        assert_eq!(served.header("content-type"), Some(media_type));

        for child in children {
            let digest = digest_of(&child);
            self.assert_served_from(layout, repository, &digest.to_string(), &digest);
        }
        self.assert_blobs_served_from(layout, repository, &blobs);
    }

    fn assert_blobs_served(&self, repository: &str, blobs: &[Value]) {
        self.assert_blobs_served_from(self.layout.path(), repository, blobs);
    }

    fn assert_blobs_served_from(&self, layout: &Path, repository: &str, blobs: &[Value]) {
        for blob in blobs {
            let digest = digest_of(blob);
            let served = self.server.get(&format!("/v2/{repository}/blobs/{digest}"));
            assert!(
                served.body == read_blob(layout, &digest),
                "{digest} is served as it was pushed"
            );
        }
    }

    fn assert_unknown(&self, repository: &str, reference: &str) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        self.server.request("GET", &target, &[], b"").expect_status(404);
    }
}

fn digests(descriptors: &[Value]) -> BTreeSet<Digest> {
    descriptors.iter().map(digest_of).collect()
}
