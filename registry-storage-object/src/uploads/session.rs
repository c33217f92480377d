//! [`Session`]: a record with the version by which it is moved, and the state that callers are given.

use super::{
    memory::keep,
    record::{Content, Record, Stage},
    running::LEASE,
};
use crate::{
    bucket::{Condition, Sent, Version},
    error::restart,
    keys,
    rung::Rung,
    store::Store,
};
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::TryStreamExt as _;
use registry_core::{
    RepositoryName, UploadId,
    storage::{Result, StorageError, UploadState},
};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// Time for which a record is moved again after a refusal or without an answer, and the first pause, which doubles.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A session as its record has it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: UploadId,
    pub(super) record: Record,
    pub(super) version: Version,
    /// Time of the record, by the store's clock.
    pub(super) modified: SystemTime,
}

/// Content of the record of a session.
pub(super) enum Stored {
    Whole(Box<Session>),
    /// Damaged, or of a newer version of this program, which may say the repository all the same.
    Unreadable {
        key: String,
        repository: Option<RepositoryName>,
    },
}

/// A session as a caller has seen it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) session: Session,
    /// The bytes with the body of a closing request, which count only once they are committed.
    pub(super) closing: Option<Content>,
    /// True if the caller has the memory for all bytes that are in no part.
    pub(super) has_memory: bool,
}

/// Outcome of a move of a record.
pub(super) enum Swapped {
    Done(Session),
    /// The record was another one, or has gone.
    Lost(Option<Session>),
}

/// Head of the version of a state. The record follows, and then the last bytes of `closing`.
#[derive(Deserialize, Serialize)]
struct Head {
    version: Version,
    record: usize,
    closing: Option<Content>,
    has_memory: bool,
}

impl Session {
    /// Returns the state of the session.
    pub(super) fn state(&self) -> UploadState {
        let content = &self.record.content;
        let version = self.encode(None, &[], false).into();
        let state = UploadState::new(self.id, content.offset, version);
        self.describe(state.with_checkpoint(content.checkpoint()))
    }

    /// Returns the state of the session with the body of a closing request, of which these bytes are in no object. Their
    /// memory is given back with the last clone of the state.
    pub(super) fn state_with(
        &self,
        closing: Content,
        last: &[Bytes],
        memory: Option<OwnedSemaphorePermit>,
    ) -> UploadState {
        let (offset, checkpoint) = (closing.offset, closing.checkpoint());
        let version = self.encode(Some(closing), last, memory.is_some());
        let state = UploadState::new(self.id, offset, keep(version, memory));
        self.describe(state.with_checkpoint(checkpoint))
    }

    /// Returns the state for a listing, whose version does not have the record.
    pub(super) fn listed(&self) -> UploadState {
        let content = &self.record.content;
        let version = Bytes::copy_from_slice(self.record.nonce.as_bytes());
        let state = UploadState::new(self.id, content.offset, version);
        self.describe(state.with_checkpoint(content.checkpoint()))
    }

    fn describe(&self, state: UploadState) -> UploadState {
        state
            .with_started(Some(self.record.started()))
            .with_touched(Some(self.modified))
            .with_committing(self.record.committing())
            // Its bytes are all stored, so the client need not send them again.
            .with_published(self.record.committing())
            .with_opened_by(self.record.opened_by())
    }

    /// Returns the nonce of the record and everything that an append or a commit has to know, so that it need not ask.
    fn encode(&self, closing: Option<Content>, last: &[Bytes], has_memory: bool) -> Vec<u8> {
        let record = self.record.to_bytes();
        let head = Head {
            version: self.version.clone(),
            record: record.len(),
            closing,
            has_memory,
        };
        let head = serde_json::to_vec(&head).expect("a head has texts and numbers only");
        let length = self.record.nonce.len() + 8 + head.len() + record.len();
        let mut bytes = Vec::with_capacity(length + last.iter().map(Bytes::len).sum::<usize>());
        bytes.put_slice(self.record.nonce.as_bytes());
        bytes.put_u64(head.len() as u64);
        bytes.put_slice(&head);
        bytes.put_slice(&record);
        for chunk in last {
            bytes.put_slice(chunk);
        }
        bytes
    }

