//! [`error_body`]: the JSON body of a refusal.
//!
//! Specification: "Error Codes".

use super::code::ErrorCode;
use crate::text::cut;
use serde_core::{Serialize, Serializer, ser::SerializeMap as _};
use std::fmt::Display;

/// Maximum number of characters in a message.
pub(super) const MESSAGE: usize = 512;

/// Returns the JSON body of a refusal: `{"errors":[{"code","message"}]}`. A long message is cut.
///
/// Meant for hosts and listeners that refuse a request before the registry sees it.
///
/// ```
/// use registry_core::error::{ErrorCode, error_body};
///
/// let body = error_body(ErrorCode::Unavailable, "back at noon");
/// assert_eq!(body, br#"{"errors":[{"code":"UNAVAILABLE","message":"back at noon"}]}"#);
/// ```
#[must_use]
pub fn error_body(code: ErrorCode, message: &str) -> Vec<u8> {
    write(code, &shortened(message), vec![None])
}

/// Cuts a message to its maximum length.
pub(super) fn shortened(message: &str) -> String {
    cut(message.to_owned(), MESSAGE)
}

/// Writes an error for each of `details`.
pub(super) fn write(code: ErrorCode, message: &str, details: Vec<Option<Detail>>) -> Vec<u8> {
    let code = code.as_str();
    let errors = details.into_iter().map(|detail| Entry {
        code,
        message,
        detail,
    });
    let body = Body {
        errors: errors.collect(),
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

struct Body<'a> {
    errors: Vec<Entry<'a>>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("errors", &self.errors)?;
        map.end()
    }
}

struct Entry<'a> {
    code: &'static str,
    message: &'a str,
    detail: Option<Detail>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code)?;
        map.serialize_entry("message", self.message)?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("detail", detail)?;
        }
        map.end()
    }
}

/// Typed fact of an error, for clients that are programs.
pub(super) enum Detail {
    Digest { digest: String },
    Reference { reference: String },
    Name { name: String },
    Offset { offset: u64 },
}

impl Detail {
    pub(super) fn digest(digest: &impl Display) -> Self {
        Self::Digest {
            digest: digest.to_string(),
        }
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Digest { digest } => map.serialize_entry("digest", digest)?,
            Self::Reference { reference } => map.serialize_entry("reference", reference)?,
            Self::Name { name } => map.serialize_entry("name", name)?,
            Self::Offset { offset } => map.serialize_entry("offset", offset)?,
        }
        map.end()
    }
}
