//! Bytes and parts of sessions that have gone.
//!
//! An append that was stopped for long may write bytes after its session has ended and its record was removed. The expiry
//! finds them in its listing of all sessions. A process that is killed between its request for an object in parts and the
//! record that names it leaves parts that no record names. The beginning of an expiry finds these by a listing of their own;
//! where the store has none, the rule of the bucket removes them.

use super::session::Stored;
use crate::{
    bucket::{Begun, Meta},
    keys,
    store::Store,
};
use futures_util::TryStreamExt as _;
use registry_core::{UploadId, storage::Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

/// Age of bytes and parts without a record from which on they are removed. A record is made before the first of the bytes, and
/// soon after the beginning of the parts.
const OLD: Duration = Duration::from_secs(15 * 60);

/// Age from which on parts of a blob are dropped that no record names. A copy in parts has no record, and may take hours.
const OLD_COPY: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    pub(super) fn is_old(&self, meta: &Meta) -> bool {
        self.is_older(meta.modified, OLD)
    }

    fn is_older(&self, time: SystemTime, age: Duration) -> bool {
        self.now().duration_since(time).is_ok_and(|found| found > age)
    }

    /// Drops the parts that no record names. What fails is left for the next expiry.
    ///
    /// Requests: 1 for 1,000 objects in parts, 2 for each of a session that has gone. If there are old parts of blobs, a
    /// listing of all sessions, and their records.
    pub(super) async fn sweep_parts(&self) {
        if self.options.read_only {
            return;
        }
        if let Err(error) = self.try_sweep_parts().await {
            tracing::debug!(%error, "cannot drop the parts of uploads that have gone; the rule of the bucket does");
        }
    }

    async fn try_sweep_parts(&self) -> Result<()> {
        let mut of_blobs = Vec::new();
        for begun in self.bucket.begun_parts(keys::TOP).await? {
            let is_older = |age| begun.began.is_some_and(|began| self.is_older(began, age));
            match keys::session_of_bytes(&begun.key) {
                Some(id) if is_older(OLD) && !self.is_named(&id, &begun.id).await? => {
                    self.drop_unnamed(&begun).await?;
                }
                None if keys::stored(&begun.key).is_some() && is_older(OLD_COPY) => of_blobs.push(begun),
                // Another program has others, such as a registry that shares the bucket.
                _ => {}
            }
        }
        if of_blobs.is_empty() {
            return Ok(());
        }
        // Its key does not say which session has begun it.
        let Some(named) = self.named_parts().await? else {
            return Ok(());
        };
        for begun in of_blobs.iter().filter(|begun| !named.contains(&begun.id)) {
            self.drop_unnamed(begun).await?;
        }
        Ok(())
    }

    /// Returns the objects in parts that the records of all sessions name, or `None` if a record cannot be read.
    async fn named_parts(&self) -> Result<Option<BTreeSet<String>>> {
        let objects = self.list_twice(keys::SESSIONS).await?;
        let ids: BTreeSet<UploadId> = objects
            .iter()
            .filter_map(|object| keys::session_id(&object.key))
            .collect();
        let mut named = BTreeSet::new();
        let mut records = self.session_records(ids.into_iter().collect());
        while let Some((_, record)) = records.try_next().await? {
            match record {
                None => {}
                Some(Stored::Unreadable { .. }) => return Ok(None),
                Some(Stored::Whole(session)) => named.extend(session.record.multipart.map(|named| named.id)),
            }
        }
        Ok(Some(named))
    }

    /// Returns true if the record of a session names an object in parts, or cannot be read.
    async fn is_named(&self, session: &UploadId, multipart: &str) -> Result<bool> {
        Ok(match self.read_record(session).await? {
            None => false,
            Some(Stored::Unreadable { .. }) => true,
            Some(Stored::Whole(session)) => {
                let named = session.record.multipart;
                named.is_some_and(|named| named.id == multipart)
            }
        })
    }

    async fn drop_unnamed(&self, begun: &Begun) -> Result<()> {
        tracing::info!(
            key = begun.key,
            "the parts of an upload are dropped, which no record names"
        );
        self.bucket.abort_multipart(&begun.key, &begun.id).await
    }

    /// Removes those of these objects whose session has no record. The sessions with these ids were listed. What fails is
    /// left for the next listing.
    pub(super) async fn sweep_bytes(&self, listed: &BTreeSet<UploadId>, old: Vec<String>) {
        if self.options.read_only {
            return;
        }
        let mut sessions: BTreeMap<UploadId, Vec<String>> = BTreeMap::new();
        for key in old {
            if let Some(id) = keys::session_of_bytes(&key)
                && !listed.contains(&id)
            {
                sessions.entry(id).or_default().push(key);
            }
        }
        for (id, bytes) in sessions {
            if let Err(error) = self.sweep_session(&id, bytes).await {
                tracing::debug!(session = %id, %error, "cannot remove the bytes of an upload session that has gone");
            }
        }
    }

    async fn sweep_session(&self, id: &UploadId, bytes: Vec<String>) -> Result<()> {
        // A listing may lack the record.
        if self.read_record(id).await?.is_some() {
            return Ok(());
        }
        tracing::info!(session = %id, objects = bytes.len(), "bytes of an upload session that has gone are removed");
        self.bucket.delete_all(bytes.into_iter()).await
    }
}
