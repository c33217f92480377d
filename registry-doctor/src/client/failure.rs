//! Failures of a request: there is no answer.

use crate::any_certificate;
use std::{error::Error, fmt, io, time::Duration};
use tokio_rustls::rustls::AlertDescription;

/// Reason for which there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name has no address.
    Unresolved(io::Error),
    /// No connection could be opened.
    Unreachable(io::Error),
    /// The TLS handshake failed, for example because the certificate is not trusted.
    Tls(io::Error),
    /// The answer is not HTTP, or is incomplete.
    NoAnswer(hyper::Error),
    /// The step timed out.
    Silent(Duration),
    /// The time for all steps is used up.
    OutOfTime,
}

impl Failure {
    /// Returns the TLS alert with which the server ended the connection.
    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Tls(error) => any_certificate::alert(error),
            Self::NoAnswer(error) => any_certificate::alert(error),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(f, "the name cannot be resolved: {error}"),
            Self::Unreachable(error) => write!(f, "no connection: {error}"),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
            Self::NoAnswer(error) => write!(f, "no answer in HTTP: {}", with_causes(error)),
            Self::Silent(patience) => write!(f, "no answer within {} s", patience.as_secs()),
            Self::OutOfTime => f.write_str("no time was left"),
        }
    }
}

/// Renders an error and its sources on one line.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
