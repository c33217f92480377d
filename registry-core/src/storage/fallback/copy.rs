//! Copies from the lower storage to the upper one.

use super::FallbackStorage;
use crate::{
    digest::Digest,
    error::BoxError,
    manifest::{Child, Manifest},
    media_type::MediaType,
    name::RepositoryName,
    reference::Reference,
    storage::{
        content::{BlobBody, BlobInfo, ContentStream, ReadBlob, StoredManifest},
        error::{Result, StorageError},
        ingest::{IngestError, ingest},
        put::{Need, Needed, PutManifest, SizePolicy},
        read::Storage,
        upload::Verified,
        write::StorageWrite,
    },
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    collections::HashSet,
    pin::{Pin, pin},
    task::{Context, Poll},
};

/// Content of the lower storage, as the body of an upload.
struct Copied(ContentStream);

impl Body for Copied {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.0.as_mut().poll_frame(context);
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Step of the copy of a manifest.
enum Step {
    /// Copy what it names, then the manifest.
    Manifest(Digest),
    /// Put it: what it names has been copied.
    Put(Box<Found>),
}

/// A manifest of the lower storage, whose bytes are verified.
struct Found {
    manifest: Verified<Bytes>,
    media_type: MediaType,
    /// The parsed document. `None` if it cannot be read.
    parsed: Option<Manifest>,
}

/// Content of the copied manifests that the upper storage holds.
#[derive(Default)]
struct Held {
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Held {
    /// Returns what of a manifest's content has to exist when it is put.
    fn needs(&self, manifest: &Manifest) -> Vec<Needed> {
        let needed = |child: &Child, held: &HashSet<Digest>, need| {
            let digest = child.digest.known().filter(|digest| held.contains(digest))?;
            Some(Needed::new(*digest, child.size, need))
        };
        let entry = |child| {
            let manifest = needed(child, &self.manifests, Need::Manifest);
            manifest.or_else(|| needed(child, &self.blobs, Need::Blob))
        };
        let blobs = manifest.blobs().iter();
        let blobs = blobs.filter_map(|child| needed(child, &self.blobs, Need::Blob));
        blobs
            .chain(manifest.manifests().iter().filter_map(entry))
            .collect()
    }
}

impl<U: Storage, L: Storage> FallbackStorage<U, L> {
    pub(super) fn writer(&self) -> Result<&dyn StorageWrite> {
        self.upper.write().ok_or(StorageError::ReadOnly)
    }

