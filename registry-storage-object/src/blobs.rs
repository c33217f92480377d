//! Blobs as readers see them.
//!
//! Requests: 2 for a blob, in parallel, whole or in part. A large one takes more: see [`Reading`].

use crate::{
    bucket::{Chunks, Meta},
    keys,
    links::{is_whole, known_as},
    reading::Reading,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName,
    storage::{BlobBody, BlobInfo, BlobRead, Content, ReadBlob, Result},
};
use std::ops::Range;

impl Store {
    /// Looks for a blob for a pusher, who is promised that it stays.
    pub(crate) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>> {
        if self.options.read_only {
            return Ok(self.held(repository, digest).await?.map(|held| held.info));
        }
        let view = self.gate.view(&self.bucket).await?;
        let held = self.promised(&view, repository, digest).await?;
        Ok(held.map(|held| held.info))
    }

    pub(crate) async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        if how.allow_redirect
            && let Some(validity) = self.options.redirects
            && self.bucket.signs()
        {
            let Some(held) = self.held(repository, digest).await? else {
                return Ok(None);
            };
            let range = how.resolve(held.info.size)?;
            let url = self
                .bucket
                .signed_get(&keys::blob(&held.target), validity)
                .await?;
            return Ok(Some(BlobRead::new(held.info, range, BlobBody::Redirect(url))));
        }
        let link = keys::layer(repository, digest);
        // The bytes are asked for at once, and dropped if the repository does not hold them.
        let (target, opened) = tokio::join!(self.target(&link, digest), self.open(digest, how));
        let opened = match target? {
            None => return Ok(None),
            Some(target) if target == *digest => opened?,
            // A blob of registry:2 under its other name.
            Some(target) => self.open(&target, how).await?,
        };
        Ok(opened.map(|(meta, range, chunks)| {
            let body = Reading::new(&self.bucket, &meta, range.clone(), chunks, &self.read_ahead);
            let content = Content::stream(Box::pin(body));
            BlobRead::new(known_as(digest, &meta), range, BlobBody::Content(content))
        }))
    }

    async fn open(&self, target: &Digest, how: ReadBlob) -> Result<Option<(Meta, Range<u64>, Chunks)>> {
        let key = keys::blob(target);
        let Some(range) = how.range else {
            let found = self.bucket.read_whole(&key).await?;
            let whole = found.filter(|(meta, _)| is_whole(target, meta));
            return Ok(whole.map(|(meta, chunks)| {
                let range = 0..meta.size;
                (meta, range, chunks)
            }));
        };
        if let Some(found) = self.bucket.read_part(&key, range).await {
            return Ok(Some(found));
        }
        // Absent, without a byte in the range, or an outage.
        let Some(meta) = self.stored(target).await? else {
            return Ok(None);
        };
        let range = how.resolve(meta.size)?;
        let found = self.bucket.read(&key, range.clone()).await?;
        Ok(found.map(|chunks| (meta, range, chunks)))
    }
}
