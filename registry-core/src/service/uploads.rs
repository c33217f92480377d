//! Upload sessions: open, append, close, cancel.
//!
//! The protocol decides what may come next ([`Upload`]), the storage compares and appends, the core proves.

use super::{
    Permission, Repository,
    body::{Capped, Erased},
};
use crate::{
    auth::{Access, Action, Decision},
    digest::{Algorithm, Digest},
    error::Error,
    hash::Hasher,
    hooks::Event,
    protocol::{ChunkRefused, ContentRange, Upload},
    storage::{
        BlobInfo, BoxError, IncomingBody, NewUpload, StorageError, StorageWrite, UploadBody, UploadState,
        close,
    },
    upload_id::UploadId,
};
use http_body::Body;
use std::pin::pin;

impl Repository {
    /// Opens a session that hashes in `algorithm` while it receives.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyUploads`]; [`Error`] if nothing may be pushed here, or the storage fails.
    pub async fn open_upload(&self, algorithm: Algorithm) -> Result<UploadState, Error> {
        self.require_push().await?;
        let new = NewUpload::hashed_by(algorithm)
            .within(self.registry.inner.limits.upload_bounds())
            .by(self.authority.uploader());
        Ok(self.write()?.open_upload(&self.name, new).await?)
    }

    /// Where a session stands; `None` if this repository has none of that id.
    ///
    /// # Errors
    ///
    /// [`Error`] if nothing may be pushed here, or the storage fails.
    pub async fn upload(&self, id: &UploadId) -> Result<Option<UploadState>, Error> {
        self.require_session().await?;
        Ok(self.write()?.upload(&self.name, id).await?)
    }

    /// Appends a chunk; `range` says where it belongs, without it the chunk continues where the session stands.
    /// Returns how many bytes the session then holds.
    ///
    /// # Errors
    ///
    /// [`Error::UploadUnknown`]; [`Error::ChunkOutOfOrder`] with not a byte appended; [`Error::Body`] if the body
    /// broke off, with what came before kept.
    pub async fn append<B>(&self, id: &UploadId, range: Option<ContentRange>, body: B) -> Result<u64, Error>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.append_erased(id, range, pin!(Erased(Box::pin(body)))).await
    }

    pub(super) async fn append_erased(
        &self,
        id: &UploadId,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Result<u64, Error> {
        self.require_session().await?;
        let write = self.write()?;
        let state = write.upload(&self.name, id).await?.ok_or(Error::UploadUnknown)?;
        let (state, _) = self.receive(write, state, range, body, None).await?;
        Ok(state.offset)
    }

    /// Closes a session, perhaps with a last chunk: its bytes become the blob `digest`.
    ///
    /// A close that is repeated, because its answer was lost, succeeds again for those who may pull. One whose body
    /// broke off can be repeated too: of that body nothing is kept.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append), but for [`Error::Body`], with the session as it was; [`Error::DigestMismatch`],
    /// and then the session is gone.
    pub async fn close<B>(
        &self,
        id: &UploadId,
        digest: &Digest,
        range: Option<ContentRange>,
        body: B,
    ) -> Result<BlobInfo, Error>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.close_erased(id, digest, range, pin!(Erased(Box::pin(body))))
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
        let write = self.write()?;
        let Some(state) = write.upload(&self.name, id).await? else {
            return self.closed_before(digest).await;
        };
        let (state, hasher) = if body.is_end_stream() && range.is_none() {
            (state, None)
        } else {
            self.receive(write, state, range, body, Some(*digest)).await?
        };
        match self.publish(write, state, hasher, digest).await {
            Err(refused @ (Error::DigestMismatch { .. } | Error::Vetoed(_))) => {
                write.cancel(&self.name, id).await?;
                Err(refused)
            }
            other => other,
        }
    }

    /// For a close that is repeated: the blob, if the repository holds it. What it holds is for those who may pull;
    /// to others a session that is gone is unknown, whatever became of it.
    async fn closed_before(&self, digest: &Digest) -> Result<BlobInfo, Error> {
        let pull = Access::to(&self.name, Action::Pull);
        if self.registry.decide(&self.authority, &pull).await? != Decision::Allow {
            return Err(Error::UploadUnknown);
        }
        let held = self.storage().blob(&self.name, digest).await?;
        held.ok_or(Error::UploadUnknown)
    }

    /// Ends a session and drops its bytes; false if there is none.
    ///
    /// # Errors
    ///
    /// [`Error`] if nothing may be pushed here, or the storage fails.
    pub async fn cancel(&self, id: &UploadId) -> Result<bool, Error> {
        self.require_session().await?;
        Ok(self.write()?.cancel(&self.name, id).await?)
    }

    /// For what goes on with a session: where that is hidden, there is none.
    async fn require_session(&self) -> Result<(), Error> {
        match self.permit(Action::Push).await? {
            Permission::Granted => Ok(()),
            Permission::Hidden => Err(Error::UploadUnknown),
        }
    }

    /// Takes the body into the session if it may come next.
    async fn receive(
        &self,
        write: &dyn StorageWrite,
        state: UploadState,
        range: Option<ContentRange>,
        body: IncomingBody<'_>,
        closing: Option<Digest>,
    ) -> Result<(UploadState, Option<Hasher>), Error> {
        let id = state.id;
        let end = Upload::at(state.offset)
            .begin_chunk(range, body.size_hint().exact())
            .map_err(|refused| self.refused(id, refused))?;
        let limits = &self.registry.inner.limits;
        let received = match limits.admit_blob(state.offset, body.size_hint().exact()) {
            Ok(left) => {
                let body = pin!(Capped::new(body, left));
                let mut body = UploadBody::begin(body, &state, end, closing);
                match write.append(&self.name, state, &mut body).await {
                    Ok(state) => Ok((state, body.into_hasher())),
                    Err(error) => Err(limits.too_large(self.conflict(id, error))),
                }
            }
            Err(error) => Err(error),
        };
        // It could only ever be closed with another content than the client's.
        if matches!(received, Err(Error::BlobTooLarge { .. })) {
            write.cancel(&self.name, &id).await?;
        }
        received
    }

    async fn publish(
        &self,
        write: &dyn StorageWrite,
        state: UploadState,
        hasher: Option<Hasher>,
        digest: &Digest,
    ) -> Result<BlobInfo, Error> {
        let id = state.id;
        self.hooks()
            .before_add_blob(&self.context(), digest, Some(state.offset))
            .await?;
        let info = close(write, &self.name, state, hasher, Some(*digest))
            .await
            .map_err(|error| match error {
                crate::storage::IngestError::Storage(error) => self.conflict(id, error),
                mismatch => mismatch.into(),
            })?;
        self.tell(&Event::BlobPushed {
            digest,
            size: info.size,
        });
        Ok(info)
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
