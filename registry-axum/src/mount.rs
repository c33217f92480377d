//! [`Mount`]: a registry in a host's router.

use crate::{service::MountService, tasks::Tasks};
use axum::Router;
use registry_core::{
    Registry,
    protocol::{InvalidBase, Links},
    service::ByHost,
};
use std::sync::Arc;

/// Returns the routes of a registry: `/v2`, `/v2/` and `/v2/{*registry}`.
///
/// Merge them into the router of a host, or nest them below a prefix: every `Location` and `Link` then begins with
/// that prefix. For a router that still lacks its state, use a [`Mount`] instead.
///
/// ```
/// use axum::{Router, routing::get};
/// use registry_core::{Registry, storage::MemoryStorage};
/// use tower_service::Service as _;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
/// let mut app = Router::new()
///     .route("/", get(|| async { "my service" }))
///     .nest("/images", registry_axum::router(registry));
///
/// let request = http::Request::post("/images/v2/team/app/blobs/uploads/").body(String::new())?;
/// let response = app.call(request).await?;
///
/// assert_eq!(response.status(), 202);
/// let location = response.headers()["location"].to_str()?;
/// assert!(location.starts_with("/images/v2/team/app/blobs/uploads/"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Two registries, or a registry and a route of the host, cannot share one root. `merge` and `nest` panic with the
/// path, such as `/v2/{*registry}`.
pub fn router(registry: Registry) -> Router {
    Mount::new(registry).router()
}

/// Returns the routes of a registry below `prefix`. Every `Location` and `Link` begins with the prefix.
///
/// ```
/// use registry_core::{Registry, storage::MemoryStorage};
/// use tower_service::Service as _;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let mut app = registry_axum::router_at("/registry", registry.clone())?;
///
/// let request = http::Request::get("/registry/v2/").body(String::new())?;
/// assert_eq!(app.call(request).await?.status(), 200);
///
/// assert!(registry_axum::router_at("no slash", registry).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`InvalidBase`] if the prefix is not a plain path in ASCII.
pub fn router_at(prefix: &str, registry: Registry) -> Result<Router, InvalidBase> {
    Ok(Mount::new(registry).at(prefix)?.router())
}

/// A registry, or several by the host of the request, for a router of the host program.
///
/// Every request that may change something runs as a task of its own. If the client disconnects, the body ends with an
/// error, and the operation continues to its end. The tasks are tracked, and [`drained`](Self::drained) waits for them.
///
/// A mount can be merged into a router with any state:
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
    mounted: Mounted,
    prefix: Arc<str>,
    links: Option<Links>,
    tasks: Tasks,
}

#[derive(Clone, Debug)]
enum Mounted {
    One(Registry),
    ByHost(ByHost),
}

impl Mount {
    /// Mounts a registry at the root.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self::of(Mounted::One(registry))
    }

    /// Mounts several registries at the root. The host of each request selects one of them.
    ///
    /// ```
    /// use registry_axum::Mount;
    /// use registry_core::{Registry, service::{ByHost, HostTable}, storage::MemoryStorage};
    /// use tower_service::Service as _;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let tenants = HostTable::new();
    /// let mut app = Mount::by_host(ByHost::new(tenants.clone())).router();
    ///
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// tenants.insert("a.example".parse()?, registry);
    ///
    /// let request = http::Request::get("/v2/").header("host", "a.example").body(String::new())?;
    /// assert_eq!(app.call(request).await?.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The links of a registry are below its own external location. One that is set here, with
    /// [`external_path`](Self::external_path), replaces that of each registry: do not set a URL.
    #[must_use]
    pub fn by_host(registries: ByHost) -> Self {
        Self::of(Mounted::ByHost(registries))
    }

    fn of(mounted: Mounted) -> Self {
        Self {
            mounted,
            prefix: Arc::from(""),
            links: None,
            tasks: Tasks::default(),
        }
    }

    /// Sets a prefix that is part of the paths of requests. Links begin with it, unless an external location is
    /// configured.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if the prefix is not a plain path in ASCII.
    pub fn at(self, prefix: &str) -> Result<Self, InvalidBase> {
        Links::below(prefix)?;
        let path = prefix.trim_end_matches('/');
        // Axum interprets these, or panics.
        let special = path.contains(['{', '}']) || path.contains("/:") || path.contains("/*");
        if !(path.is_empty() || path.starts_with('/')) || special {
            return Err(InvalidBase::new(prefix));
        }
        Ok(Self {
            prefix: path.into(),
            ..self
        })
    }

    /// Sets the path or URL of the registry as clients see it, if a proxy changes paths. It replaces the
    /// [`external_url`](registry_core::service::Builder::external_url) of the registry. It is not necessary if the
    /// routes are nested in another router.
    ///
    /// ```
    /// # use registry_core::{Registry, storage::MemoryStorage};
    /// use registry_axum::Mount;
    /// use tower_service::Service as _;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
    /// // The proxy forwards /images/v2/ as /v2/.
    /// let mut app = Mount::new(registry).external_path("/images")?.router();
    ///
    /// let request = http::Request::post("/v2/team/app/blobs/uploads/").body(String::new())?;
    /// let response = app.call(request).await?;
    ///
    /// assert!(response.headers()["location"].to_str()?.starts_with("/images/v2/team/app/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
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

    /// Returns the routes. Several routers may have them; all share the tasks of this mount.
    pub fn router(&self) -> Router {
        self.routes()
    }

    fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let tasks = self.tasks.clone();
        let spawn = move |task| tasks.spawn(task);
        let service = match self.mounted.clone() {
            Mounted::One(registry) => registry.into_service(spawn),
            Mounted::ByHost(by_host) => by_host.into_service(spawn),
        };
        let service = MountService::new(service, Arc::clone(&self.prefix), self.links.clone());
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

    /// Waits until no request that may change something is in progress. At a shutdown, stop accepting requests first.
    ///
    /// ```
    /// # use registry_core::{Registry, storage::MemoryStorage};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let registry = Registry::builder(MemoryStorage::new()).build();
    /// let mount = registry_axum::Mount::new(registry);
    /// let app = mount.router();
    /// // Serve the router until the shutdown.
    /// drop(app);
    /// mount.drained().await;
    /// # });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn drained(&self) {
        self.tasks.ended().await;
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
