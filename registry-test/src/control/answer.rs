//! [`Answer`]: the answer to a call.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use serde_json::{Value, json};

/// Status and JSON.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Value>,
}

impl Answer {
    pub(super) const fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
        }
    }

    pub(super) const fn done() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
        }
    }

    pub(super) fn refusal(status: StatusCode, error: &(impl ToString + ?Sized)) -> Self {
        Self {
            status,
            body: Some(json!({ "error": error.to_string() })),
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let text = self.body.map(|body| format!("{body}\n"));
        let mut response = Response::new(Full::from(text.unwrap_or_default()));
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}
