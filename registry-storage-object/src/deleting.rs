//! Notes of the deletions of manifests and blobs that are going on, on stores without preconditions of removals:
//! `_collect/deleting/<name>/<algorithm>/<hex>/<nonce>`, and `_collect/deleting/<name>/_blobs/…` for blobs. The others have
//! [marks](crate::marks).
//!
//! The removal of a record may take effect late: its answer is lost and the replica dies, or something on the way to the
//! store sends it twice. Somebody may have pushed the manifest again meanwhile. The pushed tag would point at nothing.
//!
//! So a deletion writes a note before it looks for tags. Whoever puts the manifest looks for notes after its tag is
//! there. Either the deletion finds the tag, or the put finds the note. Then the put waits until no removal can take effect
//! any more, and looks at the record again.
//!
//! Each deletion has notes of its own, which nobody else overwrites or removes while they count.
//!
//! A note says until when the removal is valid. The note of a deletion that has stopped counts for the [lateness] of the
//! store longer, and for the greatest difference of its nodes' clocks. A removal that was answered can only be a repeated
//! request afterwards, which the store refuses when it has expired: its note says so, and counts no longer than that, and the
//! difference seen. One of a deletion that has sent no removal counts no longer. Collections remove old notes.
//!
//! A blob has no tags. Whoever makes its link, or puts a manifest that names it, looks for notes at any time after the begin:
//! a deletion that writes its note later is going on beside it, and may count as the later one.
//!
//! So a deletion whose replica has died makes pushes of the same content fail for the time for which its note counts: 7
//! minutes and a half at most. It is more than 2 hours on a store that accepts expired requests.
//!
//! Requests: 2 for a deletion. For a put 2, and for a blob 1, each beside another one, and 1 more for each note.
//!
//! [lateness]: crate::store::Store::lateness

use crate::{
    bucket::{Fence, Meta, RETRY_AFTER, StoreTime},
    gate::now,
    keys,
    nonce::nonce,
    scans::at_once,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName,
    storage::{Needed, Result, StorageError},
};
use std::{
    collections::HashSet,
    time::{Duration, UNIX_EPOCH},
};
use tokio::time::Instant;

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
    /// Time until which the record may be removed.
    pub(crate) fence: Fence,
}

/// Content of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    until: StoreTime,
    has_ended: bool,
}

impl Noted {
    /// Reads a note. A garbled one counts from its time on, as one that was written then.
    fn of(bytes: &[u8], modified: StoreTime, valid: Duration) -> Self {
        let text = str::from_utf8(bytes).unwrap_or_default();
        let mut words = text.split(' ');
        let until = words.next().and_then(|until| until.parse().ok());
        let until = until.map(|until| StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(until)));
        Self {
            until: until.unwrap_or_else(|| modified.after(valid)),
            has_ended: until.is_some() && words.next() == Some(ENDED),
        }
    }

    fn text(self) -> String {
        let until = self.until.since(StoreTime::of(UNIX_EPOCH)).as_secs();
        match self.has_ended {
            true => format!("{until} {ENDED}"),
            false => until.to_string(),
        }
    }

    /// Returns true if a removal may take effect that this note is about.
    fn is_open(self, now: StoreTime, late: Duration) -> bool {
        match self.has_ended {
            true => now <= self.until,
            false => now <= self.until.after(late),
        }
    }
}

impl Store {
    /// Notes in the directory of some content that it is being deleted, for requests that are valid for some time. `None` if
    /// no request can be late.
    pub(crate) async fn note_deletion(&self, directory: &str, valid: Duration) -> Result<Option<Deleting>> {
        let Some(fence) = self.fence_of(valid) else {
            return Ok(None);
        };
        let key = format!("{directory}/{}", nonce()?);
        let noted = Noted {
            until: fence.expires(),
            has_ended: false,
        };
        self.bucket.put(&key, noted.text()).await?;
        Ok(Some(Deleting { key, fence }))
    }

    /// Notes that the removal of the record was answered, which was valid until then, or that none is on its way. A failure
    /// makes puts of the manifest wait longer.
    pub(crate) async fn end_deletion(&self, deleting: &Deleting, until: Option<StoreTime>) {
        let spread = self.bucket.observed().spread().min(self.gate.times.margin);
        let ended = Noted {
            until: until.map_or_else(|| StoreTime::of(UNIX_EPOCH), |until| until.after(spread)),
            has_ended: true,
        };
        if let Err(error) = self.bucket.put(&deleting.key, ended.text()).await {
            tracing::debug!(
                key = deleting.key,
                error = &error as &dyn std::error::Error,
                "cannot note the end of a deletion; the content cannot be pushed for a while"
            );
        }
    }

