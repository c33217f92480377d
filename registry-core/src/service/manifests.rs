//! Operations on manifests: read, put with tags, and deletion.

use super::{
    Permission, Repository,
    operation::{Before, Operation},
    tag_moves::TagPermit,
};
use crate::{
    auth::{Access, Action},
    digest::{Algorithm, AnyDigest, Digest},
    error::Error,
    hooks::{EventKind, Target},
    manifest::{Child, Manifest},
    media_type::MediaType,
    protocol::Precondition,
    reference::{Reference, Tag},
    storage::{
        Deletion, Moved, Need, Needed, PutManifest, StorageError, StoredManifest, TagExpect, Verified,
        WrongSize,
    },
};
use bytes::Bytes;

/// Manifest to put.
///
/// ```
/// use registry_core::{Algorithm, Digest, Tag, protocol::Precondition, service::ManifestPush};
///
/// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// let digest = Digest::of(Algorithm::Sha512, index.as_bytes());
///
/// // Store it under its sha512, and create a tag that does not exist yet.
/// let mut push = ManifestPush::new(digest, index);
/// push.tags = vec![Tag::parse("1.2.3")?];
/// push.precondition = Some(Precondition::Absent);
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ManifestPush {
    /// Tag to move to it, or the digest that it must have.
    pub reference: Reference,
    /// The document.
    pub bytes: Bytes,
    /// Media type, needed if the document has no `mediaType`. If it has one, both must be equal.
    pub media_type: Option<MediaType>,
    /// Further tags to move to it.
    pub tags: Vec<Tag>,
    /// Condition for the current target of the tags.
    pub precondition: Option<Precondition>,
    /// True if the put undoes a deletion.
    pub(super) restores: bool,
}

impl ManifestPush {
    /// Describes a manifest with a `mediaType` of its own, to be put under a tag or its digest.
    #[must_use]
    pub fn new(reference: impl Into<Reference>, bytes: impl Into<Bytes>) -> Self {
        Self {
            reference: reference.into(),
            bytes: bytes.into(),
            media_type: None,
            tags: Vec::new(),
            precondition: None,
            restores: false,
        }
    }
}

/// Manifest that was put.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ManifestPushed {
    /// Its digest, with the algorithm it was put with.
    pub digest: Digest,
    /// Its subject: the manifest that it refers to.
    pub subject: Option<AnyDigest>,
    /// Its tags, each with its previous target.
    pub moved: Vec<Moved>,
    /// True if it is an index that a client maintains under a referrers tag, unaware that the registry lists
    /// referrers itself.
    pub keeps_referrers: bool,
    /// Content whose size differs from its descriptor's, accepted by
    /// [`allow_wrong_sizes`](super::Builder::allow_wrong_sizes).
    pub wrong_sizes: Vec<WrongSize>,
}

impl Repository {
    /// Reads a manifest by tag or digest, which is a text or a value.
    ///
    /// ```
    /// # use registry_core::{Registry, Tag, storage::MemoryStorage};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    ///
    /// assert!(repository.manifest("v1").await?.is_none());
    /// assert!(repository.manifest(Tag::parse("v1")?).await?.is_none());
    /// assert!(repository.manifest("no tag").await.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the reference is malformed, the manifest may not be pulled, or the storage fails.
    pub async fn manifest<R>(&self, reference: R) -> Result<Option<StoredManifest>, Error>
    where
        R: TryInto<Reference, Error: Into<Error>> + Send,
    {
        let reference = reference.try_into().map_err(Into::into)?;
        let Some((pull, manifest)) = self.find_manifest(&reference).await? else {
            return Ok(None);
        };
        pull.end(|| manifest_pulled(&manifest, reference));
        Ok(Some(manifest))
    }

