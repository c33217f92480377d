//! [`Failure`]: the expected answer of a case, the request, and the received answer.

use std::fmt;

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
