//! Common parts of JSON readers: [`InvalidJson`], and texts that are borrowed from the document.

use crate::text::cut;
use serde_core::{
    Deserializer,
    de::{DeserializeSeed, Error, Visitor},
};
use std::{borrow::Cow, fmt};

/// Maximum number of characters in the description of a problem.
const PROBLEM: usize = 256;

/// Problem in a JSON document, with its position.
///
/// ```
/// use registry_core::manifest::{InvalidManifest, Manifest};
///
/// let refused = Manifest::parse(b"{\n  \"schemaVersion\": two\n}", None);
/// let Err(InvalidManifest::Json(problem)) = refused else {
///     panic!("this is not JSON");
/// };
/// assert_eq!(problem.line(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line} column {column}")]
pub struct InvalidJson {
    problem: String,
    line: usize,
    column: usize,
}

impl InvalidJson {
    pub(crate) fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        let problem = text.strip_suffix(&place).unwrap_or(&text);
        Self {
            problem: cut(problem.to_owned(), PROBLEM),
            line,
            column,
        }
    }

    /// Returns the line, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in bytes, counted from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}

/// Deserializes a text, which is borrowed if it has no escapes.
#[derive(Clone, Copy)]
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }
}
