//! Errors of object stores as errors of a storage.

use object_store::Error;
use registry_core::storage::StorageError;
use std::time::Duration;

/// Time after which a client should try again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Describes a call that failed. An object that is not there is no failure: the callers look for it first.
pub(super) fn failed(what: &str, key: &str, error: Error) -> StorageError {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StorageError::unavailable(
            format!("the object store refuses to {what} {key}: check the credentials and their policy"),
            Some(RETRY_AFTER),
            Some(error.into()),
        ),
        Error::Generic { .. } => StorageError::unavailable(
            format!("cannot {what} {key} in the object store"),
            Some(RETRY_AFTER),
            Some(error.into()),
        ),
        error => StorageError::failed(format!("cannot {what} {key} in the object store"), error),
    }
}
