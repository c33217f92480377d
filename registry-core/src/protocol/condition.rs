//! Conditions on requests: content that a client already has, and required targets of tags.

use super::error::InvalidRequest;
use crate::digest::Digest;
use http::{HeaderMap, HeaderName, header};
use std::fmt;

/// Required target of a tag before a `PUT`: `If-Match` and `If-None-Match: *`, beyond the specification.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, header};
/// use registry_core::protocol::{Precondition, Request};
///
/// let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static("*"))]);
/// let request = Request::parse(&Method::PUT, "/v2/team/app/manifests/v1", None, &headers)?;
/// assert!(matches!(request, Request::PutManifest { precondition: Some(Precondition::Absent), .. }));
/// # Ok::<(), registry_core::protocol::InvalidRequest>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    Present,
    /// `If-Match: "<digest>"`
    Is(Digest),
}

/// `If-None-Match` on a read: content that the client already has. See RFC 9110, section 13.1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`
    Any,
    /// A list of entity tags, without quotes and `W/`. Like registry:2, the parser also accepts tags without
    /// quotes.
    These(Vec<String>),
}

impl EntityTags {
    pub(super) fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        Self::These(header.split(',').map(bare).collect())
    }

    /// Returns true if the client has the content with this digest.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| Digest::parse(tag).as_ref() == Ok(digest)),
        }
    }
}

impl fmt::Display for EntityTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::These(tags) => {
                let quoted: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
                f.write_str(&quoted.join(", "))
            }
        }
    }
}

/// Reads `If-None-Match` of a read.
pub(super) fn entity_tags(headers: &HeaderMap) -> Option<EntityTags> {
    text(headers, &header::IF_NONE_MATCH).map(EntityTags::parse)
}

/// Reads `If-Match` and `If-None-Match` of the `PUT` of a manifest.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, InvalidRequest> {
    if let Some(tags) = text(headers, &header::IF_NONE_MATCH) {
        return match EntityTags::parse(tags) {
            EntityTags::Any => Ok(Some(Precondition::Absent)),
            EntityTags::These(_) => Err(InvalidRequest::Header {
                name: "If-None-Match",
                expected: "`*`",
            }),
        };
    }
    let malformed = InvalidRequest::Header {
        name: "If-Match",
        expected: "`*`, or the digest of one manifest in quotes",
    };
    match text(headers, &header::IF_MATCH).map(EntityTags::parse) {
        None => Ok(None),
        Some(EntityTags::These(tags)) => match tags.as_slice() {
            [tag] => Digest::parse(tag)
                .map(|digest| Some(Precondition::Is(digest)))
                .or(Err(malformed)),
            _ => Err(malformed),
        },
        Some(EntityTags::Any) => Ok(Some(Precondition::Present)),
    }
}

/// Returns a header as text. A value with other characters than visible ASCII becomes a text that no grammar
/// accepts.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or("\u{fffd}"))
}
