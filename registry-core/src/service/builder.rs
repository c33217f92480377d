//! [`Builder`] and [`Limits`]: how a host puts a registry together.

use super::{
    Inner, Registry,
    documents::Documents,
    layer_urls::LayerUrls,
    remedies::{Remedies, Setting},
};
use crate::{
    auth::{Authenticator, Authorizer, DefaultRules},
    hooks::{Hooks, NoHooks},
    protocol::{InvalidBase, Links},
    storage::{SizePolicy, Storage},
};
use std::{borrow::Cow, sync::Arc};

/// Bounds for what clients can make grow. Blobs have none: a layer may have any size.
///
/// Each default is far beyond what clients send. What a request is answered with that goes beyond one stands with it;
/// `docs/limits.md` has all of them, and those of the grammars and of listeners, in one table.
///
/// ```
/// use registry_core::{Limits, Registry, storage::MemoryStorage};
///
/// let mut limits = Limits::default();
/// limits.manifest_bytes = 16 << 20;
/// let registry = Registry::builder(MemoryStorage::new()).limits(limits).build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest path and query together, in bytes. 414 `UNSUPPORTED`. Default: 16 KiB, room for a hundred tags.
    pub target_bytes: usize,
    /// How many components the name of a repository has that a push would create, such as 2 of `library/alpine`. Deeper ones
    /// that are there already are served, and may be pushed to. 400 `NAME_INVALID`. Default: 32.
    pub name_components: usize,
    /// How many lines of headers a request has. 431 `UNSUPPORTED`. Default: 256.
    pub header_lines: usize,
    /// How large the names and values of a request's headers are together, in bytes. 431 `UNSUPPORTED`.
    /// Default: 64 KiB, of which a token may be the most.
    pub header_bytes: usize,
    /// The largest blob, in bytes. 413 `SIZE_INVALID`, before the body is read where it announces its size. Default:
    /// `None`, any size.
    pub blob_bytes: Option<u64>,
    /// The largest manifest, in bytes, and about the largest page of referrers, which ends before it. 413
    /// `SIZE_INVALID`. Default: 4 MiB, which is also the least that the specification recommends.
    pub manifest_bytes: usize,
    /// How many blobs and manifests a manifest refers to, and how many addresses its layers give. 400 `MANIFEST_INVALID`.
    /// Default: 10 000.
    pub manifest_references: usize,
    /// How many arrays and objects of a manifest lie in each other. 400 `MANIFEST_INVALID`. Default: 64; the
    /// specification's own documents have five.
    pub manifest_depth: usize,
    /// How many `annotations` a manifest has of its own: lists of referrers repeat them. 400 `MANIFEST_INVALID`.
    /// Default: 10 000.
    pub annotations: usize,
    /// How large those `annotations` are together, in bytes, as they were written. 400 `MANIFEST_INVALID`.
    /// Default: 4 MiB, as much as the manifest: the specification's conformance suite pads manifests with them.
    pub annotation_bytes: usize,
    /// How many `tag` parameters a manifest may be put with. 414 `UNSUPPORTED`. Default: 64.
    pub tags_per_put: usize,
    /// How many upload sessions of a repository are open at once; those that clients abandoned count until they
    /// expire (see [`maintenance`](crate::maintenance)). 429 `TOOMANYREQUESTS`. Default: 10 000.
    pub uploads_in_repository: usize,
    /// How many upload sessions are open at once in all repositories. 429 `TOOMANYREQUESTS`. Default: 100 000.
    pub uploads: usize,
    /// How many upload sessions of one user are open at once in all repositories, or of the strangers of one network (an
    /// address, in IPv6 64 bits of it), where the listener tells addresses. Those of before a restart count for nobody.
    /// 429 `TOOMANYREQUESTS`. Default: 2 500, a quarter of a repository's, so that
    /// nobody closes one alone.
    pub uploads_of_user: usize,
    /// How many manifests an index may have that a client keeps under the tag of a subject's referrers; one with
    /// more is left out of the list of referrers. Default: 1000.
    pub referrers_in_tag: usize,
    /// How many bytes of the manifests that such an index has are read for one page of referrers; the page ends with the
    /// one that goes beyond, and a `Link` says where to go on, also if none of them belongs on it. Default: 16 MiB.
    pub referrers_bytes: usize,
    /// How many repositories that hold a blob a mount without `from` looks into; if none of them will do, a session
    /// is opened. Default: 64.
    pub mount_candidates: usize,
    /// How many bytes of manifests lie in memory at once while they are received, and as many again of manifests and
    /// lists until clients have taken them. A user, or the strangers of a network, have a quarter of either. Those of up to
    /// 128 KiB do not count, and blobs come in pieces. 429 `TOOMANYREQUESTS`. Default: 256 MiB.
    pub document_bytes: usize,
    /// How many items a page has if nobody says. Default: 1000; tags are listed up to `page_max`, as clients
    /// that know no paging expect.
    pub page_default: usize,
    /// How many items a page has at most, of the catalog, too, unless `catalog_n` is set; a larger `n` is answered with
    /// this many and a `Link`. Default: 10 000.
    pub page_max: usize,
    /// How many repositories a page of the catalog has, if nobody says, and at most; a larger `n` is refused, as
    /// registry:2 does. 400 `PAGINATION_NUMBER_INVALID`. Default: `None`: `page_default` and `page_max` hold for the
    /// catalog, too.
    pub catalog_n: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 16 << 10,
            name_components: 32,
            header_lines: 256,
            header_bytes: 64 << 10,
            blob_bytes: None,
            manifest_bytes: 4 << 20,
            manifest_references: 10_000,
            manifest_depth: 64,
            annotations: 10_000,
            annotation_bytes: 4 << 20,
            tags_per_put: 64,
            uploads_in_repository: 10_000,
            uploads: 100_000,
            uploads_of_user: 2_500,
            referrers_in_tag: 1000,
            referrers_bytes: 16 << 20,
            mount_candidates: 64,
            document_bytes: 256 << 20,
            page_default: 1000,
            page_max: 10_000,
            catalog_n: None,
        }
    }
}

