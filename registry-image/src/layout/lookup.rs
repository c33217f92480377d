//! [`Lookup`]: the entries of a layout by their digests and by their tags.

use super::entries::Entry;
use registry_core::{Descriptor, Digest, Tag};
use std::collections::{BTreeMap, btree_map::Entry as Place};

/// Entries by their digests and tags. A layout may have hundreds of thousands, so no query walks over all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookup {
    digests: BTreeMap<Digest, Descriptor>,
    tags: BTreeMap<Tag, Tagged>,
}

/// Entries with one tag.
#[derive(Clone, Debug)]
pub(super) enum Tagged {
    One(Descriptor),
    /// Different manifests, such as of several repositories.
    Several,
}

impl Lookup {
    /// Lists entries, and others that have no tags.
    pub(super) fn of(entries: &[Entry], nameless: &[Entry]) -> Self {
        let mut lookup = Self::default();
        for entry in entries.iter().chain(nameless) {
            let descriptor = &entry.descriptor;
            // The first entry of a digest counts.
            let place = lookup.digests.entry(descriptor.digest);
            place.or_insert_with(|| descriptor.clone());
        }
        for entry in entries {
            for tag in entry.tags() {
                lookup.add(tag, &entry.descriptor);
            }
        }
        lookup
    }

    fn add(&mut self, tag: Tag, descriptor: &Descriptor) {
        match self.tags.entry(tag) {
            Place::Vacant(place) => _ = place.insert(Tagged::One(descriptor.clone())),
            Place::Occupied(mut place) => match place.get_mut() {
                Tagged::One(found) if found.digest == descriptor.digest => {
                    // The last entry of a tag counts.
                    found.clone_from(descriptor);
                }
                found => *found = Tagged::Several,
            },
        }
    }

    pub(super) fn digest(&self, digest: &Digest) -> Option<&Descriptor> {
        self.digests.get(digest)
    }

    pub(super) fn tag(&self, tag: &Tag) -> Option<&Tagged> {
        self.tags.get(tag)
    }

    /// Returns the tags in byte order.
    pub(super) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.keys()
    }
}
