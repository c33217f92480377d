//! One repository in memory: its manifests, tags and referrers, which change together.
//!
//! The bytes of its blobs are in the [state](super::state), because repositories share them.

use super::{
    touches::{Stamp, Touch},
    trash::{Origin, Trash},
    upload::{Upload, now},
};
use crate::{
    descriptor::Descriptor,
    digest::Digest,
    manifest,
    media_type::MediaType,
    reference::{Reference, Tag},
    storage::{Deletion, PutManifest, Result, StorageError, StoredManifest, TagExpect, TagVersion},
    upload_id::UploadId,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// A repository. It exists for readers from its first manifest on, but it can contain blobs and uploads
/// before.
pub(super) struct Repository {
    pub(super) exists: bool,
    /// Blobs that it holds.
    pub(super) blobs: BTreeMap<Digest, Touch>,
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) tags: BTreeMap<Tag, Digest>,
    /// Version of each tag.
    versions: BTreeMap<Tag, TagVersion>,
    /// Referrers by subject, then by the digest of the manifest that names it.
    pub(super) referrers: BTreeMap<Digest, BTreeMap<Digest, Descriptor>>,
    pub(super) uploads: BTreeMap<UploadId, Upload>,
    pub(super) touch: Touch,
    pub(super) trash: Trash,
}

pub(super) struct Manifest {
    media_type: MediaType,
    pub(super) bytes: Bytes,
    pub(super) subject: Option<Digest>,
    /// Content that it names, also what need not exist.
    pub(super) named: BTreeSet<Digest>,
    pub(super) touch: Touch,
    /// Time of the last put.
    pub(super) put: SystemTime,
}

impl Repository {
    /// Creates a repository that is used now.
    pub(super) const fn new(stamp: Stamp) -> Self {
        Self {
            exists: false,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            versions: BTreeMap::new(),
            referrers: BTreeMap::new(),
            uploads: BTreeMap::new(),
            touch: Touch::new(stamp),
            trash: Trash::new(),
        }
    }

    /// Returns true if there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.manifests.is_empty() && self.tags.is_empty() && self.uploads.is_empty()
    }

    /// Returns true if there is anything in it, or if it exists for readers.
    pub(super) fn holds_anything(&self) -> bool {
        self.exists || !self.blobs.is_empty() || !self.uploads.is_empty()
    }

    pub(super) fn manifest(&self, reference: &Reference) -> Option<StoredManifest> {
        let digest = match reference {
            Reference::Tag(tag) => self.tags.get(tag)?,
            Reference::Digest(digest) => digest,
        };
        let manifest = self.manifests.get(digest)?;
        Some(StoredManifest::new(
            *digest,
            manifest.media_type.clone(),
            manifest.bytes.clone(),
        ))
    }

    pub(super) fn put(&mut self, put: PutManifest, stamp: Stamp) {
        self.exists = true;
        let digest = *put.manifest.digest();
        let subject = put.referrer.map(|(subject, descriptor)| {
            self.referrers
                .entry(subject)
                .or_default()
                .insert(digest, descriptor);
            subject
        });
        let document = manifest::Manifest::parse_stored(put.manifest.bytes(), &put.media_type);
        let mut named: BTreeSet<Digest> = put.needs.iter().map(|needed| needed.digest).collect();
        named.extend(document.iter().flat_map(manifest::Manifest::named));
        let manifest = Manifest {
            media_type: put.media_type,
            bytes: put.manifest.into_bytes(),
            subject,
            named,
            touch: Touch::new(stamp),
            put: now(),
        };
        self.manifests.insert(digest, manifest);
    }

    /// Returns the version of a tag that exists.
    pub(super) fn version(&self, tag: &Tag) -> Option<TagVersion> {
        self.versions.get(tag).copied()
    }

    /// Checks that a tag may be moved or deleted.
    pub(super) fn admit(&self, tag: &Tag, expect: TagExpect) -> Result<()> {
        admit(tag, self.tags.get(tag), self.version(tag), expect)
    }

    /// Moves the tag and returns the digest that it pointed at before. No other move has the same stamp.
    pub(super) fn move_tag(
        &mut self,
        tag: &Tag,
        to: Digest,
        expect: TagExpect,
        origin: &Origin,
        stamp: Stamp,
    ) -> Result<Option<Digest>> {
        self.admit(tag, expect)?;
        let previous = self.tags.insert(tag.clone(), to);
        self.versions.insert(tag.clone(), TagVersion::new(stamp.order));
        if previous != Some(to) {
            self.trash.moved(tag, to, origin);
        } else if !origin.restores {
            self.trash.put_again(tag, to);
        }
        Ok(previous)
    }

    /// Removes a tag, and returns the digest that it pointed at.
    pub(super) fn remove_tag(&mut self, tag: &Tag, how: &Deletion) -> Option<Digest> {
        let target = self.forget_tag(tag)?;
        let manifest = self.manifest(&Reference::Digest(target));
        self.trash.tag(tag, target, manifest, how);
        Some(target)
    }

    /// Removes the manifest and the tags that point at it, and returns these tags.
    pub(super) fn remove_manifest(&mut self, digest: &Digest, how: &Deletion) -> Option<Vec<Tag>> {
        let stored = self.manifest(&Reference::Digest(*digest));
        let manifest = self.manifests.remove(digest)?;
        if let Some(subject) = manifest.subject
            && let Some(referrers) = self.referrers.get_mut(&subject)
        {
            referrers.remove(digest);
            if referrers.is_empty() {
                self.referrers.remove(&subject);
            }
        }
        let pointing = self.tags.iter().filter(|(_, target)| *target == digest);
        let dangling: Vec<Tag> = pointing.map(|(tag, _)| tag.clone()).collect();
        for tag in &dangling {
            self.forget_tag(tag);
        }
        if let Some(stored) = &stored {
            self.trash.manifest(stored, &dangling, how);
        }
        Some(dangling)
    }

    fn forget_tag(&mut self, tag: &Tag) -> Option<Digest> {
        self.versions.remove(tag);
        self.tags.remove(tag)
    }
}

/// Checks that a tag that now points at `current`, and has this version, may be moved or deleted.
pub(super) fn admit(
    tag: &Tag,
    current: Option<&Digest>,
    version: Option<TagVersion>,
    expect: TagExpect,
) -> Result<()> {
    if expect.admits(current, version) {
        return Ok(());
    }
    Err(StorageError::TagConflict {
        tag: tag.clone(),
        current: current.copied(),
    })
}
