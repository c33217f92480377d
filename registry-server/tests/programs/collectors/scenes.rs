//! A directory with everything that collectors treat differently. Each scene has repositories of its own.

use std::{fs, path::Path};

use registry_core::{Algorithm, Digest};
use serde_json::{Value, json};

use super::{
    served,
    tree::{Labels, base},
};
use crate::{
    image::{
        DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, descriptor,
        descriptor_as, digest_of, noise, sha256,
    },
    server::{OCTETS, Server},
};

/// The registry that writes the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Ours,
    Registry2,
}

const CONFIG: &[u8] = b"{}";

/// Pushes everything to a running server, stops it, and returns the names of what was pushed.
pub(super) fn write(root: &Path, writer: Writer) -> Labels {
    let server = match writer {
        Writer::Ours => served(root),
        Writer::Registry2 => Server::registry2(root),
    };
    let mut scenes = Scenes::new(server, root, writer);
    scenes.parts_of_an_index();
    scenes.signatures();
    scenes.untagged();
    scenes.deleted();
    scenes.mounted();
    scenes.unnamed_blobs();
    scenes.nested();
    // Registry:2 keeps such a blob under two names, and its collector removes it.
    if writer == Writer::Ours {
        let labels = push_sha512(&scenes.server);
        scenes.labels.extend(labels);
    }
    let Scenes {
        server, mut labels, ..
    } = scenes;
    server.stop();
    leave_directories(root, &mut labels);
    labels
}

/// A running server, and the names of what was pushed to it.
pub(super) struct Scenes<'a> {
    pub(super) server: Server,
    root: &'a Path,
    writer: Writer,
    pub(super) labels: Labels,
}

impl<'a> Scenes<'a> {
    pub(super) fn new(server: Server, root: &'a Path, writer: Writer) -> Self {
        let mut scenes = Self {
            server,
            root,
            writer,
            labels: Labels::new(),
        };
        scenes.label(CONFIG, "config");
        scenes
    }
}

