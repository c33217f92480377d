//! [`BoxError`]: any error, as the source of one of ours.

use std::error::Error;

/// Any error, boxed, as a source that only the log shows.
pub type BoxError = Box<dyn Error + Send + Sync>;
