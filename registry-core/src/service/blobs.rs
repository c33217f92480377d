//! Operations on blobs: read, monolithic push, mount and deletion.

use super::{
    BlobSource, Permission, Repository,
    body::Capped,
    operation::{Before, Operation},
    sessions::Sessions,
};
use crate::{
    auth::{Access, Action, Decision},
    digest::{Algorithm, Digest},
    error::Error,
    hooks::{Appending, EventKind, Target},
    ledger::UploadBounds,
    name::RepositoryName,
    storage::{
        BlobBody, BlobInfo, BlobRead, Content, IncomingBody, Mount, NewUpload, Page, ReadBlob, StorageError,
        UploadBody, UploadState,
    },
};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use std::{future::poll_fn, pin::pin};

impl Repository {
    /// Returns the size of a blob, or `None` if the repository does not hold it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if it may not be pulled, or the storage fails.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        let info = self.blob_unheard(digest).await?;
        if let Some(info) = &info {
            self.begin_pull(digest, info.size).await?.end_silently();
        }
        Ok(info)
    }

    /// Returns the size of a blob without asking the hooks, for a read that asks them later.
    pub(super) async fn blob_unheard(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        match self.permit(Action::Pull).await? {
            Permission::Granted => Ok(self.storage().blob(&self.name, digest).await?),
            Permission::Hidden => Ok(None),
        }
    }

    /// Opens a blob for reading, whole or in part.
    ///
    /// ```
    /// use http_body_util::BodyExt as _;
    /// use registry_core::{
    ///     RangeSpec, Registry,
    ///     storage::{BlobBody, MemoryStorage, ReadBlob},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// let blob = repository.push_blob("0123456789", None).await?;
    ///
    /// let last_three = ReadBlob::part(Some(RangeSpec::Last(3)));
    /// let read = repository.open_blob(&blob.digest, last_three).await?.ok_or("no such blob")?;
    /// assert_eq!(read.range, 7..10);
    /// let BlobBody::Content(content) = read.body else {
    ///     return Err("a redirect that was not allowed".into());
    /// };
    /// assert_eq!(content.into_stream().collect().await?.to_bytes(), "789");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::RangeUnsatisfiable`] if the range has none of the blob's bytes; [`Error`] if the blob may not
    /// be pulled, or the storage fails.
    pub async fn open_blob(&self, digest: &Digest, how: ReadBlob) -> Result<Option<BlobRead>, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(None);
        }
        let Some(read) = self.storage().open_blob(&self.name, digest, how).await? else {
            return Ok(None);
        };
        let size = read.info.size;
        let pull = self.begin_pull(digest, size).await?;
        pull.end(|| EventKind::BlobPulled {
            digest: *digest,
            size,
            bytes: read.range.end.saturating_sub(read.range.start),
        });
        Ok(Some(read))
    }

    /// Asks the hooks about pulling a blob.
    pub(super) async fn begin_pull(&self, digest: &Digest, size: u64) -> Result<Operation<'_>, Error> {
        let mut pull = Operation::begin(self);
        let target = blob_target(digest, Some(size));
        pull.ask(Before::Pull(&target)).await?;
        Ok(pull)
    }

    /// Reads a whole blob into memory, if it has at most `limit` bytes. Returns `None` if the repository does
    /// not hold it.
    ///
    /// ```
    /// use registry_core::{Error, Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// let blob = repository.push_blob(r#"{"os":"linux"}"#, None).await?;
    ///
    /// let config = repository.read_blob(&blob.digest, 4 << 20).await?.ok_or("no such blob")?;
    /// assert_eq!(config, r#"{"os":"linux"}"#);
    ///
    /// let refused = repository.read_blob(&blob.digest, 5).await;
    /// assert!(matches!(refused, Err(Error::BlobTooLarge { limit: 5, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::BlobTooLarge`] if it has more bytes, none of which are read; [`Error`] if the blob may not be
    /// pulled, or the storage fails.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Option<Bytes>, Error> {
        // The hooks are called when the blob is opened.
        let Some(info) = self.blob_unheard(digest).await? else {
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
            BlobBody::Redirect(_) => Err(StorageError::internal(
                "the storage answered with a redirect that was not allowed",
            )
            .into()),
        }
    }

    /// Pushes a whole blob. Its digest must be `expected`, if that is given. Otherwise it is stored under its
    /// sha256.
    ///
    /// ```
    /// use registry_core::{Algorithm, Digest, Error, Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    ///
    /// let expected = Digest::of(Algorithm::Sha512, b"content");
    /// let blob = repository.push_blob("content", Some(expected)).await?;
    /// assert_eq!((blob.digest, blob.size), (expected, 7));
    ///
    /// let refused = repository.push_blob("other content", Some(expected)).await;
    /// assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have stored the blob, or leave an upload session that expires. It can be repeated with
    /// the same bytes. Its event may be lost.
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
        let sessions = self.sessions()?;
        let limits = &self.registry.inner.limits;
        let announced = body.size_hint().exact();
        let left = limits.admit_blob(0, announced)?;
        let mut operation = Operation::begin(self);
        operation.ask(Before::OpenUpload(announced)).await?;
        let new = expected.map_or_else(
            || NewUpload::hashed_by(Algorithm::Sha256),
            |digest| NewUpload::of(digest, announced),
        );
        let new = new.by(self.authority.uploader());
        // The session ends with this request, so no limit refuses it. Meanwhile it counts against the limits of others.
        let state = sessions.open(new, UploadBounds::NONE).await?;
        let upload = state.id;
        operation.tell(|| EventKind::UploadOpened { upload });
        let body = pin!(Capped::new(body, left));
        match self
            .push_into(&mut operation, sessions, state, body, expected)
            .await
        {
            Ok(info) => {
                operation.end_as_blob(upload, &info);
                Ok(info)
            }
            Err(error) => {
                // The client does not know the id of this session, so it cannot resume it.
                if let Ok(true) = sessions.cancel(&upload).await {
                    operation.tell(|| EventKind::UploadAbandoned { upload, size: None });
                }
                Err(limits.too_large(error))
            }
        }
    }

    /// Receives a whole blob into a session that was opened for it, and publishes it.
    async fn push_into(
        &self,
        operation: &mut Operation<'_>,
        sessions: Sessions<'_>,
        state: UploadState,
        body: IncomingBody<'_>,
        expected: Option<Digest>,
    ) -> Result<BlobInfo, Error> {
        let appending = Appending::new(state.id, state.offset, body.size_hint().exact()).closing(expected);
        operation.ask(Before::Append(&appending)).await?;
        let mut body = UploadBody::begin(body, &state, None, expected);
        let state = sessions.append(state, &mut body).await?;
        let (state, proof) = sessions.verify(state, body.into_hasher(), expected).await?;
        operation.ask_to_add(proof.digest(), proof.size()).await?;
        Ok(sessions.commit(state, proof).await?)
    }

    /// Makes a blob of `from` a blob of this repository as well. Returns the source repository, or `None` if
    /// the blob has to be pushed.
    ///
    /// Without `from`, the repositories that hold the blob are tried. The caller must be allowed to pull from
    /// the source.
    ///
    /// ```
    /// use registry_core::{Registry, RepositoryName, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let base = RepositoryName::parse("library/base")?;
    /// let layer = registry.repository(&base)?.push_blob("layer", None).await?;
    ///
    /// let repository = registry.repository("team/app")?;
    /// assert_eq!(repository.mount(&layer.digest, Some(&base)).await?, Some(base));
    /// assert!(repository.blob(&layer.digest).await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the mount, or changes nothing. It can be repeated. Its event may be lost.
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
                let page = Page::first(limit);
                let mut holders = self.storage().holders(digest, page).await?.items;
                // Each candidate costs a decision, and any client can cause it.
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
            let mut operation = Operation::begin(self);
            operation.ask_to_add(digest, info.size).await?;
            let mount = Mount::new(&from, digest).by(self.user());
            if write.mount(&self.name, mount).await?.is_some() {
                let created = operation.creates();
                operation.end(|| EventKind::BlobMounted {
                    digest: *digest,
                    size: info.size,
                    created,
                    from: from.clone(),
                });
                return Ok(Some(from));
            }
        }
        Ok(None)
    }

    /// Removes a blob from this repository only. Returns false if this repository did not hold it.
    ///
    /// # Cancel safety
    ///
    /// A dropped call finishes the deletion, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// [`Error`] if it may not be deleted, or the storage fails.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, Error> {
        if self.permit(Action::Delete).await? == Permission::Hidden {
            return Ok(false);
        }
        let write = self.delete()?;
        let mut operation = Operation::begin(self);
        let mut size = None;
        if operation.is_heard() {
            // An unreadable blob can still be deleted.
            let held = self.storage().blob(&self.name, digest).await.ok().flatten();
            size = held.map(|held| held.size);
            let target = blob_target(digest, size);
            operation.ask(Before::Delete(&target)).await?;
        }
        let deleted = write.delete_blob(&self.name, digest, self.deletion()).await?;
        if deleted {
            operation.end(|| EventKind::BlobDeleted {
                digest: *digest,
                size,
            });
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

/// Describes a blob for the hooks.
const fn blob_target(digest: &Digest, size: Option<u64>) -> Target {
    Target::Blob {
        digest: *digest,
        size,
    }
}
