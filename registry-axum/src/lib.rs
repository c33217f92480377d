//! Mounts a registry in an axum [`Router`].
//!
//! ```no_run
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! let app = axum::Router::new().merge(registry_axum::router(registry.clone()));
//! tokio::spawn(registry_axum::upkeep(registry));
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
//! | below a prefix that reaches this service | `Router::nest` with [`router`], or [`router_at`] |
//! | below a prefix that a proxy removes | [`Mount::external_path`] |
//!
//! Every `Location` and `Link` begins with the first of these that is known: a
//! [`Links`] in the extensions of the request, [`Mount::external_path`],
//! [`Builder::external_url`](registry_core::service::Builder::external_url), and the prefix that the routers of this
//! service have removed from the path.
//!
//! Bodies stream in both directions and have no limit here; the registry has its own limit for manifests. Do not put a
//! layer around this router that limits or buffers bodies, compresses or decompresses them, cleans paths or bounds the
//! time of a request: it breaks pushes and pulls.
//!
//! The host drives [`upkeep`], all recurring maintenance as one future. At a shutdown it waits for [`Mount::drained`].
//!
//! [`serve`] is a listener for the open network (feature `serve`, on by default), see [`server`]. Any other listener
//! that runs an axum router works too.

mod proxies;
#[cfg(feature = "serve")]
pub mod server;
mod service;
mod upkeep;
/// Examples of the manual.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../../docs/tls.md")]
mod manual {}
/// Example of the README.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(feature = "serve")]
pub use self::server::serve;

pub use self::{
    proxies::{InvalidNetwork, Network, Proxies},
    upkeep::{TokioClock, upkeep},
};

use self::service::MountService;
use axum::Router;
use registry_core::{
    Registry,
    protocol::{InvalidBase, Links},
};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// Returns the routes of a registry: `/v2`, `/v2/` and `/v2/{*registry}`.
///
/// Merge them into the router of a host, or nest them below a prefix: every `Location` and `Link` then begins with
/// that prefix. A router that still lacks its state takes a [`Mount`] instead.
///
/// ```
/// use axum::Router;
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # let registry = || Registry::builder(MemoryStorage::new()).build();
/// let at_the_root = registry_axum::router(registry());
/// let below_images = Router::<()>::new().nest("/images", registry_axum::router(registry()));
/// ```
///
/// Two registries, or a registry and a route of the host, cannot share one root. `merge` and `nest` panic with the name
/// of the path, such as `/v2/{*registry}`.
pub fn router(registry: Registry) -> Router {
    Mount::new(registry).router()
}

/// Returns the routes of a registry below `prefix`, such as `/registry`: every `Location` and `Link` begins with it.
///
/// # Errors
///
/// [`InvalidBase`] if the prefix is not a plain path in ASCII.
pub fn router_at(prefix: &str, registry: Registry) -> Result<Router, InvalidBase> {
    Ok(Mount::new(registry).at(prefix)?.router())
}

/// A registry that is to be mounted in a router.
///
/// Every request that may change something runs as a task of its own. If its client vanishes, its body ends with an
/// error, and the operation is not cut in the middle. The tasks are tracked; [`drained`](Self::drained) waits for
/// them.
///
/// A mount can be merged into a router whatever the state of that router:
///
/// ```
/// use axum::{Router, extract::State, routing::get};
/// use registry_axum::Mount;
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// #[derive(Clone)]
/// struct Host;
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let app: Router = Router::new()
///     .route("/", get(|State(Host)| async { "my service" }))
///     .merge(Mount::new(registry))
///     .with_state(Host);
/// ```
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

    /// Sets a prefix that is part of the requests' paths. Without a configured location, links begin with it.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if the prefix is not a plain path in ASCII.
    pub fn at(self, prefix: &str) -> Result<Self, InvalidBase> {
        Links::below(prefix)?;
        let path = prefix.trim_end_matches('/');
        // Axum gives these a meaning, or panics.
        let special = path.contains(['{', '}']) || path.contains("/:") || path.contains("/*");
        if !(path.is_empty() || path.starts_with('/')) || special {
            return Err(InvalidBase::new(prefix));
        }
        Ok(Self {
            prefix: path.into(),
            ..self
        })
    }

    /// Sets a path (or URL) that only clients see, because a proxy changes paths. It replaces the
    /// [`external_url`](registry_core::service::Builder::external_url) of the registry. Routers in which this one is
    /// nested need no such setting.
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
    pub fn router(&self) -> Router {
        self.routes()
    }

    fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let service = MountService::new(self);
        // Axum's message about two routes for one path shows the name of the parameter.
        [
            format!("{}/v2", self.prefix),
            format!("{}/v2/", self.prefix),
            format!("{}/v2/{{*registry}}", self.prefix),
        ]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route_service(&path, service.clone())
        })
    }

    /// Waits until no request that may change something is in progress. For a shutdown: stop accepting first.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<S: Clone + Send + Sync + 'static> From<Mount> for Router<S> {
    fn from(mount: Mount) -> Self {
        mount.routes()
    }
}

impl<S: Clone + Send + Sync + 'static> From<&Mount> for Router<S> {
    fn from(mount: &Mount) -> Self {
        mount.routes()
    }
}