impl Scenes<'_> {
    /// An image index of each kind, whose images have no tags, and an index of an index.
    fn parts_of_an_index(&mut self) {
        let parts = ["amd64", "arm64"].map(|part| self.image("multi", None, &format!("multi-{part}")));
        self.index("multi", Some("v1"), "multi", &parts);
        let part = self.image("nested-index", None, "inner-part");
        let inner = self.index("nested-index", None, "inner", &[part]);
        self.index("nested-index", Some("v1"), "outer", &[inner]);

        let layer = self.blob("docker-list", "docker-list.layer", 900);
        self.push_config("docker-list");
        let image = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor("application/vnd.docker.container.image.v1+json", CONFIG),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer)],
        });
        let mut part = self.manifest("docker-list", None, "docker-part", DOCKER_MANIFEST, &image);
        part["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [part]});
        self.manifest("docker-list", Some("v1"), "docker-list", DOCKER_LIST, &list);
    }

    /// A signature under a tag, as cosign pushes it; one with a subject, and one of that; and one whose subject is absent.
    fn signatures(&mut self) {
        let image = self.image("signed", Some("v1"), "signed");
        let tag = format!("sha256-{}.sig", digest_of(&image).hex());
        self.image("signed", Some(&tag), "signed-tagged");
        let referrer = self.referrer("signed", "signed-referrer", &image);
        self.referrer("signed", "signed-referrer-of-referrer", &referrer);
        let absent = descriptor(OCI_MANIFEST, b"never pushed");
        self.referrer("signed", "signed-absent", &absent);
    }

    /// Images without a tag: pushed so, after a tag has moved, after a tag was deleted, and with a tag elsewhere.
    fn untagged(&mut self) {
        self.image("untagged", None, "untagged");
        self.image("untagged", Some("latest"), "untagged-moved");
        self.image("untagged", Some("latest"), "untagged-latest");
        self.image("untagged", Some("gone"), "untagged-deleted");
        self.delete_tag("untagged", "gone");
        // The other repository is earlier in the alphabet, and then later.
        for (tagged, untagged) in [("twice/a", "twice/b"), ("twice/d", "twice/c")] {
            let label = tagged.to_owned();
            self.image(tagged, Some("v1"), &label);
            self.image(untagged, None, &label);
            // Version 2.8.2 with `-m` ends at a repository that never had a tag.
            self.image(untagged, Some("v1"), &format!("{untagged}-own"));
        }
    }

    /// Images that were deleted: one of several, all, an index without its images, and a subject without its referrer.
    fn deleted(&mut self) {
        self.image("deleted", Some("v1"), "deleted-kept");
        let image = self.image("deleted", Some("v2"), "deleted");
        self.delete("deleted", "manifests", &image);
        let image = self.image("deleted/all", Some("v1"), "deleted-all");
        self.delete("deleted/all", "manifests", &image);
        let part = self.image("deleted/index", None, "deleted-part");
        let index = self.index("deleted/index", Some("v1"), "deleted-index", &[part]);
        self.delete("deleted/index", "manifests", &index);
        let subject = self.image("deleted/subject", Some("v1"), "deleted-subject");
        self.referrer("deleted/subject", "deleted-referrer", &subject);
        self.delete("deleted/subject", "manifests", &subject);
    }

    /// Blobs of one repository that others use: in an image, without one, and after their own repository was emptied.
    fn mounted(&mut self) {
        let image = self.image("mounts/from", Some("v1"), "mounted");
        self.mount("mounts/from", "mounts/unused", "mounted.layer");
        self.mount("mounts/from", "mounts/used", "mounted.layer");
        self.mount("mounts/from", "mounts/used", "config");
        self.copy_manifest("mounts/from", "mounts/used", &image);
        let image = self.image("mounts/source", Some("v1"), "outlived");
        self.mount("mounts/source", "mounts/target", "outlived.layer");
        self.mount("mounts/source", "mounts/target", "config");
        self.copy_manifest("mounts/source", "mounts/target", &image);
        self.delete("mounts/source", "manifests", &image);
    }

    /// Blobs that no manifest names, one that was deleted although a manifest names it, and open upload sessions.
    fn unnamed_blobs(&mut self) {
        self.blob("unnamed", "unnamed", 500);
        self.image("unnamed/deleted", Some("v1"), "unnamed-own");
        self.image("unnamed/deleted", None, "incomplete");
        let layer = self.descriptor_of("incomplete.layer");
        self.delete("unnamed/deleted", "blobs", &layer);
        self.image("uploads", Some("v1"), "uploads");
        for repository in ["uploads", "uploads/only"] {
            let session = self.server.open_upload(repository);
            self.server
                .request("PATCH", &session, &[OCTETS], &noise(3, 5000))
                .expect_status(202);
        }
    }

    /// Repositories inside of another one's name, of which the one in the middle is empty.
    fn nested(&mut self) {
        self.image("nest", Some("v1"), "nest-outer");
        let image = self.image("nest/middle", Some("v1"), "nest-middle");
        self.image("nest/middle/inner", Some("v1"), "nest-inner");
        self.delete("nest/middle", "manifests", &image);
    }
}