    /// Returns a manifest, and the operation of pulling it, which the hooks have let pass.
    pub(super) async fn find_manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<(Operation<'_>, StoredManifest)>, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(None);
        }
        let Some(manifest) = self.storage().manifest(&self.name, reference).await? else {
            return Ok(None);
        };
        let mut pull = Operation::begin(self);
        if pull.is_heard() {
            let target = target(reference, Some(&manifest));
            pull.ask(Before::Pull(&target)).await?;
        }
        Ok(Some((pull, manifest)))
    }

    /// Puts a manifest and moves its tags.
    ///
    /// ```
    /// use registry_core::{
    ///     Error, Registry, Tag, protocol::Precondition, service::ManifestPush, storage::MemoryStorage,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    ///
    /// let mut push = ManifestPush::new(Tag::parse("1.2")?, index);
    /// push.tags = vec![Tag::parse("latest")?];
    /// let pushed = repository.put_manifest(push).await?;
    /// assert_eq!(pushed.moved.len(), 2);
    ///
    /// let mut again = ManifestPush::new(Tag::parse("1.2")?, index);
    /// again.precondition = Some(Precondition::Absent);
    /// let refused = repository.put_manifest(again).await;
    /// assert!(matches!(refused, Err(Error::Precondition { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the put, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// - [`Error::Manifest`] if it violates the image specification.
    /// - [`Error::MissingReferences`] or, for an index, [`Error::MissingEntries`], with all content that must
    ///   be pushed first.
    /// - [`Error::DigestMismatch`] if its digest differs from the given one.
    /// - [`Error::Precondition`] and [`Error::Overwrite`] if a tag may not be moved. All tags are checked before
    ///   any is moved. If another client moves a tag meanwhile, the manifest and the tags before it may be stored
    ///   already.
    /// - [`Error`] if the caller may not push to this repository, or the storage fails.
    pub async fn put_manifest(&self, push: ManifestPush) -> Result<ManifestPushed, Error> {
        let permits = self.permit_put(&push.reference, &push.tags).await?;
        self.put_permitted(push, permits).await
    }

    /// Puts a manifest under tags about which the authorizer has decided.
    pub(super) async fn put_permitted(
        &self,
        push: ManifestPush,
        permits: Vec<TagPermit>,
    ) -> Result<ManifestPushed, Error> {
        let write = self.write()?;
        let ManifestPush {
            reference,
            bytes,
            media_type,
            precondition,
            restores,
            ..
        } = push;
        let limits = &self.registry.inner.limits;
        limits.admit_document(&bytes)?;
        let manifest = Manifest::parse(&bytes, media_type.as_ref())?;
        limits.admit_manifest(&manifest)?;
        self.registry.inner.layer_urls.admit(&manifest)?;
        let verified = match reference {
            Reference::Digest(expected) => {
                let verified = Verified::of(expected.algorithm(), bytes);
                if *verified.digest() != expected {
                    return Err(Error::DigestMismatch {
                        expected,
                        actual: *verified.digest(),
                    });
                }
                verified
            }
            Reference::Tag(_) => Verified::of(Algorithm::Sha256, bytes),
        };
        let (digest, size) = (*verified.digest(), verified.size());

        let mut put = PutManifest::new(verified, manifest.media_type().clone())
            .by(self.user())
            .restoring(restores);
        put.tags = self.tag_moves(&permits, precondition, digest).await?;
        let lacking = |error| of_index(error, &manifest);
        put.needs = self.needs(&manifest).map_err(lacking)?;
        put.sizes = self.registry.inner.sizes;
        put.referrer = manifest.referrer(digest, size);
        let mut operation = Operation::begin(self);
        operation.ask(Before::PutManifest(&manifest, &put)).await?;

        let outcome = write.put_manifest(&self.name, put).await;
        let outcome = outcome.map_err(|error| lacking(error.into()))?;
        self.warn_of_sizes(&digest, &outcome.wrong_sizes);
        let moved = outcome.moved;
        operation.end(|| EventKind::ManifestPushed {
            digest,
            media_type: manifest.media_type().clone(),
            size,
            created: outcome.created,
            tags: moved.clone(),
        });
        match outcome.failed {
            None => Ok(ManifestPushed {
                digest,
                subject: manifest.subject().cloned(),
                keeps_referrers: self.keeps_referrers(&manifest, &moved),
                wrong_sizes: outcome.wrong_sizes,
                moved,
            }),
            Some((_, StorageError::TagConflict { tag, .. })) => {
                Err(self.tag_conflict(&permits, precondition, tag))
            }
            Some((_, error)) => Err(error.into()),
        }
    }

    /// Logs one warning, regardless of the number of wrong sizes.
    fn warn_of_sizes(&self, manifest: &Digest, wrong: &[WrongSize]) {
        if let Some(first) = wrong.first() {
            tracing::warn!(
                repository = %self.name,
                %manifest,
                digest = %first.digest,
                stored = first.stored,
                claimed = first.claimed,
                descriptors = wrong.len(),
                "accepted a manifest with wrong sizes in its descriptors"
            );
        }
    }

    fn keeps_referrers(&self, manifest: &Manifest, moved: &[Moved]) -> bool {
        let kept = moved.iter().find(|moved| moved.tag.is_of_referrers());
        let Some(Moved { tag, .. }) = kept.filter(|_| manifest.media_type().as_str() == MediaType::OCI_INDEX)
        else {
            return false;
        };
        let repository = &self.name;
        tracing::info!(%repository, %tag, "a client maintains an index of referrers, although the registry lists them itself");
        true
    }

    /// Returns the content that must exist: everything that the manifest refers to, except content that may
    /// be elsewhere.
    pub(super) fn needs(&self, manifest: &Manifest) -> Result<Vec<Needed>, Error> {
        let manifests: &[Child] = if self.registry.inner.sparse_indexes {
            &[]
        } else {
            manifest.manifests()
        };
        let blobs = manifest.blobs().iter().map(|child| (child, Need::Blob));
        let entries = manifests.iter().map(|child| match child.is_manifest() {
            true => (child, Need::Manifest),
            false => (child, Need::Either),
        });
        let layer_urls = &self.registry.inner.layer_urls;
        let mut foreign = Vec::new();
        let mut needs = Vec::new();
        for (child, need) in blobs
            .chain(entries)
            .filter(|(child, _)| !layer_urls.may_be_absent(child))
        {
            match &child.digest {
                AnyDigest::Known(digest) => needs.push(Needed::new(*digest, child.size, need)),
                // No content with an unsupported algorithm can have been pushed here.
                AnyDigest::Foreign(_) => foreign.push(child.digest.clone()),
            }
        }
        if foreign.is_empty() {
            Ok(needs)
        } else {
            Err(Error::MissingReferences(foreign))
        }
    }

    /// Deletes a tag and nothing else, or a manifest with every tag that points at it. Returns false if there
    /// was no such tag or manifest. The reference is a text or a value.
    ///
    /// ```
    /// # use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    /// # let pushed = repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
    ///
    /// // Delete the tag. The manifest stays.
    /// assert!(repository.delete_manifest("v1").await?);
    /// assert!(repository.manifest(pushed.digest).await?.is_some());
    ///
    /// // Delete the manifest.
    /// assert!(repository.delete_manifest(pushed.digest).await?);
    /// assert!(!repository.delete_manifest(pushed.digest).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the deletion, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// [`Error`] if the reference is malformed, the manifest may not be deleted, or the storage fails.
    pub async fn delete_manifest<R>(&self, reference: R) -> Result<bool, Error>
    where
        R: TryInto<Reference, Error: Into<Error>> + Send,
    {
        let reference = reference.try_into().map_err(Into::into)?;
        self.delete_at(&reference, TagExpect::Any, self.deletion()).await
    }

    /// Deletes as [`delete_manifest`](Self::delete_manifest), but for good: a storage with a trash keeps no record, so
    /// the deletion cannot be undone.
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the deletion, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// [`Error`] if the reference is malformed, the manifest may not be deleted, or the storage fails.
    pub async fn delete_manifest_permanently<R>(&self, reference: R) -> Result<bool, Error>
    where
        R: TryInto<Reference, Error: Into<Error>> + Send,
    {
        let reference = reference.try_into().map_err(Into::into)?;
        let how = self.deletion().permanently();
        self.delete_at(&reference, TagExpect::Any, how).await
    }

    /// Deletes a tag if it points at `expected`. Returns false if there was no such tag. The user in `how` is the one
    /// that the repository is used for.
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the deletion, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] if the tag points at another manifest. [`Error`] if the tag may not be deleted, or the
    /// storage fails.
    pub async fn delete_tag_at(&self, tag: &Tag, expected: Digest, how: Deletion) -> Result<bool, Error> {
        let how = how.by(self.user());
        self.delete_at(&tag.into(), TagExpect::Is(expected), how).await
    }

    /// Deletes what a reference names; a tag if it points where `expect` says.
    async fn delete_at(
        &self,
        reference: &Reference,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<bool, Error> {
        let access = match reference {
            Reference::Tag(tag) => Access::to_tag(&self.name, Action::Delete, tag),
            Reference::Digest(_) => Access::to(&self.name, Action::Delete),
        };
        if self.registry.permit(&self.authority, &access).await? == Permission::Hidden {
            return Ok(false);
        }
        let write = self.delete()?;
        let mut operation = Operation::begin(self);
        let mut size = None;
        if operation.is_heard() {
            let stored = match (self.storage().manifest(&self.name, reference).await, reference) {
                // An unreadable manifest can still be deleted.
                (Err(_), Reference::Digest(_)) => None,
                (stored, _) => stored?,
            };
            let target = target(reference, stored.as_ref());
            operation.ask(Before::Delete(&target)).await?;
            size = target.size();
        }
        match reference {
            Reference::Tag(tag) => {
                let Some(digest) = write.delete_tag(&self.name, tag, expect, how).await? else {
                    return Ok(false);
                };
                operation.end(|| EventKind::TagDeleted {
                    tag: tag.clone(),
                    digest,
                });
            }
            Reference::Digest(digest) => {
                let Some(tags) = write.delete_manifest(&self.name, digest, how).await? else {
                    return Ok(false);
                };
                operation.end(|| EventKind::ManifestDeleted {
                    digest: *digest,
                    size,
                    tags,
                });
            }
        }
        Ok(true)
    }
}

/// Describes a manifest, or its absence, for the hooks.
fn target(reference: &Reference, stored: Option<&StoredManifest>) -> Target {
    let size = stored.map(|stored| stored.bytes.len() as u64);
    match reference {
        Reference::Tag(tag) => Target::Tag {
            tag: tag.clone(),
            digest: stored.map(|stored| stored.digest),
            size,
        },
        Reference::Digest(digest) => Target::Manifest {
            digest: *digest,
            size,
        },
    }
}

/// Returns the event for a manifest that was read.
pub(super) fn manifest_pulled(manifest: &StoredManifest, reference: Reference) -> EventKind {
    EventKind::ManifestPulled {
        digest: manifest.digest,
        media_type: manifest.media_type.clone(),
        size: manifest.bytes.len() as u64,
        reference,
    }
}

/// Distinguishes missing content of an index, which the host may allow.
fn of_index(error: Error, manifest: &Manifest) -> Error {
    match error {
        Error::MissingReferences(missing) if !manifest.manifests().is_empty() => {
            Error::MissingEntries(missing)
        }
        other => other,
    }
}
