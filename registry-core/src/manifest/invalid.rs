//! [`InvalidManifest`]: reason for which a document is not a valid manifest.

use crate::{
    annotations::InvalidAnnotations,
    digest::InvalidDigest,
    json::InvalidJson,
    media_type::{InvalidMediaType, MediaType},
};
use std::str;

/// Reason for which a document is not a valid manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// The document is not UTF-8.
    #[error("the manifest is not UTF-8 text: {0}")]
    Utf8(#[from] str::Utf8Error),
    /// The document is not JSON, has a field of the wrong type, or a key that clients read differently; with
    /// line and column.
    #[error("the manifest is malformed: {0}")]
    Json(#[source] InvalidJson),
    /// Neither the document nor the request has a media type.
    #[error("neither the manifest's mediaType nor the Content-Type header gives a media type")]
    NoMediaType,
    /// A media type is malformed.
    #[error("{text:?} is not a media type: {source}")]
    #[non_exhaustive]
    MediaType {
        /// Text in the document.
        text: String,
        /// Reason for the refusal.
        source: InvalidMediaType,
    },
    /// An artifact type is not a media type.
    #[error("the artifactType {text:?} is not a media type: {source}")]
    #[non_exhaustive]
    ArtifactType {
        /// Text in the document.
        text: String,
        /// Reason for the refusal.
        source: InvalidMediaType,
    },
    /// The media type is not that of a manifest.
    #[error("a manifest cannot have the media type {0}")]
    NotAManifest(MediaType),
    /// The media types of the document and the request differ.
    #[error("the manifest's mediaType is {own}, but the Content-Type header is {header}")]
    #[non_exhaustive]
    MediaTypeMismatch {
        /// Media type in the document.
        own: MediaType,
        /// Media type in the request.
        header: MediaType,
    },
    /// The schema version is not 2, the only supported version.
    #[error("the schemaVersion must be 2")]
    SchemaVersion,
    /// A field that the media type requires is missing.
    #[error("a manifest of the type {media_type} needs `{field}`")]
    #[non_exhaustive]
    Missing {
        /// The media type.
        media_type: MediaType,
        /// The missing field.
        field: &'static str,
    },
    /// Annotations are malformed, so that lists of referrers could not show them.
    #[error("the annotations of {of} are malformed: {source}")]
    #[non_exhaustive]
    Annotations {
        /// Field of the descriptor that has them, or the manifest itself.
        of: &'static str,
        /// Reason for the refusal.
        source: InvalidAnnotations,
    },
    /// The document could be read as an image and as an index: GHSA-77vh-xpmg-72qh.
    #[error("a manifest has either `manifests`, or `config` and `layers`, not both")]
    Ambiguous,
    /// The digest of a descriptor is malformed.
    #[error("`{field}` has a descriptor with the malformed digest {text:?}: {source}")]
    #[non_exhaustive]
    Digest {
        /// Field with the descriptor.
        field: &'static str,
        /// Text in the document.
        text: String,
        /// Reason for the refusal.
        source: InvalidDigest,
    },
}
