//! Identification of a request's sender: [`Authenticator`].

use super::{AuthError, Challenge, Identity};
use async_trait::async_trait;
use http::{Extensions, HeaderMap, Method, Uri};
use std::{
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Identifies the sender of a request.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Returns the sender, or `None` if the request carries no credentials.
    ///
    /// # Errors
    ///
    /// [`AuthError::Rejected`] for wrong credentials. A sender with wrong credentials is never treated as
    /// anonymous.
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError>;

    /// Returns the ways in which a client can log in. If there are none, no client is ever asked to log in.
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

/// Parts of a request that can identify its sender.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuthRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, as it was received.
    pub uri: &'a Uri,
    /// The headers, without an empty Basic login (`Og==`), which counts as anonymous.
    pub headers: &'a HeaderMap,
    /// Values from the host's own middleware and listener.
    pub extensions: &'a Extensions,
}

/// Address of the client, in a request's extensions. The listener sets it, or a host that knows its trusted
/// proxies. Failed logins are logged and limited by this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub SocketAddr);

/// Address of a peer that reported the [`ClientAddress`] without being configured as a proxy, in a request's
/// extensions. Such a peer may be a client that claims another client's address. Failed logins are also
/// limited by this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresumedProxy(pub IpAddr);

impl<'a> AuthRequest<'a> {
    /// Returns the address of the client, if the listener or the host set it.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.extensions.get::<ClientAddress>().map(|address| address.0)
    }

    /// Returns the address of the peer that reported the client's address, if that peer is not a configured
    /// proxy.
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
