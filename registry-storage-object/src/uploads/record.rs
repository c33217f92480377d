//! [`Record`]: everything that is known of an upload session, in one object.
//!
//! Its form is one line of JSON, and then the last bytes of the session that no other object has.

use super::text;
use crate::{bucket::Part, keys, nonce::nonce};
use bytes::{BufMut as _, Bytes, BytesMut};
use registry_core::{
    Algorithm, Digest, RepositoryName, UploadId,
    hash::{Checkpoint, Hasher},
    storage::{NewUpload, Result, Uploader},
};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// Greatest number of a part, and of parts. Stores take 10,000.
const MOST_PARTS: usize = 1 << 20;

/// Record of a session. Each write of it has another nonce, which is the version of the session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Record {
    pub(super) nonce: String,
    #[serde(with = "text")]
    pub(super) repository: RepositoryName,
    /// Seconds since 1970. For display only.
    pub(super) started: u64,
    pub(super) opened_by: Option<String>,
    pub(super) stage: Stage,
    /// True while an append runs. The claim of an append that died ends when the record is old.
    pub(super) claimed: bool,
    pub(super) multipart: Option<Multipart>,
    pub(super) content: Content,
}

/// Progress of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// Bytes may be added.
    Open,
    /// No byte may be added, because the bytes are hashed again.
    Sealed,
    /// The bytes become a blob. Any replica finishes that.
    #[serde(with = "text")]
    Committing(Digest),
    /// The session has gone. What it has stored is about to be removed.
    Ended,
}

/// An object in parts that has been begun.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Multipart {
    pub(super) target: Target,
    pub(super) id: String,
    /// Lowest number that no part has had. A number is recorded as used before its part is sent.
    pub(super) next: usize,
}

/// Object that parts become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Target {
    /// The private object of the session, whatever its bytes are.
    Session,
    /// The blob of this digest. The object is made only once the bytes are proved.
    #[serde(with = "text")]
    Blob(Digest),
}

impl Target {
    pub(super) fn key(&self, id: &UploadId) -> String {
        match self {
            Self::Session => keys::session_data(id),
            Self::Blob(digest) => keys::blob(digest),
        }
    }
}

/// Bytes of a session, in this order: parts, pieces, and what the record has itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Content {
    pub(super) offset: u64,
    checkpoint: Option<StoredCheckpoint>,
    pub(super) parts: Vec<SentPart>,
    pub(super) pieces: Vec<Piece>,
    /// Objects whose bytes are elsewhere, too. They go with the session, if not before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spent: Vec<Piece>,
    /// True if the bytes are stored as the blob that the session becomes, and no other object counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stored: bool,
    /// The last bytes.
    #[serde(skip)]
    pub(super) here: Bytes,
}

/// A part, with the number under which it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct SentPart {
    #[serde(rename = "n")]
    pub(super) number: usize,
    #[serde(rename = "l")]
    pub(super) len: u64,
    #[serde(flatten)]
    pub(super) part: Part,
}

/// Bytes in a private object, because they are too many for the record and too few for a part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) len: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct StoredCheckpoint {
    #[serde(with = "text")]
    algorithm: Algorithm,
    state: String,
}

impl Record {
    /// Describes a new session.
    pub(super) fn open(repository: &RepositoryName, new: &NewUpload, now: SystemTime) -> Result<Self> {
        let started = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            nonce: nonce()?,
            repository: repository.clone(),
            started: started.as_secs(),
            opened_by: new.uploader.as_ref().map(Uploader::to_string),
            stage: Stage::Open,
            claimed: false,
            multipart: None,
            content: Content::empty(&new.checkpoint),
        })
    }

    /// Returns the next version of the record.
    pub(super) fn next(&self) -> Result<Self> {
        Ok(Self {
            nonce: nonce()?,
            ..self.clone()
        })
    }

    /// Reserves the number of the last part, which has the bytes that are in none, before the session leaves
    /// [`Stage::Open`]. The number is the last one below `next`.
    pub(super) fn reserve_last(&mut self) {
        if let Some(multipart) = &mut self.multipart
            && self.stage == Stage::Open
            && self.content.rest() > 0
        {
            multipart.next += 1;
        }
    }

    pub(super) fn started(&self) -> SystemTime {
        let since = Duration::from_secs(self.started);
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(super) fn opened_by(&self) -> Option<Uploader> {
        Uploader::parse(self.opened_by.as_deref()?)
    }

    /// Returns the digest as which the session is being published.
    pub(super) const fn committing(&self) -> Option<Digest> {
        match self.stage {
            Stage::Committing(digest) => Some(digest),
            Stage::Open | Stage::Sealed | Stage::Ended => None,
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let line = serde_json::to_vec(self).expect("a record has texts and numbers only");
        let mut bytes = BytesMut::with_capacity(line.len() + 1 + self.content.here.len());
        bytes.put_slice(&line);
        bytes.put_u8(b'\n');
        bytes.put_slice(&self.content.here);
        bytes.freeze()
    }

    /// Returns the repository of a record that cannot be read as a whole.
    pub(super) fn repository_in(bytes: &[u8]) -> Option<RepositoryName> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        let found: OfRepository = serde_json::from_slice(line).ok()?;
        Some(found.repository)
    }

    /// Reads a record. Returns `None` for other bytes.
    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let mut record: Self = serde_json::from_slice(bytes.get(..end)?).ok()?;
        record.content.here = bytes.slice(end + 1..);
        let content = &record.content;
        let is_whole = content.stored || content.sent().checked_add(content.rest()) == Some(content.offset);
        // Greater ones were not written by us, and calculating with them may overflow.
        let parts = content.parts.iter().map(|part| part.number);
        let next = record.multipart.iter().map(|multipart| multipart.next);
        let is_possible = parts.chain(next).all(|number| number <= MOST_PARTS);
        (is_whole && is_possible).then_some(record)
    }
}

