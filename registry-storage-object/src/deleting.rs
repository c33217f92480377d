//! Notes of the deletions of manifests that are going on: `_collect/deleting/<name>/<algorithm>/<hex>`.
//!
//! The removal of a record may take effect late: its answer is lost and the replica dies, or something on the way to the
//! store sends it twice. Somebody may have pushed the manifest again meanwhile. The pushed tag would point at nothing.
//!
//! So a deletion writes a note before it looks for tags. Whoever puts the manifest looks for the note after its tag is
//! there. Either the deletion finds the tag, or the put finds the note. Then the put waits until no removal can take effect
//! any more, and looks at the record again.
//!
//! A note says until when the removal is valid. The note of a deletion that has stopped counts for the [lateness] of the
//! store longer. A removal that was answered can only be a repeated request afterwards, which the store refuses when it has
//! expired: its note says so, and counts no longer than that. Collections remove old notes.
//!
//! Requests: 2 for a deletion, and 1 more if there is an older note. 1 for a put, beside another one.
//!
//! [lateness]: crate::store::Store::lateness

use crate::{
    bucket::{Condition, Fence, Object, RETRY_AFTER, Sent, StoreTime, Version},
    error::restart,
    gate::now,
    keys,
    nonce::nonce,
    rung::Rung,
    scans::at_once,
    store::Store,
};
use bytes::Bytes;
use registry_core::{
    Digest, RepositoryName,
    storage::{Result, StorageError},
};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// Number of attempts to write a note that others write meanwhile.
const ATTEMPTS: usize = 5;

/// Time for which a put waits for a deletion.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks at a note.
const STEP: Duration = Duration::from_millis(500);

/// Word in the note of a deletion whose removal was answered.
const ENDED: &str = "ended";

/// The note of a deletion that is going on.
#[derive(Debug)]
pub(crate) struct Deleting {
    key: String,
    /// Text of the note.
    text: Bytes,
    version: Version,
    /// Time until which the record may be removed.
    pub(crate) fence: Fence,
    /// True if the removal of an earlier deletion may be on its way.
    is_shared: bool,
}

/// Content of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    until: StoreTime,
    has_ended: bool,
}

impl Noted {
    /// Reads a note. A garbled one counts from its time on, as one that was written then.
    fn of(object: &Object, valid: Duration) -> Self {
        let text = str::from_utf8(&object.bytes).unwrap_or_default();
        let mut words = text.split(' ');
        let until = words.next().and_then(|until| until.parse().ok());
        let until = until.map(|until| StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(until)));
        Self {
            until: until.unwrap_or_else(|| StoreTime::of(object.modified).after(valid)),
            has_ended: until.is_some() && words.next() == Some(ENDED),
        }
    }

    fn text(self) -> Result<Bytes> {
        let until = self.until.since(StoreTime::of(UNIX_EPOCH)).as_secs();
        let nonce = nonce()?;
        Ok(Bytes::from(match self.has_ended {
            true => format!("{until} {ENDED} {nonce}"),
            false => format!("{until} {nonce}"),
        }))
    }

    /// Returns true if a removal may take effect that this note is about.
    fn is_open(self, now: StoreTime, lateness: Duration) -> bool {
        match self.has_ended {
            true => now <= self.until,
            false => now <= self.until.after(lateness),
        }
    }
}

