//! [`Listing`]: the manifests that were put into a layout, and the entries of `index.json` for them.

use super::names::Names;
use crate::document;
use registry_core::{Descriptor, Tag, manifest::Manifest, storage::StoredManifest};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Requested manifests and referrers, in the order in which they were put.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    manifests: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    descriptor: Descriptor,
    tags: Vec<Tag>,
    names: Names,
}

impl Listing {
    /// Adds a manifest that an index lists. It needs an entry only if it is a referrer.
    pub(crate) fn add_child(&mut self, manifest: &StoredManifest, parsed: &Manifest, names: &Names) {
        if parsed.subject().is_some() {
            self.add(manifest, &[], names);
        }
    }

    pub(crate) fn add(&mut self, manifest: &StoredManifest, tags: &[Tag], names: &Names) {
        let size = manifest.bytes.len() as u64;
        self.manifests.push(Listed {
            descriptor: Descriptor::new(manifest.media_type.clone(), manifest.digest, size),
            tags: tags.to_vec(),
            names: names.clone(),
        });
    }

    /// Returns an entry for each tag, and for each manifest without one.
    pub(crate) fn entries(&self) -> Vec<Box<RawValue>> {
        let mut entries = Vec::new();
        let mut bare = BTreeSet::new();
        for listed in &self.manifests {
            let descriptor = &listed.descriptor;
            let tags = listed.tags.iter();
            entries.extend(tags.map(|tag| document::entry(descriptor, &listed.names.annotations(tag))));
            if listed.tags.is_empty() && bare.insert(descriptor.digest) {
                entries.push(document::entry(descriptor, &document::Annotated::new()));
            }
        }
        entries
    }
}
