//! [`Object`]: a document whose values are kept as they were written, but for those that are replaced.

use bytes::Bytes;
use registry_core::{Algorithm, Digest, MediaType, storage::StoredManifest};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Annotations of a layer that describe its compressed bytes, by the begin of their names: estargz, zstd:chunked.
const OF_COMPRESSED: [&str; 4] = [
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
    "io.github.containers.zstd-chunked.",
    "io.github.containers.zstd.",
];
const ANNOTATIONS: &str = "annotations";

/// A JSON object. Its members are written in the order of their names.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Object {
    members: BTreeMap<String, Box<RawValue>>,
}

impl Object {
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Reads a member. One that is absent is as `null`.
    pub(super) fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> serde_json::Result<T> {
        serde_json::from_str(self.members.get(name).map_or("null", |value| value.get()))
    }

    pub(super) fn set(&mut self, name: &str, value: impl Serialize) {
        let value = to_raw_value(&value).expect("strings, numbers and raw values are JSON");
        self.members.insert(name.to_owned(), value);
    }

    /// Makes a descriptor one of other content.
    pub(super) fn describe(&mut self, digest: &Digest, size: u64) {
        self.set("digest", digest.to_string());
        self.set("size", size);
        // The content itself can be embedded.
        self.members.remove("data");
    }

    /// Removes the annotations of a layer that describe its compressed bytes.
    pub(super) fn forget_compression(&mut self) -> serde_json::Result<()> {
        let annotations: Option<BTreeMap<String, Box<RawValue>>> = self.get(ANNOTATIONS)?;
        let Some(mut annotations) = annotations else {
            return Ok(());
        };
        annotations.retain(|name, _| !OF_COMPRESSED.iter().any(|begin| name.starts_with(begin)));
        if annotations.is_empty() {
            self.members.remove(ANNOTATIONS);
        } else {
            self.set(ANNOTATIONS, annotations);
        }
        Ok(())
    }

    /// Writes a manifest.
    pub(super) fn manifest(&self, media_type: MediaType) -> StoredManifest {
        let bytes = serde_json::to_vec(self).expect("raw values are JSON");
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        StoredManifest::new(digest, media_type, Bytes::from(bytes))
    }
}
