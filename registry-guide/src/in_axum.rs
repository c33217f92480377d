//! A registry in an axum service.
//!
//! At the end of this page you have one service that serves your routes and, at `/v2/`, images. Your state, fallback and
//! middleware stay as they are. A shutdown loses no push.
//!
//! # Mount it
//!
//! [`Mount`] is the registry as routes. Merge it into your router after your own routes and their layers:
//!
//! ```
//! use axum::{Router, extract::{DefaultBodyLimit, State}, http::StatusCode, routing::get};
//! use registry_axum::Mount;
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! #[derive(Clone)]
//! struct App {
//!     registry: Registry,
//! }
//!
//! /// Lists the first page of the images. The registry is called in process, with the authority of the service.
//! async fn images(State(app): State<App>) -> Result<String, StatusCode> {
//!     let page = app.registry.repositories(&Default::default()).await;
//!     let page = page.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!     Ok(page.items.iter().map(|name| format!("{name}\n")).collect())
//! }
//!
//! fn routes(registry: &Registry, mount: &Mount) -> Router {
//!     Router::new()
//!         .route("/images", get(images))
//!         // The layers of your own routes.
//!         .layer(DefaultBodyLimit::max(1 << 20))
//!         .fallback(|| async { (StatusCode::NOT_FOUND, "no such page") })
//!         // The registry, behind none of these layers.
//!         .merge(mount)
//!         .with_state(App { registry: registry.clone() })
//! }
//!
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # fn main() {
//! let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//! let mount = Mount::new(registry.clone());
//! let app = routes(&registry, &mount);
//! # check(app);
//! # }
//! # #[tokio::main]
//! # async fn check(app: Router) {
//! #     use tower::ServiceExt as _;
//! #     let (host, listener) = listener().await;
//! #     let served = tokio::spawn(registry_listener::serve(listener, app.clone()));
//! #     push_and_pull(&format!("{host}/team/app"), &[b'x'; 3 << 20]).await;
//! #     for (path, status, content) in [("/images", 200, "team/app\n"), ("/else", 404, "no such page")] {
//! #         let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
//! #         let response = app.clone().oneshot(request).await.unwrap();
//! #         assert_eq!(response.status(), status);
//! #         let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! #         assert_eq!(body, content);
//! #     }
//! #     served.abort();
//! # }
//! ```
//!
//! `Router::layer` covers the routes that were added before it. So the order above keeps your layers away from the registry.
//! These layers break pushes and pulls around `/v2/`: limits and buffering of bodies, compression and decompression,
//! normalization of paths, and a timeout for a whole request. The registry limits manifests itself, see
//! [`Limits`](registry_core::Limits).
//!
//! # Run it, and stop it
//!
//! Nothing runs by itself. Spawn the upkeep, stop accepting requests first, and then wait for the operations whose clients
//! have left:
//!
//! ```
//! use axum::Router;
//! use registry_axum::Mount;
//! use registry_core::{Registry, storage::MemoryStorage};
//! use registry_listener::Server;
//! use tokio::net::TcpListener;
//!
//! async fn run(listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) {
//!     let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
//!     let mount = Mount::new(registry.clone());
//!     let app: Router = Router::new().merge(&mount);
//!
//!     let upkeep = tokio::spawn(registry_axum::upkeep(registry));
//!     Server::new(app).until(stop).serve(listener).await;
//!     mount.drained().await;
//!     upkeep.abort();
//! }
//!
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # #[tokio::main]
//! # async fn main() {
//! # let (host, listener) = listener().await;
//! # let (stop, stopped) = tokio::sync::oneshot::channel();
//! let running = run(listener, async {
//!     // For example tokio::signal::ctrl_c().
//! #   stopped.await.unwrap_or(())
//! });
//! # let running = tokio::spawn(running);
//! # push_and_pull(&format!("{host}/team/app"), b"content").await;
//! # stop.send(()).unwrap();
//! # running.await.unwrap();
//! # }
//! ```
//!
//! [`Server`](registry_listener::Server) bounds connections, heads and idle bodies, and has HTTP/2 and TLS. `axum::serve`
//! works, too, without these bounds. [`duties`](crate::duties) lists everything that your service drives.
//!
//! # Protect it
//!
//! Your middleware identifies a user, and the registry takes the identity from the extensions of the request. Add this layer
//! after the merge, so that it covers both:
//!
//! ```
//! use axum::{Router, extract::Request, middleware::map_request, routing::get};
//! use registry_core::{Identity, Registry, auth::{Challenge, FromExtensions}, storage::MemoryStorage};
//!
//! /// Your user, from a session, a token or a certificate. The registry does not know how.
//! #[derive(Clone)]
//! struct User {
//!     name: &'static str,
//! }
//!
//! async fn identify(mut request: Request) -> Request {
//!     if request.headers().get("authorization").is_some_and(|login| login == "Bearer ann's token") {
//!         request.extensions_mut().insert(User { name: "ann" });
//!     }
//!     request
//! }
//!
//! // Users may do everything, others nothing. An authorizer decides differently.
//! let users = FromExtensions::of(|user: &User| Some(Identity::new(user.name)));
//! let registry = Registry::builder(MemoryStorage::new())
//!     .authenticator(users.challenging(Challenge::basic("my service")))
//!     .build();
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "my service" }))
//!     .merge(registry_axum::router(registry))
//!     .layer(map_request(identify));
//! # #[tokio::main]
//! # async fn check(app: Router) {
//! #     use tower::ServiceExt as _;
//! #     for (login, status) in [("Bearer ann's token", 202), ("", 401)] {
//! #         let request = http::Request::post("/v2/team/app/blobs/uploads/").header("authorization", login);
//! #         let response = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
//! #         assert_eq!(response.status(), status);
//! #         assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
//! #     }
//! # }
//! # check(app);
//! ```
//!
//! The middleware must not answer requests to `/v2/` itself, for example with a redirect to a page for the login: clients
//! need the challenge of the registry. [`own_users`](crate::own_users) has more, also for passwords and tokens.
//!
//! # Give it a host name of its own
//!
//! Clients look for `/v2/` at the root of a host only. If your service uses that path, give the registry a subdomain on the
//! same listener:
//!
//! ```
//! use axum::{Router, extract::Request, http::header::HOST, routing::get};
//! use registry_core::{Registry, storage::MemoryStorage};
//! use tower::ServiceExt as _;
//!
//! fn by_host(website: Router, registry: Router) -> Router {
//!     Router::new().fallback(async move |request: Request| {
//!         // HTTP/1 sends the host as a header, HTTP/2 as a part of the target.
//!         let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
//!         let host = request.uri().host().or(header).unwrap_or_default();
//!         let name = host.split(':').next().unwrap_or_default();
//!         let is_registry = name.eq_ignore_ascii_case("registry.example.com");
//!         if is_registry { registry.oneshot(request).await } else { website.oneshot(request).await }
//!     })
//! }
//!
//! let website = Router::new().route("/v2/", get(|| async { "version 2 of my API" }));
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let app = by_host(website, registry_axum::router(registry));
//! # #[tokio::main]
//! # async fn check(app: Router) {
//! #     for (host, is_registry) in [("Registry.example.com:443", true), ("www.example.com", false)] {
//! #         let request = http::Request::get("/v2/").header("host", host).body(axum::body::Body::empty()).unwrap();
//! #         let response = app.clone().oneshot(request).await.unwrap();
//! #         assert_eq!(response.status(), 200);
//! #         assert_eq!(response.headers().contains_key("docker-distribution-api-version"), is_registry);
//! #     }
//! # }
//! # check(app);
//! ```
//!
//! For several registries, each at a host of its own, use [`Mount::by_host`]: tenants can be added while the service runs.
//!
//! Below a path, use `Router::nest` or [`Mount::at`]: a proxy has to map the path to the root of a host. Two services that
//! each use `/v2/` of one host are an error of the router, which panics with the path.

#[cfg(doc)]
use registry_axum::Mount;
