//! [`Trial`]: the bucket under trial.

use crate::bucket::{Bucket, Condition, RETRY_AFTER, Sent, Version, held::Holding};
use bytes::Bytes;
use registry_core::storage::{Result, StorageError};
use std::sync::OnceLock;

/// The bucket under trial, with a directory for it.
pub(super) struct Trial<'a> {
    pub(super) bucket: &'a Bucket,
    directory: &'a str,
    /// The same bucket, for races.
    pub(super) holding: Holding,
    /// The outcome of trying expired URLs, once it is known.
    pub(super) refuses_expired: OnceLock<bool>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(bucket: &'a Bucket, directory: &'a str) -> Result<Self> {
        Ok(Self {
            bucket,
            directory,
            holding: bucket.holding()?,
            refuses_expired: OnceLock::new(),
        })
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub(super) async fn put(&self, key: &str, text: &str, condition: &Condition) -> Result<Sent> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.bucket.put_once(key, bytes, condition, None).await
    }

    /// Writes a key and returns its version.
    pub(super) async fn version(&self, key: &str, text: &str) -> Result<Version> {
        self.bucket
            .put(key, Bytes::copy_from_slice(text.as_bytes()))
            .await?;
        let found = self.bucket.head(key).await?;
        found.map(|meta| meta.version).ok_or_else(|| {
            StorageError::unavailable(
                format!("the object store does not have {key}, which was just written"),
                None,
                None,
            )
        })
    }
}

/// Reports a trial without a result. What it would be taken for decides at which keys all replicas keep their records.
pub(super) fn unanswered() -> StorageError {
    let context = "the object store has not answered a trial of its preconditions: try again; if that lasts, something on \
                   the way to it drops such requests";
    StorageError::unavailable(context, Some(RETRY_AFTER), None)
}
