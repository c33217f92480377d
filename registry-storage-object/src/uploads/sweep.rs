//! Bytes of sessions that have gone.
//!
//! An append that was stopped for long may write bytes after its session has ended and its record was removed. The expiry
//! finds them in its listing of all sessions. Parts that no record names are removed by the rule of the bucket.

use crate::{bucket::Meta, keys, store::Store};
use registry_core::{UploadId, storage::Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Age of bytes without a record from which on they are removed. A record is made before the first of them.
const OLD: Duration = Duration::from_secs(15 * 60);

impl Store {
    pub(super) fn is_old(&self, meta: &Meta) -> bool {
        self.now()
            .duration_since(meta.modified)
            .is_ok_and(|age| age > OLD)
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
