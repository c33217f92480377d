//! [`Canned`]: an answer that the tap gives itself.

use super::{fault::Status, message::Head};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// An answer in place of the registry's.
pub(super) struct Canned {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// It is sent after the body of the request.
    pub(super) after_body: bool,
}

impl Canned {
    pub(super) fn redirect(location: HeaderValue) -> Self {
        Self {
            status: StatusCode::TEMPORARY_REDIRECT,
            headers: HeaderMap::from_iter([(header::LOCATION, location)]),
            body: Vec::new(),
            after_body: false,
        }
    }

    /// Returns the refusal of an object store, which does not speak the registry's protocol.
    pub(super) fn of_object_store(status: StatusCode, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let xml = HeaderValue::from_static("application/xml");
        Self {
            status,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, xml)]),
            body: body.into_bytes(),
            after_body: false,
        }
    }

    /// Returns its bytes, as if it came from the registry. The last of a connection says so.
    pub(super) fn bytes(mut self, last: bool) -> Vec<u8> {
        if last {
            self.headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            self.headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let mut bytes = Vec::new();
        Head::response(self.status, &self.headers)
            .write(&mut bytes)
            .expect("a vector takes all bytes");
        bytes.extend(self.body);
        bytes
    }
}

impl From<&Status> for Canned {
    fn from(status: &Status) -> Self {
        let body = status.body();
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &status.headers {
            if *name == header::CONTENT_TYPE {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        Self {
            status: status.status,
            headers,
            body,
            after_body: status.after_body,
        }
    }
}
