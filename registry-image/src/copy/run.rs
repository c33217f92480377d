//! [`Run`]: one run of a copy. Children come before their parents, and referrers before the image that is requested.
//!
//! A manifest is in memory while its children are copied, so the depth of nested indexes is limited.

use super::{
    event::Event,
    options::{CopyItem, ImageCopy},
    report::{Copied, NotCopied, Report},
};
use crate::{
    error::Error,
    narrow::{Narrowed, narrow},
    target::Kind,
    walk,
};
use futures_util::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use registry_core::{
    Algorithm, AnyDigest, Digest, Reference, Tag,
    manifest::{Child, Manifest},
    storage::StoredManifest,
};
use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Mutex, PoisonError},
};

/// Maximum depth of indexes and referrers within each other.
const DEPTH: usize = 16;

pub(super) struct Run<'a> {
    pub(super) copy: &'a ImageCopy<'a>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
pub(super) struct Progress {
    /// Manifests whose children were copied, or are being copied.
    visited: BTreeSet<Digest>,
    /// Manifests that the present item has added.
    entered: Vec<Digest>,
    /// Blobs that were copied, or are being copied, with their sizes.
    pub(super) blobs: BTreeSet<(Digest, u64)>,
    pub(super) totals: Report,
}

impl ImageCopy<'_> {
    /// Copies the items, one after the other.
    ///
    /// From an incremental archive, nothing is written unless the target has the [base](Self::verify_base).
    ///
    /// # Cancel safety
    ///
    /// A dropped copy leaves no part of an image visible under a tag. It can be repeated.
    ///
    /// # Errors
    ///
    /// [`Error`] of the first item that failed. With [`keep_going`](Self::keep_going), such an error is part of the
    /// report, and only the end of the copy can fail.
    pub async fn run(&self, items: &[CopyItem]) -> Result<Report, Error> {
        self.verify_base(items).await?;
        self.run_unverified(items).await
    }

    pub(super) async fn run_unverified(&self, items: &[CopyItem]) -> Result<Report, Error> {
        let run = Run::new(self);
        let mut report = Report::default();
        for item in items {
            match run.item(item).await {
                Ok(copied) => report.copied.push(copied),
                Err(error) if self.keep_going => report.failed.push(NotCopied {
                    from: item.from.clone(),
                    error,
                }),
                Err(error) => return Err(error),
            }
        }
        if !self.dry_run {
            self.target.finish().await?;
        }
        run.complete(&mut report);
        Ok(report)
    }
}

impl<'a> Run<'a> {
    fn new(copy: &'a ImageCopy<'a>) -> Self {
        Self {
            copy,
            progress: Mutex::default(),
        }
    }

    async fn item(&self, item: &CopyItem) -> Result<Copied, Error> {
        self.update(|progress| progress.entered.clear());
        let copied = self.copied(item).await;
        if copied.is_err() {
            // Another item that needs one of them tries again.
            self.update(|progress| {
                for digest in progress.entered.drain(..) {
                    progress.visited.remove(&digest);
                }
            });
        }
        copied
    }

    async fn copied(&self, item: &CopyItem) -> Result<Copied, Error> {
        let found = self.copy.source.resolve(&item.from).await?;
        let found = found.ok_or_else(|| self.no_manifest(item.from.clone()))?;
        let original = self.required(&found.digest).await?;
        let manifest = self.narrowed(original).await?;
        self.whole(&manifest, 0).await?;
        self.put(&manifest, &item.tags).await?;
        Ok(Copied {
            from: item.from.clone(),
            source: found.digest,
            target: manifest.digest,
            tags: item.tags.clone(),
        })
    }

    /// Adds the totals to a report.
    fn complete(self, report: &mut Report) {
        let progress = self.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.blobs = progress.totals.blobs;
        report.bytes = progress.totals.bytes;
        report.skipped = progress.totals.skipped;
        report.mounted = progress.totals.mounted;
    }

    /// Reads a manifest, and checks its digest.
    async fn read(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        let Some(read) = self.copy.source.manifest(digest).await? else {
            return Ok(None);
        };
        let actual = Digest::of(digest.algorithm(), &read.bytes);
        if actual == *digest {
            Ok(Some(read))
        } else {
            Err(Error::Digest {
                place: self.copy.source.describe(),
                digest: *digest,
                actual,
            })
        }
    }

    async fn required(&self, digest: &Digest) -> Result<StoredManifest, Error> {
        let read = self.read(digest).await?;
        read.ok_or_else(|| self.no_manifest(digest.into()))
    }

    fn no_manifest(&self, reference: Reference) -> Error {
        Error::NoManifest {
            place: self.copy.source.describe(),
            reference,
        }
    }

    fn refused(&self, digest: &Digest, reason: String) -> Error {
        Error::Refused {
            place: self.copy.source.describe(),
            digest: *digest,
            reason,
        }
    }

    /// Returns the wanted platforms of an index, or the manifest as it is.
    async fn narrowed(&self, manifest: StoredManifest) -> Result<StoredManifest, Error> {
        if self.copy.options.platforms.is_empty() || !manifest.media_type.is_index() {
            return Ok(manifest);
        }
        let malformed = |error: String| self.refused(&manifest.digest, format!("malformed index: {error}"));
        match narrow(&manifest.bytes, &self.copy.options.platforms)
            .map_err(|error| malformed(error.to_string()))?
        {
            Narrowed::Whole => Ok(manifest),
            Narrowed::Image(digest) => {
                let digest = Digest::parse(&digest).map_err(|error| malformed(error.to_string()))?;
                self.required(&digest).await
            }
            Narrowed::Index(bytes) => Ok(StoredManifest::new(
                Digest::of(Algorithm::Sha256, &bytes),
                manifest.media_type,
                bytes.into(),
            )),
            Narrowed::Lacks(platform) => Err(self.refused(
                &manifest.digest,
                format!("the index has no image for {platform}; choose one of its platforms"),
            )),
        }
    }

