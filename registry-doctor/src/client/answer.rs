//! [`Answer`]: an HTTP response, and the server that it probably comes from.

use crate::escape;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

/// Maximum number of bytes read of a body. Listings and manifests are smaller.
const BODY: usize = 4 * 1024 * 1024;

/// Maximum number of characters shown of a server's text.
const SHOWN: usize = 160;

pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Response whose body was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// Reads the body of a response, up to a bound.
    pub(super) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            version: head.version,
            status: head.status,
            headers: head.headers,
            // What breaks off is judged by what is missing in it.
            body: match Limited::new(body, BODY).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => Bytes::new(),
            },
        }
    }

    /// Returns the first value of a header, escaped for a terminal.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(shown(&String::from_utf8_lossy(value.as_bytes())))
    }

    /// Returns the first value of a header unchanged: for further requests, not for output.
    pub(crate) fn header_whole(&self, name: impl header::AsHeaderName) -> Option<String> {
        self.values(name).into_iter().next()
    }

    /// Returns all values of a header, one per line of the header.
    pub(crate) fn values(&self, name: impl header::AsHeaderName) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the first error code in the error body of a registry, such as `UNAUTHORIZED`.
    pub(crate) fn error_code(&self) -> Option<String> {
        let json = self.json()?;
        let code = json.get("errors")?.get(0)?.get("code")?.as_str()?;
        Some(shown(code))
    }

    /// Returns true if a registry answered, and not a proxy in front: a registry answers in JSON, errors included.
    pub(crate) fn is_of_registry(&self) -> bool {
        if self.status.is_success() {
            self.headers.contains_key(API_VERSION) || self.json().is_some_and(|json| json.is_object())
        } else {
            self.error_code().is_some()
        }
    }

    /// Names the server that answered: `the registry`, `nginx/1.22.1`, or `the server` if there is no header `Server`.
    pub(crate) fn speaker(&self) -> String {
        if self.is_of_registry() {
            return "the registry".to_owned();
        }
        self.header(header::SERVER)
            .unwrap_or_else(|| "the server".to_owned())
    }

    /// Summarises status and server: `401 Unauthorized by nginx/1.22.1`, or with a registry's error code:
    /// `401 UNAUTHORIZED by the registry`.
    pub(crate) fn summary(&self) -> String {
        let number = self.status.as_u16();
        let words = self.error_code();
        let words = words.as_deref().or_else(|| self.status.canonical_reason());
        format!("{number} {} by {}", words.unwrap_or_default(), self.speaker())
    }
}

/// Returns a server's text for a line of a report: truncated, and with invisible characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN).collect();
    let mut shown = escape::Line(start).to_string();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
