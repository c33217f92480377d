//! [`Failure`]: what a case expected, what it had sent, and what it got.

use super::client::Answer;
use std::fmt;

/// How much of a body is shown.
const EXCERPT: usize = 600;

/// Why a case failed: what was expected, what was sent, and what came back.
#[derive(Clone, Debug)]
pub struct Failure {
    expected: String,
    sent: String,
    got: String,
    trace: Vec<String>,
}

/// How a case ends.
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

    /// There was no answer to judge.
    pub(super) fn transport(sent: &str, error: &str) -> Self {
        Self::new(sent, "an answer", error)
    }

    /// Adds what the case had done before, one line for each request.
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
    /// The failure to answer as expected.
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