/// Pushes an image whose parts have sha512 digests. Returns their names.
pub(super) fn push_sha512(server: &Server) -> Labels {
    let layer = noise(71, 3000);
    let mut labels = Labels::new();
    let parts = [(OCI_CONFIG, CONFIG, "config"), (OCI_LAYER, &layer, "layer")];
    let [config, layer] = parts.map(|(media_type, bytes, part)| {
        let digest = Digest::of(Algorithm::Sha512, bytes);
        server.push_blob("strong", &digest.to_string(), bytes);
        labels.insert(digest.hex(), format!("strong.{part}"));
        descriptor_as(Algorithm::Sha512, media_type, bytes)
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let manifest = manifest.to_string();
    server.push_manifest("strong", "v1", OCI_MANIFEST, manifest.as_bytes());
    labels.insert(sha256(manifest.as_bytes()).hex(), "strong".to_owned());
    labels
}

/// Leaves directories as removals leave them that were interrupted.
fn leave_directories(root: &Path, labels: &mut Labels) {
    let hex = sha256(b"left over").hex();
    for directory in [
        format!("blobs/sha256/{}/{hex}", &hex[..2]),
        format!("repositories/nest/_layers/sha256/{hex}"),
        format!("repositories/nest/_manifests/revisions/sha256/{hex}"),
    ] {
        fs::create_dir_all(base(root).join(directory)).unwrap();
    }
    labels.insert(hex, "left-over".to_owned());
}

/// Steps of the scenes.
impl Scenes<'_> {
    fn label(&mut self, bytes: &[u8], label: &str) {
        self.labels.insert(sha256(bytes).hex(), label.to_owned());
    }

    /// Returns a descriptor of something that was pushed, by its name.
    fn descriptor_of(&self, label: &str) -> Value {
        let mut labels = self.labels.iter();
        let (hex, _) = labels.find(|(_, known)| *known == label).unwrap();
        json!({"digest": format!("sha256:{hex}")})
    }

    fn push_config(&self, repository: &str) {
        self.server
            .push_blob(repository, &sha256(CONFIG).to_string(), CONFIG);
    }

    /// Pushes a blob, different for each name.
    pub(super) fn blob(&mut self, repository: &str, label: &str, length: usize) -> Vec<u8> {
        let seed = label
            .bytes()
            .fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        let bytes = noise(seed, length);
        self.server
            .push_blob(repository, &sha256(&bytes).to_string(), &bytes);
        self.label(&bytes, label);
        bytes
    }

    fn manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        label: &str,
        media_type: &str,
        manifest: &Value,
    ) -> Value {
        let manifest = manifest.to_string();
        let digest = sha256(manifest.as_bytes()).to_string();
        self.server.push_manifest(
            repository,
            tag.unwrap_or(&digest),
            media_type,
            manifest.as_bytes(),
        );
        self.label(manifest.as_bytes(), label);
        descriptor(media_type, manifest.as_bytes())
    }

    /// Pushes an image of one layer, under a tag or by its digest.
    pub(super) fn image(&mut self, repository: &str, tag: Option<&str>, label: &str) -> Value {
        let layer = self.blob(repository, &format!("{label}.layer"), 1000);
        self.push_config(repository);
        let image = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, CONFIG),
            "layers": [descriptor(OCI_LAYER, &layer)],
        });
        self.manifest(repository, tag, label, OCI_MANIFEST, &image)
    }

    pub(super) fn index(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        label: &str,
        parts: &[Value],
    ) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": parts});
        self.manifest(repository, tag, label, OCI_INDEX, &index)
    }

    pub(super) fn referrer(&mut self, repository: &str, label: &str, subject: &Value) -> Value {
        let layer = self.blob(repository, &format!("{label}.layer"), 300);
        self.push_config(repository);
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": descriptor("application/vnd.oci.empty.v1+json", CONFIG),
            "layers": [descriptor("text/plain", &layer)],
            "subject": subject,
        });
        self.manifest(repository, None, label, OCI_MANIFEST, &referrer)
    }

    fn mount(&self, from: &str, to: &str, label: &str) {
        let blob = self.descriptor_of(label);
        let target = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", digest_of(&blob));
        self.server.request("POST", &target, &[], b"").expect_status(201);
    }

    /// Pushes a manifest of one repository to another one, which has its parts.
    fn copy_manifest(&self, from: &str, to: &str, manifest: &Value) {
        let stored = self
            .server
            .get(&format!("/v2/{from}/manifests/{}", digest_of(manifest)));
        self.server.push_manifest(to, "v1", OCI_MANIFEST, &stored.body);
    }

    pub(super) fn delete(&self, repository: &str, kind: &str, what: &Value) {
        let target = format!("/v2/{repository}/{kind}/{}", digest_of(what));
        self.server
            .request("DELETE", &target, &[], b"")
            .expect_status(202);
    }

    /// Deletes a tag, which registry:2 cannot: its operators remove the directory.
    pub(super) fn delete_tag(&self, repository: &str, tag: &str) {
        match self.writer {
            Writer::Ours => {
                let target = format!("/v2/{repository}/manifests/{tag}");
                self.server
                    .request("DELETE", &target, &[], b"")
                    .expect_status(202);
            }
            Writer::Registry2 => {
                let tags = base(self.root).join(format!("repositories/{repository}/_manifests/tags"));
                fs::remove_dir_all(tags.join(tag)).unwrap();
            }
        }
    }
}
