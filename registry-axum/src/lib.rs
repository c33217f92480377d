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
//! The router owns `/v2`, `/v2/` and everything below, and nothing else: no fallback, no `/`. Clients ask for
//! `/v2/` at the root of a host only; a registry elsewhere is one behind a proxy that changes paths:
//!
//! | where | how |
//! |---|---|
//! | at the root | [`router`] |
//! | below a prefix that reaches this service | [`router_at`] |
//! | below a prefix that a proxy, or `nest`, takes off | [`Mount::external_path`] |
//!
//! Bodies stream both ways and have no limit here; the registry has its own for manifests. A layer that limits
//! bodies, compresses answers, cleans paths or bounds the time of a request breaks pushes and pulls: do not put
//! one around this router.
//!
//! [`serve`] is a listener for the open network (feature `serve`, on by default), see [`server`]; any other that runs
//! an axum router will do.

mod proxies;
#[cfg(feature = "serve")]
pub mod server;
mod service;
/// The manual's examples.
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

/// The routes of a registry at the root of a host: `/v2`, `/v2/` and `/v2/{*rest}`.
pub fn router<S: Clone + Send + Sync + 'static>(registry: Registry) -> Router<S> {
    Mount::new(registry).router()
}

/// The routes of a registry below `prefix`, such as `/registry`: every `Location` and `Link` begins with it.
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

/// A registry on its way into a router.
///
/// Every request that may change something runs as a task of its own: a client that vanishes is an error at the end
/// of its body, never an operation cut in half. The tasks are tracked; [`drained`](Self::drained) waits for them.
#[derive(Clone, Debug)]
pub struct Mount {
    registry: Registry,
    prefix: Arc<str>,
    links: Option<Links>,
    tasks: TaskTracker,
}

impl Mount {
    /// A registry at the root.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            prefix: Arc::from(""),
            links: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Below a prefix that is part of the requests' paths; links begin with it.
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

    /// Below a path (or URL) that only clients see, because a proxy or `nest` takes it off.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if it is neither.
    pub fn external_path(self, base: &str) -> Result<Self, InvalidBase> {
        Ok(Self {
            links: Some(Links::below(base)?),
            ..self
        })
    }

    /// The routes. Call it as often as there are routers; the tasks are those of this mount.
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

    /// Waits until no request that may change something is being worked on. For a shutdown: stop accepting first.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
