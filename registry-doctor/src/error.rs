//! [`InvalidOption`]: the reason for which an option of the doctor cannot be used.

use std::path::PathBuf;

/// Reason for which a registry cannot be examined as asked.
///
/// No message repeats a URL, which may contain a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOption {
    /// The URL has another form.
    #[error("the URL must be one such as https://registry.example.com, or HOST:PORT")]
    Url,
    /// The URL contains a user, and possibly a password.
    #[error("the URL must not contain a user")]
    UserInUrl,
    /// The URL is the name of an image.
    #[error("this is the name of an image; the registry is {registry}")]
    #[non_exhaustive]
    ImageName {
        /// Host and port of the registry of that image.
        registry: String,
    },
    /// The name is not one of a repository.
    #[error("must be a repository such as team/app")]
    Repository,
    /// The name of a user cannot be sent.
    #[error("a user name cannot contain a colon")]
    User,
    /// The text is not the origin of a web page.
    #[error("must be an origin such as https://ui.example.com")]
    Origin,
    /// A file of certificates cannot be read, is too large, or contains none.
    #[error("{}: {reason}", path.display())]
    #[non_exhaustive]
    Certificates {
        /// Path of the file.
        path: PathBuf,
        /// Text of the error.
        reason: String,
    },
}
