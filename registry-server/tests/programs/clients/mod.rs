//! Pushes and pulls by real clients, over HTTP on the loopback interface.
//!
//! After each push, what the registry serves is compared with the client's input: every manifest and every blob, byte
//! for byte. No specification lists the requests that a client makes: only running it shows them.

use std::{collections::BTreeSet, path::Path};

use libtest_mimic::Trial;
use registry_core::{Digest, protocol::Request};
use registry_test::{
    GET, cut, on, on_any,
    tap::{Exchange, Side, Tap},
};
use serde_json::Value;

use crate::{
    image::{Layout, OCI_INDEX, OCI_MANIFEST, digest_of, read_blob, references},
    program::{Workbench, argument},
    server::Server,
};

mod buckets;
mod buildah;
mod caches;
mod crane;
mod ctr;
mod docker;
mod guarded;
mod headers;
mod helm;
mod oci_client;
mod oras;
mod podman;
mod regctl;
mod skopeo;

pub(crate) fn trials() -> Vec<Trial> {
    [
        buckets::trials(),
        buildah::trials(),
        caches::trials(),
        crane::trials(),
        ctr::trials(),
        docker::trials(),
        guarded::trials(),
        headers::trials(),
        helm::trials(),
        oci_client::trials(),
        oras::trials(),
        podman::trials(),
        regctl::trials(),
        skopeo::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An empty registry, a layout to push, and a tap for tests that need to see the requests.
struct Scene {
    tap: Tap,
    bench: Workbench,
    layout: Layout,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let bench = Workbench::new();
        let server = Server::under_test(&bench.path("registry"));
        Self::of(bench, server)
    }

    fn of(bench: Workbench, server: Server) -> Self {
        Self {
            tap: Tap::start(server.address()).expect("the loopback interface has a free port"),
            layout: Layout::sample(bench.path("layout")),
            server,
            bench,
        }
    }

    /// Returns `HOST:PORT/REPOSITORY`, through the tap.
    fn tapped(&self, name: &str) -> String {
        format!("{}/{name}", self.tap.address())
    }

    /// Returns the exchanges of client and registry through the tap since the last call.
    fn traffic(&self) -> Traffic {
        Traffic(self.tap.take())
    }

    /// Cuts blob uploads twice, after some of the bytes of the larger layer.
    fn cut_uploads_twice(&self) {
        self.cut_uploads(2, 250_000);
    }

    /// Cuts so many blob uploads, each after so many bytes.
    fn cut_uploads(&self, times: usize, after: u64) {
        let takes_a_body = |exchange: &Exchange| {
            matches!(
                exchange.operation,
                Some(Request::Append { .. } | Request::Close { .. })
            )
        };
        let uploads = on_any().upload().when(takes_a_body).first(times);
        self.tap.fault(uploads, cut(Side::Request).after(after));
    }

    /// Pushes by a client that gives up when it is cut, or does not always retry by itself. Two uploads are cut, so the
    /// third push succeeds at the latest.
    fn push_until_it_is_not_cut(&self, after: u64, push: impl Fn() -> Result<(), String>) {
        self.cut_uploads(2, after);

        let outcomes: Vec<_> = std::iter::repeat_with(push).take(3).collect();

        let traffic = self.traffic();
        assert!(outcomes[2].is_ok(), "{outcomes:?}\n{}", traffic.lines());
        assert_eq!(traffic.cut().len(), 2, "{outcomes:?}\n{}", traffic.lines());
        // Nobody says that what it had begun is given up.
        for cut in traffic.cut() {
            self.assert_abandoned(cut);
        }
    }

    /// Cuts the download of the larger layer after some of its bytes, so many times.
    fn cut_downloads(&self, times: usize) {
        let downloads = on(GET).blob().first(times);
        self.tap.fault(downloads, cut(Side::Response).after(100_000));
    }

    /// Returns the name of an item in the registry for skopeo and podman.
    fn docker(&self, name: &str) -> String {
        format!("docker://{}", self.server.repository(name))
    }

    /// Puts an image or index of the layout into the registry, without a client.
    fn publish(&self, tag: &str, to: &str) {
        let (repository, reference) = to.rsplit_once(':').expect("REPOSITORY:TAG");
        self.publish_manifest(&self.layout.digest(tag), repository, reference);
    }

    fn publish_manifest(&self, digest: &Digest, repository: &str, reference: &str) {
        let bytes = self.layout.blob(digest);
        let (children, blobs) = references(&bytes);
        for child in &children {
            let child = digest_of(child);
            self.publish_manifest(&child, repository, &child.to_string());
        }
        for blob in &blobs {
            let blob = digest_of(blob);
            let bytes = self.layout.blob(&blob);
            self.server.push_blob(repository, &blob.to_string(), &bytes);
        }
        let media_type = if children.is_empty() {
            OCI_MANIFEST
        } else {
            OCI_INDEX
        };
        self.server
            .push_manifest(repository, reference, media_type, &bytes);
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

    /// Compares a client's copy in a layout of its own with the original.
    fn assert_copied(&self, tag: &str, layout: &Path) {
        let mut manifests = vec![self.layout.digest(tag)];
        while let Some(digest) = manifests.pop() {
            let bytes = read_blob(layout, &digest);
            assert_eq!(bytes, self.layout.blob(&digest), "{digest} is what was pushed");
            let (children, blobs) = references(&bytes);
            manifests.extend(children.iter().map(digest_of));
            for digest in digests(&blobs) {
                let copied = read_blob(layout, &digest);
                assert!(copied == self.layout.blob(&digest), "{digest} is what was pushed");
            }
        }
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

    /// Checks that the session that a request wrote to is still open, as it is until it expires.
    fn assert_abandoned(&self, request: &Exchange) {
        let answer = self.server.request("GET", &request.target, &[], b"");
        answer.expect_status(204);
    }

    fn assert_unknown(&self, repository: &str, reference: &str) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        self.server.request("GET", &target, &[], b"").expect_status(404);
    }
}

/// Exchanges between a client and the registry.
struct Traffic(Vec<Exchange>);

impl Traffic {
    /// Returns the number of requests that sent bytes of a blob.
    fn uploads(&self) -> usize {
        self.0.iter().filter(|exchange| exchange.uploads()).count()
    }

    /// Returns the number of mounts that were requested and done.
    fn mounts(&self) -> usize {
        self.0.iter().filter(|exchange| exchange.mounted()).count()
    }

    /// Returns the ranges of blobs that were requested and served.
    fn ranges(&self) -> Vec<&str> {
        let partial = self.0.iter().filter(|exchange| exchange.status() == Some(206));
        partial
            .filter_map(|exchange| exchange.headers.get("range")?.to_str().ok())
            .collect()
    }

    /// Returns the exchanges that the tap has cut.
    fn cut(&self) -> Vec<&Exchange> {
        self.0.iter().filter(|exchange| exchange.cut.is_some()).collect()
    }

    /// Returns requests and statuses, for the message of a failing test.
    fn lines(&self) -> String {
        let line = |exchange: &Exchange| {
            format!(
                "{} {} ({} bytes, range {:?}): {:?}, cut {:?}\n",
                exchange.method,
                exchange.target,
                exchange.sent,
                exchange.headers.get("range"),
                exchange.status(),
                exchange.cut
            )
        };
        self.0.iter().map(line).collect()
    }
}

fn digests(descriptors: &[Value]) -> BTreeSet<Digest> {
    descriptors.iter().map(digest_of).collect()
}
