//! Credentials of the doctor. Secrets are neither printed nor sent to an untrusted server.

use crate::prompt;
use axum::http::HeaderValue;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::{
    env, fmt,
    io::{self, IsTerminal as _},
};

/// Environment variable of the password, read before a prompt.
const VARIABLE: &str = "REGISTRY_DOCTOR_PASSWORD";

/// User name with its password.
pub(super) struct Credentials {
    user: String,
    password: Vec<u8>,
}

impl Credentials {
    /// Reads the password of `user` from the environment, a terminal, or a line of standard input.
    ///
    /// # Errors
    ///
    /// If there is no password, or the name cannot be sent.
    pub(super) fn ask(user: String) -> Result<Self, String> {
        if user.contains(':') {
            return Err("--user: a user name cannot contain a colon".to_owned());
        }
        let password = match env::var_os(VARIABLE) {
            Some(password) => password.into_encoded_bytes(),
            None if io::stdin().is_terminal() => prompt::ask(&format!("Password of {user}: "))
                .and_then(|typed| typed.ok_or_else(|| io::ErrorKind::Interrupted.into()))
                .map_err(|error| format!("cannot read the password: {error}"))?,
            None => prompt::line_of(&mut io::stdin().lock())
                .map_err(|error| format!("cannot read the password: {error}"))?,
        };
        if password.is_empty() {
            return Err(format!(
                "there is no password for {user}: set {VARIABLE}, or write it to standard input"
            ));
        }
        Ok(Self { user, password })
    }

    /// Returns the value of `Authorization`.
    pub(super) fn basic(&self) -> HeaderValue {
        let plain = [self.user.as_bytes(), b":", &self.password].concat();
        let encoded = format!("Basic {}", BASE64_STANDARD.encode(plain));
        let mut value = HeaderValue::try_from(encoded).expect("base64 is printable ASCII");
        value.set_sensitive(true);
        value
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
