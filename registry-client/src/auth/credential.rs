//! [`Credentials`]: the source of logins; and [`Credential`], one of them.

use crate::host::Host;
use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use registry_core::{Algorithm, BoxError, Digest, RepositoryName};
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

/// Source of credentials.
///
/// [`AuthFile`](crate::AuthFile) reads those of docker and podman. A client asks it when a registry requires a login.
///
/// # Cancel safety
///
/// A future is dropped with its call. An implementation leaves nothing half done.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync {
    /// Returns the credential for a repository of `host`, or for the host itself. `None` stands for an anonymous user.
    ///
    /// # Errors
    ///
    /// Any error ends the call, as [`Error::Credentials`](crate::Error::Credentials). It is never an anonymous user.
    async fn get(
        &self,
        host: &Host,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credential>, BoxError>;

    /// Notes that `host` or its token service has refused a credential, of this source or another one. The sources are asked
    /// once more after that, so one that keeps answers forgets this one. By default, nothing is done.
    fn refused(&self, _host: &Host, _credential: &Credential) {}
}

/// Credentials of some hosts.
#[async_trait]
impl Credentials for BTreeMap<Host, Credential> {
    async fn get(&self, host: &Host, _: Option<&RepositoryName>) -> Result<Option<Credential>, BoxError> {
        Ok(Self::get(self, host).cloned())
    }
}

/// Login for a registry. It is removed from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Credential(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Password {
        user: String,
        password: Zeroizing<String>,
    },
    /// Refresh token of the token service.
    Identity(Zeroizing<String>),
    /// Token for the registry itself.
    Registry(Zeroizing<String>),
}

impl Credential {
    /// Logs in with a user name and a password.
    ///
    /// ```
    /// use registry_client::{Client, Credential, Host};
    /// use std::collections::BTreeMap;
    ///
    /// let host = Host::parse("registry.example")?;
    /// let logins = BTreeMap::from([(host, Credential::password("ann", "secret"))]);
    /// let client = Client::builder().credentials(logins).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Password {
            user: user.into(),
            password: password.into().into(),
        })
    }

    /// Logs in with an identity token: the refresh token that a login at the token service has returned.
    #[must_use]
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self(Kind::Identity(token.into().into()))
    }

    /// Logs in with a token that the registry itself accepts.
    #[must_use]
    pub fn registry_token(token: impl Into<String>) -> Self {
        Self(Kind::Registry(token.into().into()))
    }

    /// Returns a digest that tells credentials apart.
    pub(crate) fn fingerprint(&self) -> Digest {
        let parts = match &self.0 {
            Kind::Password { user, password } => ["p", user, password.as_str()],
            Kind::Identity(token) => ["i", "", token.as_str()],
            Kind::Registry(token) => ["r", "", token.as_str()],
        };
        let text = Zeroizing::new(parts.join("\0"));
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }
}

/// Returns the value of `Authorization` for Basic.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
    secret(&format!("Basic {}", encoded.as_str()))
}

/// Returns a value that is not printed.
pub(crate) fn secret(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Password { .. } => "Credential(password)",
            Kind::Identity(_) => "Credential(identity token)",
            Kind::Registry(_) => "Credential(registry token)",
        })
    }
}
