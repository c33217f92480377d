//! Construction of a registry: [`Builder`].

use super::{
    Inner, Registry,
    documents::Documents,
    last_states::LastStates,
    layer_urls::LayerUrls,
    limits::Limits,
    remedies::{Remedies, Setting},
};
use crate::{
    auth::{Authenticator, Authorizer, DefaultRules},
    hooks::Hooks,
    ledger::UploadLedger,
    protocol::{InvalidBase, Links},
    storage::{SizePolicy, Storage},
};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicU64},
};

/// Builder for a registry, created by [`Registry::builder`].
///
/// ```
/// use registry_core::{Limits, Registry, auth::FromExtensions, storage::MemoryStorage};
///
/// let mut limits = Limits::default();
/// limits.blob_bytes = Some(10 << 30);
///
/// let registry = Registry::builder(MemoryStorage::new())
///     .authenticator(FromExtensions)
///     .limits(limits)
///     .without_deletion()
///     .external_url("https://registry.example.com")?
///     .build();
/// # Ok::<(), registry_core::protocol::InvalidBase>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder {
    storage: Arc<dyn Storage>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    hooks: Vec<Arc<dyn Hooks>>,
    limits: Limits,
    ledger: UploadLedger,
    links: Option<Links>,
    anonymous_push: bool,
    base_login: bool,
    sparse_indexes: bool,
    sizes: SizePolicy,
    layer_urls: LayerUrls,
    deletion: bool,
    read_only: bool,
    remedies: Remedies,
}

impl Registry {
    /// Returns a builder for a registry on a storage.
    pub fn builder(storage: impl Storage) -> Builder {
        Builder::new(Arc::new(storage))
    }
}