    /// Copies everything that a manifest refers to, and then what refers to it or to its children, but not the manifest
    /// itself.
    fn whole<'b>(&'b self, manifest: &'b StoredManifest, depth: usize) -> BoxFuture<'b, Result<(), Error>> {
        async move {
            let before = self.update(|progress| progress.entered.len());
            self.tree(manifest, depth).await?;
            if !self.copy.options.referrers {
                return Ok(());
            }
            // A referrer may list any of these, so all of them come first.
            let entered: Vec<_> =
                self.update(|progress| progress.entered.iter().skip(before).copied().collect());
            for subject in entered {
                self.referrers(&subject, depth).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Copies everything that a manifest refers to, but not the manifest itself.
    fn tree<'b>(&'b self, manifest: &'b StoredManifest, depth: usize) -> BoxFuture<'b, Result<(), Error>> {
        async move {
            if depth > DEPTH {
                let reason = format!("more than {DEPTH} manifests refer to each other in a chain");
                return Err(self.refused(&manifest.digest, reason));
            }
            if !self.update(|progress| progress.visited.insert(manifest.digest)) {
                return Ok(());
            }
            self.update(|progress| progress.entered.push(manifest.digest));
            self.children(manifest, depth).await
        }
        .boxed()
    }

    fn parsed(&self, manifest: &StoredManifest) -> Result<Manifest, Error> {
        let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type);
        parsed.map_err(|source| Error::Manifest {
            place: self.copy.source.describe(),
            digest: manifest.digest,
            source,
        })
    }

    async fn children(&self, manifest: &StoredManifest, depth: usize) -> Result<(), Error> {
        let parsed = self.parsed(manifest)?;
        // BuildKit lists the blobs of a cache in an index.
        let (images, others): (Vec<_>, Vec<_>) =
            parsed.manifests().iter().partition(|child| child.is_manifest());
        for child in images {
            let digest = self.known(manifest, child)?;
            match self.read(&digest).await? {
                Some(read) if read.bytes.len() as u64 != child.size => {
                    return Err(Error::Size {
                        place: self.copy.source.describe(),
                        digest,
                        expected: child.size,
                        actual: read.bytes.len() as u64,
                    });
                }
                Some(child) => {
                    self.tree(&child, depth + 1).await?;
                    self.put_child(&child).await?;
                }
                None if self.copy.options.strict => return Err(self.no_manifest(digest.into())),
                None => self.copy.options.tell(|| Event::ImageAbsent {
                    index: manifest.digest,
                    digest,
                }),
            }
        }
        self.blobs(manifest, parsed.blobs().iter().chain(others)).await
    }

    /// Copies the referrers of a manifest, and the signatures that cosign stores under tags.
    async fn referrers(&self, subject: &Digest, depth: usize) -> Result<(), Error> {
        let mut referrers = pin!(walk::referrers(self.copy.source, *subject));
        while let Some(referrer) = referrers.try_next().await? {
            // A list may be older than a deletion.
            let Some(referrer) = self.read(&referrer.digest).await? else {
                continue;
            };
            // Some lists of referrers under tags are made by hand.
            if self.parsed(&referrer)?.subject().and_then(AnyDigest::known) != Some(subject) {
                continue;
            }
            self.whole(&referrer, depth + 1).await?;
            self.put(&referrer, &[]).await?;
        }
        for suffix in ["sig", "att", "sbom"] {
            let name = format!("{}-{}.{suffix}", subject.algorithm(), subject.hex());
            // The tag of a sha512 is longer than a tag may be.
            let Ok(tag) = Tag::parse(&name) else { continue };
            let Some(found) = self.copy.source.resolve(&(&tag).into()).await? else {
                continue;
            };
            let signature = self.required(&found.digest).await?;
            self.whole(&signature, depth + 1).await?;
            self.put(&signature, &[tag]).await?;
        }
        Ok(())
    }

    async fn put(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        let target = self.copy.target;
        let (digest, size) = (manifest.digest, manifest.bytes.len() as u64);
        if tags.is_empty() && target.has(Kind::Manifest, &digest, size).await? {
            return Ok(());
        }
        if !self.copy.dry_run {
            target.put_manifest(manifest, tags).await?;
        }
        self.copy.options.tell(|| Event::ManifestCopied {
            digest,
            tags: tags.to_vec(),
        });
        Ok(())
    }

    async fn put_child(&self, manifest: &StoredManifest) -> Result<(), Error> {
        let target = self.copy.target;
        let (digest, size) = (manifest.digest, manifest.bytes.len() as u64);
        if target.has(Kind::Manifest, &digest, size).await? {
            return Ok(());
        }
        if !self.copy.dry_run {
            target.put_child(manifest).await?;
        }
        self.copy.options.tell(|| Event::ManifestCopied {
            digest,
            tags: Vec::new(),
        });
        Ok(())
    }

    pub(super) fn known(&self, manifest: &StoredManifest, child: &Child) -> Result<Digest, Error> {
        match &child.digest {
            AnyDigest::Known(digest) => Ok(*digest),
            AnyDigest::Foreign(_) => Err(self.refused(
                &manifest.digest,
                format!("it refers to {}, whose algorithm is not supported", child.digest),
            )),
        }
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
