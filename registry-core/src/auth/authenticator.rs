//! Who sent a request: [`Authenticator`].

use super::{AuthError, Challenge, Identity};
use async_trait::async_trait;
use http::{Extensions, HeaderMap, Method, Uri};
use std::{
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Says who sent a request.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The sender; `None` if the request carries no credentials.
    ///
    /// # Errors
    ///
    /// [`AuthError::Rejected`] for wrong credentials: they never make someone anonymous.
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError>;

    /// How a client can say who it is. With none, nobody is ever asked to log in.
    fn challenges(&self) -> Vec<Challenge>;
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        (**self).authenticate(request).await
    }

    fn challenges(&self) -> Vec<Challenge> {
        (**self).challenges()
    }
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Box<A> {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        (**self).authenticate(request).await
    }

    fn challenges(&self) -> Vec<Challenge> {
        (**self).challenges()
    }
}

/// The parts of a request that can say who sent it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuthRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, as it was received.
    pub uri: &'a Uri,
    /// The headers. An empty Basic login (`Og==`) has been taken out: it is nobody.
    pub headers: &'a HeaderMap,
    /// What the host's own middleware and listener put there.
    pub extensions: &'a Extensions,
}

/// The address of the client, in a request's extensions: put there by the listener, or by a host that knows which
/// of its proxies to believe. Failed logins are logged and limited by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub SocketAddr);

/// The address of a peer that told the [`ClientAddress`], in a request's extensions, where nobody has configured it as a
/// proxy: it may as well be a client that claims another one's address. Failed logins are limited by it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresumedProxy(pub IpAddr);

impl<'a> AuthRequest<'a> {
    /// The address of the client, if the listener or the host says it.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.extensions.get::<ClientAddress>().map(|address| address.0)
    }

    /// The address of the peer that told the client's, if the host only presumes that it is a proxy.
    #[must_use]
    pub fn presumed_proxy(&self) -> Option<IpAddr> {
        self.extensions.get::<PresumedProxy>().map(|proxy| proxy.0)
    }

    pub(crate) const fn new(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}
