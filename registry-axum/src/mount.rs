//! [`Mount`]: a registry in a host's router.

use crate::service::MountService;
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
        let tasks = self.tasks.clone();
        let registry = self.registry.clone().into_service(move |task| {
            tasks.spawn(task);
        });
        let links = self.links.as_ref().or_else(|| self.registry.links());
        let service = MountService::new(registry, Arc::clone(&self.prefix), links.cloned());
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
