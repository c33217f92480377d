//! [`Failure`]: the expected answer of a case, the request, and the received answer.

use super::client::Answer;
use std::fmt;

/// Maximum number of bytes of a body in a report.
const EXCERPT: usize = 600;

/// Reason for the failure of a case: the expected answer, the request, and the received answer.
#[derive(Clone, Debug)]
pub struct Failure {
    expected: String,
    sent: String,
    got: String,
    trace: Vec<String>,
}

/// Result of a case.
pub(super) type Outcome = Result<(), Failure>;

impl Failure {
    pub(super) fn new(sent: &str, expected: &str, got: &str) -> Self {
        Self {
            expected: expected.to_owned(),
            sent: sent.to_owned(),
            got: got.to_owned(),
            trace: Vec::new(),
        }
    }

    /// Returns the failure to get an answer.
    pub(super) fn transport(sent: &str, error: &str) -> Self {
        Self::new(sent, "an answer", error)
    }

    /// Adds the earlier requests of the case, one line each.
    pub(super) fn after(mut self, trace: Vec<String>) -> Self {
        self.trace = trace;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "   before: {line}")?;
        }
        for (label, text) in [
            ("sent", &self.sent),
            ("expected", &self.expected),
            ("got", &self.got),
        ] {
            for (number, line) in text.lines().enumerate() {
                let label = if number == 0 { label } else { "" };
                writeln!(f, " {label:>8}{} {line}", if number == 0 { ':' } else { ' ' })?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl Answer {
    /// Returns the failure to answer as expected.
    pub(super) fn fail(&self, expected: &str) -> Failure {
        let mut got = format!("HTTP/1.1 {}", self.status);
        for (name, value) in &self.headers {
            got.push_str(&format!(
                "\n{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if !self.body.is_empty() {
            let excerpt = self.body.get(..EXCERPT).unwrap_or(&self.body);
            got.push_str(&format!(
                "\n\n{}",
                String::from_utf8_lossy(excerpt).escape_debug()
            ));
            if excerpt.len() < self.body.len() {
                got.push_str(&format!("… ({} bytes)", self.body.len()));
            }
        }
        Failure::new(&self.sent, expected, &got)
    }
}
