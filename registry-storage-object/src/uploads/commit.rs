//! Commits: a session becomes a blob.
//!
//! Each step can be repeated, by any replica: the record says as which blob the session is committed, and has what is
//! needed to go on.
//!
//! Requests for a small blob: its bytes, the record, and the link: 3. The records of all sessions that were committed in some
//! seconds are removed [together](super::later). A blob in parts needs 1 more to make the object, 1 to look at it, and 2 to
//! remove the record and the private object. A blob whose digest was not known when the first byte was stored is copied, which
//! is 1 more.

use super::{
    record::{Record, Stage, Target},
    session::{Seen, Session, Swapped},
};
use crate::{
    bucket::Dialect,
    error::restart,
    gate::{Promised, View},
    keys,
    links::SECTIONS,
    store::Store,
};
use object_store::PutPayload;
use registry_core::{
    Digest, RepositoryName,
    hash::Hasher,
    storage::{BlobInfo, Result, StorageError, UploadState, Verified},
};
use std::sync::Arc;

impl Store {
    pub(crate) async fn commit(
        self: &Arc<Self>,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        if *proof.upload() != state.id {
            return Err(StorageError::internal("the proof is of another upload session"));
        }
        let seen = match self.seen(repository, &state).await {
            Ok(seen) => seen,
            Err(StorageError::UploadUnknown) => return self.committed_before(repository, &proof).await,
            Err(error) => return Err(error),
        };
        let is_in_use = seen.session.is_in_use(self.now()) || self.running_appends.has(&state.id);
        // It has the memory of its bytes.
        drop(state);
        if is_in_use {
            return Err(seen.session.conflict());
        }
        check(&seen, &proof)?;
        match self.publish_upload(repository, seen, &proof).await {
            Err(StorageError::UploadUnknown) => self.committed_before(repository, &proof).await,
            published => published,
        }
    }

    /// Answers a repeated commit.
    async fn committed_before(&self, repository: &RepositoryName, proof: &Verified) -> Result<BlobInfo> {
        let held = self.blob(repository, proof.digest()).await?;
        held.ok_or(StorageError::UploadUnknown)
    }

    async fn publish_upload(
        self: &Arc<Self>,
        repository: &RepositoryName,
        seen: Seen,
        proof: &Verified,
    ) -> Result<BlobInfo> {
        let session = match seen.content().parts.is_empty() {
            true => self.publish_small(repository, seen, proof).await?,
            false => self.publish_parts(repository, seen, proof).await?,
        };
        self.forget_later(&session).await;
        Ok(BlobInfo::new(*proof.digest(), proof.size()).with_modified(Some(self.now())))
    }

    /// Publishes a blob that is in no part.
    async fn publish_small(
        &self,
        repository: &RepositoryName,
        seen: Seen,
        proof: &Verified,
    ) -> Result<Session> {
        let mut seen = seen;
        for section in 0..SECTIONS {
            let view = self.promise_blob(repository, proof).await?;
            // The bytes that a section before has stored are not stored again, unless a collection has taken them.
            let session = match section > 0 && self.has_stored(proof).await? {
                true => seen.session,
                false => self.store_small(seen, proof).await?,
            };
            if self.link(repository, proof.digest(), &view).await? {
                return Ok(session);
            }
            seen = Seen::of(session);
        }
        Err(restart("publish an upload"))
    }

    /// Publishes a blob that is in parts. A copy may take longer than a view is valid, so it is made before.
    async fn publish_parts(
        &self,
        repository: &RepositoryName,
        seen: Seen,
        proof: &Verified,
    ) -> Result<Session> {
        let is_repeated = seen.session.record.committing().is_some();
        let (session, made) = self.make_blob(seen, proof).await?;
        if !is_repeated {
            self.copy_made(&made, proof).await?;
        }
        for _ in 0..=SECTIONS {
            let view = self.promise_blob(repository, proof).await?;
            if self.has_stored(proof).await? {
                if self.link(repository, proof.digest(), &view).await? {
                    return Ok(session);
                }
            } else {
                // A collection waits for the end of a view.
                drop(view);
                self.copy_made(&made, proof).await?;
            }
        }
        Err(restart("publish an upload"))
    }

    /// Begins a section in which a blob may be published.
    async fn promise_blob(&self, repository: &RepositoryName, proof: &Verified) -> Result<View> {
        let view = self.gate.view(&self.bucket).await?;
        let promised = [Promised::Blob(repository, proof.digest())];
        self.gate.promise(&self.bucket, &view, &promised).await?;
        Ok(view)
    }

    /// Returns true if the object of a blob is there. The blob has been promised before.
    async fn has_stored(&self, proof: &Verified) -> Result<bool> {
        let found = self.stored(proof.digest()).await?;
        Ok(found.is_some_and(|found| found.size == proof.size()))
    }

