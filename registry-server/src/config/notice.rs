//! Notices about a configuration that can be used.

use super::value::Origin;
use std::fmt;

/// Message about a configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    origin: Origin,
    pub(super) message: String,
    pub(super) is_warning: bool,
}

impl Notice {
    pub(super) fn new(origin: Origin, message: String) -> Self {
        Self {
            origin,
            message,
            is_warning: true,
        }
    }

    /// Creates a notice about a key that registry:2 needs and this server does not.
    pub(super) fn needless(origin: Origin, message: String) -> Self {
        Self {
            is_warning: false,
            ..Self::new(origin, message)
        }
    }

    /// Writes the notice to the log, as an event of `tracing`.
    pub fn log(&self) {
        if self.is_warning {
            tracing::warn!("{self}");
        } else {
            tracing::info!("{self}");
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}