    /// Returns true if an append is running that may still be alive.
    pub(super) fn is_in_use(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.modified).unwrap_or_default();
        self.record.claimed && age < LEASE
    }

    /// Returns the keys of its private objects, except the one of its parts.
    pub(super) fn pieces(&self) -> impl Iterator<Item = String> {
        let content = &self.record.content;
        let pieces = content.pieces.iter().chain(&content.spent);
        pieces.map(|piece| keys::session_piece(&self.id, &piece.name))
    }

    pub(super) const fn conflict(&self) -> StorageError {
        StorageError::upload_conflict(self.record.content.offset)
    }
}

impl Seen {
    fn decode(state: &UploadState) -> Option<Self> {
        let mut rest = state.version.clone();
        if rest.len() < NONCE + 8 {
            return None;
        }
        rest.advance(NONCE);
        let length = usize::try_from(rest.get_u64()).ok()?;
        let head: Head = serde_json::from_slice(rest.get(..length)?).ok()?;
        rest.advance(length);
        let record = Record::parse(&rest.get(..head.record).map(|_| rest.slice(..head.record))?)?;
        rest.advance(head.record);
        let mut closing = head.closing;
        if let Some(closing) = &mut closing {
            closing.here = rest;
        }
        Some(Self {
            session: Session {
                id: state.id,
                record,
                version: head.version,
                modified: state.touched.unwrap_or(SystemTime::UNIX_EPOCH),
            },
            closing,
            has_memory: head.has_memory,
        })
    }

    /// Describes a session that has not received the body of a closing request.
    pub(super) const fn of(session: Session) -> Self {
        Self {
            session,
            closing: None,
            has_memory: false,
        }
    }

    /// Returns the bytes that the caller has seen.
    pub(super) fn content(&self) -> &Content {
        self.closing.as_ref().unwrap_or(&self.session.record.content)
    }
}

/// Length of a nonce.
const NONCE: usize = 16;

impl Store {
    /// Reads the record of a session, also of one that has ended.
    pub(super) async fn load(&self, id: &UploadId) -> Result<Option<Session>> {
        match self.read_record(id).await? {
            None => Ok(None),
            Some(Stored::Whole(session)) => Ok(Some(*session)),
            Some(Stored::Unreadable { key, .. }) => Err(StorageError::internal(format!(
                "{key} is not the record of an upload session"
            ))),
        }
    }

    /// Reads the record of a session, and tells one that cannot be read from one that is not there.
    pub(super) async fn read_record(&self, id: &UploadId) -> Result<Option<Stored>> {
        let last = match self.session_rung {
            Rung::Log => match self.session_entries(id).await?.last() {
                Some(last) => Some(*last),
                None => return Ok(None),
            },
            Rung::Conditional | Rung::Sole => None,
        };
        let key = last.map_or_else(|| keys::session(id), |last| keys::session_entry(id, last));
        let Some(found) = self.bucket.get(&key).await? else {
            return Ok(None);
        };
        let Some(record) = Record::parse(&found.bytes) else {
            return Ok(Some(Stored::Unreadable {
                key,
                repository: Record::repository_in(&found.bytes),
            }));
        };
        Ok(Some(Stored::Whole(Box::new(Session {
            id: *id,
            record,
            version: last.map_or(found.version, numbered),
            modified: found.modified,
        }))))
    }

