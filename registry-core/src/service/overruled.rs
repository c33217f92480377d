//! [`Overruled`]: response that a listener sends in place of the service's.

use http::StatusCode;
use std::sync::{Arc, OnceLock};

/// Answer of a listener in place of the service's, for logs and metrics that are layers of the service.
///
/// The listener puts one into the extensions of each request. It records there what it has answered instead, such as 408 to
/// a client whose body stopped arriving. The record is final before the service's answer is dropped.
///
/// ```
/// use registry_core::service::Overruled;
///
/// let overruled = Overruled::default();
/// let known_to_a_log = overruled.clone();
/// overruled.by(http::StatusCode::REQUEST_TIMEOUT, 120);
/// assert_eq!(known_to_a_log.status(), Some(http::StatusCode::REQUEST_TIMEOUT));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Overruled(Arc<OnceLock<(StatusCode, u64)>>);

impl Overruled {
    /// Records that the listener answers, with this status and this number of bytes of a body. The first call counts.
    pub fn by(&self, status: StatusCode, sent: u64) {
        // A second call changes nothing.
        let _ = self.0.set((status, sent));
    }

    /// Returns the status of the listener's answer; `None` if the service's counts.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.get().map(|(status, _)| *status)
    }

    /// Returns the number of bytes of the body of the listener's answer.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        self.0.get().map(|(_, sent)| *sent)
    }
}
