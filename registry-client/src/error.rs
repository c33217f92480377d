//! [`Error`]: reasons for which a call to a registry failed.

use registry_core::{BoxError, Digest, reference::InvalidReference};
use std::{convert::Infallible, time::Duration};

/// Result of a call to a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reason for which a call to a registry failed. `url` is the method and the URL, without the query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry does not have it. A private name may look the same, see [`is_absence`](Self::is_absence).
    #[error("{url}: not found{}", said(code, message))]
    #[non_exhaustive]
    NotFound {
        /// The request.
        url: String,
        /// Code of the registry, such as `MANIFEST_UNKNOWN`.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry requires a login, or does not accept the one it got.
    #[error("{url}: {}{}", if *.with_credential { "the credential is not accepted" } else { "a login is required" }, said(code, message))]
    #[non_exhaustive]
    Unauthorized {
        /// The request.
        url: String,
        /// True if a credential was sent.
        with_credential: bool,
        /// Code of the registry.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry does not allow it, or does not tell whether it exists.
    #[error("{url}: access denied{}", said(code, message))]
    #[non_exhaustive]
    Denied {
        /// The request.
        url: String,
        /// Code of the registry.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry limits the rate of requests, and did so at every attempt.
    #[error("{url}: too many requests{}", later(*.retry_after))]
    #[non_exhaustive]
    TooMany {
        /// The request.
        url: String,
        /// Time after which the registry allows another attempt, if it says so.
        retry_after: Option<Duration>,
    },
    /// The condition of the request does not hold, such as the required target of a tag.
    #[error("{url}: the condition does not hold{}", said(code, message))]
    #[non_exhaustive]
    ConditionFailed {
        /// The request.
        url: String,
        /// Code of the registry.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry does not support the operation.
    #[error("{url}: not supported by this registry{}", said(code, message))]
    #[non_exhaustive]
    Unsupported {
        /// The request.
        url: String,
        /// Code of the registry.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry refuses the request for another reason.
    #[error("{url}: refused with status {status}{}", said(code, message))]
    #[non_exhaustive]
    Refused {
        /// The request.
        url: String,
        /// Status of the response.
        status: u16,
        /// Code of the registry.
        code: Option<String>,
        /// Message of the registry.
        message: Option<String>,
    },
    /// The registry failed at every attempt.
    #[error("{url}: the registry failed with status {status}{}", later(*.retry_after))]
    #[non_exhaustive]
    Unavailable {
        /// The request.
        url: String,
        /// Status of the last response.
        status: u16,
        /// Time after which the registry allows another attempt, if it says so.
        retry_after: Option<Duration>,
    },
    /// The connection could not be opened, or it broke, at every attempt.
    #[error("{url}: {source}")]
    #[non_exhaustive]
    Transport {
        /// The request.
        url: String,
        /// Underlying error.
        source: BoxError,
    },
    /// No connection with TLS is possible: a certificate is not trusted or cannot be read, the registry refuses the
    /// certificate of the client, it does not speak TLS, or there is no cryptography.
    #[error("{url}: no connection with TLS is possible: {source}")]
    #[non_exhaustive]
    Tls {
        /// The request.
        url: String,
        /// Underlying error.
        source: BoxError,
    },
    /// No byte arrived for a long time, at every attempt.
    #[error("{url}: nothing arrived for {} seconds", after.as_secs())]
    #[non_exhaustive]
    TimedOut {
        /// The request.
        url: String,
        /// Time that was waited.
        after: Duration,
    },
    /// The content is not that of its digest. It must not be used.
    #[error("{url}: the content has the digest {got}, not {expected}")]
    #[non_exhaustive]
    Corrupt {
        /// The request.
        url: String,
        /// Digest that was requested or announced.
        expected: Digest,
        /// Digest of the received bytes.
        got: Digest,
    },
    /// The content has another size than its descriptor gives. It must not be used.
    #[error("{url}: the content has {} bytes, not {expected}", got.map_or_else(|| "more".to_owned(), |got| got.to_string()))]
    #[non_exhaustive]
    WrongSize {
        /// The request.
        url: String,
        /// Size in the descriptor, in bytes.
        expected: u64,
        /// Size of the content; `None` if only the excess is known.
        got: Option<u64>,
    },
    /// A pull of a blob cannot start like this: beyond its end, or with a hasher that cannot verify it. Or an upload cannot
    /// continue with this token, which is of another repository.
    #[error("{url}: {problem}")]
    #[non_exhaustive]
    InvalidStart {
        /// The repository, and the digest if there is one.
        url: String,
        /// Rule that is violated.
        problem: String,
    },
    /// The response is larger than the client accepts.
    #[error("{url}: the response has more than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The request.
        url: String,
        /// Limit in bytes.
        limit: u64,
    },
    /// The listing has more items than the caller accepts.
    #[error("{url}: the listing has more than {limit} items")]
    #[non_exhaustive]
    TooLong {
        /// The request.
        url: String,
        /// Limit, as a number of items.
        limit: usize,
    },
    /// The response violates the protocol.
    #[error("{url}: {problem}")]
    #[non_exhaustive]
    Protocol {
        /// The request.
        url: String,
        /// Rule that is violated.
        problem: String,
    },
    /// The credential for a registry cannot be read.
    #[error("cannot get the credential for {host}: {source}")]
    #[non_exhaustive]
    Credentials {
        /// The registry.
        host: String,
        /// Underlying error.
        source: BoxError,
    },
    /// The text is neither a tag nor a digest.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The content that should be pushed cannot be read.
    #[error("cannot read the content to push: {0}")]
    Content(#[source] BoxError),
}

fn said(code: &Option<String>, message: &Option<String>) -> String {
    match (code, message) {
        (Some(code), Some(message)) => format!(" ({code}: {message})"),
        (Some(text), None) | (None, Some(text)) => format!(" ({text})"),
        (None, None) => String::new(),
    }
}

fn later(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |time| {
        format!("; retry after {} seconds", time.as_secs())
    })
}

impl Error {
    /// Returns true if the registry says that this very content does not exist: with `MANIFEST_UNKNOWN`,
    /// `BLOB_UNKNOWN` or `BLOB_UPLOAD_UNKNOWN`. A `404` without such a code may also be a private name.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        let Self::NotFound { code, .. } = self else {
            return false;
        };
        matches!(
            code.as_deref(),
            Some("MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "BLOB_UPLOAD_UNKNOWN")
        )
    }

    /// Returns true if the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::TooMany { .. } | Self::Unavailable { .. } | Self::Transport { .. } | Self::TimedOut { .. }
        )
    }

    /// Returns true if it is unknown whether the registry acted on the request.
    pub(crate) const fn is_lost_answer(&self) -> bool {
        matches!(
            self,
            Self::Transport { .. } | Self::TimedOut { .. } | Self::Unavailable { .. }
        )
    }

    /// Returns true if the registry may still act on the request, such as behind a proxy that did not wait for the answer.
    pub(crate) const fn may_be_acted_on(&self) -> bool {
        matches!(
            self,
            Self::Transport { .. } | Self::TimedOut { .. } | Self::Unavailable { status: 504, .. }
        )
    }

    /// Returns true if an upload session may have been closed: by this request, or by an earlier one whose answer was lost.
    pub(crate) const fn may_be_closed(&self) -> bool {
        self.is_lost_answer() || matches!(self, Self::NotFound { .. })
    }

    /// Returns true if a registry, or a proxy in front of it, refuses a request as too large. With `SIZE_INVALID`, it is the
    /// blob that is too large.
    pub(crate) fn is_chunk_too_large(&self) -> bool {
        matches!(self, Self::Refused { status: 413, code, .. } if code.as_deref() != Some("SIZE_INVALID"))
    }

    /// Returns code and message of the registry in parentheses, if it sent them.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::NotFound { code, message, .. }
            | Self::Unauthorized { code, message, .. }
            | Self::Denied { code, message, .. }
            | Self::ConditionFailed { code, message, .. }
            | Self::Unsupported { code, message, .. }
            | Self::Refused { code, message, .. } => said(code, message),
            _ => String::new(),
        }
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn protocol(url: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Protocol {
            url: url.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn transport(url: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Transport {
            url: url.into(),
            source: source.into(),
        }
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
