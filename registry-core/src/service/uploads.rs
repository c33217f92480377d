//! Operations on upload sessions: open, append, close and cancel.
//!
//! The protocol decides which chunk may follow ([`Upload`]). The storage compares and appends, and the core
//! verifies the digest.

use super::{
    BlobSource, Permission, Repository,
    body::Capped,
    operation::{Before, Operation},
    repeatable::Repeatable,
    sessions::Sessions,
};
use crate::{
    auth::{Access, Action, Decision},
    digest::{Algorithm, Digest},
    error::Error,
    hash::Hasher,
    hooks::{Appending, EventKind},
    protocol::{ChunkRefused, ContentRange, Upload},
    storage::{BlobInfo, IncomingBody, IngestError, NewUpload, StorageError, UploadBody, UploadState},
    upload_id::UploadId,
};
use http_body::Body as _;
use std::pin::pin;

impl Repository {
    /// Opens a session that is hashed with `algorithm` while it receives.
    ///
    /// ```
    /// use registry_core::{Algorithm, Digest, Registry, protocol::ContentRange, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    ///
    /// let upload = repository.open_upload(Algorithm::Sha256).await?;
    /// let offset = repository.append(&upload.id, None, "first ").await?;
    /// assert_eq!(offset, 6);
    ///
    /// let digest = Digest::of(Algorithm::Sha256, b"first second");
    /// let range = ContentRange::of(offset, 6);
    /// let blob = repository.close(&upload.id, &digest, range, "second").await?;
    /// assert_eq!(blob.size, 12);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call may leave a session that nobody knows. It expires like any other.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyUploads`]; [`Error`] if the caller may not push to this repository, or the storage
    /// fails.
    pub async fn open_upload(&self, algorithm: Algorithm) -> Result<UploadState, Error> {
        self.require_push().await?;
        let new = NewUpload::hashed_by(algorithm).by(self.authority.uploader());
        let bounds = self.registry.inner.limits.upload_bounds();
        let sessions = self.sessions()?;
        let mut operation = Operation::begin(self);
        operation.ask(Before::OpenUpload(None)).await?;
        let state = sessions.open(new, bounds).await?;
        sessions.remember(&state);
        operation.end(|| EventKind::UploadOpened { upload: state.id });
        Ok(state)
    }

    /// Returns the state of a session, or `None` if this repository has no session with that id.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the caller may not push to this repository, or the storage fails.
    pub async fn upload(&self, id: &UploadId) -> Result<Option<UploadState>, Error> {
        self.require_session().await?;
        Ok(self.sessions()?.find(id).await?)
    }

    /// Appends a chunk, and returns the number of bytes that the session then holds. `range` is the position
    /// of the chunk. Without it the chunk is appended at the current offset.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have appended a part of the chunk. [`upload`](Self::upload) returns the offset at which
    /// to continue.
    ///
    /// # Errors
    ///
    /// [`Error::UploadUnknown`]; [`Error::ChunkOutOfOrder`] with no byte appended; [`Error::Body`] if the
    /// body broke off, with the bytes before that kept.
    pub async fn append(
        &self,
        id: &UploadId,
        range: Option<ContentRange>,
        source: impl Into<BlobSource> + Send,
    ) -> Result<u64, Error> {
        self.append_erased(id, range, source.into().as_body()).await
    }

