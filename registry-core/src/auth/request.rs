//! Parts of a request that identify its sender: [`AuthRequest`].

use super::{BasicLogin, MalformedLogin};
use http::{Extensions, HeaderMap, Method, Uri, header, request::Parts};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Parts of a request that can identify its sender.
#[derive(Clone, Copy)]
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
///
/// ```
/// use registry_core::auth::ClientAddress;
///
/// let peer = "192.0.2.7:49152".parse()?;
/// let request = http::Request::get("/v2/").extension(ClientAddress(peer)).body(())?;
/// # assert_eq!(request.extensions().get(), Some(&ClientAddress(peer)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub SocketAddr);

/// Address of a peer that reported the [`ClientAddress`] without being configured as a proxy, in a request's
/// extensions. Such a peer may be a client that claims another client's address. Failed logins are also
/// limited by this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresumedProxy(pub IpAddr);

/// Scheme and credentials of an `Authorization` header.
type Authorization<'a> = (&'a [u8], &'a [u8]);

impl<'a> AuthRequest<'a> {
    /// Describes a request by its head. Meant for tests of authenticators, and for the host's own routes that accept the
    /// same logins, such as a token service.
    ///
    /// ```
    /// use registry_core::auth::AuthRequest;
    ///
    /// let request = http::Request::get("/token").header("authorization", "Basic YW5uOnNlY3JldA==");
    /// let (parts, ()) = request.body(())?.into_parts();
    /// let login = AuthRequest::new(&parts).basic()?.ok_or("no login")?;
    /// assert_eq!((login.user(), login.password()), ("ann", &b"secret"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// An empty Basic login stays in the headers. The registry removes it before it asks an authenticator.
    #[must_use]
    pub const fn new(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }

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

    /// Returns user and password of `Authorization: Basic`. Returns `None` without the header, and for another
    /// scheme: another authenticator may accept it.
    ///
    /// ```
    /// use registry_core::{Identity, auth::{AuthError, AuthRequest}};
    ///
    /// fn identify(request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
    ///     match request.basic()? {
    ///         Some(login) if login.password() == b"secret" => Ok(Some(Identity::new(login.user()))),
    ///         Some(_) => Err(AuthError::Rejected),
    ///         None => Ok(None),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MalformedLogin`], which converts into [`AuthError::Rejected`](super::AuthError::Rejected).
    pub fn basic(&self) -> Result<Option<BasicLogin>, MalformedLogin> {
        match self.credentials()? {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case(b"basic") => {
                BasicLogin::decode(encoded).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Returns the token of `Authorization: Bearer`. Returns `None` without the header, and for another scheme.
    ///
    /// # Errors
    ///
    /// [`MalformedLogin`] if the token is empty, or has other characters than RFC 6750 allows.
    pub fn bearer(&self) -> Result<Option<&'a str>, MalformedLogin> {
        let Some((scheme, token)) = self.credentials()? else {
            return Ok(None);
        };
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Ok(None);
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        match str::from_utf8(token) {
            Ok(text) if !token.is_empty() && token.iter().all(allowed) => Ok(Some(text)),
            _ => Err(MalformedLogin),
        }
    }

    /// Returns scheme and credentials of `Authorization`, which must not be repeated.
    fn credentials(&self) -> Result<Option<Authorization<'a>>, MalformedLogin> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(MalformedLogin);
        }
        let value = value.as_bytes().trim_ascii();
        let end = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
        let (scheme, credentials) = value.split_at(end);
        Ok(Some((scheme, credentials.trim_ascii())))
    }
}

/// Shows no headers, which hold credentials.
impl fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("method", self.method)
            .field("uri", self.uri)
            .finish_non_exhaustive()
    }
}
