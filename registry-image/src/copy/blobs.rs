//! Copies of the blobs of a manifest.

use super::{event::Event, run::Run};
use crate::{
    error::Error,
    manifests::known,
    source::{BlobStream, Source as _, absent, sized},
    target::Kind,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use registry_core::{Digest, manifest::Child, storage::StoredManifest};

/// A blob that a manifest refers to.
struct Wanted {
    digest: Digest,
    size: u64,
    /// True if it may be absent in the source.
    is_foreign: bool,
}

impl Run<'_> {
    /// Copies blobs, several at a time.
    pub(super) async fn blobs(
        &self,
        manifest: &StoredManifest,
        children: impl Iterator<Item = &Child>,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for child in children {
            let digest = known(self.source, manifest, child)?;
            if self.update(|progress| progress.blobs.insert((digest, child.size))) {
                wanted.push(Wanted {
                    digest,
                    size: child.size,
                    is_foreign: child.is_nondistributable() || !child.urls.is_empty(),
                });
            }
        }
        let copies: Vec<_> = wanted.iter().map(|wanted| self.blob(wanted).boxed()).collect();
        let copied = stream::iter(copies)
            .buffer_unordered(self.copy.jobs)
            .try_collect::<()>()
            .await;
        if copied.is_err() {
            // They count as copied only if all of them are.
            self.update(|progress| {
                wanted
                    .iter()
                    .for_each(|blob| _ = progress.blobs.remove(&(blob.digest, blob.size)))
            });
        }
        copied
    }

    async fn blob(&self, wanted: &Wanted) -> Result<(), Error> {
        let (source, target) = (self.source, self.copy.target);
        let &Wanted { digest, size, .. } = wanted;
        if target.has(Kind::Blob, &digest, size).await? {
            self.update(|progress| progress.totals.skipped += 1);
            self.copy.options.tell(|| Event::BlobSkipped { digest, size });
            return Ok(());
        }
        if !self.copy.dry_run && target.mount(&digest, size, source.origin().as_ref()).await? {
            self.update(|progress| progress.totals.mounted += 1);
            self.copy.options.tell(|| Event::BlobMounted { digest, size });
            return Ok(());
        }
        let Some(blob) = source.blob(&digest, 0).await? else {
            if wanted.is_foreign {
                self.copy.options.tell(|| Event::BlobAbsent { digest, size });
                return Ok(());
            }
            return Err(absent(source, &target.describe(), digest, size));
        };
        if blob.size != size {
            return Err(Error::Size {
                place: source.describe(),
                digest,
                expected: size,
                actual: blob.size,
            });
        }
        self.copy.options.tell(|| Event::BlobStarted { digest, size });
        if !self.copy.dry_run {
            let stream = self.observed(digest, sized(source.describe(), digest, size, blob.stream));
            target.put_blob(&digest, size, stream).await?;
            self.copy.options.tell(|| Event::BlobCopied { digest, size });
        }
        self.update(|progress| {
            progress.totals.blobs += 1;
            progress.totals.bytes = progress.totals.bytes.saturating_add(size);
        });
        Ok(())
    }

    /// Reports the bytes of a stream as events.
    fn observed(&self, digest: Digest, stream: BlobStream) -> BlobStream {
        let Some(listener) = self.copy.options.listener.clone() else {
            return stream;
        };
        Box::pin(stream.inspect_ok(move |data| {
            let bytes = data.len() as u64;
            listener(&Event::BlobBytes { digest, bytes });
        }))
    }
}
