//! Blobs as readers see them.
//!
//! Requests: 2 for a blob, in parallel, whole or in part.

use crate::{
    bucket::{Chunks, Meta},
    keys,
    links::{is_whole, known_as},
    store::Store,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body, Frame, SizeHint};
use registry_core::{
    Digest, RepositoryName,
    storage::{BlobBody, BlobInfo, BlobRead, Content, ReadBlob, Result, StorageError},
};
use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

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
            let body = Streamed {
                left: range.end - range.start,
                chunks,
            };
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

/// A stream of known length.
struct Streamed {
    left: u64,
    chunks: Chunks,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.chunks.poll_next_unpin(context).map(|next| match next {
            None => {
                let missing = std::mem::take(&mut self.left);
                Some(Err(StorageError::internal(format!(
                    "the object store ended a blob {missing} bytes too early"
                ))))
            }
            Some(Err(error)) => {
                self.left = 0;
                Some(Err(error))
            }
            Some(Ok(mut bytes)) => {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= bytes.len() as u64;
                Some(Ok(Frame::data(bytes)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