/// The part of a record that a newer version has as well.
#[derive(Deserialize)]
struct OfRepository {
    #[serde(with = "text")]
    repository: RepositoryName,
}

impl Content {
    fn empty(checkpoint: &Checkpoint) -> Self {
        Self {
            offset: 0,
            checkpoint: Some(StoredCheckpoint::of(checkpoint)),
            parts: Vec::new(),
            pieces: Vec::new(),
            spent: Vec::new(),
            stored: false,
            here: Bytes::new(),
        }
    }

    /// Returns the hash state of exactly these bytes.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let stored = self.checkpoint.as_ref()?;
        let state = unhex(&stored.state)?;
        Checkpoint::parse(stored.algorithm, state.into()).filter(|found| found.offset() == self.offset)
    }

    /// Sets the number of bytes and their hash.
    pub(super) fn hashed_by(&mut self, hasher: &Hasher) {
        self.offset = hasher.offset();
        self.checkpoint = hasher.checkpoint().as_ref().map(StoredCheckpoint::of);
    }

    /// Returns the same bytes, once they are stored as a blob.
    pub(super) fn stored(&self) -> Self {
        Self {
            stored: true,
            here: Bytes::new(),
            ..self.clone()
        }
    }

    /// Adds a part that has the bytes which were in no part.
    pub(super) fn take_rest(&mut self, number: usize, len: u64, part: Part) {
        self.spent.append(&mut self.pieces);
        self.here = Bytes::new();
        self.parts.push(SentPart { number, len, part });
    }

    /// Returns the number of bytes in parts.
    pub(super) fn sent(&self) -> u64 {
        let lens = self.parts.iter().map(|part| part.len);
        lens.fold(0, u64::saturating_add)
    }

    /// Returns the number of bytes that are in no part.
    pub(super) fn rest(&self) -> u64 {
        let lens = self.pieces.iter().map(|piece| piece.len);
        lens.fold(self.here.len() as u64, u64::saturating_add)
    }
}

impl StoredCheckpoint {
    fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            algorithm: checkpoint.algorithm(),
            state: checkpoint
                .as_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_bytes() {
        let repository = RepositoryName::parse("a/b").unwrap();
        let new = NewUpload::hashed_by(Algorithm::Sha512).by(Some(Uploader::user("ann\n\"x")));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut record = Record::open(&repository, &new, now).unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"part piece {\"here\"}\n");
        record.content.hashed_by(&hasher);
        record.content.parts.push(SentPart {
            number: 7,
            len: 5,
            part: Part {
                id: "\"etag\"".to_owned(),
            },
        });
        record.content.pieces.push(Piece {
            name: "x".to_owned(),
            len: 6,
        });
        record.content.here = Bytes::from_static(b"{\"here\"}\n");
        record.multipart = Some(Multipart {
            target: Target::Blob(Digest::of(Algorithm::Sha256, b"x")),
            id: "upload".to_owned(),
            next: 9,
        });
        for stage in [
            Stage::Open,
            Stage::Sealed,
            Stage::Ended,
            Stage::Committing(Digest::of(Algorithm::Sha512, b"x")),
        ] {
            let record = Record {
                stage,
                ..record.next().unwrap()
            };
            assert_eq!(Record::parse(&record.to_bytes()).as_ref(), Some(&record));
            assert_eq!(record.content.checkpoint(), hasher.checkpoint());
            assert_eq!(record.started(), now);
            assert_eq!(record.opened_by(), Some(Uploader::user("ann\n\"x")));
        }
    }

    #[test]
    fn what_lacks_bytes_is_no_record() {
        let repository = RepositoryName::parse("a").unwrap();
        let new = NewUpload::hashed_by(Algorithm::Sha256);
        let mut record = Record::open(&repository, &new, SystemTime::UNIX_EPOCH).unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"here");
        record.content.hashed_by(&hasher);
        record.content.here = Bytes::from_static(b"here");
        let bytes = record.to_bytes();
        assert!(Record::parse(&bytes).is_some());
        for short in [0, 1, bytes.len() - 5, bytes.len() - 1] {
            assert!(Record::parse(&bytes.slice(..short)).is_none(), "{short}");
        }
        let mut odd = record.clone();
        odd.started = u64::MAX;
        assert_eq!(
            Record::parse(&odd.to_bytes()).unwrap().started(),
            SystemTime::UNIX_EPOCH
        );
        let piece = |len| Piece {
            name: "x".to_owned(),
            len,
        };
        // Their sum is the right one, were it not for the overflow.
        odd.content.pieces = vec![piece(u64::MAX), piece(1)];
        assert!(Record::parse(&odd.to_bytes()).is_none());
        let mut odd = record.clone();
        odd.multipart = Some(Multipart {
            target: Target::Session,
            id: "upload".to_owned(),
            next: usize::MAX,
        });
        assert!(Record::parse(&odd.to_bytes()).is_none());

        // The line is whole.
        let cut = bytes.slice(..bytes.len() - 1);
        assert_eq!(Record::repository_in(&cut), Some(repository));
        assert_eq!(Record::repository_in(&bytes.slice(..20)), None);
    }
}
