//! [`User`]: the user of a test registry.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use std::fmt;

/// Name and password of the user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl User {
    pub(crate) fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
        }
    }

    pub(crate) fn is(&self, name: &str, password: &[u8]) -> bool {
        self.name == name && self.password.as_bytes() == password
    }

    /// Returns the credentials of `Authorization: Basic`, as files of docker have them, too.
    pub(crate) fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.name, self.password))
    }

    /// Compares the user with the `Authorization: Basic` of a request. Returns `None` if there is none.
    pub(super) fn sent(&self, headers: &HeaderMap) -> Option<bool> {
        let value = headers.get(header::AUTHORIZATION)?;
        let sent = value.to_str().ok().and_then(|value| {
            let (scheme, encoded) = value.split_once(' ')?;
            let decoded = STANDARD.decode(encoded.trim()).ok()?;
            let colon = decoded.iter().position(|&byte| byte == b':')?;
            let (name, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
            let is_user = self.is(str::from_utf8(name).ok()?, password);
            Some(scheme.eq_ignore_ascii_case("basic") && is_user)
        });
        Some(sent.unwrap_or(false))
    }
}

/// Shows no password.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
