//! Identities that the host has already determined: [`FromExtensions`], [`FromHost`].

use super::{Access, AuthError, AuthRequest, Authenticator, Challenge, Identity};
use async_trait::async_trait;
use http::Extensions;
use std::{fmt, sync::Arc};

/// Takes the [`Identity`] that the host's own middleware has put into the request's extensions.
///
/// ```
/// use registry_core::{Registry, auth::FromExtensions, storage::MemoryStorage};
///
/// let registry = Registry::builder(MemoryStorage::new())
///     .authenticator(FromExtensions)
///     .build();
/// ```
///
/// A request without an identity is anonymous. If the middleware lets such requests pass, docker needs a
/// challenge to log in: see [`challenging`](Self::challenging). If the middleware answers them itself, no
/// challenge is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromExtensions;

impl FromExtensions {
    /// Takes the identity from a type of the host. `None` means anonymous.
    ///
    /// ```
    /// use registry_core::{Identity, auth::FromExtensions};
    ///
    /// #[derive(Clone)]
    /// struct Session {
    ///     user: Option<String>,
    ///     admin: bool,
    /// }
    ///
    /// let authenticator = FromExtensions::of(|session: &Session| {
    ///     let identity = Identity::new(session.user.as_deref()?);
    ///     Some(identity.in_groups(session.admin.then_some("admins")))
    /// });
    /// ```
    pub fn of<T, F>(identity: F) -> FromHost
    where
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<Identity> + Send + Sync + 'static,
    {
        FromHost {
            identity: Arc::new(move |extensions| extensions.get::<T>().and_then(&identity)),
            challenges: Vec::new(),
        }
    }

    /// Offers a login method to anonymous clients that are refused, as the host's middleware expects it.
    pub fn challenging(self, challenge: Challenge) -> FromHost {
        Self::of(|identity: &Identity| Some(identity.clone())).challenging(challenge)
    }
}

#[async_trait]
impl Authenticator for FromExtensions {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        Ok(request.extensions.get::<Identity>().cloned())
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        Vec::new()
    }
}

type Identify = dyn Fn(&Extensions) -> Option<Identity> + Send + Sync;

/// Takes an identity from what the host has put into the request's extensions: [`FromExtensions::of`].
#[derive(Clone)]
#[must_use]
pub struct FromHost {
    identity: Arc<Identify>,
    challenges: Vec<Challenge>,
}

impl FromHost {
    /// Adds a login method, offered to anonymous clients that are refused.
    pub fn challenging(mut self, challenge: Challenge) -> Self {
        self.challenges.push(challenge);
        self
    }
}

impl fmt::Debug for FromHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let challenges = &self.challenges;
        f.debug_struct("FromHost")
            .field("challenges", challenges)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticator for FromHost {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        Ok((self.identity)(request.extensions))
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        self.challenges.clone()
    }
}