    /// Returns the numbers of the entries of a session where its record is a log, in order.
    pub(super) async fn session_entries(&self, id: &UploadId) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        let mut listed = self.bucket.list(&keys::session_log(id));
        while let Some(meta) = listed.try_next().await? {
            let name = meta.key.rsplit_once('/').map(|(_, name)| name);
            numbers.extend(name.and_then(keys::number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns true if an entry that was just written is the last one of a log. Removes one of a log that has gone.
    async fn is_head(&self, id: &UploadId, number: u64) -> Result<bool> {
        let entries = self.session_entries(id).await?;
        let follows = number == 0 || entries.contains(&(number - 1));
        if entries.last() == Some(&number) && !follows {
            self.bucket.delete(&keys::session_entry(id, number)).await?;
        }
        Ok(follows && entries.last() == Some(&number))
    }

    /// Reads the record of a session of a repository that has not ended.
    pub(super) async fn find(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<Session>> {
        let found = self.load(id).await?;
        match found.filter(|found| is_of(found, repository)) {
            Some(found) if self.is_committed(&found).await? => Ok(None),
            found => Ok(found),
        }
    }

    /// Describes the state of a session that was changed by somebody else.
    pub(super) async fn lost(&self, found: Option<Session>) -> StorageError {
        match found {
            Some(found) if found.record.stage != Stage::Ended => match self.is_committed(&found).await {
                Ok(true) => StorageError::UploadUnknown,
                Ok(false) => found.conflict(),
                Err(error) => error,
            },
            _ => StorageError::UploadUnknown,
        }
    }

    /// Returns what a caller has seen, if that is a session of the repository.
    pub(super) async fn seen(&self, repository: &RepositoryName, state: &UploadState) -> Result<Seen> {
        if let Some(seen) = Seen::decode(state) {
            return match is_of(&seen.session, repository) {
                true => Ok(seen),
                false => Err(StorageError::UploadUnknown),
            };
        }
        let found = self.find(repository, &state.id).await?;
        let session = found.ok_or(StorageError::UploadUnknown)?;
        if session.record.nonce.as_bytes() != state.version {
            return Err(session.conflict());
        }
        Ok(Seen::of(session))
    }

    /// Writes the first record of a session.
    pub(super) async fn create(&self, id: UploadId, record: Record) -> Result<Session> {
        match self.place(&id, record, None).await? {
            Swapped::Done(session) => Ok(session),
            Swapped::Lost(_) => Err(StorageError::internal(format!(
                "two upload sessions have the id {id}"
            ))),
        }
    }

    /// Replaces a record by its next version, if it is still there as it was.
    pub(super) async fn swap(&self, session: &Session, next: Record) -> Result<Swapped> {
        self.check_lease().await?;
        match self.session_rung {
            Rung::Conditional | Rung::Log => self.place(&session.id, next, Some(session)).await,
            Rung::Sole => self.swap_in_turn(session, next).await,
        }
    }

    /// Does the same where the store keeps no condition: one process writes, whose writers take turns.
    async fn swap_in_turn(&self, session: &Session, next: Record) -> Result<Swapped> {
        let _turn = self.turns.take_session(&session.id).await;
        match self.load(&session.id).await? {
            Some(found) if found.record.nonce == session.record.nonce => {
                self.place(&session.id, next, Some(session)).await
            }
            found => Ok(Swapped::Lost(found)),
        }
    }

    async fn place(&self, id: &UploadId, record: Record, before: Option<&Session>) -> Result<Swapped> {
        let number = before.and_then(number_of).map_or(0, |last| last + 1);
        let (key, condition) = match (self.session_rung, before) {
            (Rung::Log, _) => (keys::session_entry(id, number), Condition::Absent),
            (Rung::Conditional, Some(before)) => (keys::session(id), Condition::Is(before.version.clone())),
            (Rung::Conditional, None) => (keys::session(id), Condition::Absent),
            (Rung::Sole, _) => (keys::session(id), Condition::Any),
        };
        let before = before.map(|before| before.record.nonce.as_str());
        let bytes = record.to_bytes();
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            let sent = self
                .bucket
                .put_once(&key, bytes.clone(), &condition, None)
                .await?;
            if let Sent::Done(version) = sent {
                if self.session_rung == Rung::Log && !self.is_head(id, number).await? {
                    return Ok(Swapped::Lost(self.load(id).await?));
                }
                let is_log = self.session_rung == Rung::Log;
                return Ok(Swapped::Done(Session {
                    id: *id,
                    record,
                    version: if is_log { numbered(number) } else { version },
                    modified: self.now(),
                }));
            }
            // A store may report the own success as a lost race, and an answer may be lost. The nonce tells.
            match self.load(id).await? {
                Some(found) if found.record.nonce == record.nonce => return Ok(Swapped::Done(found)),
                // Sent again: only one of two writes with the same condition takes effect, and both are the same.
                Some(found) if before == Some(found.record.nonce.as_str()) => {}
                None if before.is_none() => {}
                found => return Ok(Swapped::Lost(found)),
            }
            // A store refuses a write also while another one is under way, such as that of an append whose client has gone.
            if began.elapsed() + pause > PATIENCE {
                return Err(restart(&format!("move {key}")));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

fn is_of(session: &Session, repository: &RepositoryName) -> bool {
    session.record.repository == *repository && session.record.stage != Stage::Ended
}

/// Returns the version of an entry of a log.
fn numbered(number: u64) -> Version {
    Version::from((Some(number.to_string()), None))
}

/// Returns the number of the entry that a session was read from, where its record is a log.
pub(super) fn number_of(session: &Session) -> Option<u64> {
    let (number, _): (Option<String>, Option<String>) = session.version.clone().into();
    number?.parse().ok()
}
