//! [`Listing`]: the manifests that were put into a layout, and the entries of `index.json` for them.

use super::names::Names;
use crate::document;
use registry_core::{Descriptor, Digest, Tag, manifest::Manifest, storage::StoredManifest};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Requested manifests and referrers, in the order in which they were put.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    manifests: Vec<Listed>,
    /// Places in the list of those with a tag, by their references.
    references: BTreeMap<String, usize>,
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

    /// Returns the manifest that has this tag.
    pub(crate) fn tagged(&self, tag: &Tag, names: &Names) -> Option<Digest> {
        let place = self.references.get(&names.reference(tag))?;
        self.manifests.get(*place).map(|listed| listed.descriptor.digest)
    }

    /// Adds a manifest, and moves the tags to it.
    pub(crate) fn add(&mut self, manifest: &StoredManifest, tags: &[Tag], names: &Names) {
        let size = manifest.bytes.len() as u64;
        for tag in tags {
            let place = self.manifests.len();
            let before = self.references.insert(names.reference(tag), place);
            if let Some(before) = before.and_then(|before| self.manifests.get_mut(before)) {
                before.tags.retain(|other| other != tag);
            }
        }
        self.manifests.push(Listed {
            descriptor: Descriptor::new(manifest.media_type.clone(), manifest.digest, size),
            tags: tags.to_vec(),
            names: names.clone(),
        });
    }

    /// Returns an entry for each tag, and for each manifest without one.
    pub(crate) fn entries(&self) -> Vec<Box<RawValue>> {
        let mut entries = Vec::new();
        let tagged = self.manifests.iter().filter(|listed| !listed.tags.is_empty());
        let mut known: BTreeSet<_> = tagged.map(|listed| listed.descriptor.digest).collect();
        for listed in &self.manifests {
            let descriptor = &listed.descriptor;
            let tags = listed.tags.iter();
            entries.extend(tags.map(|tag| document::entry(descriptor, &listed.names.annotations(tag))));
            if listed.tags.is_empty() && known.insert(descriptor.digest) {
                entries.push(document::entry(descriptor, &document::Annotated::new()));
            }
        }
        entries
    }
}
