//! [`ByHost`]: several registries behind one service, chosen by the host of each request.
//!
//! Nothing here knows tenants: a [`Hosts`] finds the registry, and that registry answers the request as if it were
//! alone.

mod host_name;
mod hosts;

pub use self::{
    host_name::{HostName, InvalidHostName},
    hosts::{HostTable, Hosts},
};

use super::{Registry, ResponseBody, http::refused};
use crate::{error::Error, storage::BoxError};
use http::request::Parts;
use http_body::Body;
use std::{future::Future, sync::Arc};

/// Several registries behind one address, chosen by the host of each request. Cheap to clone.
///
/// Each registry has its own storage, users, rules, hooks and limits, so that tenants share no names: repositories of
/// two tenants may have the same name, and no catalog and no mount reaches another tenant. That holds as long as two
/// registries do not use the same storage, or use it through [`PrefixStorage`](crate::storage::PrefixStorage) with
/// different prefixes.
///
/// ```
/// use registry_core::{Registry, service::{ByHost, HostTable}, storage::MemoryStorage};
/// use tower_service::Service as _;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tenants = HostTable::new();
/// let mut service = ByHost::new(tenants.clone()).into_service(|task| {
///     tokio::spawn(task);
/// });
///
/// // A tenant that is added while the service runs.
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// tenants.insert("a.example".parse()?, registry);
///
/// for (host, status) in [("a.example", 200), ("A.example:443", 200), ("b.example", 421)] {
///     let request = http::Request::get("/v2/").header("host", host).body(String::new())?;
///     assert_eq!(service.call(request).await?.status(), status);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # The host of a request
///
/// The first of these that exists counts:
///
/// 1. a [`HostName`] in the extensions of the request, from a middleware of the host program,
/// 2. `X-Forwarded-Host`, only after [`trust_forwarded_host`](Self::trust_forwarded_host),
/// 3. the target: `:authority` of HTTP/2, or the absolute form of HTTP/1.1,
/// 4. the `Host` header.
///
/// Case, port and the dot at the end are ignored. The registry finds the [`HostName`] in the extensions of the request,
/// for an authenticator that several tenants share.
///
/// # Refusals
///
/// | request | response |
/// |---|---|
/// | names a host that the lookup does not know, or no host | 421 `NAME_UNKNOWN`, unless there is a [`default`](Self::with_default) |
/// | names a host in a malformed way, or two hosts | 400 `UNSUPPORTED` |
/// | names a host while the [`Hosts`] fails | 503 `UNAVAILABLE` |
///
/// 421 does not depend on the path, the method or the credentials, and names no other host. It is not 404, because
/// some programs remove the images that a registry reports as unknown, and a wrong `Host` is often a fault of a proxy.
///
/// # Duties of the host program
///
/// - Drive the [upkeep](Registry::upkeep) of each registry.
/// - Give each tenant an authenticator that accepts no tokens of other tenants. A token endpoint is a part of the
///   challenge, so it belongs to the authenticator of the tenant, too.
/// - Leave [`external_url`](super::Builder::external_url) unset, or set it to the URL of the tenant. Links without it
///   are path-relative, and stay at the host of the request.
#[derive(Clone, Debug)]
pub struct ByHost {
    hosts: Arc<dyn Hosts>,
    default: Option<Registry>,
    forwarded: bool,
}

impl ByHost {
    /// Finds registries by a lookup, such as a [`HostTable`].
    #[must_use]
    pub fn new(hosts: impl Hosts) -> Self {
        Self {
            hosts: Arc::new(hosts),
            default: None,
            forwarded: false,
        }
    }

    /// Sets the registry for hosts that the lookup does not know, and for requests without a host. It is not used if
    /// the lookup fails.
    #[must_use]
    pub fn with_default(self, registry: Registry) -> Self {
        Self {
            default: Some(registry),
            ..self
        }
    }

    /// Uses the first host in `X-Forwarded-Host`, if a request has this header. Only call it behind a proxy that sets
    /// or removes the header in every request. Otherwise clients choose a tenant that the proxy does not see.
    #[must_use]
    pub fn trust_forwarded_host(self) -> Self {
        Self {
            forwarded: true,
            ..self
        }
    }

    /// Returns the registry of a host: that of the lookup, or else the default.
    ///
    /// # Errors
    ///
    /// - [`Error::HostUnknown`] if there is none,
    /// - [`Error::HostLookup`] if the lookup fails.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, unless the lookup changes something of its own.
    pub async fn registry(&self, host: &HostName) -> Result<Registry, Error> {
        let found = self.hosts.registry(host).await.map_err(Error::HostLookup)?;
        found.or_else(|| self.default.clone()).ok_or(Error::HostUnknown)
    }

    /// Answers one HTTP request under `/v2/`, like [`Registry::handle`].
    ///
    /// # Cancel safety
    ///
    /// The same as for [`Registry::handle`].
    pub fn handle<B>(
        &self,
        request: http::Request<B>,
    ) -> impl Future<Output = http::Response<ResponseBody>> + Send + use<B>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let this = self.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            match this.find(&mut parts).await {
                Ok(registry) => registry.handle(http::Request::from_parts(parts, body)).await,
                Err(error) => refused(&parts, &error),
            }
        }
    }

    /// Finds the registry of a request, and adds the host to the extensions.
    async fn find(&self, parts: &mut Parts) -> Result<Registry, Error> {
        match HostName::requested(parts, self.forwarded)? {
            Some(host) => {
                let registry = self.registry(&host).await?;
                parts.extensions.insert(host);
                Ok(registry)
            }
            None => self.default.clone().ok_or(Error::HostUnknown),
        }
    }
}
