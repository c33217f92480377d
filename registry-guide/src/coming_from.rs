//! From `container-registry` or `ferro-oci-server`.
//!
//! At the end of this page a service on one of these two crates uses ours: the types are replaced, users and hooks work as
//! before, and the images are copied. It was written for `container-registry` 0.3 and `ferro-oci-server` 1.0.
//!
//! Copy the images while both registries run. Each digest stays:
//!
//! ```sh
//! registry cp docker://old.example.com/team/app registry:registry-data --all-tags
//! ```
//!
//! The program `registry` is in `registry-server`. `container-registry` has no list of tags, so name the tags there:
//! `registry cp docker://old.example.com/team/app:v1 …`. If it has `Anonymous` around its users, copy without a login: there
//! each request with a login panics.
//!
//! # `container-registry`
//!
//! This is its example, with the same rules: everybody pulls, and who knows the master password pushes. A user name does not
//! matter.
//!
//! ```
//! use async_trait::async_trait;
//! use axum::Router;
//! use registry_auth_rules::{Rule, Rules, Who};
//! use registry_core::{
//!     Action, Algorithm, Authenticator, Digest, Identity, Registry,
//!     auth::{Access, AuthError, AuthRequest, Challenge},
//! };
//! use registry_storage_fs::FsStorage;
//!
//! /// The digest of the master password.
//! #[derive(Debug)]
//! struct MasterPassword(Digest);
//!
//! #[async_trait]
//! impl Authenticator for MasterPassword {
//!     async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
//!         match request.basic()? {
//!             None => Ok(None),
//!             Some(login) if Digest::of(Algorithm::Sha256, login.password()) == self.0 => Ok(Some(Identity::new("master"))),
//!             Some(_) => Err(AuthError::Rejected),
//!         }
//!     }
//!
//!     fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
//!         vec![Challenge::basic("ContainerRegistry")]
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let rules = Rules::builder()
//!     .rule(Rule::allow([Action::Pull], [Who::Everyone], ["**"])?)
//!     .rule(Rule::allow(Rule::ALL, [Who::Authenticated], ["**"])?)
//!     .build();
//! let password = Digest::of(Algorithm::Sha256, b"master password");
//! let registry = Registry::builder(FsStorage::open(directory.path())?)
//!     .authenticator(MasterPassword(password))
//!     .authorizer(rules)
//!     .build();
//! let app: Router = Router::new().merge(registry_axum::router(registry));
//! # use tower::ServiceExt as _;
//! # for (path, login, status) in [
//! #     ("/v2/a/b/blobs/uploads/", "Basic YW5uOm1hc3RlciBwYXNzd29yZA==", 202),
//! #     ("/v2/a/b/blobs/uploads/", "Basic YW5uOndyb25n", 401),
//! #     ("/v2/a/b/blobs/uploads/", "", 401),
//! # ] {
//! #     let request = http::Request::post(path).header("authorization", login).body(axum::body::Body::empty())?;
//! #     assert_eq!(app.clone().oneshot(request).await?.status(), status);
//! # }
//! # let pull = http::Request::get("/v2/a/b/manifests/v1").body(axum::body::Body::empty())?;
//! # assert_eq!(app.oneshot(pull).await?.status(), 404);
//! # Ok(())
//! # }
//! ```
//!
//! One thing differs: `GET /v2/` is 401 without a login, so docker logs in before it pulls. If it is to pull without one,
//! build with [`without_base_login`](registry_core::service::Builder::without_base_login); then docker cannot push with a
//! password, see [`own_users`](crate::own_users).
//!
//! | there | here |
//! |---|---|
//! | `ContainerRegistry::builder()`, `storage(path)` | [`Registry::builder`] with `FsStorage::open(path)?`; a storage of your own is possible |
//! | `make_router()`, axum 0.7 | `registry_axum::router`, axum 0.8; any server with [`Registry::into_service`] |
//! | `DefaultBodyLimit` around it | nothing; [`Limits::blob_bytes`](registry_core::Limits::blob_bytes) bounds a layer |
//! | `AuthProvider::check_credentials` | [`Authenticator::authenticate`] |
//! | `image_permissions`, `blob_permissions` | [`Authorizer::authorize`], per repository and action; blobs belong to repositories |
//! | `Permissions::{NoAccess, ReadOnly, WriteOnly, ReadWrite}` | [`Action`]: pull, push, overwrite, delete |
//! | `ValidCredentials`, `extract_ref` | [`Identity`]: subject, groups, grants |
//! | `Unverified` | [`AuthRequest::basic`] |
//! | `Anonymous::new(permissions, inner)` | a rule for `Who::Everyone` |
//! | `HashMap<String, Secret<String>>` | `registry-auth-htpasswd` |
//! | `RegistryHooks::on_manifest_uploaded` | [`Hooks::event`] with `ManifestPushed`, which has digest, tags and user; [`Hooks::before_put_manifest`] can refuse |
//! | `ManifestReference`, `ImageLocation`, `Reference` | [`RepositoryName`] of any depth, [`Reference`] |
//! | `storage::Digest`, `ImageDigest` | [`Digest`], also sha512 |
//! | `RegistryError` | [`Error`](registry_core::Error) |
//! | `build_for_testing().run_in_background()`, `bound_addr()` | `registry_test::TestRegistry::start()`, `addr()` |
//! | `make_service()` | [`Registry::into_service`] |
//!
//! # `ferro-oci-server`
//!
//! ```
//! use axum::{Router, routing::get};
//! use registry_core::{Limits, Registry};
//! use registry_storage_fs::FsStorage;
//!
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! // FsBlobStore and InMemoryRegistryMeta::with_persistence.
//! let storage = FsStorage::open(directory.path())?;
//! // AppState::new, and SessionLimits.
//! let mut limits = Limits::default();
//! limits.uploads = 1000;
//! let registry = Registry::builder(storage).limits(limits).allow_anonymous_push().build();
//! // router(state).merge(probe_routes()).
//! let app: Router = Router::new()
//!     .route("/live", get(|| async { "OK" }))
//!     .merge(registry_axum::router(registry.clone()));
//! // Sessions are swept by this task, and not by the next request.
//! let upkeep = tokio::spawn(registry_axum::upkeep(registry));
//! # let (host, listener) = listener().await;
//! # let served = tokio::spawn(registry_listener::serve(listener, app));
//! # push_and_pull(&format!("{host}/team/app"), b"content").await;
//! # served.abort();
//! # upkeep.abort();
//! # Ok(())
//! # }
//! ```
//!
//! It lets everybody push, as there. Instead of authentication in a middleware, pass an [`Authenticator`] and an [`Authorizer`]:
//! a middleware knows neither the source of a mount nor the scope of a challenge. See [`own_users`](crate::own_users).
//!
//! | there | here |
//! |---|---|
//! | `AppState::new(store, meta)`, `router(state)` | [`Registry::builder`], `registry_axum::router` |
//! | `SharedBlobStore`, `BlobStore` and `RegistryMeta` | one [`Storage`], see below |
//! | `InMemoryBlobStore`, `InMemoryRegistryMeta` | [`MemoryStorage`](registry_core::storage::MemoryStorage) |
//! | `SessionLimits`, `UploadAdmission::AtCapacity` | [`Limits::uploads`](registry_core::Limits::uploads), [`UploadExpiry`](registry_core::maintenance::UploadExpiry) |
//! | `MAX_BODY_BYTES`, `MAX_UPLOAD_SESSION_BYTES` | no limit of blobs unless you set [`Limits::blob_bytes`](registry_core::Limits::blob_bytes); nothing is in memory |
//! | `probe_routes()` | `registry-health`, see [`duties`](crate::duties#readiness) |
//! | `Metrics`, `instrument`, `metrics_routes` | `registry-metrics`, on a registry of instruments that you own |
//! | `Config::from_env`, `build_app`, `serve`, `init_tracing`, the binary | `registry-server`: the program `registry`, or `ServerBuilder` |
//! | `OciError`, `OciErrorCode`, `OciErrorBody` | [`Error`](registry_core::Error), [`ErrorCode`](registry_core::ErrorCode) |
//! | `Reference`, `validate_name` | [`Reference`], [`RepositoryName::parse`] |
//! | `Digest`, `DigestAlgo` | [`Digest`], [`Algorithm`](registry_core::Algorithm) |
//! | `ImageManifest`, `ImageIndex`, `classify_manifest_media_type` | [`Manifest`](registry_core::manifest::Manifest) |
//! | `Descriptor`, `ReferrerDescriptor` | [`Descriptor`](registry_core::Descriptor) |
//! | `UploadState`, `ContentRange` | `storage::UploadState` without a buffer; ranges are parsed by the core |
//!
//! A storage of yours changes shape. It gets streams and not whole blobs, and each call has a repository:
//!
//! | there | here |
//! |---|---|
//! | `contains`, `get` | [`Storage::blob`], [`Storage::open_blob`] with a range |
//! | `put` after `take_upload_bytes`, `complete_upload` | [`StorageWrite::commit`]: the upload becomes the blob |
//! | `delete`, for every repository at once | [`StorageWrite::delete_blob`] for one; `collect` removes the bytes |
//! | `list` | [`Storage::inspect`] |
//! | `get_manifest`, `list_tags`, `list_repositories`, `list_referrers` | [`Storage::manifest`], [`Storage::tags`], [`Storage::repositories`], [`Storage::referrers`] |
//! | `put_manifest`, `put_manifest_with_referrer`, `register_referrer` | [`StorageWrite::put_manifest`], one call for all |
//! | `delete_manifest` | [`StorageWrite::delete_manifest`], [`StorageWrite::delete_tag`] |
//! | `start_upload`, `get_upload_state`, `cancel_upload` | [`StorageWrite::open_upload`], [`StorageWrite::upload`], [`StorageWrite::cancel`] |
//! | `append_upload(offset, bytes)` | [`StorageWrite::append`], with a version and a body |
//!
//! [`own_storage`](crate::own_storage) has the steps, and the suite that tests it.

#[cfg(doc)]
use registry_core::{
    Action, Authenticator, Authorizer, Digest, Hooks, Identity, Reference, Registry, RepositoryName, Storage,
    StorageWrite, auth::AuthRequest,
};
