//! What there is to serve, for health checks.

use std::time::SystemTime;

/// Whether handshakes can succeed, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// There is no certificate yet, and nothing is wrong: handshakes are refused with an alert.
    Waiting {
        /// What for, such as `/certs/tls.crt, which does not exist yet`.
        what_for: String,
    },
    /// A certificate is served.
    Serving {
        /// When it ends.
        until: SystemTime,
        /// Why it cannot be replaced by what is there, or renewed, if so.
        problem: Option<String>,
    },
    /// Clients cannot connect, or refuse the certificate, until somebody does something.
    Failing {
        /// What is wrong, and what to do.
        because: String,
    },
}

impl Status {
    /// Whether clients can connect.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }

    /// The same as a health check: an error says what is wrong, or waited for.
    ///
    /// # Errors
    ///
    /// Whatever keeps clients out.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Serving { .. } => Ok(()),
            Self::Waiting { what_for } => Err(format!("waits for {what_for}")),
            Self::Failing { because } => Err(because.clone()),
        }
    }
}
