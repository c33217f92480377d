//! Mounts a registry in an axum [`Router`].
//!
//! ```no_run
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! let app = axum::Router::new().merge(registry_axum::router(registry));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! registry_axum::serve(listener, app).await;
//! # Ok(())
//! # }
//! ```
//!
//! The router owns `/v2`, `/v2/` and everything below, and nothing else: no fallback, no `/`. Clients ask for `/v2/`
//! only at the root of a host. A registry elsewhere is behind a proxy that changes paths:
//!
//! | where | how |
//! |---|---|
//! | at the root | [`router`] |
//! | below a prefix that reaches this service | [`router_at`] |
//! | below a prefix that a proxy, or `nest`, removes | [`Mount::external_path`] |
//!
//! Bodies stream in both directions and have no limit here; the registry has its own limit for manifests. Do not put a
//! layer around this router that limits bodies, compresses answers, cleans paths or bounds the time of a request: it
//! breaks pushes and pulls.
//!
//! [`serve`] is a listener for the open network (feature `serve`, on by default), see [`server`]. Any other listener
//! that runs an axum router works too.

mod proxies;
#[cfg(feature = "serve")]
pub mod server;
mod service;
/// Examples of the manual.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../../docs/tls.md")]
mod manual {}

#[cfg(feature = "serve")]
pub use self::server::serve;

pub use self::proxies::{InvalidNetwork, Network, Proxies};

use self::service::MountService;
use axum::{Router, routing::any_service};
use registry_core::{
    Registry,
    protocol::{InvalidBase, Links},
};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// Returns the routes of a registry at the root of a host: `/v2`, `/v2/` and `/v2/{*rest}`.
pub fn router<S: Clone + Send + Sync + 'static>(registry: Registry) -> Router<S> {
    Mount::new(registry).router()
}

/// Returns the routes of a registry below `prefix`, such as `/registry`: every `Location` and `Link` begins with it.
///
/// # Errors
///
/// [`InvalidBase`] if the prefix is not a plain path.
pub fn router_at<S: Clone + Send + Sync + 'static>(
    prefix: &str,
    registry: Registry,
) -> Result<Router<S>, InvalidBase> {
    Ok(Mount::new(registry).at(prefix)?.router())
}

/// A registry that is to be mounted in a router.
///
/// Every request that may change something runs as a task of its own. If its client vanishes, its body ends with an
/// error, and the operation is not cut in the middle. The tasks are tracked; [`drained`](Self::drained) waits for
/// them.
#[derive(Clone, Debug)]
pub struct Mount {
    registry: Registry,
    prefix: Arc<str>,
    links: Option<Links>,
    tasks: TaskTracker,
}

impl Mount {
    /// Mounts a registry at the root.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            prefix: Arc::from(""),
            links: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Sets a prefix that is part of the requests' paths; links begin with it.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if the prefix is not a plain path.
    pub fn at(self, prefix: &str) -> Result<Self, InvalidBase> {
        let links = Links::below(prefix)?;
        let path = prefix.trim_end_matches('/');
        if !(path.is_empty() || path.starts_with('/')) || path.contains(['{', '}']) {
            return Err(InvalidBase::new(prefix));
        }
        Ok(Self {
            prefix: path.into(),
            links: Some(links),
            ..self
        })
    }

    /// Sets a path (or URL) that only clients see, because a proxy or `nest` removes it.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if `base` is neither a path nor a URL.
    pub fn external_path(self, base: &str) -> Result<Self, InvalidBase> {
        Ok(Self {
            links: Some(Links::below(base)?),
            ..self
        })
    }

    /// Returns the routes. It can be called for several routers; all of them share the tasks of this mount.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let service = MountService::new(self);
        [
            format!("{}/v2", self.prefix),
            format!("{}/v2/", self.prefix),
            format!("{}/v2/{{*rest}}", self.prefix),
        ]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(&path, any_service(service.clone()))
        })
    }

    /// Waits until no request that may change something is in progress. For a shutdown: stop accepting first.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
