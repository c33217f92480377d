//! Errors that prevent a configuration from being used.

use super::value::Origin;
use crate::denied;
use std::{fmt, path::PathBuf};

/// Error that prevents a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    key: String,
    message: String,
}

impl Problem {
    pub(super) fn new(origin: Origin, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin,
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Reason for which no configuration could be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration error: cannot read {}{}", path.display(), denied::hint(path))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The file, the environment or a setting cannot be used.
    #[error("configuration error: {}", Lines(problems))]
    Problems {
        /// Every problem, in the order of the sources.
        problems: Vec<Problem>,
    },
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::Problems {
            problems: vec![problem],
        }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\nconfiguration error: ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
