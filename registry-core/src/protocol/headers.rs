//! [`Headers`]: headers that a registry sends, with their names and forms.

use super::{
    request::Request,
    route::{Endpoint, Links},
    upload::Upload,
};
use crate::{digest::Digest, name::RepositoryName, upload_id::UploadId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::{fmt::Display, ops::Range};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Headers of a response under construction.
pub(crate) struct Headers(HeaderMap);

impl Headers {
    /// Creates the headers that every response has, because some clients require them, even with 401 and 404.
    pub(crate) fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        Self(headers)
    }

    /// Sets a header. All values are made of parsed types, so they are legal. An illegal value would be left
    /// out.
    pub(crate) fn set(&mut self, name: HeaderName, value: impl Display) {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.0.insert(name, value);
        }
    }

    /// Appends a header with several values.
    pub(super) fn add(&mut self, name: HeaderName, value: impl Display) {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.0.append(name, value);
        }
    }

    /// Removes a header that [`new`](Self::new) or a call has set.
    pub(crate) fn remove(&mut self, name: HeaderName) {
        self.0.remove(name);
    }

    /// Returns the headers as they are sent.
    pub(crate) fn into_map(self) -> HeaderMap {
        self.0
    }

    /// Appends a header whose value is ready.
    pub(crate) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.append(name, value);
    }

    pub(crate) fn allow(&mut self, methods: &[Method]) {
        let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
        self.set(header::ALLOW, methods.join(", "));
    }

    pub(super) fn content(&mut self, digest: &Digest) {
        self.set(CONTENT_DIGEST, digest);
        self.set(header::ETAG, format_args!("\"{digest}\""));
    }

    pub(super) fn of_blob(&mut self, digest: &Digest) {
        self.content(digest);
        self.set(header::ACCEPT_RANGES, "bytes");
        self.set(header::CACHE_CONTROL, "max-age=31536000");
    }

    pub(super) fn blob(&mut self, digest: &Digest, size: u64, part: Option<&Range<u64>>) -> StatusCode {
        self.of_blob(digest);
        self.set(header::CONTENT_TYPE, "application/octet-stream");
        let Some(part) = part else {
            self.set(header::CONTENT_LENGTH, size);
            return StatusCode::OK;
        };
        self.set(header::CONTENT_LENGTH, part.end - part.start);
        self.set(
            header::CONTENT_RANGE,
            format_args!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1)),
        );
        StatusCode::PARTIAL_CONTENT
    }

    /// Sets the headers of a session. Docker requires `Range: 0-<last>`, without a unit, and fails on any
    /// other form.
    pub(crate) fn session(&mut self, links: &Links, repository: &RepositoryName, id: UploadId, offset: u64) {
        self.set(
            header::LOCATION,
            links.to(&Endpoint::Upload(repository.clone(), id)),
        );
        self.set(header::RANGE, format_args!("0-{}", Upload::at(offset).last()));
        self.set(UPLOAD_UUID, id);
    }

    pub(super) fn next(&mut self, links: &Links, next: Option<&Request>) {
        if let Some(next) = next {
            self.set(
                header::LINK,
                format_args!("<{}>; rel=\"next\"", links.path_of(&next.target())),
            );
        }
    }
}
