//! Users of a test registry.

use super::{Builder, TestRegistry};
use crate::login::{Scheme, User};
use std::time::Duration;

impl Builder {
    /// Requires a user name and a password with each request, as `Authorization: Basic`. Anonymous clients may do
    /// nothing, unless [`anonymous_pull`](Self::anonymous_pull) allows it.
    pub fn basic(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login.user = Some((Scheme::Basic, User::new(user, password)));
        self
    }

    /// Requires Bearer tokens, which clients get at the registry's own endpoint `/token` for this user name and password:
    /// with `GET` and Basic credentials, or with `POST` as OAuth2 defines it.
    ///
    /// A token grants what its client asked for, and no more. A client that pushes with a token for pulls gets 401 with
    /// `insufficient_scope`.
    ///
    /// ```
    /// use registry_test::TestRegistry;
    ///
    /// let registry = TestRegistry::builder().bearer("ann", "secret").start();
    /// assert_eq!(registry.credentials(), Some(("ann", "secret")));
    /// ```
    pub fn bearer(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login.user = Some((Scheme::Bearer, User::new(user, password)));
        self
    }

    /// Allows pulls without a login. With Bearer tokens a client still needs a token, and gets one without credentials,
    /// as at most public registries. Without a login, everybody may push, too.
    pub fn anonymous_pull(mut self) -> Self {
        self.login.anonymous_pull = true;
        self
    }

    /// Sets the lifetime of Bearer tokens. The default is one minute. With zero, no token is ever valid;
    /// [`TestRegistry::expire_tokens`] ends the lifetime of tokens at a certain point of a test.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.login.token_lifetime = lifetime;
        self
    }
}

impl TestRegistry {
    /// Returns the user name and the password of the login, if there is one.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let user = self.users.user.as_ref()?;
        Some((&user.name, &user.password))
    }

    /// Returns true if clients log in with Bearer tokens.
    #[cfg(feature = "serve")]
    pub(crate) const fn issues_tokens(&self) -> bool {
        self.users.tokens.is_some()
    }

    /// Lets every access token expire that was issued so far. Clients have to get another one, as in a push that takes
    /// longer than a token lives. Refresh tokens stay valid. Without Bearer tokens, nothing happens.
    pub fn expire_tokens(&self) {
        if let Some(tokens) = &self.users.tokens {
            tokens.expire();
        }
    }
}
