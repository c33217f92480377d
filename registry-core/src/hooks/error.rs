//! [`HookError`]: refusal or failure of a hook.

use crate::error::{BoxError, ErrorCode};
use http::StatusCode;
use std::time::Duration;

/// Refusal or failure of a hook. Either ends the operation.
///
/// ```
/// use http::StatusCode;
/// use registry_core::{Error, ErrorCode, hooks::HookError};
/// use std::time::Duration;
///
/// let too_large = HookError::veto_as(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, "at most 1 GiB");
/// assert_eq!(Error::from(too_large).wire().0, StatusCode::PAYLOAD_TOO_LARGE);
///
/// let outage = HookError::failed("the quota service does not answer").retry_after(Duration::from_secs(30));
/// assert_eq!(Error::from(outage).wire().0, StatusCode::SERVICE_UNAVAILABLE);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// The hook refuses the operation. The client sees the message.
    #[error("{message}")]
    #[non_exhaustive]
    Veto {
        /// Status of the response, from 400 to 499.
        status: StatusCode,
        /// Code of the response.
        code: ErrorCode,
        /// Message for the client.
        message: String,
    },
    /// The hook cannot decide: 503 `UNAVAILABLE`. Only the log shows the source.
    #[error("a hook failed")]
    #[non_exhaustive]
    Failed {
        /// Time after which the client may retry, if known.
        retry_after: Option<Duration>,
        /// Underlying error.
        #[source]
        source: BoxError,
    },
}

impl HookError {
    /// Refuses an operation with a message for the client: 403 `DENIED`.
    #[must_use]
    pub fn veto(message: impl Into<String>) -> Self {
        Self::veto_as(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
    }

    /// Refuses an operation with another status and code.
    ///
    /// A status that is not a client error becomes 403, and so does 401: its login could not help.
    #[must_use]
    pub fn veto_as(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        let status = match status {
            StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
            status if status.is_client_error() => status,
            _ => StatusCode::FORBIDDEN,
        };
        Self::Veto {
            status,
            code,
            message: message.into(),
        }
    }

    /// Reports that no decision can be made.
    #[must_use]
    pub fn failed(source: impl Into<BoxError>) -> Self {
        Self::Failed {
            retry_after: None,
            source: source.into(),
        }
    }

    /// Sets the time after which the client may retry a failed operation. A veto is unchanged.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        match self {
            Self::Failed { source, .. } => Self::Failed {
                retry_after: Some(time),
                source,
            },
            veto @ Self::Veto { .. } => veto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veto_is_a_client_error_that_asks_for_no_login() {
        for (status, sent) in [
            (StatusCode::PAYLOAD_TOO_LARGE, 413),
            (StatusCode::TOO_MANY_REQUESTS, 429),
            (StatusCode::UNAUTHORIZED, 403),
            (StatusCode::OK, 403),
            (StatusCode::SERVICE_UNAVAILABLE, 403),
        ] {
            let veto = HookError::veto_as(status, ErrorCode::Denied, "no");
            assert!(
                matches!(&veto, HookError::Veto { status, .. } if status.as_u16() == sent),
                "{veto:?}"
            );
        }
    }
}
