//! [`InvalidRequest`]: reason for which a request has no meaning in the protocol.

use crate::{
    digest::{Digest, InvalidDigest},
    error::ErrorCode,
    name::InvalidName,
    reference::{InvalidReference, InvalidTag},
};
use http::{Method, StatusCode};

/// Reason for which a request has no meaning in the protocol.
///
/// ```
/// use http::{HeaderMap, Method};
/// use registry_core::{ErrorCode, protocol::Request};
///
/// let refused = Request::parse(&Method::GET, "/v2/UPPER/tags/list", None, &HeaderMap::new()).unwrap_err();
/// assert_eq!(refused.wire().1, ErrorCode::NameInvalid);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    Endpoint,
    /// The endpoint does not support the method.
    #[error("the endpoint does not support this method")]
    #[non_exhaustive]
    Method {
        /// Supported methods.
        allowed: &'static [Method],
    },
    /// The repository's name is malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The tag of a push is malformed, or that of a path that was read without its method.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The tag of another request is malformed, so no manifest can have it.
    #[error("no manifest has this tag: {0}")]
    UnknownTag(#[source] InvalidTag),
    /// A digest is malformed, or has an unsupported algorithm.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The id of an upload session is malformed, so no session can have it.
    #[error("the repository has no such upload session")]
    UploadId,
    /// A closing request or a monolithic `POST` has no digest.
    #[error("the `digest` parameter is missing")]
    DigestMissing,
    /// A request has two different digests of its content.
    #[error("the content has the digest {second}, not {first}")]
    #[non_exhaustive]
    DigestTwice {
        /// First digest.
        first: Digest,
        /// A later digest that differs from it.
        second: Digest,
    },
    /// A parameter of the query is malformed.
    #[error("the parameter `{name}` is malformed: expected {expected}")]
    #[non_exhaustive]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Expected form.
        expected: &'static str,
    },
    /// `n` of a listing, or `last` of the catalog, is malformed.
    #[error("the parameter `{name}` is malformed: expected {expected}")]
    #[non_exhaustive]
    PageParameter {
        /// Name of the parameter.
        name: &'static str,
        /// Expected form.
        expected: &'static str,
    },
    /// A header is malformed.
    #[error("the header {name} is malformed: expected {expected}")]
    #[non_exhaustive]
    Header {
        /// Name of the header.
        name: &'static str,
        /// Expected form.
        expected: &'static str,
    },
}

impl InvalidRequest {
    /// Returns status and code.
    #[must_use]
    pub const fn wire(&self) -> (StatusCode, ErrorCode) {
        use {ErrorCode as C, StatusCode as S};
        match self {
            Self::Endpoint => (S::NOT_FOUND, C::Unsupported),
            Self::Method { .. } => (S::METHOD_NOT_ALLOWED, C::Unsupported),
            Self::Name(_) => (S::BAD_REQUEST, C::NameInvalid),
            Self::Tag(_) => (S::BAD_REQUEST, C::ManifestInvalid),
            Self::UnknownTag(_) => (S::NOT_FOUND, C::ManifestUnknown),
            Self::Digest(_) | Self::DigestMissing | Self::DigestTwice { .. } => {
                (S::BAD_REQUEST, C::DigestInvalid)
            }
            Self::UploadId => (S::NOT_FOUND, C::BlobUploadUnknown),
            Self::Parameter { .. } | Self::Header { .. } => (S::BAD_REQUEST, C::Unsupported),
            Self::PageParameter { .. } => (S::BAD_REQUEST, C::PaginationNumberInvalid),
        }
    }
}

impl From<InvalidReference> for InvalidRequest {
    fn from(invalid: InvalidReference) -> Self {
        match invalid {
            InvalidReference::Tag(invalid) => invalid.into(),
            InvalidReference::Digest(invalid) => invalid.into(),
        }
    }
}
