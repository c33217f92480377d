//! [`Status`]: an answer in place of the registry's.

use super::headers::{header_name, header_value};
use http::{HeaderName, HeaderValue, StatusCode, header};
use registry_core::ErrorCode;
use std::{fmt, time::SystemTime};

/// An answer in place of the registry's, created by [`status`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Status {
    pub(in crate::tap) status: StatusCode,
    pub(in crate::tap) headers: Vec<(HeaderName, HeaderValue)>,
    pub(in crate::tap) code: Option<String>,
    pub(in crate::tap) after_body: bool,
}

/// Answers a request in place of the registry, which gets nothing of it.
///
/// The answer to a failure has the JSON body of the specification. It is sent before the body of the request, which is
/// then read and dropped.
///
/// ```
/// use registry_test::fault::{PUT, on, status};
///
/// let rule = (on(PUT).manifest().first(2), status(429).retry_after(1));
/// ```
///
/// # Panics
///
/// If it is not a final status: 200 to 999.
#[track_caller]
pub fn status(status: u16) -> Status {
    Status::new(status).unwrap_or_else(|| {
        panic!("{status} is not the status of an answer: use 200 to 999, such as 429 or 503")
    })
}

impl Status {
    pub(crate) fn new(status: u16) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok()?;
        (!status.is_informational()).then_some(Self {
            status,
            headers: Vec::new(),
            code: None,
            after_body: false,
        })
    }

    /// Asks the client to wait for so many seconds (`Retry-After: 1`).
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Asks the client to wait until a time (`Retry-After: Fri, 31 Dec 1999 23:59:59 GMT`).
    pub fn retry_at(self, time: SystemTime) -> Self {
        let date = HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is visible ASCII");
        self.with(header::RETRY_AFTER, date)
    }

    /// Sets the error code of the body; the default is one that fits.
    pub fn code(mut self, code: impl fmt::Display) -> Self {
        self.code = Some(code.to_string());
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    ///
    /// If the name or the value is not one of a header.
    #[track_caller]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(header_name(name), header_value(value))
    }

    /// Sends the answer after the body of the request, not before it.
    pub const fn after_body(mut self) -> Self {
        self.after_body = true;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the body: an error as the specification has it, or nothing.
    pub(in crate::tap) fn body(&self) -> Vec<u8> {
        if self.status.as_u16() < 400 && self.code.is_none() {
            return Vec::new();
        }
        let code = self
            .code
            .as_deref()
            .unwrap_or_else(|| fitting(self.status).as_str());
        let message = format!("the test asked for the status {}", self.status.as_u16());
        serde_json::json!({ "errors": [{ "code": code, "message": message }] })
            .to_string()
            .into_bytes()
    }
}

/// Returns the error code that registries use with a status.
fn fitting(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::FORBIDDEN => ErrorCode::Denied,
        StatusCode::NOT_FOUND => ErrorCode::NameUnknown,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => ErrorCode::Unsupported,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::SizeInvalid,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        _ => ErrorCode::Unknown,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status({})", self.status.as_u16())?;
        for (name, value) in &self.headers {
            let seconds = value.to_str().ok().and_then(|value| value.parse::<u64>().ok());
            match seconds.filter(|_| *name == header::RETRY_AFTER) {
                Some(seconds) => write!(f, ".retry_after({seconds})")?,
                None => write!(f, ".header({:?}, {value:?})", name.as_str())?,
            }
        }
        if let Some(code) = &self.code {
            write!(f, ".code({code:?})")?;
        }
        f.write_str(if self.after_body { ".after_body()" } else { "" })
    }
}
