//! State of the certificates, for health checks.

use std::time::SystemTime;

/// State of the certificates: if handshakes can succeed, and until when.
///
/// ```
/// use registry_tls::Status;
/// use std::time::SystemTime;
///
/// let waiting = Status::Waiting { what_for: "/certs/tls.crt, which does not exist yet".to_owned() };
/// assert!(!waiting.is_serving());
/// assert_eq!(waiting.check(), Err("waits for /certs/tls.crt, which does not exist yet".to_owned()));
///
/// let serving = Status::Serving { until: SystemTime::now(), problem: None };
/// assert_eq!(serving.check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// No certificate exists yet, and nothing is wrong: handshakes are refused with an alert.
    Waiting {
        /// Missing item, such as `/certs/tls.crt, which does not exist yet`.
        what_for: String,
    },
    /// A certificate is served.
    Serving {
        /// End of its validity.
        until: SystemTime,
        /// Reason why it cannot be replaced by the files' content, or renewed, if there is one.
        problem: Option<String>,
    },
    /// Clients cannot connect, or refuse the certificate, until an operator acts.
    Failing {
        /// The fault and its remedy.
        because: String,
    },
}

impl Status {
    /// Returns true if clients can connect.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }

    /// Returns the status as the result of a health check. The error names the fault, or the missing item.
    ///
    /// # Errors
    ///
    /// The reason why clients cannot connect.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Serving { .. } => Ok(()),
            Self::Waiting { what_for } => Err(format!("waits for {what_for}")),
            Self::Failing { because } => Err(because.clone()),
        }
    }
}
