//! Credentials of the doctor. Secrets are neither printed nor sent to an untrusted server.

use super::error::InvalidOption;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use std::fmt;

/// Name of a user, which can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

impl User {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::User`] if it contains a colon, which ends a name in a login.
    pub fn parse(name: impl Into<String>) -> Result<Self, InvalidOption> {
        let name = name.into();
        if name.contains(':') {
            return Err(InvalidOption::User);
        }
        Ok(Self(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// User name with its password.
pub(super) struct Credentials {
    user: User,
    password: Vec<u8>,
}

impl Credentials {
    pub(super) const fn new(user: User, password: Vec<u8>) -> Self {
        Self { user, password }
    }

    /// Returns the value of `Authorization`.
    pub(super) fn basic(&self) -> HeaderValue {
        let plain = [self.user().as_bytes(), b":", &self.password].concat();
        let encoded = format!("Basic {}", BASE64_STANDARD.encode(plain));
        let mut value = HeaderValue::try_from(encoded).expect("base64 is printable ASCII");
        value.set_sensitive(true);
        value
    }

    pub(super) fn user(&self) -> &str {
        self.user.as_str()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