impl Builder {
    fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            authenticator: None,
            authorizer: None,
            hooks: Vec::new(),
            limits: Limits::default(),
            ledger: UploadLedger::new(),
            links: None,
            anonymous_push: false,
            base_login: true,
            sparse_indexes: false,
            sizes: SizePolicy::Exact,
            layer_urls: LayerUrls::default(),
            deletion: true,
            read_only: false,
            remedies: Remedies::default(),
        }
    }

    /// Sets the authenticator. Without one, every client is anonymous.
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        Self {
            authenticator: Some(Arc::new(authenticator)),
            ..self
        }
    }

    /// Sets the authorizer. Without one, every authenticated user may do everything, and anonymous clients
    /// may pull if there is no authenticator.
    pub fn authorizer(self, authorizer: impl Authorizer) -> Self {
        Self {
            authorizer: Some(Arc::new(authorizer)),
            ..self
        }
    }

    /// Allows anonymous clients to push, overwrite and delete, if there is no authorizer. It is explicit
    /// because on a network it allows these operations to everybody.
    ///
    /// ```
    /// use registry_core::{Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// for (builder, status) in [
    ///     (Registry::builder(MemoryStorage::new()), 403),
    ///     (Registry::builder(MemoryStorage::new()).allow_anonymous_push(), 202),
    /// ] {
    ///     let push = http::Request::post("/v2/team/app/blobs/uploads/").body(String::new())?;
    ///     assert_eq!(builder.build().handle(push).await.status(), status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_anonymous_push(self) -> Self {
        Self {
            anonymous_push: true,
            ..self
        }
    }

    /// Answers `/v2/` with 200 for anonymous clients, although they could log in. By default the answer is 401 with
    /// a challenge, regardless of what they may do without a login.
    ///
    /// docker logs in at `/v2/` only. If it is challenged there, it cannot pull without a login. Use this option
    /// to allow anonymous pulls by docker. Pushes then need other clients, which log in when an operation is
    /// refused.
    ///
    /// ```
    /// use registry_core::{
    ///     Registry,
    ///     auth::{Challenge, FromExtensions},
    ///     storage::MemoryStorage,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new())
    ///     .authenticator(FromExtensions.challenging(Challenge::basic("my service")))
    ///     .without_base_login()
    ///     .build();
    ///
    /// let base = http::Request::get("/v2/").body(String::new())?;
    /// assert_eq!(registry.handle(base).await.status(), 200);
    /// let push = http::Request::post("/v2/team/app/blobs/uploads/").body(String::new())?;
    /// assert_eq!(registry.handle(push).await.status(), 401);
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_base_login(self) -> Self {
        Self {
            base_login: false,
            ..self
        }
    }

    /// Adds hooks of the host. They are called after those that were added before. [`hooks`](crate::hooks) has an
    /// example.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(Arc::new(hooks));
        self
    }

    /// Sets the limits for requests and content.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the ledger that counts the open upload sessions of the storage, for registries that share the storage.
    /// By default each registry has its own.
    pub fn upload_ledger(self, ledger: UploadLedger) -> Self {
        Self { ledger, ..self }
    }

    /// Accepts an index with manifests that are not in the repository, as in a mirror of some platforms.
    ///
    /// ```
    /// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let index = r#"{
    ///     "schemaVersion": 2,
    ///     "mediaType": "application/vnd.oci.image.index.v1+json",
    ///     "manifests": [{
    ///         "mediaType": "application/vnd.oci.image.manifest.v1+json",
    ///         "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ///         "size": 3,
    ///         "platform": {"os": "linux", "architecture": "riscv64"}
    ///     }]
    /// }"#;
    /// let registry = Registry::builder(MemoryStorage::new()).allow_sparse_indexes().build();
    /// let repository = registry.repository("mirror/app")?;
    /// repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_sparse_indexes(self) -> Self {
        Self {
            sparse_indexes: true,
            ..self
        }
    }

    /// Accepts a manifest whose descriptors give wrong sizes, with a warning in the log, as mirrors of such
    /// images need. Damaged content still counts as missing.
    pub fn allow_wrong_sizes(self) -> Self {
        Self {
            sizes: SizePolicy::Any,
            ..self
        }
    }

    /// Sets a function of the host that decides about every URL in the `urls` of a layer. A layer whose URLs
    /// are all allowed need not be in the repository. A manifest with any other URL is refused, for every
    /// type of layer: 400 `MANIFEST_INVALID`.
    ///
    /// By default every URL is accepted, and only layers with a non-distributable media type need not be in
    /// the repository.
    ///
    /// ```
    /// use registry_core::{Registry, storage::MemoryStorage};
    ///
    /// let registry = Registry::builder(MemoryStorage::new())
    ///     .layer_urls(|url| url.starts_with("https://layers.example.com/"))
    ///     .build();
    /// ```
    pub fn layer_urls(self, allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            layer_urls: LayerUrls::allowed_by(allows),
            ..self
        }
    }

    /// Refuses every change by a client, for example during maintenance: 405 `UNSUPPORTED`, regardless of the
    /// authorizer. The host itself may still change content in process.
    ///
    /// ```
    /// use registry_core::{Error, Identity, Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).read_only().build();
    ///
    /// let ann = registry.as_identity(Identity::new("ann")).repository("team/app")?;
    /// let refused = ann.push_blob("content", None).await;
    /// assert!(matches!(refused, Err(Error::ReadOnly)));
    ///
    /// let host = registry.repository("team/app")?;
    /// assert!(host.push_blob("content", None).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Refuses every deletion by a client: 405 `UNSUPPORTED`, regardless of the authorizer. The host itself
    /// may still delete content in process.
    pub fn without_deletion(self) -> Self {
        Self {
            deletion: false,
            ..self
        }
    }

    /// Adds a text to each refusal caused by a setting, such as the configuration key that changes it.
    ///
    /// ```
    /// use registry_core::{Registry, service::Setting, storage::MemoryStorage};
    ///
    /// let registry = Registry::builder(MemoryStorage::new())
    ///     .without_deletion()
    ///     .remedy(Setting::Deletion, "start with --allow-delete to turn it on")
    ///     .build();
    /// ```
    pub fn remedy(mut self, setting: Setting, text: impl Into<Cow<'static, str>>) -> Self {
        self.remedies.set(setting, text.into());
        self
    }

    /// Sets the external location of the registry: a path (`/registry`) if a proxy strips one, or a URL
    /// (`https://example.com`) for absolute links. By default links are path-relative, which works behind any
    /// proxy that does not change paths.
    ///
    /// ```
    /// use registry_core::{Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new())
    ///     .allow_anonymous_push()
    ///     .external_url("https://example.com/images")?
    ///     .build();
    ///
    /// let push = http::Request::post("/v2/team/app/blobs/uploads/").body(String::new())?;
    /// let response = registry.handle(push).await;
    /// let location = response.headers()["location"].to_str()?;
    /// assert!(location.starts_with("https://example.com/images/v2/team/app/blobs/uploads/"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if it is neither.
    pub fn external_url(self, base: &str) -> Result<Self, InvalidBase> {
        Ok(Self {
            links: Some(Links::below(base)?),
            ..self
        })
    }

    /// Builds the registry.
    #[must_use]
    pub fn build(self) -> Registry {
        let anonymous_pull = self.authenticator.is_none();
        let authorizer = self.authorizer.unwrap_or_else(|| {
            Arc::new(DefaultRules {
                anonymous_pull,
                anonymous_push: self.anonymous_push,
            })
        });
        Registry {
            inner: Arc::new(Inner {
                storage: self.storage,
                authenticator: self.authenticator,
                authorizer,
                hooks: self.hooks,
                operations: AtomicU64::new(0),
                limits: self.limits,
                ledger: self.ledger,
                last_states: LastStates::default(),
                received: Documents::new(self.limits.document_bytes),
                sent: Documents::new(self.limits.document_bytes),
                links: self.links,
                base_login: self.base_login,
                sparse_indexes: self.sparse_indexes,
                sizes: self.sizes,
                layer_urls: self.layer_urls,
                deletion: self.deletion,
                read_only: self.read_only,
                remedies: self.remedies,
            }),
        }
    }
}
