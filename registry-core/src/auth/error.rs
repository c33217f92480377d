//! Errors of authentication and authorization: [`AuthError`].

use super::MalformedLogin;
use crate::error::BoxError;
use std::time::Duration;

/// Failure to authenticate or authorize a request.
///
/// ```
/// use registry_core::auth::AuthError;
/// use std::time::Duration;
///
/// fn check(failures: u32, password: std::io::Result<bool>) -> Result<(), AuthError> {
///     if failures > 5 {
///         return Err(AuthError::Throttled { retry_after: Duration::from_secs(30) });
///     }
///     match password {
///         Ok(true) => Ok(()),
///         Ok(false) => Err(AuthError::Rejected),
///         // The password file cannot be read.
///         Err(error) => Err(AuthError::Failed(error.into())),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The credentials are wrong. The client is challenged again.
    #[error("the credentials were rejected")]
    Rejected,
    /// Too many failed attempts.
    #[error("too many failed attempts; retry after {} seconds", retry_after.as_secs())]
    Throttled {
        /// Time after which the client may try again.
        retry_after: Duration,
    },
    /// No decision can be made now. The client sees no further details.
    #[error("authentication or authorization failed")]
    Failed(#[source] BoxError),
}

impl From<MalformedLogin> for AuthError {
    fn from(_: MalformedLogin) -> Self {
        Self::Rejected
    }
}
