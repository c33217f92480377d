//! The answers that the listener gives itself, in the error format of the specification.

use super::any_body::{AnyBody, any_body};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use registry_core::{
    error::{ErrorCode, error_body},
    service::ResponseBody,
};

/// Reasons why the listener refuses a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are more connections than allowed.
    Busy,
    /// There are more requests than allowed.
    Requests,
    /// The head is larger than allowed.
    HeadTooLarge,
    /// The bytes are not a valid HTTP request.
    Malformed,
    /// The head gives two lengths of its body: the bytes after it could be taken for another request.
    TwoLengths,
    /// The body has a coding besides `chunked`, which is not decoded here.
    TransferCoding,
    /// The request is HTTP/1.1 without `Host` or with several, or HTTP/2 with one that contradicts `:authority`.
    Host,
    /// The body stopped arriving.
    BodyIdle,
    /// The service failed instead of answering.
    Failed,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, ErrorCode, &'static str) {
        match self {
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "too many connections; try again later",
            ),
            Self::Requests => (
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "too many concurrent requests; try again later",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                ErrorCode::Unsupported,
                "the request line and headers are too large",
            ),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                ErrorCode::Unsupported,
                "not a valid HTTP request; the client may be using TLS on a port without TLS",
            ),
            Self::TwoLengths => (
                StatusCode::BAD_REQUEST,
                ErrorCode::Unsupported,
                "a request must not have both Content-Length and Transfer-Encoding",
            ),
            Self::TransferCoding => (
                StatusCode::NOT_IMPLEMENTED,
                ErrorCode::Unsupported,
                "unsupported Transfer-Encoding; only chunked is supported",
            ),
            Self::Host => (
                StatusCode::BAD_REQUEST,
                ErrorCode::Unsupported,
                "a request must name one host, in a single Host header or in :authority",
            ),
            Self::BodyIdle => (
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::SizeInvalid,
                "the body stopped arriving",
            ),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                ErrorCode::Unknown,
                "internal error",
            ),
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        self.parts().0
    }

    pub(super) fn body(self) -> Vec<u8> {
        let (_, code, message) = self.parts();
        error_body(code, message)
    }

    /// Returns the answer to a request. It ends an HTTP/1 connection.
    pub(super) fn response(self) -> Response<AnyBody> {
        let mut response = Response::new(any_body(ResponseBody::full(self.body().into())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if matches!(self, Self::Busy | Self::Requests) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }

    /// Returns the bytes of the answer to a head that never became a request.
    pub(super) fn bytes(self) -> Bytes {
        let (status, body) = (self.status(), self.body());
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Bytes::from([head.as_bytes(), &body].concat())
    }
}
