//! Where passwords come from: the command line, standard input, or somebody at a terminal who does not see them.

use super::{Failure, options::PasswordFrom};
use crate::prompt::{self, line_of};
use std::io::{self, IsTerminal as _};

/// The longest that is taken, as by Apache's `htpasswd`.
const LONGEST: usize = 255;

impl PasswordFrom {
    /// A new password; a terminal asks for it twice.
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

    /// A password that exists.
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

/// Nobody chooses an empty password: standard input had ended, or a variable was not set.
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