    pub(super) async fn append_erased(
        &self,
        id: &UploadId,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Result<u64, Error> {
        self.require_session().await?;
        let sessions = self.sessions()?;
        let mut operation = Operation::begin(self);
        let Some(state) = sessions.recall(id) else {
            let found = sessions.find(id).await?.ok_or(Error::UploadUnknown)?;
            return self.append_to(operation, sessions, found, range, body).await;
        };
        let held = state.offset;
        let mut body = pin!(Repeatable::new(body));
        let received = self
            .receive(&mut operation, sessions, state, range, body.as_mut(), None)
            .await;
        match received {
            // The state was perhaps an old one.
            Err(Error::ChunkOutOfOrder { .. } | Error::UploadUnknown) if body.repeat() => {}
            received => return Ok(Self::end_append(operation, sessions, &received?.0, held)),
        }
        let found = sessions.find(id).await?.ok_or(Error::UploadUnknown)?;
        self.append_to(operation, sessions, found, range, body).await
    }

    /// Appends a chunk to a session in the state in which it was read.
    async fn append_to(
        &self,
        mut operation: Operation<'_>,
        sessions: Sessions<'_>,
        state: UploadState,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Result<u64, Error> {
        let held = state.offset;
        let received = self
            .receive(&mut operation, sessions, state, range, body, None)
            .await;
        Ok(Self::end_append(operation, sessions, &received?.0, held))
    }

    /// Returns the number of bytes after an append to a session that held `held` bytes.
    fn end_append(operation: Operation<'_>, sessions: Sessions<'_>, state: &UploadState, held: u64) -> u64 {
        sessions.remember(state);
        operation.end(|| appended(state, held));
        state.offset
    }

    /// Closes a session, optionally with a last chunk. Its bytes become the blob `digest`.
    ///
    /// A close may be repeated if its response was lost: it succeeds again for callers that may pull. It may
    /// also be repeated if its body broke off, because no byte of that body is kept, and if the storage failed.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have closed the session. It can be repeated, like a close whose response was lost. Its
    /// event may be lost.
    ///
    /// # Errors
    ///
    /// The errors of [`append`](Self::append), except that after [`Error::Body`] the session is unchanged;
    /// [`Error::DigestMismatch`], after which the session has ended.
    pub async fn close(
        &self,
        id: &UploadId,
        digest: &Digest,
        range: Option<ContentRange>,
        source: impl Into<BlobSource> + Send,
    ) -> Result<BlobInfo, Error> {
        self.close_erased(id, digest, range, source.into().as_body())
            .await
    }

    pub(super) async fn close_erased(
        &self,
        id: &UploadId,
        digest: &Digest,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Result<BlobInfo, Error> {
        self.require_session().await?;
        let sessions = self.sessions()?;
        let mut operation = Operation::begin(self);
        let has_body = !body.is_end_stream() || range.is_some();
        let mut mismatch = None;
        if !has_body && let Some(state) = sessions.recall(id) {
            let (size, version) = (state.offset, state.version.clone());
            match self.publish(&mut operation, sessions, state, None, digest).await {
                // The state was perhaps an old one.
                Err(error @ Error::DigestMismatch { .. }) => mismatch = Some((version, error)),
                Err(Error::ChunkOutOfOrder { .. } | Error::UploadUnknown) => {}
                published => return Self::end_close(operation, sessions, id, size, published).await,
            }
        }
        let Some(state) = sessions.find(id).await? else {
            return self.closed_before(digest).await;
        };
        if let Some((version, error)) = mismatch
            && version == state.version
        {
            return Self::end_close(operation, sessions, id, state.offset, Err(error)).await;
        }
        // The bytes of the body are in the blob if an earlier attempt failed after it was published.
        let is_received = state.published == Some(*digest);
        let (state, hasher) = if is_received || !has_body {
            (state, None)
        } else {
            let held = state.offset;
            let received = self
                .receive(&mut operation, sessions, state, range, body, Some(*digest))
                .await?;
            operation.tell(|| appended(&received.0, held));
            received
        };
        let size = state.offset;
        let published = self
            .publish(&mut operation, sessions, state, hasher, digest)
            .await;
        Self::end_close(operation, sessions, id, size, published).await
    }

    /// Ends the close of a session of `size` bytes. A session that can never become the blob ends, too.
    async fn end_close(
        operation: Operation<'_>,
        sessions: Sessions<'_>,
        id: &UploadId,
        size: u64,
        published: Result<BlobInfo, Error>,
    ) -> Result<BlobInfo, Error> {
        match published {
            Ok(info) => {
                operation.end_as_blob(*id, &info);
                Ok(info)
            }
            Err(refused @ (Error::DigestMismatch { .. } | Error::Vetoed { .. })) => {
                Self::abandon(&operation, sessions, id, size).await?;
                Err(refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a session that can no longer become the client's blob.
    async fn abandon(
        operation: &Operation<'_>,
        sessions: Sessions<'_>,
        id: &UploadId,
        size: u64,
    ) -> Result<bool, Error> {
        let ended = sessions.cancel(id).await?;
        if ended {
            operation.tell(|| EventKind::UploadAbandoned {
                upload: *id,
                size: Some(size),
            });
        }
        Ok(ended)
    }

    /// Answers a repeated close with the blob, if the repository holds it. Only callers that may pull see it.
    /// For all others the session is unknown.
    async fn closed_before(&self, digest: &Digest) -> Result<BlobInfo, Error> {
        let pull = Access::to(&self.name, Action::Pull);
        if self.registry.decide(&self.authority, &pull).await? != Decision::Allow {
            return Err(Error::UploadUnknown);
        }
        let held = self.storage().blob(&self.name, digest).await?;
        held.ok_or(Error::UploadUnknown)
    }

    /// Ends a session and drops its bytes. Returns false if there is no such session.
    ///
    /// # Cancel safety
    ///
    /// A dropped call ends the session, or changes nothing. It can be repeated. Its event may be lost.
    ///
    /// # Errors
    ///
    /// [`Error`] if the caller may not push to this repository, or the storage fails.
    pub async fn cancel(&self, id: &UploadId) -> Result<bool, Error> {
        self.require_session().await?;
        let sessions = self.sessions()?;
        let operation = Operation::begin(self);
        let mut size = None;
        if operation.is_heard() {
            size = sessions.find(id).await?.map(|state| state.offset);
        }
        let ended = sessions.cancel(id).await?;
        if ended {
            operation.end(|| EventKind::UploadAbandoned { upload: *id, size });
        }
        Ok(ended)
    }

    /// Checks that the caller may continue a session. In a hidden repository, every session is unknown.
    async fn require_session(&self) -> Result<(), Error> {
        match self.permit(Action::Push).await? {
            Permission::Granted => Ok(()),
            Permission::Hidden => Err(Error::UploadUnknown),
        }
    }

    /// Appends the body to the session, if its range and length fit.
    async fn receive(
        &self,
        operation: &mut Operation<'_>,
        sessions: Sessions<'_>,
        state: UploadState,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
        closing: Option<Digest>,
    ) -> Result<(UploadState, Option<Hasher>), Error> {
        let id = state.id;
        let held = state.offset;
        let announced = body.size_hint().exact();
        let end = Upload::at(held)
            .begin_chunk(range, announced)
            .map_err(|refused| self.refused(id, refused))?;
        let limits = &self.registry.inner.limits;
        let received = match limits.admit_blob(held, announced) {
            Ok(left) => {
                let appending = Appending::new(id, held, announced).closing(closing);
                operation.ask(Before::Append(&appending)).await?;
                let body = pin!(Capped::new(body, left));
                let mut body = UploadBody::begin(body, &state, end, closing);
                match sessions.append(state, &mut body).await {
                    Ok(state) => Ok((state, body.into_hasher())),
                    Err(error) => Err(limits.too_large(self.conflict(id, error))),
                }
            }
            Err(error) => Err(error),
        };
        // The session lacks bytes of the blob, so it could never be closed.
        if matches!(received, Err(Error::BlobTooLarge { .. })) {
            Self::abandon(operation, sessions, &id, held).await?;
        }
        received
    }

    /// Verifies a session, and makes its bytes a blob.
    async fn publish(
        &self,
        operation: &mut Operation<'_>,
        sessions: Sessions<'_>,
        state: UploadState,
        hasher: Option<Hasher>,
        digest: &Digest,
    ) -> Result<BlobInfo, Error> {
        let id = state.id;
        let verified = sessions.verify(state, hasher, Some(*digest)).await;
        let (state, proof) = verified.map_err(|error| match error {
            IngestError::Storage(error) => self.conflict(id, error),
            mismatch => mismatch.into(),
        })?;
        operation.ask_to_add(digest, proof.size()).await?;
        let committed = sessions.commit(state, proof).await;
        committed.map_err(|error| self.conflict(id, error))
    }

    fn refused(&self, id: UploadId, refused: ChunkRefused) -> Error {
        match refused {
            ChunkRefused::OutOfOrder { start: _, offset } => self.out_of_order(id, offset),
            ChunkRefused::LengthMismatch { range, length } => Error::LengthMismatch { range, length },
        }
    }

    fn conflict(&self, id: UploadId, error: StorageError) -> Error {
        match error {
            StorageError::UploadConflict { offset } => self.out_of_order(id, offset),
            other => other.into(),
        }
    }

    fn out_of_order(&self, id: UploadId, offset: u64) -> Error {
        Error::ChunkOutOfOrder {
            repository: self.name.clone(),
            id,
            offset,
        }
    }
}

/// Returns the event for an append to a session that held `held` bytes.
const fn appended(state: &UploadState, held: u64) -> EventKind {
    EventKind::UploadAppended {
        upload: state.id,
        size: state.offset,
        bytes: state.offset.saturating_sub(held),
    }
}