    /// Stores a blob that is in no part, and records that the session becomes it.
    async fn store_small(&self, mut seen: Seen, proof: &Verified) -> Result<Session> {
        let closing = seen.closing.take();
        let content = closing.unwrap_or_else(|| seen.session.record.content.clone());
        match seen.session.record.stage {
            Stage::Committing(other) if other != *proof.digest() => return Err(seen.session.conflict()),
            Stage::Ended => return Err(StorageError::UploadUnknown),
            Stage::Committing(_) if content.stored => {
                // The bytes are where they have to be, unless a collection has taken them.
                return match self.has_stored(proof).await? {
                    true => Ok(seen.session),
                    false => Err(StorageError::UploadUnknown),
                };
            }
            Stage::Open | Stage::Sealed | Stage::Committing(_) => {}
        }
        let digest = proof.digest();
        let key = keys::blob(digest);
        let id = seen.session.id;
        match content.pieces.as_slice() {
            [piece] if content.here.is_empty() => {
                let piece = keys::session_piece(&id, &piece.name);
                if !self.bucket.copy(&piece, &key).await? {
                    return Err(StorageError::UploadUnknown);
                }
                if self.bucket.dialect() == Dialect::Azure {
                    // A copy may go on after its answer.
                    self.require_size(&key, proof.size()).await?;
                }
            }
            _ => {
                let memory = match content.pieces.is_empty() || seen.has_memory {
                    true => None,
                    false => Some(self.part_memory.take(content.offset).await?),
                };
                let payload: PutPayload = self.gather(&id, &content).await?.into_iter().collect();
                self.bucket.put(&key, payload).await?;
                drop(memory);
            }
        }
        let record = Record {
            content: content.stored(),
            ..seen.session.record.clone()
        };
        // With its memory.
        drop(content);
        self.commit_to(seen.session, digest, record).await
    }

    /// Makes an object of the parts, and returns its key.
    async fn make_blob(&self, seen: Seen, proof: &Verified) -> Result<(Session, String)> {
        let digest = proof.digest();
        let session = seen.session;
        if session.record.committing().is_some_and(|other| other != *digest) {
            return Err(session.conflict());
        }
        let content = seen.closing.unwrap_or_else(|| session.record.content.clone());
        let mut record = Record {
            content,
            ..session.record.clone()
        };
        record.reserve_last();
        let session = self.commit_to(session, digest, record).await?;
        let target = session
            .record
            .multipart
            .as_ref()
            .map(|multipart| multipart.target);
        let made = match target {
            Some(target @ Target::Session) => target.key(&session.id),
            Some(target @ Target::Blob(of)) if of == *digest => target.key(&session.id),
            _ => {
                return Err(StorageError::internal(
                    "the parts of an upload are those of another blob",
                ));
            }
        };
        self.make_object(&session).await?;
        Ok((session, made))
    }

    /// Copies the private object of a session to the blob, if that is another one.
    async fn copy_made(&self, made: &str, proof: &Verified) -> Result<()> {
        let blob = keys::blob(proof.digest());
        match made == blob || self.bucket.copy_whole(made, &blob, proof.size()).await? {
            true => Ok(()),
            false => Err(StorageError::UploadUnknown),
        }
    }

    /// Makes the object of the parts, unless that has been done. No append can follow: the record says so.
    pub(super) async fn make_object(&self, session: &Session) -> Result<()> {
        let mut content = session.record.content.clone();
        let Some(multipart) = &session.record.multipart else {
            return Err(StorageError::internal("the record of an upload lacks its parts"));
        };
        let key = multipart.target.key(&session.id);
        if content.rest() > 0 {
            let _memory = self.part_memory.take(content.rest()).await?;
            let payload: PutPayload = self.gather(&session.id, &content).await?.into_iter().collect();
            let (number, len) = (multipart.next.saturating_sub(1), content.rest());
            // Whoever repeats it sends the same bytes.
            let sent = self.bucket.put_part(&key, &multipart.id, number, payload).await?;
            if let Some(part) = sent {
                content.take_rest(number, len, part);
            }
        }
        let parts: Vec<_> = content
            .parts
            .iter()
            .map(|sent| (sent.number, sent.part.clone()))
            .collect();
        if content.rest() == 0
            && self
                .bucket
                .complete_multipart(&key, &multipart.id, &parts, multipart.next)
                .await?
        {
            return Ok(());
        }
        // The parts have gone: they are the object already, or the session has ended.
        match self.bucket.head(&key).await? {
            Some(found) if found.size == content.offset => Ok(()),
            _ => Err(StorageError::UploadUnknown),
        }
    }

    async fn require_size(&self, key: &str, size: u64) -> Result<()> {
        match self.bucket.head(key).await? {
            Some(found) if found.size == size => Ok(()),
            found => Err(StorageError::internal(format!(
                "{key} has {:?} bytes in the object store, not {size}",
                found.map(|found| found.size)
            ))),
        }
    }

    /// Records that the session becomes a blob.
    async fn commit_to(&self, session: Session, digest: &Digest, record: Record) -> Result<Session> {
        if session.record.stage == Stage::Committing(*digest) {
            return Ok(session);
        }
        let next = Record {
            stage: Stage::Committing(*digest),
            claimed: false,
            ..record.next()?
        };
        match self.swap(&session, next).await? {
            Swapped::Done(session) => Ok(session),
            // Another commit of the same bytes is ahead.
            Swapped::Lost(Some(found)) if found.record.stage == Stage::Committing(*digest) => Ok(found),
            Swapped::Lost(found) => Err(self.lost(found).await),
        }
    }
}

/// Compares the proof with the bytes of the session.
fn check(seen: &Seen, proof: &Verified) -> Result<()> {
    let content = seen.content();
    if content.offset != proof.size() {
        return Err(StorageError::internal(format!(
            "the proof is of {} bytes, the upload session has {}",
            proof.size(),
            content.offset
        )));
    }
    let known = content
        .checkpoint()
        .filter(|checkpoint| checkpoint.algorithm() == proof.digest().algorithm());
    if let Some(checkpoint) = known
        && Hasher::resume(&checkpoint).digest() != Some(*proof.digest())
    {
        return Err(StorageError::internal(
            "the proof is of other bytes than the upload session has",
        ));
    }
    Ok(())
}
