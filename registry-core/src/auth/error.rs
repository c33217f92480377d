//! Why it could not be found out who asks, or whether they may: [`AuthError`].

use crate::storage::BoxError;
use std::time::Duration;

/// Why nobody could be identified although credentials were shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The credentials are wrong. The client is challenged again.
    #[error("the credentials were rejected")]
    Rejected,
    /// Too many attempts.
    #[error("too many attempts, the next one in {} seconds", retry_after.as_secs())]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// It cannot be decided now; the client learns no more than that.
    #[error("authentication or authorization failed to decide")]
    Failed(#[source] BoxError),
}
