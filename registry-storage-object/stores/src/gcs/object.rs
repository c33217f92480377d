//! [`Object`]: content with its generation, and the conditions and ranges of a request for it.

use super::answer::{Refusal, respond};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use std::{ops::Range, time::SystemTime};

/// Header with the generation of an object.
const GENERATION: &str = "x-goog-generation";

/// Content of a key.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    /// Entity tag, in quotes.
    pub(super) tag: String,
    pub(super) modified: SystemTime,
    /// Headers of the request that are kept and sent with the content.
    pub(super) kept: HeaderMap,
}

impl Object {
    /// Returns the answer to the request that has stored it.
    pub(super) fn stored(&self) -> Response<Bytes> {
        self.described(respond(StatusCode::OK, Bytes::new()))
    }

    /// Returns the answer to a `GET` or `HEAD`.
    pub(super) fn read(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        let headers = request.headers();
        let listed = |name| {
            text(headers, name).map(|tags| tags == "*" || tags.split(',').any(|tag| tag.trim() == self.tag))
        };
        if listed("if-match") == Some(false) {
            return Err(Refusal::PRECONDITION);
        }
        if listed("if-none-match") == Some(true) {
            return Err(Refusal::NOT_MODIFIED);
        }
        let range = match text(headers, "range") {
            Some(range) => Some(part(range, self.bytes.len()).ok_or(Refusal::UNSATISFIABLE)?),
            None => None,
        };
        let mut response = self.described(respond(StatusCode::OK, self.bytes.clone()));
        if let Some(Range { start, end }) = range {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            *response.body_mut() = self.bytes.slice(start..end);
            let of = format!("bytes {start}-{}/{}", end - 1, self.bytes.len());
            set(&mut response, "content-range", &of);
        }
        if request.method() == http::Method::HEAD {
            let length = response.body().len().to_string();
            set(&mut response, "content-length", &length);
            *response.body_mut() = Bytes::new();
        }
        Ok(response)
    }

    fn described(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        response.headers_mut().extend(self.kept.clone());
        set(&mut response, "etag", &self.tag);
        set(&mut response, GENERATION, &self.generation.to_string());
        set(
            &mut response,
            "last-modified",
            &httpdate::fmt_http_date(self.modified),
        );
        response
    }
}

/// Checks the condition of a write: the generation that is there, or 0 if there has to be none.
pub(super) fn check(headers: &HeaderMap, present: Option<&Object>) -> Result<(), Refusal> {
    let Some(expected) = headers.get("x-goog-if-generation-match") else {
        return Ok(());
    };
    let expected: Option<u64> = expected.to_str().ok().and_then(|text| text.parse().ok());
    let expected = expected.ok_or(Refusal::INVALID)?;
    let generation = present.map_or(0, |object| object.generation);
    if expected == generation {
        Ok(())
    } else {
        Err(Refusal::PRECONDITION)
    }
}

/// Returns the headers of a request that are kept with an object.
pub(super) fn kept(headers: &HeaderMap) -> HeaderMap {
    let is_kept = |name: &str| {
        name.starts_with("x-goog-meta-")
            || [
                header::CONTENT_TYPE,
                header::CACHE_CONTROL,
                header::CONTENT_ENCODING,
            ]
            .iter()
            .any(|kept| kept == name)
    };
    let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns the bytes that a range of one part selects; `None` if there are none.
fn part(range: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let selected = match (first.parse().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..length.min(last.checked_add(1)?),
        (Some(first), None) => first..length,
        (None, last) => length.saturating_sub(last?)..length,
    };
    (!selected.is_empty()).then_some(selected)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn set(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("generations, tags and dates are ASCII");
    response.headers_mut().insert(name, value);
}
