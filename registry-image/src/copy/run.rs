//! [`Run`]: one run of a copy. Children come before their parents, and referrers before the image that is requested.
//!
//! A manifest is in memory while its children are copied, so the depth of nested indexes is limited.

use super::{
    event::Event,
    options::{CopyItem, ImageCopy},
    report::{Copied, NotCopied, Report},
};
use crate::{
    convert::Converted,
    error::Error,
    manifests::{check_depth, known, parsed, read, read_child, refused},
    narrow::{Narrowed, narrow},
    source::Source as _,
    target::Kind,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use registry_core::{Algorithm, Digest, Reference, Tag, manifest::Manifest, storage::StoredManifest};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

pub(super) struct Run<'a> {
    pub(super) copy: &'a ImageCopy<'a>,
    /// The source of the copy, with its images converted.
    pub(super) source: &'a Converted<'a>,
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
        let source = Converted::new(self.source, &self.options);
        self.run_from(&source, items).await
    }

    /// Copies from this source, which keeps what it converts.
    pub(crate) async fn run_from(&self, source: &Converted<'_>, items: &[CopyItem]) -> Result<Report, Error> {
        let run = Run::new(self, source);
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
    fn new(copy: &'a ImageCopy<'a>, source: &'a Converted<'a>) -> Self {
        Self {
            copy,
            source,
            progress: Mutex::default(),
        }
    }

    async fn item(&self, item: &CopyItem) -> Result<Copied, Error> {
        self.update(|progress| progress.entered.clear());
        self.source.begin();
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
        let found = self.source.resolve(&item.from).await?;
        let found = found.ok_or_else(|| self.no_manifest(item.from.clone()))?;
        let original = self.required(&found.digest).await?;
        let narrowed = self.narrowed(original).await?;
        let is_narrowed = narrowed.digest != found.digest;
        let manifest = self.source.convert(narrowed).await?;
        if self.copy.options.referrers {
            let index = is_narrowed.then_some(found.digest);
            for replaced in self.source.replaced().iter().chain(&index) {
                self.report_referrers(replaced).await?;
            }
        }
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
        report.referrers_not_copied = progress.totals.referrers_not_copied;
    }

    pub(super) async fn required(&self, digest: &Digest) -> Result<StoredManifest, Error> {
        let read = read(self.source, digest).await?;
        read.ok_or_else(|| self.no_manifest(digest.into()))
    }

    fn no_manifest(&self, reference: Reference) -> Error {
        Error::NoManifest {
            place: self.source.describe(),
            reference,
        }
    }

    fn refused(&self, digest: &Digest, reason: String) -> Error {
        refused(self.source, digest, reason)
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
    pub(super) fn whole<'b>(
        &'b self,
        manifest: &'b StoredManifest,
        depth: usize,
    ) -> BoxFuture<'b, Result<(), Error>> {
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
            check_depth(self.source, manifest, depth)?;
            if !self.update(|progress| progress.visited.insert(manifest.digest)) {
                return Ok(());
            }
            self.update(|progress| progress.entered.push(manifest.digest));
            self.children(manifest, depth).await
        }
        .boxed()
    }

    pub(super) fn parsed(&self, manifest: &StoredManifest) -> Result<Manifest, Error> {
        parsed(&self.source.describe(), manifest)
    }

    async fn children(&self, manifest: &StoredManifest, depth: usize) -> Result<(), Error> {
        let parsed = self.parsed(manifest)?;
        // BuildKit lists the blobs of a cache in an index.
        let (images, others): (Vec<_>, Vec<_>) =
            parsed.manifests().iter().partition(|child| child.is_manifest());
        for child in images {
            let digest = known(self.source, manifest, child)?;
            match read_child(self.source, child, &digest).await? {
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

    pub(super) async fn put(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
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

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
