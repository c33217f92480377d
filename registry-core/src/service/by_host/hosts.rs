//! [`Hosts`]: the contract of a lookup, and [`HostTable`], a table in memory.

use super::HostName;
use crate::{error::BoxError, service::Registry};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Finds the registry of a host, for [`ByHost`](super::ByHost).
///
/// Every request waits for it, so keep the answers in memory. An implementation builds a registry once and returns
/// clones. A new one for each request would not count upload sessions and operations correctly.
///
/// ```
/// use async_trait::async_trait;
/// use registry_core::{BoxError, Registry, service::{HostName, HostTable, Hosts}, storage::MemoryStorage};
///
/// /// Tenants that are loaded from a database when they are first used.
/// #[derive(Debug)]
/// struct Tenants {
///     known: HostTable,
/// }
///
/// /// Asks the database for the tenant.
/// async fn load(host: &HostName) -> Result<Option<Registry>, BoxError> {
///     Ok((host.as_str() == "a.example").then(|| Registry::builder(MemoryStorage::new()).build()))
/// }
///
/// #[async_trait]
/// impl Hosts for Tenants {
///     async fn registry(&self, host: &HostName) -> Result<Option<Registry>, BoxError> {
///         if let Some(known) = self.known.get(host) {
///             return Ok(Some(known));
///         }
///         let loaded = load(host).await?;
///         // Of two requests at once, both use the registry that was added first.
///         Ok(loaded.map(|registry| self.known.get_or_insert(host.clone(), registry)))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tenants = Tenants { known: HostTable::new() };
/// assert!(tenants.registry(&"a.example".parse()?).await?.is_some());
/// assert!(tenants.registry(&"b.example".parse()?).await?.is_none());
/// # Ok::<(), BoxError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait Hosts: Debug + Send + Sync + 'static {
    /// Returns the registry of a host, or `None` if there is no such host.
    ///
    /// # Errors
    ///
    /// Any error if the lookup cannot tell: the client gets 503 and may retry. An outage is never `None`, because
    /// clients may conclude that their images are gone.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped if the client of a read leaves. It must leave nothing half done.
    async fn registry(&self, host: &HostName) -> Result<Option<Registry>, BoxError>;
}

/// Forwards every question to the shared lookup.
#[async_trait]
impl<H: Hosts + ?Sized> Hosts for Arc<H> {
    async fn registry(&self, host: &HostName) -> Result<Option<Registry>, BoxError> {
        (**self).registry(host).await
    }
}

/// Registries by host, in memory. All clones share one table, so that tenants can be added while it is in use.
///
/// ```
/// use registry_core::{Registry, service::HostTable, storage::MemoryStorage};
///
/// let table = HostTable::new();
/// let running = table.clone();
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// table.insert("a.example".parse()?, registry);
///
/// assert!(running.get(&"A.example:443".parse()?).is_some());
/// # Ok::<(), registry_core::service::InvalidHostName>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct HostTable(Arc<RwLock<HashMap<HostName, Registry>>>);

impl HostTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the registry of a host, and returns the previous one.
    pub fn insert(&self, host: HostName, registry: Registry) -> Option<Registry> {
        self.write().insert(host, registry)
    }

    /// Returns the registry of a host, after adding `registry` if there is none.
    #[must_use]
    pub fn get_or_insert(&self, host: HostName, registry: Registry) -> Registry {
        self.write().entry(host).or_insert(registry).clone()
    }

    /// Returns the registry of a host.
    #[must_use]
    pub fn get(&self, host: &HostName) -> Option<Registry> {
        self.read().get(host).cloned()
    }

    /// Removes a host, and returns its registry. Requests in progress are completed.
    pub fn remove(&self, host: &HostName) -> Option<Registry> {
        self.write().remove(host)
    }

    /// Returns the hosts, in no particular order.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostName> {
        self.read().keys().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<HostName, Registry>> {
        // No code that can panic runs under the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<HostName, Registry>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Hosts for HostTable {
    async fn registry(&self, host: &HostName) -> Result<Option<Registry>, BoxError> {
        Ok(self.get(host))
    }
}

impl FromIterator<(HostName, Registry)> for HostTable {
    fn from_iter<I: IntoIterator<Item = (HostName, Registry)>>(hosts: I) -> Self {
        Self(Arc::new(RwLock::new(hosts.into_iter().collect())))
    }
}
