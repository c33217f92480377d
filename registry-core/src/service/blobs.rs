//! Operations on blobs: read, monolithic push, mount and deletion.

use super::{BlobSource, Permission, Repository, body::Capped};
use crate::{
    auth::{Access, Action, Decision},
    digest::Digest,
    error::Error,
    hooks::Event,
    name::RepositoryName,
    storage::{BlobBody, BlobInfo, BlobRead, Content, IncomingBody, Page, ReadBlob, StorageError, ingest},
};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use std::{future::poll_fn, pin::pin};

impl Repository {
    /// Returns the size of a blob, or `None` if the repository does not hold it.
    ///
    /// # Errors
    ///
    /// [`Error`] if it may not be pulled, or the storage fails.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        match self.permit(Action::Pull).await? {
            Permission::Granted => Ok(self.storage().blob(&self.name, digest).await?),
            Permission::Hidden => Ok(None),
        }
    }

    /// Opens a blob for reading, whole or in part.
    ///
    /// # Errors
    ///
    /// [`Error::RangeUnsatisfiable`] if the range has none of the blob's bytes; [`Error`] if the blob may not
    /// be pulled, or the storage fails.
    pub async fn open_blob(&self, digest: &Digest, how: ReadBlob) -> Result<Option<BlobRead>, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(None);
        }
        let read = self.storage().open_blob(&self.name, digest, how).await?;
        if read.is_some() {
            self.tell(&Event::BlobPulled { digest });
        }
        Ok(read)
    }

    /// Reads a whole blob into memory, if it has at most `limit` bytes. Returns `None` if the repository does
    /// not hold it.
    ///
    /// # Errors
    ///
    /// [`Error::BlobTooLarge`] if it has more bytes, none of which are read; [`Error`] if the blob may not be
    /// pulled, or the storage fails.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Option<Bytes>, Error> {
        let Some(info) = self.blob(digest).await? else {
            return Ok(None);
        };
        let limit = limit as u64;
        if info.size > limit {
            return Err(Error::BlobTooLarge { limit });
        }
        let Some(read) = self.open_blob(digest, ReadBlob::default()).await? else {
            return Ok(None);
        };
        let size = read.info.size;
        match read.body {
            BlobBody::Content(content) if size <= limit => Ok(Some(whole(content, size).await?)),
            BlobBody::Content(_) => Err(Error::BlobTooLarge { limit }),
            BlobBody::Redirect(_) => {
                Err(StorageError::internal("a redirect for a caller that cannot follow it").into())
            }
        }
    }

    /// Pushes a whole blob. Its digest must be `expected`, if that is given. Otherwise it is stored under its
    /// sha256.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`], with nothing stored; [`Error`] if it may not be pushed, the body breaks off, or
    /// the storage fails.
    pub async fn push_blob(
        &self,
        source: impl Into<BlobSource> + Send,
        expected: Option<Digest>,
    ) -> Result<BlobInfo, Error> {
        self.push_blob_erased(source.into().as_body(), expected).await
    }

    pub(super) async fn push_blob_erased(
        &self,
        body: IncomingBody<'_>,
        expected: Option<Digest>,
    ) -> Result<BlobInfo, Error> {
        self.require_push().await?;
        let write = self.write()?;
        let limits = &self.registry.inner.limits;
        let size = body.size_hint().exact();
        let left = limits.admit_blob(0, size)?;
        if let Some(digest) = &expected {
            self.hooks()
                .before_add_blob(&self.context(), digest, size)
                .await?;
        }
        let info = ingest(write, &self.name, pin!(Capped::new(body, left)), expected)
            .await
            .map_err(|error| limits.too_large(error.into()))?;
        self.tell(&Event::BlobPushed {
            digest: &info.digest,
            size: info.size,
        });
        Ok(info)
    }

    /// Makes a blob of `from` a blob of this repository as well. Returns the source repository, or `None` if
    /// the blob has to be pushed.
    ///
    /// Without `from`, the repositories that hold the blob are tried. The caller must be allowed to pull from
    /// the source.
    ///
    /// # Errors
    ///
    /// [`Error`] if the caller may not push to this repository, or the storage fails. A refusal at the source
    /// is no error.
    pub async fn mount(
        &self,
        digest: &Digest,
        from: Option<&RepositoryName>,
    ) -> Result<Option<RepositoryName>, Error> {
        self.require_push().await?;
        let write = self.write()?;
        let candidates = match from {
            Some(from) => vec![from.clone()],
            None if !self.storage().abilities().holders => Vec::new(),
            None => {
                let limit = self.registry.inner.limits.mount_candidates;
                let page = Page { after: None, limit };
                let mut holders = self.storage().holders(digest, page).await?.items;
                // Each costs a decision, and it is a stranger who makes us ask.
                holders.truncate(limit);
                holders
            }
        };
        for from in candidates {
            let source = Access::to(&from, Action::Pull);
            if self.registry.decide(&self.authority, &source).await? != Decision::Allow {
                continue;
            }
            let Some(info) = self.storage().blob(&from, digest).await? else {
                continue;
            };
            self.hooks()
                .before_add_blob(&self.context(), digest, Some(info.size))
                .await?;
            if write.mount(&from, &self.name, digest).await?.is_some() {
                self.tell(&Event::BlobMounted { digest, from: &from });
                return Ok(Some(from));
            }
        }
        Ok(None)
    }

    /// Removes a blob from this repository only. Returns false if this repository did not hold it.
    ///
    /// # Errors
    ///
    /// [`Error`] if it may not be deleted, or the storage fails.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, Error> {
        if self.permit(Action::Delete).await? == Permission::Hidden {
            return Ok(false);
        }
        let deleted = self.delete()?.delete_blob(&self.name, digest).await?;
        if deleted {
            self.tell(&Event::BlobDeleted { digest });
        }
        Ok(deleted)
    }
}

/// Reads content of `size` bytes.
async fn whole(content: Content, size: u64) -> Result<Bytes, StorageError> {
    let mut stream = content.into_stream();
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|context| stream.as_mut().poll_frame(context)).await {
        let data = frame?.into_data().unwrap_or_default();
        bytes.extend_from_slice(&data);
        if bytes.len() as u64 > size {
            break;
        }
    }
    if bytes.len() as u64 == size {
        Ok(bytes.freeze())
    } else {
        Err(StorageError::internal("the content is not as long as its blob"))
    }
}
