//! [`ConfigError`]: errors in the settings of a client.

use std::{io, path::PathBuf};

/// Error in the settings of a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Certificates or a key cannot be read.
    #[error("malformed PEM: {0}")]
    Pem(String),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// Underlying error.
        source: io::Error,
    },
    /// A file or a variable has another form than it should.
    #[error("{place}: {problem}")]
    #[non_exhaustive]
    Malformed {
        /// The file or variable.
        place: String,
        /// Rule that is violated.
        problem: String,
    },
}
