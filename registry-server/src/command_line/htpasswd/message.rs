//! Messages of the command, and the exit codes of its failures.

use crate::printable;
use std::{
    fmt,
    io::{self, Write as _},
};

/// Error of a command. The exit codes are those of Apache's `htpasswd`.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self::plain(code, format!("htpasswd: {message}"))
    }

    /// Creates a failure whose message does not begin with the name of the program.
    pub(super) fn plain(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(super) fn file(message: impl fmt::Display) -> Self {
        Self::new(1, message)
    }

    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(2, message)
    }

    pub(super) fn mismatch(message: impl fmt::Display) -> Self {
        Self::new(3, message)
    }

    pub(super) fn interrupted() -> Self {
        Self::new(4, "Interrupted.")
    }

    pub(super) fn too_long(message: impl fmt::Display) -> Self {
        Self::new(5, message)
    }

    pub(super) fn illegal_user(message: impl fmt::Display) -> Self {
        Self::new(6, message)
    }

    pub(super) fn invalid_file(message: impl fmt::Display) -> Self {
        Self::new(7, message)
    }
}

/// Prints a message to standard error.
pub(super) fn say(message: impl fmt::Display) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "{}", printable::Line(message));
}
