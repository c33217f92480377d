//! [`SeedError`]: the reasons for which a seed is not planted.

use super::layout::LayoutProblem;
use registry_core::{Digest, RepositoryName, media_type::InvalidMediaType};
use std::path::PathBuf;

/// Reason for which content cannot be put into a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SeedError {
    /// The seed's name is malformed. The text is the message of the name's parser.
    #[error("{0}")]
    Name(String),
    /// The seed's name has another digest than its content.
    #[error("cannot seed {name:?}: the content has the digest {digest}; use this one, or a tag")]
    Digest { name: String, digest: Digest },
    /// A seed in JSON is malformed.
    #[error("{0}")]
    Json(String),
    /// An image is for no platform.
    #[error(
        "{0:?} is no platform; write `os/architecture` or `os/architecture/variant`, such as `linux/arm64/v8`"
    )]
    Platform(String),
    /// The configuration of an image is no object.
    #[error("the configuration of an image is no JSON object: {0:?}")]
    Config(String),
    /// The configuration of an image has a number with more than one way to write it.
    #[error("the configuration of an image has a number that is no integer of 64 bits: {0:?}")]
    Number(String),
    /// An artifact has a malformed type.
    #[error("{text:?} is no media type: {source}")]
    MediaType {
        text: String,
        #[source]
        source: InvalidMediaType,
    },
    /// A file of a layer has a path that no archive can have.
    #[error("no layer can have a file with the path {path:?}: {reason}")]
    Path { path: String, reason: &'static str },
    /// The subject of an artifact is missing.
    #[error("the subject {subject:?} is not in the repository {repository}; seed it first")]
    Subject {
        subject: String,
        repository: RepositoryName,
    },
    /// The registry cannot tell if it has the subject of an artifact.
    #[error("cannot read the subject {subject:?} of a seed: {source}")]
    Lookup {
        subject: String,
        #[source]
        source: Box<registry_core::Error>,
    },
    /// A file of a layout cannot be used.
    #[error("cannot seed the OCI layout: {}: {problem}", path.display())]
    Layout {
        path: PathBuf,
        #[source]
        problem: Box<LayoutProblem>,
    },
    /// The registry refused the content.
    #[error("the registry refused {digest} of the seed: {source}")]
    Registry {
        digest: Digest,
        #[source]
        source: Box<registry_core::Error>,
    },
}
