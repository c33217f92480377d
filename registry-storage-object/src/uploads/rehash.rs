//! Hashing the bytes of a session again.
//!
//! Parts cannot be read before they are an object. So they become the private object of the session, which is read
//! once. The session is sealed then: also one with the body of a closing request, because its parts are used up. The
//! client repeats such a request without the body.

use super::{
    gather::hash,
    record::{Content, Record, Stage, Target},
    session::{Seen, Session, Swapped},
};
use crate::store::Store;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::{
    RepositoryName,
    hash::Hasher,
    storage::{Result, StorageError, UploadState},
};

/// Number of bytes that are hashed at once.
const AT_ONCE: usize = 1 << 20;

impl Store {
    /// Reads every byte of a session, and seals it.
    pub(crate) async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let seen = self.seen(repository, &state).await?;
        let appends = self.running_appends.has(&state.id);
        if appends || seen.session.is_in_use(self.now()) || seen.session.record.committing().is_some() {
            return Err(seen.session.conflict());
        }
        let content = seen.content().clone();
        if !content.parts.is_empty() {
            return self.rehash_parts(seen, content, hasher).await;
        }
        let _memory = match content.pieces.is_empty() || seen.has_memory {
            true => None,
            false => Some(self.part_memory.take(content.offset).await?),
        };
        let chunks = self.gather(&state.id, &content).await?;
        if seen.closing.is_some() {
            return Ok((state, hash(hasher, chunks).await?));
        }
        let record = seen.session.record.clone();
        let session = self.seal(seen.session, record).await?;
        Ok((session.state(), hash(hasher, chunks).await?))
    }

    async fn rehash_parts(
        &self,
        seen: Seen,
        content: Content,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let session = seen.session;
        let target = session
            .record
            .multipart
            .as_ref()
            .map(|multipart| multipart.target);
        if target != Some(Target::Session) {
            return Err(StorageError::internal(
                "the parts of an upload become the blob of a digest, and are hashed for another one",
            ));
        }
        let mut record = Record {
            content,
            ..session.record.clone()
        };
        record.reserve_last();
        let session = self.seal(session, record).await?;
        self.make_object(&session).await?;
        let (key, size) = (Target::Session.key(&session.id), session.record.content.offset);
        let hasher = self.hash_object(&key, size, hasher).await?;
        Ok((session.state(), hasher))
    }

    /// Refuses further appends.
    async fn seal(&self, session: Session, record: Record) -> Result<Session> {
        let next = Record {
            stage: Stage::Sealed,
            claimed: false,
            ..record.next()?
        };
        match self.swap(&session, next).await? {
            Swapped::Done(session) => Ok(session),
            Swapped::Lost(found) => Err(self.lost(found).await),
        }
    }

    async fn hash_object(&self, key: &str, size: u64, mut hasher: Hasher) -> Result<Hasher> {
        let Some((meta, mut chunks)) = self.bucket.read_whole(key).await? else {
            return Err(StorageError::UploadUnknown);
        };
        let (mut held, mut length, mut read) = (Vec::<Bytes>::new(), 0, 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            length += chunk.len();
            read += chunk.len() as u64;
            held.push(chunk);
            if length >= AT_ONCE {
                hasher = hash(hasher, std::mem::take(&mut held)).await?;
                length = 0;
            }
        }
        hasher = hash(hasher, held).await?;
        if meta.size != size || read != size {
            return Err(StorageError::internal(format!(
                "{key} has {read} bytes, not {size}"
            )));
        }
        Ok(hasher)
    }
}
