//! The error of a response: its status, and the error body of the specification.

use crate::{error::Error, transport::Answered};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Maximum size of an error body that is read, in bytes.
const BODY: usize = 64 * 1024;
/// Maximum number of characters of a code or message that is kept.
const TEXT: usize = 256;

/// Body of an error. The specification also allows any other body.
#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: Option<String>,
    message: Option<String>,
}

/// Returns true if the same request may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    let permanent = matches!(
        status,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || (status.is_server_error() && !permanent)
}

/// Reads the error from a response that is not the expected one.
pub(crate) async fn refusal(mut answered: Answered, with_credential: bool) -> Error {
    let retry_after = retry_after(&answered.headers, SystemTime::now());
    // The status alone says enough if the body cannot be read.
    let body = answered.read(BODY).await.unwrap_or_default();
    let first = serde_json::from_slice::<Body>(&body)
        .ok()
        .and_then(|body| body.errors.into_iter().next());
    let (code, message) = first.map_or((None, None), |first| (first.code, first.message));
    let url = answered.named;
    let (code, message) = (
        code.as_deref().and_then(printable),
        message.as_deref().and_then(printable),
    );
    let hidden = matches!(code.as_deref(), Some("DENIED" | "UNAUTHORIZED"));
    match answered.status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized {
            url,
            with_credential,
            code,
            message,
        },
        StatusCode::NOT_FOUND if !hidden => Error::NotFound { url, code, message },
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Error::Denied { url, code, message },
        StatusCode::TOO_MANY_REQUESTS => Error::TooMany { url, retry_after },
        StatusCode::PRECONDITION_FAILED => Error::ConditionFailed { url, code, message },
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            Error::Unsupported { url, code, message }
        }
        StatusCode::BAD_REQUEST if code.as_deref() == Some("UNSUPPORTED") => {
            Error::Unsupported { url, code, message }
        }
        status if is_transient(status) => Error::Unavailable {
            url,
            status: status.as_u16(),
            retry_after,
        },
        status => Error::Refused {
            url,
            status: status.as_u16(),
            code,
            message,
        },
    }
}

/// Shortens a text of a registry, and removes characters that could change a terminal.
fn printable(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|character| !character.is_control())
        .take(TEXT)
        .collect();
    (!kept.is_empty()).then_some(kept)
}

/// Reads `Retry-After`, which has seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(
                retry_after(&headers, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_of_a_registry_is_short_and_has_no_control_characters() {
        assert_eq!(printable("a\u{1b}[31mb\n").as_deref(), Some("a[31mb"));
        assert_eq!(printable(&"x".repeat(9999)).unwrap().len(), TEXT);
    }
}
