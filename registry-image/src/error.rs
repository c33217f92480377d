//! [`Error`]: reasons for which content cannot be read, written or copied.

use crate::printable;
use registry_core::{BoxError, Digest, Error as RegistryError, Reference, manifest::InvalidManifest};
use std::io;

/// Reason for which content cannot be read, written or copied.
///
/// `place` names a file, a directory or a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such tag or manifest.
    #[error("{place} has no manifest {reference}")]
    #[non_exhaustive]
    NoManifest {
        /// The source.
        place: String,
        /// The missing tag or digest.
        reference: Reference,
    },
    /// A blob that a manifest refers to is absent.
    #[error("{place} does not have the blob {digest}, which a manifest refers to")]
    #[non_exhaustive]
    NoBlob {
        /// The source.
        place: String,
        /// The missing blob.
        digest: Digest,
    },
    /// An incremental archive leaves out blobs that the target does not have. No image that lacks them is visible.
    #[error(
        "{place} leaves out {} that {target} does not have: {}; first import the export whose list has the digest {base}, or export again without it",
        counted(missing),
        named(missing)
    )]
    #[non_exhaustive]
    Base {
        /// The source.
        place: String,
        /// The target.
        target: String,
        /// Digest of the list of the export that has them.
        base: Digest,
        /// The missing blobs.
        missing: Vec<Digest>,
    },
    /// Content does not have the digest under which it is stored. Nothing of it was published.
    #[error("{place} is damaged: the content of {digest} has the digest {actual}")]
    #[non_exhaustive]
    Digest {
        /// The place of the content.
        place: String,
        /// The expected digest.
        digest: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Content does not have the size that its descriptor gives. Nothing of it was published.
    #[error("{place} is damaged: {digest} has {actual} bytes, but its descriptor gives {expected}")]
    #[non_exhaustive]
    Size {
        /// The place of the content.
        place: String,
        /// The content.
        digest: Digest,
        /// The size that the descriptor gives.
        expected: u64,
        /// The size of the content, or the number of bytes after which reading stopped.
        actual: u64,
    },
    /// A manifest cannot be read.
    #[error("the manifest {digest} in {place} is malformed: {source}")]
    #[non_exhaustive]
    Manifest {
        /// The source.
        place: String,
        /// The manifest.
        digest: Digest,
        /// The violated rule.
        #[source]
        source: InvalidManifest,
    },
    /// Content cannot be copied, by a rule.
    #[error("{place}: cannot copy {digest}: {reason}")]
    #[non_exhaustive]
    Refused {
        /// The source.
        place: String,
        /// The manifest.
        digest: Digest,
        /// The rule, and the remedy.
        reason: String,
    },
    /// A layout or an archive is malformed, or has something that is not accepted.
    #[error("{place}: {entry}: {reason}")]
    #[non_exhaustive]
    Layout {
        /// The file or directory.
        place: String,
        /// The entry in it.
        entry: String,
        /// The problem, and the remedy if there is one.
        reason: String,
    },
    /// A registry in the same process refused an operation, or its storage failed.
    #[error("{place}: {source}")]
    #[non_exhaustive]
    Registry {
        /// The repository.
        place: String,
        /// Answer of the registry.
        #[source]
        source: Box<RegistryError>,
    },
    /// A file or directory cannot be read or written.
    #[error("cannot {action}: {source}")]
    #[non_exhaustive]
    Io {
        /// The operation and the path.
        action: String,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A source or target of another crate failed.
    #[error("{place}: {source}")]
    #[non_exhaustive]
    Other {
        /// The source or target.
        place: String,
        /// True if a later attempt may succeed.
        transient: bool,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
}

impl Error {
    /// Creates the error of a source or target of another crate. `transient` is true if a later attempt may
    /// succeed.
    pub fn other(place: impl Into<String>, transient: bool, source: impl Into<BoxError>) -> Self {
        Self::Other {
            place: place.into(),
            transient,
            source: source.into(),
        }
    }

    /// Returns true if a later attempt may succeed although nothing is changed.
    ///
    /// ```
    /// use registry_image::Error;
    ///
    /// assert!(Error::other("registry.example.com/app", true, "429 Too Many Requests").is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Other { transient, .. } => *transient,
            // Another one writes the file.
            Self::Io { source, .. } => source.kind() == io::ErrorKind::WouldBlock,
            Self::Registry { source, .. } => source.wire().0.is_server_error() || source.wire().0 == 429,
            Self::NoManifest { .. }
            | Self::NoBlob { .. }
            | Self::Base { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Manifest { .. }
            | Self::Refused { .. }
            | Self::Layout { .. } => false,
        }
    }

    pub(crate) fn registry(place: &impl ToString, source: impl Into<RegistryError>) -> Self {
        Self::Registry {
            place: place.to_string(),
            source: Box::new(source.into()),
        }
    }

    pub(crate) fn layout(
        place: impl Into<String>,
        entry: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Layout {
            place: place.into(),
            entry: printable::name(&entry.into()),
            reason: printable::reason(&reason.into()),
        }
    }

    /// Returns a conversion of the errors of an operation on a path.
    pub(crate) fn io(verb: &str, path: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let action = printable::reason(&format!("{verb} {path}"));
        move |source| Self::Io { action, source }
    }
}

/// Maximum number of digests in a message.
const NAMED: usize = 10;

fn counted(digests: &[Digest]) -> String {
    match digests.len() {
        1 => "a blob".into(),
        number => format!("{number} blobs"),
    }
}

fn named(digests: &[Digest]) -> String {
    let names = digests.iter().take(NAMED).map(ToString::to_string);
    let more = digests.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("{more} more"));
    names.chain(more).collect::<Vec<_>>().join(", ")
}
