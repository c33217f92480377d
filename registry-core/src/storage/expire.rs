//! [`StorageExpire`]: the contract for ending abandoned upload sessions.

use super::{error::Result, upload::UploadState};
use crate::name::RepositoryName;
use async_trait::async_trait;

/// Ends upload sessions that clients abandoned. A storage has this plane only if it can be written.
///
/// # Cancel safety
///
/// A dropped call ends the session, or leaves it as it is.
#[async_trait]
pub trait StorageExpire: Send + Sync {
    /// Ends a session as [`cancel`](super::StorageWrite::cancel) does, if its state is still `seen` and it is
    /// not in use. Returns false otherwise.
    async fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool>;
}