impl Store {
    /// Notes that a manifest is being deleted, for requests that are valid for some time. `None` if no request can be late.
    /// Of an `earlier` note of the same deletion, nothing is on its way.
    pub(crate) async fn note_deletion(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        valid: Duration,
        earlier: Option<Deleting>,
    ) -> Result<Option<Deleting>> {
        let key = keys::deleting(repository, digest);
        let mut found = match self.session_rung {
            Rung::Conditional | Rung::Log => None,
            Rung::Sole => self.bucket.get(&key).await?,
        };
        for _ in 0..ATTEMPTS {
            let Some(fence) = self.fence_of(valid) else {
                return Ok(None);
            };
            let before = found.as_ref().map(|found| Noted::of(found, valid));
            let is_open = |noted: Noted| noted.is_open(now(&self.bucket), self.lateness());
            let is_own = match (&found, &earlier) {
                (Some(found), Some(earlier)) => found.bytes == earlier.text && !earlier.is_shared,
                _ => false,
            };
            let is_shared = !is_own && before.is_some_and(|noted| !noted.has_ended && is_open(noted));
            let expires = fence.expires();
            let until = before.map_or(expires, |noted| noted.until.max(expires));
            let noted = Noted {
                until,
                has_ended: false,
            };
            let text = noted.text()?;
            let condition = match (self.session_rung, &found) {
                (Rung::Conditional, Some(found)) => Condition::Is(found.version.clone()),
                (Rung::Conditional | Rung::Log, None) => Condition::Absent,
                (Rung::Log, Some(_)) | (Rung::Sole, _) => Condition::Any,
            };
            let sent = self
                .bucket
                .put_once(&key, text.clone(), &condition, Some(fence))
                .await?;
            let version = match sent {
                Sent::Done(version) => Some(version),
                Sent::Refused | Sent::Expired | Sent::Unclear => {
                    found = self.bucket.get(&key).await?;
                    let own = found.as_ref().filter(|found| found.bytes == text);
                    own.map(|own| own.version.clone())
                }
            };
            if let Some(version) = version {
                return Ok(Some(Deleting {
                    key,
                    text,
                    version,
                    fence,
                    is_shared,
                }));
            }
        }
        Err(restart(&format!("note the deletion of {digest}")))
    }

    /// Notes that the removal of the record, which was valid until then, was answered. A failure makes puts of the manifest
    /// wait longer.
    pub(crate) async fn end_deletion(&self, deleting: &Deleting, until: StoreTime) {
        if deleting.is_shared {
            return;
        }
        if let Err(error) = self.write_end(deleting, until).await {
            tracing::debug!(
                key = deleting.key,
                error = &error as &dyn std::error::Error,
                "cannot note the end of a deletion; the manifest cannot be pushed for a while"
            );
        }
    }

    async fn write_end(&self, deleting: &Deleting, until: StoreTime) -> Result<()> {
        let Deleting {
            key, text, version, ..
        } = deleting;
        let condition = match self.session_rung {
            Rung::Conditional => Condition::Is(version.clone()),
            Rung::Log | Rung::Sole => {
                let found = self.bucket.get(key).await?;
                if found.is_none_or(|found| found.bytes != *text) {
                    return Ok(());
                }
                Condition::Any
            }
        };
        let ended = Noted {
            until,
            has_ended: true,
        };
        let fence = self.fence_of(self.gate.times.publish_until());
        self.bucket
            .put_once(key, ended.text()?, &condition, fence)
            .await
            .map(drop)
    }

    /// Waits until no removal of a record can take effect that was on its way when this was called. Returns false if there
    /// is none: then what was read meanwhile stays.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`] if that takes long.
    pub(crate) async fn outlast_deletion(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool> {
        // Without a clock of the store, no request can be late.
        if self.bucket.observed().latest().is_none() {
            return Ok(false);
        }
        let key = keys::deleting(repository, digest);
        let mut began = None;
        while let Some(found) = self.bucket.get(&key).await? {
            let noted = Noted::of(&found, self.moving);
            if !noted.is_open(now(&self.bucket), self.lateness()) {
                break;
            }
            if began.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(StorageError::unavailable(
                    format!("{digest} of {repository} is being deleted, or a deletion of it has stopped"),
                    Some(RETRY_AFTER),
                    None,
                ));
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(began.is_some())
    }

    /// Removes notes that are older than this.
    pub(crate) async fn sweep_deletions(&self, age: Duration) -> Result<()> {
        let now = now(&self.bucket);
        let old = self.list_all(keys::DELETING).await?;
        let old = old
            .into_iter()
            .filter(|note| StoreTime::of(note.modified).after(age) <= now);
        let fence = self.fence_of(self.moving);
        let removals = old.map(|note| async move {
            let condition = match self.rung {
                Rung::Conditional => Condition::Is(note.version),
                Rung::Log | Rung::Sole => Condition::Any,
            };
            self.bucket.delete_once(&note.key, &condition, fence).await
        });
        at_once(removals).await.map(drop)
    }
}
