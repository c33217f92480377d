//! [`StartError`]: the reason for which a server cannot start.

use std::error::Error;

type BoxError = Box<dyn Error + Send + Sync>;

/// Reason for which a server cannot start, with the part that failed. The message names the key of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The file of users cannot be used.
    #[error(transparent)]
    Users(BoxError),
    /// The file of access rules cannot be used.
    #[error(transparent)]
    Rules(BoxError),
    /// The file of rules of retention cannot be used.
    #[error(transparent)]
    Retention(BoxError),
    /// The storage cannot be opened.
    #[error(transparent)]
    Storage(BoxError),
    /// The server cannot listen for clients.
    #[error(transparent)]
    Listen(BoxError),
    /// The server cannot listen for operators.
    #[error(transparent)]
    Operators(BoxError),
    /// The certificates cannot be used, or the redirect to https cannot listen.
    #[error(transparent)]
    Tls(BoxError),
    /// The path before `/v2/`, or the external address, cannot be used.
    #[error(transparent)]
    Address(BoxError),
    /// The thread of the access log cannot be started.
    #[error("cannot start the access log")]
    AccessLog(#[source] std::io::Error),
}