/// A registry being put together: [`Registry::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    storage: Arc<dyn Storage>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    hooks: Arc<dyn Hooks>,
    limits: Limits,
    links: Links,
    anonymous_push: bool,
    sparse_indexes: bool,
    sizes: SizePolicy,
    layer_urls: LayerUrls,
    deletion: bool,
    read_only: bool,
    remedies: Remedies,
}

impl Builder {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            authenticator: None,
            authorizer: None,
            hooks: Arc::new(NoHooks),
            limits: Limits::default(),
            links: Links::default(),
            anonymous_push: false,
            sparse_indexes: false,
            sizes: SizePolicy::Exact,
            layer_urls: LayerUrls::default(),
            deletion: true,
            read_only: false,
            remedies: Remedies::default(),
        }
    }

    /// Who says who asks. Without one, everybody is a stranger.
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        Self {
            authenticator: Some(Arc::new(authenticator)),
            ..self
        }
    }

    /// Who says whether they may. Without one, whoever is logged in may do everything, and strangers may pull if
    /// there is no authenticator.
    pub fn authorizer(self, authorizer: impl Authorizer) -> Self {
        Self {
            authorizer: Some(Arc::new(authorizer)),
            ..self
        }
    }

    /// Without an authorizer, lets strangers push, overwrite and delete as well. Spelled out, because on a network
    /// it means anybody.
    pub fn allow_anonymous_push(self) -> Self {
        Self {
            anonymous_push: true,
            ..self
        }
    }

    /// Where the host joins in.
    pub fn hooks(self, hooks: impl Hooks) -> Self {
        Self {
            hooks: Arc::new(hooks),
            ..self
        }
    }

    /// Bounds for what clients can make grow.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Accepts an index whose manifests are not all in the repository, as a mirror of some platforms has.
    pub fn allow_sparse_indexes(self) -> Self {
        Self {
            sparse_indexes: true,
            ..self
        }
    }

    /// Accepts a manifest whose descriptors give other sizes than their content has, with a warning in the log, as
    /// mirrors of sloppy images need. Content that is damaged is missing all the same.
    pub fn allow_wrong_sizes(self) -> Self {
        Self {
            sizes: SizePolicy::Any,
            ..self
        }
    }

    /// Asks the host about every address in the `urls` of a layer. A layer whose addresses are all allowed need not be here;
    /// a manifest with another one is refused, whatever the layer's type: 400 `MANIFEST_INVALID`.
    ///
    /// By default nobody is asked, and only layers need not be here whose media type says that they may not be handed on.
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

    /// Refuses to change anything for anybody: 405 `UNSUPPORTED`, whatever the authorizer says, as during maintenance.
    /// The host itself, in process, may still.
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Refuses to delete anything for anybody: 405 `UNSUPPORTED`, whatever the authorizer says. The host itself, in
    /// process, may still.
    pub fn without_deletion(self) -> Self {
        Self {
            deletion: false,
            ..self
        }
    }

    /// Adds a text to each refusal that a setting decides, such as the key by which the operator of this host changes it.
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

    /// Where the registry is found from outside: a path (`/registry`) where a proxy strips one, or a URL
    /// (`https://example.com`) for absolute links. By default links are path-relative, which works behind any
    /// proxy that does not change paths.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] if it is neither.
    pub fn external_url(self, base: &str) -> Result<Self, InvalidBase> {
        Ok(Self {
            links: Links::below(base)?,
            ..self
        })
    }

    /// The registry.
    #[must_use]
    pub fn build(self) -> Registry {
        let strangers_pull = self.authenticator.is_none();
        let authorizer = self.authorizer.unwrap_or_else(|| {
            Arc::new(DefaultRules {
                strangers_pull,
                strangers_push: self.anonymous_push,
            })
        });
        Registry {
            inner: Arc::new(Inner {
                storage: self.storage,
                authenticator: self.authenticator,
                authorizer,
                hooks: self.hooks,
                limits: self.limits,
                received: Documents::new(self.limits.document_bytes),
                sent: Documents::new(self.limits.document_bytes),
                links: self.links,
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