    /// Waits until no removal of the record of a manifest can take effect that was on its way when this was called. Returns
    /// false if there is none: then what was read meanwhile stays.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`] if that takes long.
    pub(crate) async fn outlast_deletion(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool> {
        self.outlast_notes(&keys::deleting(repository, digest)).await
    }

    /// Does the same for the link of a blob.
    pub(crate) async fn outlast_deletion_of_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool> {
        self.outlast_notes(&keys::deleting_blob(repository, digest)).await
    }

    /// Does the same for the links of the blobs that a manifest names.
    pub(crate) async fn outlast_deletion_of_needs(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
    ) -> Result<bool> {
        let blobs = needs.iter().filter(|needed| needed.need.admits_blob());
        let named: HashSet<String> = blobs
            .map(|needed| keys::deleting_blob(repository, &needed.digest))
            .collect();
        if named.is_empty() {
            return Ok(false);
        }
        // One listing shows the notes of all blobs of the repository.
        let is_named = |note: &str| note.rsplit_once('/').is_some_and(|(of, _)| named.contains(of));
        self.outlast_those(&keys::deleting_blobs(repository), is_named)
            .await
    }

    async fn outlast_notes(&self, directory: &str) -> Result<bool> {
        self.outlast_those(directory, |_| true).await
    }

    /// Outlasts the deletions whose notes have such keys.
    async fn outlast_those(
        &self,
        directory: &str,
        counts: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<bool> {
        // Without a clock of the store, no request can be late.
        if self.has_marks() || self.bucket.observed().latest().is_none() {
            return Ok(false);
        }
        let mut began = None;
        while self.has_open_notes(directory, &counts).await? {
            if began.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(StorageError::unavailable(
                    format!("a deletion is going on, or has stopped, as the notes in {directory} say"),
                    Some(RETRY_AFTER),
                    None,
                ));
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(began.is_some())
    }

    /// Returns true if there is a note with such a key that still counts.
    async fn has_open_notes(&self, directory: &str, counts: impl Fn(&str) -> bool) -> Result<bool> {
        let mut notes = self.list_all(directory).await?;
        notes.retain(|note| counts(&note.key));
        let (now, age) = (now(&self.bucket), self.notes_last());
        let young = notes.into_iter().filter(|note| !is_older(note, age, now));
        let late = self.lateness() + self.gate.times.margin;
        let looks = young.map(|note| async move {
            let found = self.bucket.get(&note.key).await?;
            Ok(found.is_some_and(|found| {
                let modified = StoreTime::of(found.modified);
                Noted::of(&found.bytes, modified, self.moving).is_open(now, late)
            }))
        });
        Ok(at_once(looks).await?.contains(&true))
    }

    /// Returns an age from which on a note does not count, whatever it says.
    pub(crate) fn notes_last(&self) -> Duration {
        self.settled() + self.lateness() + 2 * self.gate.times.margin
    }

    /// Removes notes that are older than this.
    pub(crate) async fn sweep_deletions(&self, age: Duration) -> Result<()> {
        let now = now(&self.bucket);
        let notes = self.list_all(keys::DELETING).await?;
        let old = notes.into_iter().filter(|note| is_older(note, age, now));
        self.bucket.delete_all(old.map(|note| note.key)).await
    }
}

fn is_older(note: &Meta, age: Duration, now: StoreTime) -> bool {
    StoreTime::of(note.modified).after(age) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_longer_if_its_removal_was_not_answered() {
        let seconds = |seconds| StoreTime::of(UNIX_EPOCH).after(Duration::from_secs(seconds));
        let [open, ended] = [false, true].map(|has_ended| Noted {
            until: seconds(1000),
            has_ended,
        });
        let is_open = |noted: Noted, now| {
            let read = Noted::of(noted.text().as_bytes(), seconds(0), Duration::ZERO);
            read.is_open(seconds(now), Duration::from_secs(420))
        };
        assert!(is_open(ended, 1000) && !is_open(ended, 1001));
        assert!(is_open(open, 1420) && !is_open(open, 1421));
        let garbled = Noted::of(b"garbled", seconds(2000), Duration::from_secs(20));
        assert!(garbled.is_open(seconds(2440), Duration::from_secs(420)));
    }
}
