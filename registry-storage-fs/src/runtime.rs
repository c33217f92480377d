//! The runtime that the operations of a storage run on.

use registry_core::storage::{Result, StorageError};
use tokio::{runtime::Handle, task::JoinHandle};

/// Waits for an operation and returns its result.
pub(crate) async fn joined<T>(begun: JoinHandle<Result<T>>) -> Result<T> {
    begun
        .await
        .map_err(|source| StorageError::failed("a storage operation did not run to its end", source))?
}

/// Returns the runtime that an operation is called in.
pub(crate) fn runtime() -> Result<Handle> {
    Handle::try_current()
        .map_err(|source| StorageError::failed("the storage is used outside of a tokio runtime", source))
}
