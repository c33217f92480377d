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
        // The library refuses a whole page for it.
        error @ Error::InvalidPath { .. } => StorageError::failed(
            format!(
                "cannot {what} {key} in the object store: an object has a name that no object of the registry has, and is of another \
                 program; remove it"
            ),
            error,
        ),
        error => StorageError::failed(format!("cannot {what} {key} in the object store"), error),
    }
}

/// Returns true if a call has failed because of an object with a name that the library does not accept.
pub(super) fn is_odd_key(error: &StorageError) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<Error>());
    matches!(source, Some(Error::InvalidPath { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    #[test]
    fn an_object_that_no_registry_has_is_named() {
        let source = Path::parse("a/\u{1}").unwrap_err();
        let odd = failed("list", "docker", Error::InvalidPath { source });
        assert!(is_odd_key(&odd));
        assert!(odd.to_string().contains("another program"), "{odd}");
        let away = Error::Generic {
            store: "S3",
            source: "away".into(),
        };
        assert!(!is_odd_key(&failed("list", "docker", away)));
    }
}
