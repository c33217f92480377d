//! [`Error`]: reason for a refusal, with its [`ErrorCode`] and JSON body.
//!
//! Only [`Error::wire`] converts an error into a status; malformed requests have [`InvalidRequest::wire`]. A
//! response has the details that the specification allows, and the log has all of them.
//!
//! Specification: "Error Codes". Docker's additional codes are used for errors without an OCI code.

mod body;
mod boxed;
mod code;
mod head;

pub use self::{body::error_body, boxed::BoxError, code::ErrorCode};

use self::body::{Detail, shortened};

use crate::{
    auth::{Access, Challenge},
    digest::{AnyDigest, Digest},
    hooks::HookError,
    manifest::InvalidManifest,
    name::{InvalidName, RepositoryName},
    protocol::InvalidRequest,
    reference::{InvalidReference, Reference, Tag},
    storage::{IngestError, Resource, StorageError},
    upload_id::UploadId,
};
use http::StatusCode;
use std::{convert::Infallible, time::Duration};

/// Reason for which a request was refused.
///
/// ```
/// use registry_core::{Error, ErrorCode, Registry, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let anonymous = registry.repository("team/app")?.as_anonymous();
///
/// let refused = anonymous.push_blob("content", None).await.unwrap_err();
/// assert!(matches!(refused, Error::Denied));
/// assert_eq!(refused.wire(), (http::StatusCode::FORBIDDEN, ErrorCode::Denied));
/// assert_eq!(refused.body(), br#"{"errors":[{"code":"DENIED","message":"access is denied"}]}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request has no meaning in the protocol.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The repository name is too long for the storage.
    #[error("a repository name has at most {limit} bytes in this registry")]
    #[non_exhaustive]
    NameTooLong {
        /// Maximum length in bytes.
        limit: usize,
    },
    /// A push would create a repository with more components in its name than the limit.
    #[error("the name has {components} components, but a new repository may have at most {limit}")]
    #[non_exhaustive]
    NameTooDeep {
        /// Number of components in the name.
        components: usize,
        /// Maximum number of components.
        limit: usize,
    },
    /// `n` of the catalog is larger than the maximum.
    #[error(
        "`n` is larger than {limit}, the maximum for a page of the catalog; use a smaller `n`, or omit it"
    )]
    #[non_exhaustive]
    CatalogPage {
        /// Maximum number of repositories on a page.
        limit: usize,
    },
    /// Path and query are longer than the maximum.
    #[error("path and query are longer than {limit} bytes")]
    #[non_exhaustive]
    TargetTooLong {
        /// Maximum length in bytes.
        limit: usize,
    },
    /// The request has more or larger headers than the maximum.
    #[error("the headers have more than {limit} {unit}")]
    #[non_exhaustive]
    HeadersTooLarge {
        /// Maximum number of lines or bytes.
        limit: usize,
        /// Unit of the limit: lines or bytes.
        unit: &'static str,
    },
    /// The request has more tags than the maximum.
    #[error("the request has more than {limit} tags")]
    #[non_exhaustive]
    TooManyTags {
        /// Maximum number of tags.
        limit: usize,
    },
    /// No registry is served at the host that the request names.
    #[error("no registry is served at this host; check the name, and the Host header that proxies send")]
    HostUnknown,
    /// The lookup of the registry by the host failed. The source is for the log.
    #[error("the registry of this host cannot be determined now")]
    HostLookup(#[source] BoxError),
    /// The storage is read-only.
    #[error("this registry is read-only")]
    ReadOnly,
    /// The host has disabled deletion.
    #[error("deletion is disabled in this registry")]
    DeletionOff,
    /// The storage does not support the operation.
    #[error("this registry cannot {0}")]
    Unsupported(&'static str),
    /// The repository does not hold the blob.
    #[error("the repository does not hold this blob")]
    BlobUnknown(
        /// Digest of the blob.
        Digest,
    ),
    /// The repository has no such manifest.
    #[error("the repository has no such manifest")]
    ManifestUnknown(
        /// Tag or digest of the manifest.
        Reference,
    ),
    /// There is no such repository.
    #[error("there is no such repository")]
    RepositoryUnknown(
        /// Name of the repository.
        RepositoryName,
    ),
    /// The repository has no such upload session.
    #[error("the repository has no such upload session")]
    UploadUnknown,
    /// The maximum number of upload sessions is open. A retry may succeed after some have ended or expired.
    #[error("too many open upload sessions {scope} (limit {limit})")]
    #[non_exhaustive]
    TooManyUploads {
        /// Maximum number of sessions.
        limit: usize,
        /// Scope of the limit, for people to read.
        scope: &'static str,
    },
    /// The memory budget is used up: by manifests that are being received, or by manifests and lists that are
    /// being sent.
    #[error("manifests and lists in transfer use more than {limit} bytes of memory")]
    #[non_exhaustive]
    TooManyDocuments {
        /// Maximum number of bytes.
        limit: usize,
    },
    /// A chunk does not start at the session's offset, or another chunk is being received.
    #[error("the chunk does not start at {offset}, the offset of the upload session")]
    #[non_exhaustive]
    ChunkOutOfOrder {
        /// The repository.
        repository: RepositoryName,
        /// The session.
        id: UploadId,
        /// Number of bytes that it holds.
        offset: u64,
    },
    /// The announced length of a body differs from its `Content-Range`.
    #[error("the Content-Range has {range} bytes, but the Content-Length is {length}")]
    #[non_exhaustive]
    LengthMismatch {
        /// Length in `Content-Range`, in bytes.
        range: u64,
        /// Length in `Content-Length`, in bytes.
        length: u64,
    },
    /// The body broke off, or was longer or shorter than announced. The session keeps the bytes that were
    /// received in order.
    #[error("the body ended early or was not as announced")]
    Body(#[source] BoxError),
    /// The digest of the bytes differs from the announced one.
    #[error("the content has the digest {actual}, not {expected}")]
    #[non_exhaustive]
    DigestMismatch {
        /// Announced digest.
        expected: Digest,
        /// Computed digest.
        actual: Digest,
    },
    /// A range has none of the blob's bytes.
    #[error("the range begins beyond the {size} bytes of the blob")]
    #[non_exhaustive]
    RangeUnsatisfiable {
        /// The size of the blob in bytes.
        size: u64,
    },
    /// The manifest violates the image specification.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// The blob is larger than the maximum.
    #[error("the blob is larger than {limit} bytes")]
    #[non_exhaustive]
    BlobTooLarge {
        /// Maximum size in bytes.
        limit: u64,
    },
    /// The manifest is larger than the maximum.
    #[error("the manifest is larger than {limit} bytes")]
    #[non_exhaustive]
    ManifestTooLarge {
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The manifest exceeds a limit.
    #[error("the manifest has more than {limit} {what}")]
    #[non_exhaustive]
    ManifestLimit {
        /// Maximum number.
        limit: usize,
        /// Limited items, in plural.
        what: &'static str,
    },
    /// The index lists content that the repository does not hold.
    #[error("the index lists content that the repository does not hold")]
    MissingEntries(
        /// Missing content, each reported as an error of its own.
        Vec<AnyDigest>,
    ),
    /// The manifest refers to content that the repository does not hold.
    #[error("the manifest refers to content that the repository does not hold")]
    MissingReferences(
        /// Missing content, each reported as an error of its own.
        Vec<AnyDigest>,
    ),
    /// A layer of the manifest has a URL that the host does not allow.
    #[error("the manifest has a layer at {url:?}, which this registry does not allow")]
    #[non_exhaustive]
    LayerUrl {
        /// The URL, possibly cut.
        url: String,
    },
    /// A descriptor in the manifest gives the wrong size.
    #[error("{digest} has {stored} bytes, but its descriptor gives {claimed}")]
    #[non_exhaustive]
    DescriptorSize {
        /// Digest of the content.
        digest: Digest,
        /// Its size in bytes.
        stored: u64,
        /// Size in the descriptor, in bytes.
        claimed: u64,
    },
    /// A tag does not satisfy `If-Match` or `If-None-Match`.
    #[error("the tag {tag} does not satisfy the precondition")]
    #[non_exhaustive]
    Precondition {
        /// The tag.
        tag: Tag,
    },
    /// The tag exists, and the client may not move it.
    #[error("the tag {tag} exists, and you may not overwrite it")]
    #[non_exhaustive]
    Overwrite {
        /// The tag.
        tag: Tag,
    },
    /// The request has no credentials, or wrong ones.
    #[error("authentication is required")]
    #[non_exhaustive]
    Unauthorized {
        /// Login methods for the client.
        challenges: Vec<Challenge>,
        /// Permissions that the request needs.
        needed: Vec<Access>,
    },
    /// The client has no permission.
    #[error("access is denied")]
    Denied,
    /// A hook refused the request, by [`HookError::Veto`].
    #[error("{message}")]
    #[non_exhaustive]
    Vetoed {
        /// Status of the response.
        status: StatusCode,
        /// Code of the response.
        code: ErrorCode,
        /// Message for the client.
        message: String,
    },
    /// A hook could not decide. The response has no further details; the source is for the log.
    #[error("the registry cannot decide about this request now")]
    #[non_exhaustive]
    Hook {
        /// Time after which the client may retry, if known.
        retry_after: Option<Duration>,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// There were too many failed logins.
    #[error("too many requests")]
    #[non_exhaustive]
    Throttled {
        /// Time after which the client may retry.
        retry_after: Duration,
    },
    /// Authentication or authorization failed to decide.
    #[error("authentication or authorization failed")]
    Auth(#[source] BoxError),
    /// A resource of the storage is used up, or what is left is not for uploads.
    #[error("the registry has no {} left for this; pulls and deletions still work", lacking(.what))]
    #[non_exhaustive]
    Full {
        /// The resource.
        what: Resource,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// The storage does not allow the operation by a rule of its own. The source is for the log.
    #[error("the storage of this registry does not allow this")]
    DeniedByStorage(#[source] BoxError),
    /// The storage accepts nothing for now, often until an operator intervenes. The source is for the log.
    #[error("the storage of this registry is unavailable for now")]
    #[non_exhaustive]
    Unavailable {
        /// Time after which the client may retry, if known.
        retry_after: Option<Duration>,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
    /// The storage failed. The response has no further details; the source is for the log.
    #[error("the storage failed")]
    Storage(#[source] BoxError),
}

impl Error {
    /// Returns status and code.
    #[must_use]
    pub const fn wire(&self) -> (StatusCode, ErrorCode) {
        use {ErrorCode as C, StatusCode as S};
        match self {
            Self::Request(invalid) => invalid.wire(),
            Self::NameTooLong { .. } | Self::NameTooDeep { .. } => (S::BAD_REQUEST, C::NameInvalid),
            Self::Manifest(_)
            | Self::ManifestLimit { .. }
            | Self::DescriptorSize { .. }
            | Self::LayerUrl { .. } => (S::BAD_REQUEST, C::ManifestInvalid),
            Self::DigestMismatch { .. } => (S::BAD_REQUEST, C::DigestInvalid),
            Self::CatalogPage { .. } => (S::BAD_REQUEST, C::PaginationNumberInvalid),
            Self::TooManyTags { .. } | Self::TargetTooLong { .. } => (S::URI_TOO_LONG, C::Unsupported),
            Self::HeadersTooLarge { .. } => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, C::Unsupported),
            Self::ReadOnly | Self::DeletionOff | Self::Unsupported(_) => {
                (S::METHOD_NOT_ALLOWED, C::Unsupported)
            }
            // Not 404: a proxy that sends a wrong `Host` must not make images look deleted.
            Self::HostUnknown => (S::MISDIRECTED_REQUEST, C::NameUnknown),
            Self::BlobUnknown(_) => (S::NOT_FOUND, C::BlobUnknown),
            Self::ManifestUnknown(_) => (S::NOT_FOUND, C::ManifestUnknown),
            Self::RepositoryUnknown(_) => (S::NOT_FOUND, C::NameUnknown),
            Self::UploadUnknown => (S::NOT_FOUND, C::BlobUploadUnknown),
            Self::ChunkOutOfOrder { .. } | Self::RangeUnsatisfiable { .. } => {
                (S::RANGE_NOT_SATISFIABLE, C::BlobUploadInvalid)
            }
            Self::LengthMismatch { .. } | Self::Body(_) => (S::BAD_REQUEST, C::SizeInvalid),
            Self::BlobTooLarge { .. } | Self::ManifestTooLarge { .. } => {
                (S::PAYLOAD_TOO_LARGE, C::SizeInvalid)
            }
            Self::MissingEntries(_) | Self::MissingReferences(_) => (S::BAD_REQUEST, C::ManifestBlobUnknown),
            Self::Precondition { .. } => (S::PRECONDITION_FAILED, C::Denied),
            Self::Unauthorized { .. } => (S::UNAUTHORIZED, C::Unauthorized),
            Self::Overwrite { .. } | Self::Denied => (S::FORBIDDEN, C::Denied),
            Self::Vetoed { status, code, .. } => (*status, *code),
            Self::Hook { .. } | Self::HostLookup(_) => (S::SERVICE_UNAVAILABLE, C::Unavailable),
            Self::Throttled { .. } | Self::TooManyUploads { .. } | Self::TooManyDocuments { .. } => {
                (S::TOO_MANY_REQUESTS, C::TooManyRequests)
            }
            // 507 fits better, but docker retries it for 50 seconds, and docker, skopeo and podman show only the
            // status. With 403 all of them show the message, and none retries.
            Self::Full { .. } | Self::DeniedByStorage(_) => (S::FORBIDDEN, C::Denied),
            Self::Unavailable { .. } => (S::SERVICE_UNAVAILABLE, C::Unavailable),
            Self::Auth(_) | Self::Storage(_) => (S::INTERNAL_SERVER_ERROR, C::Unknown),
        }
    }

    /// Returns the JSON body: `{"errors":[{"code","message","detail"?}]}`. Long messages are cut.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.body_with(None)
    }

    /// Returns the JSON body, with a remedy for the client or its operator after the message.
    pub(crate) fn body_with(&self, remedy: Option<&str>) -> Vec<u8> {
        let mut message = shortened(&self.to_string());
        if let Some(remedy) = remedy {
            message.push_str("; ");
            message.push_str(remedy);
        }
        let details = match self {
            Self::MissingEntries(missing) | Self::MissingReferences(missing) => missing
                .iter()
                .map(|digest| Some(Detail::digest(digest)))
                .collect(),
            _ => vec![self.detail()],
        };
        body::write(self.wire().1, &message, details)
    }

    fn detail(&self) -> Option<Detail> {
        match self {
            Self::BlobUnknown(digest) => Some(Detail::digest(digest)),
            Self::ManifestUnknown(reference) => Some(Detail::Reference {
                reference: reference.to_string(),
            }),
            Self::RepositoryUnknown(name) => Some(Detail::Name {
                name: name.to_string(),
            }),
            Self::ChunkOutOfOrder { offset, .. } => Some(Detail::Offset { offset: *offset }),
            _ => None,
        }
    }
}

impl From<InvalidName> for Error {
    fn from(invalid: InvalidName) -> Self {
        InvalidRequest::from(invalid).into()
    }
}

impl From<InvalidReference> for Error {
    fn from(invalid: InvalidReference) -> Self {
        InvalidRequest::from(invalid).into()
    }
}

/// Names a resource for clients, which cannot distinguish a quota from the disk.
const fn lacking(what: &Resource) -> &'static str {
    match what {
        Resource::Bytes | Resource::Quota => "space",
        Resource::Files => "files (inodes)",
    }
}

/// Allows calls that take anything that converts into a [`Reference`], with or without failing.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Converts errors of calls that do not concern one upload or one tag. Other calls convert conflicts
/// themselves, with more details.
impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::UploadUnknown => Self::UploadUnknown,
            StorageError::MissingReferences(missing) => {
                Self::MissingReferences(missing.into_iter().map(AnyDigest::from).collect())
            }
            StorageError::SizeMismatch {
                digest,
                stored,
                claimed,
            } => Self::DescriptorSize {
                digest,
                stored,
                claimed,
            },
            StorageError::RangeUnsatisfiable { size } => Self::RangeUnsatisfiable { size },
            StorageError::Body(source) => Self::Body(source),
            StorageError::TagConflict { tag, current: _ } => Self::Precondition { tag },
            StorageError::Unsupported(what) => Self::Unsupported(what),
            StorageError::NameTooLong { limit } => Self::NameTooLong { limit },
            StorageError::ReadOnly => Self::ReadOnly,
            denied @ StorageError::Denied { .. } => Self::DeniedByStorage(denied.into()),
            unavailable @ StorageError::Unavailable { retry_after, .. } => Self::Unavailable {
                retry_after,
                source: unavailable.into(),
            },
            busy @ StorageError::Busy { .. } => Self::Unavailable {
                retry_after: None,
                source: busy.into(),
            },
            full @ StorageError::Full { what, .. } => Self::Full {
                what,
                source: full.into(),
            },
            other @ (StorageError::UploadConflict { .. } | StorageError::Internal { .. }) => {
                Self::Storage(other.into())
            }
        }
    }
}

impl From<HookError> for Error {
    fn from(error: HookError) -> Self {
        match error {
            HookError::Veto {
                status,
                code,
                message,
            } => Self::Vetoed {
                status,
                code,
                message,
            },
            HookError::Failed { retry_after, source } => Self::Hook { retry_after, source },
        }
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::DigestMismatch { expected, actual } => Self::DigestMismatch { expected, actual },
            IngestError::Storage(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_client_that_is_quoted_is_quoted_in_short() {
        let text = "ä".repeat(1 << 20);
        let document = serde_json::json!({"schemaVersion": text}).to_string();
        let error = Error::from(crate::manifest::Manifest::parse(document.as_bytes(), None).unwrap_err());

        let logged = error.to_string();

        assert!(
            logged.chars().count() < body::MESSAGE,
            "{} characters",
            logged.chars().count()
        );
        assert!(logged.starts_with("the manifest is malformed") && logged.contains('…'));
        assert!(logged.contains(" at line 1 column "), "{logged}");
    }

    #[test]
    fn the_body_of_an_answer_has_a_short_message_whoever_wrote_it() {
        let error = Error::from(HookError::veto("ä".repeat(1 << 20)));

        let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();

        let message = body["errors"][0]["message"].as_str().unwrap();
        assert_eq!(message.chars().count(), body::MESSAGE + 1);
        assert!(message.ends_with('…'));
    }

    #[test]
    fn every_missing_reference_is_an_error_of_its_own() {
        let missing = [b"a", b"b"].map(|b| AnyDigest::from(Digest::of(Algorithm::Sha256, b)));
        let body: serde_json::Value =
            serde_json::from_slice(&Error::MissingReferences(missing.to_vec()).body()).unwrap();

        for (entry, digest) in body["errors"].as_array().unwrap().iter().zip(&missing) {
            assert_eq!(entry["code"], "MANIFEST_BLOB_UNKNOWN");
            assert_eq!(entry["detail"]["digest"], digest.to_string());
        }
        assert_eq!(body["errors"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_time_of_the_storage_becomes_retry_after() {
        for (time, header) in [(None, "60"), (Some(7), "7"), (Some(0), "1")] {
            let time = time.map(Duration::from_secs);
            let error = Error::from(StorageError::unavailable("moving", time, None));
            let (status, headers) = error.head(&crate::protocol::Links::default());
            assert_eq!(
                (status, &headers[http::header::RETRY_AFTER]),
                (StatusCode::SERVICE_UNAVAILABLE, &header.parse().unwrap())
            );
        }
    }

    #[test]
    fn resources_that_are_used_up_and_rules_of_the_storage_are_denials() {
        let full = |what| Error::from(StorageError::full(what, "/secret", "secret"));
        for (error, message) in [
            (full(Resource::Bytes), "no space left"),
            (full(Resource::Quota), "no space left"),
            (full(Resource::Files), "no files (inodes) left"),
            (StorageError::denied("/secret").into(), "does not allow"),
        ] {
            assert_eq!(error.wire(), (StatusCode::FORBIDDEN, ErrorCode::Denied));
            let body = String::from_utf8(error.body()).unwrap();
            assert!(body.contains(message) && !body.contains("secret"), "{body}");
        }
    }

    #[test]
    fn a_client_never_reads_an_inner_error() {
        let inner = StorageError::io("/secret/path", std::io::Error::other("secret cause"));
        let error = Error::from(inner);
        assert_eq!(error.wire().0, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!String::from_utf8(error.body()).unwrap().contains("secret"));

        let unavailable = StorageError::unavailable("/secret/path was replaced", None, None);
        let error = Error::from(unavailable);
        assert_eq!(error.wire().0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!String::from_utf8(error.body()).unwrap().contains("secret"));

        let full = StorageError::io("/secret/path", std::io::ErrorKind::StorageFull.into());
        let error = Error::from(full);
        assert_eq!(error.wire().0, StatusCode::FORBIDDEN);
        assert!(!String::from_utf8(error.body()).unwrap().contains("secret"));
    }
}
