//! Errors that several subjects report.

use registry_core::storage::StorageError;
use std::time::Duration;

/// Time after which a client should try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Describes an operation whose answers from the object store were lost, or came too late, several times in a row.
pub(crate) fn restart(what: &str) -> StorageError {
    StorageError::unavailable(
        format!("cannot {what} in the object store: its answers were lost or came too late, several times"),
        Some(RETRY_AFTER),
        None,
    )
}
