//! [`Progress`]: a line on the terminal about a command that takes long.

use crate::printable;
use std::io::{self, IsTerminal as _, Write as _};

/// Line on standard error that is replaced by the next one. It goes when this is dropped. Without a terminal there is
/// none.
pub(super) struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    /// Shows a line.
    pub(super) fn show(&mut self, line: &str) {
        if self.is_terminal {
            self.is_shown = true;
            // Nothing is lost with it.
            _ = write!(io::stderr(), "\r\x1b[K{}", printable::Line(line));
        }
    }

    /// Removes the line, before anything else is printed.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
