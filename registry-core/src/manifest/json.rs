//! [`InvalidJson`]: where a document is not as it has to be.

use crate::error::cut;

/// The most characters that are said of a problem.
const PROBLEM: usize = 256;

/// A problem in a JSON document, with its place.
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

    /// The line, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1, in bytes.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}
