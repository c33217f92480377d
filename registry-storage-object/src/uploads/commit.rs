//! Commits: a session becomes a blob.
//!
//! Each step can be repeated, by any replica: the record says as which blob the session is committed, and has what is
//! needed to go on.
//!
//! Requests for a small blob: its bytes, the record, the link, and the end of the record: 4. A blob in parts needs 1 more
//! to make the object and 1 to look at its size, and 2 more to copy and remove it if its digest was not known when the
//! first part was sent.

use super::{
    record::{Content, Record, Stage, Target},
    session::{Seen, Session, Swapped, lost},
};
use crate::{error::restart, gate::Promised, keys, links::SECTIONS, store::Store};
use object_store::PutPayload;
use registry_core::{
    Digest, RepositoryName,
    hash::Hasher,
    storage::{BlobInfo, Result, StorageError, UploadState, Verified},
};

impl Store {
    pub(crate) async fn commit(
        &self,
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
        // It has the memory of its bytes.
        drop(state);
        if seen.session.is_in_use(self.now()) {
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
        &self,
        repository: &RepositoryName,
        seen: Seen,
        proof: &Verified,
    ) -> Result<BlobInfo> {
        let digest = proof.digest();
        let mut seen = seen;
        for section in 0..SECTIONS {
            let view = self.gate.view(&self.bucket).await?;
            let promised = [Promised::Blob(repository, digest)];
            self.gate.promise(&self.bucket, &view, &promised).await?;
            // A copy may take longer than a view is valid. The bytes that a section before has stored are not stored again,
            // unless a collection has taken them.
            let session = match section > 0 && self.has_stored(proof).await? {
                true => seen.session,
                false => self.store_blob(seen, proof).await?,
            };
            if self.link(repository, digest, &view).await? {
                self.forget(&session).await;
                let info = BlobInfo::new(*digest, proof.size()).with_modified(Some(self.now()));
                return Ok(info);
            }
            seen = Seen::of(session);
        }
        Err(restart("publish an upload"))
    }

    /// Returns true if the object of a blob is there. The blob has been promised before.
    async fn has_stored(&self, proof: &Verified) -> Result<bool> {
        let found = self.stored(proof.digest()).await?;
        Ok(found.is_some_and(|found| found.size == proof.size()))
    }

    /// Stores the bytes of a session as a blob, and records that they become it.
    async fn store_blob(&self, seen: Seen, proof: &Verified) -> Result<Session> {
        let digest = proof.digest();
        let mut seen = seen;
        let closing = seen.closing.take();
        let content = closing.unwrap_or_else(|| seen.session.record.content.clone());
        match seen.session.record.stage {
            Stage::Committing(other) if other != *digest => Err(seen.session.conflict()),
            Stage::Ended => Err(StorageError::UploadUnknown),
            _ if !content.parts.is_empty() => self.store_parts(seen.session, content, proof).await,
            Stage::Committing(_) if content.stored => {
                // The bytes are where they have to be, unless a collection has taken them.
                match self.has_stored(proof).await? {
                    true => Ok(seen.session),
                    false => Err(StorageError::UploadUnknown),
                }
            }
            _ => self.store_small(seen, content, proof).await,
        }
    }

    /// Stores a blob that is in no part.
    async fn store_small(&self, seen: Seen, content: Content, proof: &Verified) -> Result<Session> {
        let digest = proof.digest();
        let key = keys::blob(digest);
        let id = seen.session.id;
        match content.pieces.as_slice() {
            [piece] if content.here.is_empty() => {
                let piece = keys::session_piece(&id, &piece.name);
                if !self.bucket.copy(&piece, &key).await? {
                    return Err(StorageError::UploadUnknown);
                }
                self.require_size(&key, proof.size()).await?;
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

    /// Stores a blob that is in parts.
    async fn store_parts(&self, session: Session, content: Content, proof: &Verified) -> Result<Session> {
        let digest = proof.digest();
        let mut record = Record {
            content,
            ..session.record.clone()
        };
        record.reserve_last();
        let session = self.commit_to(session, digest, record).await?;
        let made = match session
            .record
            .multipart
            .as_ref()
            .map(|multipart| multipart.target)
        {
            Some(target @ Target::Session) => target.key(&session.id),
            Some(target @ Target::Blob(of)) if of == *digest => target.key(&session.id),
            _ => {
                return Err(StorageError::internal(
                    "the parts of an upload are those of another blob",
                ));
            }
        };
        self.make_object(&session).await?;
        let blob = keys::blob(digest);
        if made != blob && !self.bucket.copy_whole(&made, &blob, proof.size()).await? {
            return Err(StorageError::UploadUnknown);
        }
        self.require_size(&blob, proof.size()).await?;
        Ok(session)
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
            Swapped::Lost(found) => Err(lost(found)),
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
