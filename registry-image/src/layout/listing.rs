//! [`Listing`]: the manifests that were put into a layout, and the entries of `index.json` for them.

use super::names::Names;
use crate::document;
use registry_core::{Descriptor, Digest, Tag, manifest::Manifest, storage::StoredManifest};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Requested manifests and referrers, in the order in which they were put.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    manifests: Vec<Listed>,
    /// Manifests that an index lists. They need no entry of their own.
    children: BTreeSet<Digest>,
}

#[derive(Debug)]
struct Listed {
    descriptor: Descriptor,
    tags: Vec<Tag>,
    names: Names,
    has_subject: bool,
}

impl Listing {
    /// Adds a manifest that an index lists. It needs an entry only if it is a referrer.
    pub(crate) fn add_child(&mut self, manifest: &StoredManifest, parsed: &Manifest, names: &Names) {
        if parsed.subject().is_some() {
            self.add(manifest, parsed, &[], names);
        }
    }

    pub(crate) fn add(&mut self, manifest: &StoredManifest, parsed: &Manifest, tags: &[Tag], names: &Names) {
        let children = parsed.manifests().iter();
        self.children
            .extend(children.filter_map(|child| child.digest.known()));
        let size = manifest.bytes.len() as u64;
        self.manifests.push(Listed {
            descriptor: Descriptor::new(manifest.media_type.clone(), manifest.digest, size),
            tags: tags.to_vec(),
            names: names.clone(),
            has_subject: parsed.subject().is_some(),
        });
    }

    /// Returns an entry for each tag, for each manifest that nothing lists, and for each referrer.
    pub(crate) fn entries(&self) -> Vec<Box<RawValue>> {
        let mut entries = Vec::new();
        let mut bare = BTreeSet::new();
        for listed in &self.manifests {
            let descriptor = &listed.descriptor;
            let tags = listed.tags.iter();
            entries.extend(tags.map(|tag| document::entry(descriptor, &listed.names.annotations(tag))));
            let is_top = listed.has_subject || !self.children.contains(&descriptor.digest);
            if listed.tags.is_empty() && is_top && bare.insert(descriptor.digest) {
                entries.push(document::entry(descriptor, &document::Annotated::new()));
            }
        }
        entries
    }
}
