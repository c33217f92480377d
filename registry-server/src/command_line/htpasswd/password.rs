//! Reads passwords from the command line, from standard input, or from a terminal without echo.

use super::{message::Failure, options::PasswordFrom};
use crate::command_line::prompt::{self, line_of};
use std::io::{self, IsTerminal as _};

/// Maximum length in bytes, as in Apache's `htpasswd`.
const LONGEST: usize = 255;

impl PasswordFrom {
    /// Reads a new password; at a terminal, asks for it twice.
    pub(super) fn chosen(self) -> Result<Vec<u8>, Failure> {
        if !self.is_prompt() {
            return not_empty(self.known()?);
        }
        let password = not_empty(prompt("New password: ")?)?;
        if prompt("Re-type new password: ")? == password {
            checked(password)
        } else {
            Err(Failure::mismatch("password verification error"))
        }
    }

    /// Reads an existing password.
    pub(super) fn known(self) -> Result<Vec<u8>, Failure> {
        if self.is_prompt() {
            return checked(prompt("Enter password: ")?);
        }
        checked(match self {
            Self::CommandLine(password) => password,
            Self::StandardInput | Self::Terminal => {
                line_of(&mut io::stdin().lock()).map_err(|error| unreadable(&error))?
            }
        })
    }

    fn is_prompt(&self) -> bool {
        matches!(self, Self::Terminal) && io::stdin().is_terminal()
    }
}

/// Refuses an empty password: it means that standard input had ended, or that a variable was not set.
fn not_empty(password: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match password.is_empty() {
        true => Err(Failure::usage("the password is empty; nothing was changed")),
        false => Ok(password),
    }
}

fn checked(password: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if password.len() > LONGEST {
        return Err(Failure::too_long(format!("password too long (> {LONGEST})")));
    }
    if password.contains(&0) {
        return Err(Failure::usage("a password cannot contain a NUL"));
    }
    Ok(password)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::file(format!("cannot read the password: {error}"))
}

fn prompt(text: &str) -> Result<Vec<u8>, Failure> {
    prompt::ask(text)
        .map_err(|error| unreadable(&error))?
        .ok_or_else(Failure::interrupted)
}