    /// Copies content that the upper storage lacks.
    ///
    /// # Errors
    ///
    /// [`StorageError::MissingReferences`] with what the lower storage lacks, too.
    pub(super) async fn copy_missing(
        &self,
        repository: &RepositoryName,
        missing: &[Digest],
        needs: &[Needed],
    ) -> Result<()> {
        let wanted: HashSet<&Digest> = missing.iter().collect();
        let needs = || needs.iter().filter(|needed| wanted.contains(&needed.digest));
        let mut absent = Vec::new();
        for needed in needs() {
            if !self.is_below(repository, needed).await? {
                absent.push(needed.digest);
            }
        }
        if absent.is_empty() {
            for needed in needs() {
                let copied = (needed.need.admits_blob()
                    && self
                        .copy_blob(repository, repository, &needed.digest)
                        .await?
                        .is_some())
                    || (needed.need.admits_manifest()
                        && self.copy_manifest(repository, &needed.digest).await?);
                if !copied {
                    absent.push(needed.digest);
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        absent.sort_unstable();
        absent.dedup();
        Err(StorageError::MissingReferences(absent))
    }

    /// Copies what a manifest names although it may be absent: entries of a sparse index, and layers that are elsewhere.
    pub(super) async fn copy_optional(&self, repository: &RepositoryName, put: &PutManifest) -> Result<()> {
        // Like the content of the lower storage, a manifest that cannot be read names nothing.
        let Ok(manifest) = Manifest::parse_stored(put.manifest.bytes(), &put.media_type) else {
            return Ok(());
        };
        let needed: HashSet<Digest> = put.needs.iter().map(|needed| needed.digest).collect();
        for digest in manifest.named().filter(|digest| !needed.contains(digest)) {
            self.hold_blob(repository, &digest).await?;
        }
        let entries = manifest.manifests().iter();
        let entries = entries.filter_map(|entry| entry.digest.known());
        for digest in entries.filter(|digest| !needed.contains(*digest)) {
            self.copy_manifest(repository, digest).await?;
        }
        Ok(())
    }

    /// Returns true if the lower storage has what is needed.
    async fn is_below(&self, repository: &RepositoryName, needed: &Needed) -> Result<bool> {
        let Needed { digest, need, .. } = needed;
        if need.admits_blob() && self.lower.blob(repository, digest).await?.is_some() {
            return Ok(true);
        }
        let reference = Reference::Digest(*digest);
        Ok(need.admits_manifest() && self.lower.manifest(repository, &reference).await?.is_some())
    }

    /// Copies a blob. Returns `None` if the lower storage does not hold it, or holds it damaged.
    pub(super) async fn copy_blob(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>> {
        let Some(read) = self.lower.open_blob(from, digest, ReadBlob::default()).await? else {
            return Ok(None);
        };
        let BlobBody::Content(content) = read.body else {
            return Err(StorageError::internal(
                "the lower storage redirects where it may not",
            ));
        };
        let body = pin!(Copied(content.into_stream()));
        match ingest(self.writer()?, to, body, Some(*digest)).await {
            Ok(info) => Ok(Some(info)),
            Err(IngestError::DigestMismatch { actual, .. }) => {
                tracing::warn!(repository = %from, %digest, %actual, "a blob of the lower storage is damaged; push it again to replace it");
                Ok(None)
            }
            // The body is that of the lower storage, and not of a client.
            Err(IngestError::Storage(StorageError::Body(source))) => {
                let context = format!("cannot copy the blob {digest} of {from} from the lower storage");
                Err(StorageError::failed(context, source))
            }
            Err(IngestError::Storage(error)) => Err(error),
        }
    }

    /// Copies a manifest with all that it names, as far as the lower storage has it. Returns false if it does not have
    /// the manifest.
    async fn copy_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        let mut steps = vec![Step::Manifest(*digest)];
        // Verified manifests cannot name each other in circles, so that this ends.
        let mut held = Held::default();
        while let Some(step) = steps.pop() {
            match step {
                Step::Manifest(digest) if held.manifests.contains(&digest) => {}
                Step::Manifest(digest) => {
                    let reference = Reference::Digest(digest);
                    if self.upper.manifest(repository, &reference).await?.is_some() {
                        held.manifests.insert(digest);
                    } else if let Some(stored) = self.lower.manifest(repository, &reference).await?
                        && let Some(found) = verified(repository, &digest, stored)
                    {
                        let parsed = found.parsed.as_ref();
                        let named: HashSet<Digest> = parsed.into_iter().flat_map(Manifest::named).collect();
                        for blob in &named {
                            if self.hold_blob(repository, blob).await? {
                                held.blobs.insert(*blob);
                            }
                        }
                        let entries = parsed.into_iter().flat_map(Manifest::manifests);
                        let entries = entries.filter_map(|entry| entry.digest.known().copied());
                        let entries: Vec<_> = entries.map(Step::Manifest).collect();
                        steps.push(Step::Put(Box::new(found)));
                        steps.extend(entries);
                    }
                }
                Step::Put(found) => {
                    let digest = *found.manifest.digest();
                    self.put_copy(repository, *found, &held).await?;
                    held.manifests.insert(digest);
                }
            }
        }
        Ok(held.manifests.contains(digest))
    }

    /// Makes the upper storage hold a blob. Returns false if there is none.
    async fn hold_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        Ok(self.upper.blob(repository, digest).await?.is_some()
            || self.copy_blob(repository, repository, digest).await?.is_some())
    }

    /// Puts a manifest of the lower storage.
    async fn put_copy(&self, repository: &RepositoryName, found: Found, held: &Held) -> Result<()> {
        let Found {
            manifest,
            media_type,
            parsed,
        } = found;
        let digest = *manifest.digest();
        let size = manifest.size();
        let put = PutManifest {
            needs: parsed.as_ref().map_or_else(Vec::new, |parsed| held.needs(parsed)),
            // The lower storage has accepted it.
            sizes: SizePolicy::Any,
            referrer: parsed.and_then(|parsed| parsed.referrer(digest, size)),
            ..PutManifest::new(manifest, media_type)
        };
        match self.writer()?.put_manifest(repository, put).await {
            Ok(_) => Ok(()),
            Err(error @ StorageError::MissingReferences(_)) => Err(StorageError::unavailable(
                format!("what the manifest {digest} of {repository} names was removed while it was copied"),
                None,
                Some(error.into()),
            )),
            Err(error) => Err(error),
        }
    }
}

/// Verifies a manifest of the lower storage, and parses it. Returns `None` if its bytes are damaged.
fn verified(repository: &RepositoryName, digest: &Digest, stored: StoredManifest) -> Option<Found> {
    let StoredManifest {
        media_type, bytes, ..
    } = stored;
    let manifest = Verified::of(digest.algorithm(), bytes);
    if manifest.digest() != digest {
        tracing::warn!(%repository, %digest, "a manifest of the lower storage is damaged; push it again to replace it");
        return None;
    }
    let parsed = Manifest::parse_stored(manifest.bytes(), &media_type).ok();
    Some(Found {
        manifest,
        media_type,
        parsed,
    })
}
