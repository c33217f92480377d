//! [`Request`]: one variant per endpoint and method, with parsed fields.

mod build;
mod parse;
#[cfg(test)]
mod tests;

use super::{
    condition::{EntityTags, Precondition},
    page::PageQuery,
    range::ContentRange,
    route::Endpoint,
};
use crate::{
    digest::{Algorithm, Digest},
    media_type::MediaType,
    name::RepositoryName,
    range::RangeSpec,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
use http::Method;
use std::sync::Arc;

/// Parsed request.
///
/// A client builds its requests from the same type:
///
/// ```
/// use registry_core::{Algorithm, Digest, RangeSpec, RepositoryName, protocol::Request};
///
/// let digest = Digest::of(Algorithm::Sha256, b"content");
/// let request = Request::Blob {
///     repository: RepositoryName::parse("team/app")?,
///     digest,
///     head: false,
///     ranges: vec![RangeSpec::From(1 << 20)],
///     known: None,
/// };
///
/// let mut sent = http::Request::builder()
///     .method(request.method())
///     .uri(format!("https://registry.example{}", request.target()));
/// for (name, value) in &request.headers() {
///     sent = sent.header(name, value);
/// }
/// let sent = sent.body(())?;
/// assert_eq!(sent.uri().path(), format!("/v2/team/app/blobs/{digest}"));
/// assert_eq!(sent.headers()["range"], "bytes=1048576-");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are the parameters of the specification, typed"
)]
pub enum Request {
    /// `OPTIONS` of any endpoint
    Options { endpoint: Endpoint },
    /// `GET /v2/` (end-1)
    Ping,
    /// `GET /v2/_catalog`, Docker's list of repositories.
    Catalog { page: PageQuery<RepositoryName> },
    /// `GET /v2/<name>/tags/list` (end-8a, end-8b)
    Tags {
        repository: RepositoryName,
        page: PageQuery<Tag>,
    },
    /// `GET /v2/<name>/referrers/<digest>` (end-12a, end-12b)
    Referrers {
        repository: RepositoryName,
        subject: Digest,
        artifact_type: Option<Arc<str>>,
        page: PageQuery<Digest>,
    },
    /// `GET` or `HEAD` of a blob (end-2), whole, or in part if there are ranges
    Blob {
        repository: RepositoryName,
        digest: Digest,
        head: bool,
        ranges: Vec<RangeSpec>,
        known: Option<EntityTags>,
    },
    /// `DELETE` of a blob (end-10)
    DeleteBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    /// `GET` or `HEAD` of a manifest (end-3)
    Manifest {
        repository: RepositoryName,
        reference: Reference,
        head: bool,
        known: Option<EntityTags>,
    },
    /// `PUT` of a manifest, by tag or digest (end-7a), and with tags as parameters (end-7b)
    PutManifest {
        repository: RepositoryName,
        reference: Reference,
        tags: Vec<Tag>,
        media_type: Option<MediaType>,
        precondition: Option<Precondition>,
    },
    /// `DELETE` of a tag or a manifest (end-9)
    DeleteManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    /// `POST` that opens a session (end-4a, end-4c)
    OpenUpload {
        repository: RepositoryName,
        algorithm: Option<Algorithm>,
    },
    /// `POST` with the whole blob (end-4b)
    PushBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    /// `POST` that mounts, or else opens a session (end-11)
    Mount {
        repository: RepositoryName,
        digest: Digest,
        from: Option<RepositoryName>,
    },
    /// `GET` of a session (end-13)
    UploadStatus {
        repository: RepositoryName,
        id: UploadId,
    },
    /// `PATCH` of a session (end-5)
    Append {
        repository: RepositoryName,
        id: UploadId,
        chunk: Option<ContentRange>,
    },
    /// `PUT` that closes a session, optionally with its last chunk (end-6)
    Close {
        repository: RepositoryName,
        id: UploadId,
        digest: Digest,
        chunk: Option<ContentRange>,
    },
    /// `DELETE` of a session (end-14)
    Cancel {
        repository: RepositoryName,
        id: UploadId,
    },
}

impl Request {
    /// Returns its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self.clone() {
            Self::Options { endpoint } => endpoint,
            Self::Ping => Endpoint::Base,
            Self::Catalog { .. } => Endpoint::Catalog,
            Self::Tags { repository, .. } => Endpoint::Tags(repository),
            Self::Referrers {
                repository, subject, ..
            } => Endpoint::Referrers(repository, subject),
            Self::Blob {
                repository, digest, ..
            }
            | Self::DeleteBlob { repository, digest } => Endpoint::Blob(repository, digest),
            Self::Manifest {
                repository,
                reference,
                ..
            }
            | Self::PutManifest {
                repository,
                reference,
                ..
            }
            | Self::DeleteManifest {
                repository,
                reference,
            } => Endpoint::Manifest(repository, reference),
            Self::OpenUpload { repository, .. }
            | Self::PushBlob { repository, .. }
            | Self::Mount { repository, .. } => Endpoint::Uploads(repository),
            Self::UploadStatus { repository, id }
            | Self::Append { repository, id, .. }
            | Self::Close { repository, id, .. }
            | Self::Cancel { repository, id } => Endpoint::Upload(repository, id),
        }
    }

    /// Returns its method.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Options { .. } => Method::OPTIONS,
            Self::Blob { head: true, .. } | Self::Manifest { head: true, .. } => Method::HEAD,
            Self::Ping
            | Self::Catalog { .. }
            | Self::Tags { .. }
            | Self::Referrers { .. }
            | Self::Blob { .. }
            | Self::Manifest { .. }
            | Self::UploadStatus { .. } => Method::GET,
            Self::PutManifest { .. } | Self::Close { .. } => Method::PUT,
            Self::DeleteBlob { .. } | Self::DeleteManifest { .. } | Self::Cancel { .. } => Method::DELETE,
            Self::OpenUpload { .. } | Self::PushBlob { .. } | Self::Mount { .. } => Method::POST,
            Self::Append { .. } => Method::PATCH,
        }
    }

    /// Returns true if it may change content. Such a request is finished even if its client disconnects.
    #[must_use]
    pub fn may_change(&self) -> bool {
        !matches!(self.method(), Method::GET | Method::HEAD | Method::OPTIONS)
    }
}
