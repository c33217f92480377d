//! Answers of the store: [`respond`] and [`Refusal`].

use bytes::Bytes;
use http::{Response, StatusCode};

/// Returns an answer without headers.
pub(super) fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// A refused request: the status and the code of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
}

impl Refusal {
    pub(super) const EXPIRED: Self = Self::new(StatusCode::BAD_REQUEST, "ExpiredToken");
    pub(super) const INVALID: Self = Self::new(StatusCode::BAD_REQUEST, "InvalidArgument");
    pub(super) const INVALID_PART: Self = Self::new(StatusCode::BAD_REQUEST, "InvalidPart");
    pub(super) const NO_BUCKET: Self = Self::new(StatusCode::NOT_FOUND, "NoSuchBucket");
    pub(super) const NO_KEY: Self = Self::new(StatusCode::NOT_FOUND, "NoSuchKey");
    pub(super) const NO_UPLOAD: Self = Self::new(StatusCode::NOT_FOUND, "NoSuchUpload");
    pub(super) const NOT_IMPLEMENTED: Self = Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    pub(super) const NOT_MODIFIED: Self = Self::new(StatusCode::NOT_MODIFIED, "NotModified");
    pub(super) const PRECONDITION: Self = Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    pub(super) const SIGNATURE: Self = Self::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
    pub(super) const SMALL_PART: Self = Self::new(StatusCode::BAD_REQUEST, "EntityTooSmall");
    pub(super) const UNKNOWN: Self = Self::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired");
    pub(super) const UNSATISFIABLE: Self = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");

    const fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code }
    }

    pub(super) fn response(self) -> Response<Bytes> {
        let (status, code) = (self.status, self.code);
        respond(
            status,
            format!("<Error><Code>{code}</Code><Message>{status}</Message></Error>"),
        )
    }
}
