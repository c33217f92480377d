//! Construction of a registry: [`Builder`] and [`Limits`].

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

/// Limits for everything that clients can make grow. By default, blobs have no limit: a layer may have any
/// size.
///
/// Each default is far beyond what clients send. Each field names the response to a request that exceeds it.
/// One table in `docs/limits.md` lists all limits, including those of the grammars and of listeners.
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
    /// Maximum length of path and query together, in bytes. 414 `UNSUPPORTED`. Default: 16 KiB, enough for a
    /// hundred tags.
    pub target_bytes: usize,
    /// Maximum number of components in the name of a repository that a push would create, such as 2 in
    /// `library/alpine`. Existing repositories with deeper names are served, and accept pushes. 400
    /// `NAME_INVALID`. Default: 32.
    pub name_components: usize,
    /// Maximum number of header lines in a request. 431 `UNSUPPORTED`. Default: 256.
    pub header_lines: usize,
    /// Maximum size of the names and values of a request's headers together, in bytes. 431 `UNSUPPORTED`.
    /// Default: 64 KiB, most of which may be a token.
    pub header_bytes: usize,
    /// Maximum size of a blob, in bytes. 413 `SIZE_INVALID`, before the body is read if it announces its
    /// size. Default: `None`, any size.
    pub blob_bytes: Option<u64>,
    /// Maximum size of a manifest, in bytes, and approximate maximum size of a page of referrers. 413
    /// `SIZE_INVALID`. Default: 4 MiB, the minimum that the specification recommends.
    pub manifest_bytes: usize,
    /// Maximum number of blobs and manifests that a manifest refers to, and of URLs of its layers. 400
    /// `MANIFEST_INVALID`. Default: 10 000.
    pub manifest_references: usize,
    /// Maximum depth of nested arrays and objects in a manifest. 400 `MANIFEST_INVALID`. Default: 64. The
    /// documents of the specification have a depth of five.
    pub manifest_depth: usize,
    /// Maximum number of a manifest's own `annotations`, which lists of referrers repeat. 400
    /// `MANIFEST_INVALID`. Default: 10 000.
    pub annotations: usize,
    /// Maximum size of these `annotations` together, in bytes of the document. 400 `MANIFEST_INVALID`.
    /// Default: 4 MiB, as large as a manifest, because the specification's conformance suite pads manifests
    /// with annotations.
    pub annotation_bytes: usize,
    /// Maximum number of `tag` parameters when a manifest is put. 414 `UNSUPPORTED`. Default: 64.
    pub tags_per_put: usize,
    /// Maximum number of open upload sessions in one repository. Abandoned sessions count until they expire
    /// (see [`maintenance`](crate::maintenance)). 429 `TOOMANYREQUESTS`. Default: 10 000.
    pub uploads_in_repository: usize,
    /// Maximum number of open upload sessions in all repositories. 429 `TOOMANYREQUESTS`. Default: 100 000.
    pub uploads: usize,
    /// Maximum number of open upload sessions of one user in all repositories. The anonymous clients of one
    /// network (an IPv4 address, or 64 bits of an IPv6 address) count together, if the listener reports
    /// addresses. Sessions opened before a restart count for no user. 429 `TOOMANYREQUESTS`. Default: 2 500,
    /// a quarter of a repository's maximum, so that one user cannot use all of it.
    pub uploads_of_user: usize,
    /// Maximum number of manifests in an index that a client stores under the tag of a subject's referrers. A
    /// larger index is left out of the list of referrers. Default: 1000.
    pub referrers_in_tag: usize,
    /// Maximum number of bytes read from the manifests of such an index for one page of referrers. The page
    /// ends with the manifest that exceeds it, and a `Link` continues after it, even if the page is empty.
    /// Default: 16 MiB.
    pub referrers_bytes: usize,
    /// Maximum number of source repositories that a mount without `from` tries. If none of them is suitable,
    /// an upload session is opened. Default: 64.
    pub mount_candidates: usize,
    /// Maximum memory for manifests while they are received, in bytes, and for manifests and lists while they
    /// are sent. One user, or the anonymous clients of one network, may use a quarter of each. Documents of
    /// up to 128 KiB do not count, and neither do blobs, which are streamed. 429 `TOOMANYREQUESTS`. Default:
    /// 256 MiB.
    pub document_bytes: usize,
    /// Number of items on a page if the request does not set `n`. Default: 1000. Tags are listed up to
    /// `page_max`, because some clients do not support pagination.
    pub page_default: usize,
    /// Maximum number of items on a page, including the catalog unless `catalog_n` is set. A larger `n` is
    /// answered with this number of items and a `Link`. Default: 10 000.
    pub page_max: usize,
    /// Default and maximum number of repositories on a page of the catalog. A larger `n` is refused, as
    /// registry:2 does. 400 `PAGINATION_NUMBER_INVALID`. Default: `None`: `page_default` and `page_max` apply
    /// to the catalog, too.
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

/// Builder for a registry, created by [`Registry::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    storage: Arc<dyn Storage>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    hooks: Arc<dyn Hooks>,
    limits: Limits,
    links: Option<Links>,
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
            links: None,
            anonymous_push: false,
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
    pub fn allow_anonymous_push(self) -> Self {
        Self {
            anonymous_push: true,
            ..self
        }
    }

    /// Sets the hooks of the host.
    pub fn hooks(self, hooks: impl Hooks) -> Self {
        Self {
            hooks: Arc::new(hooks),
            ..self
        }
    }

    /// Sets the limits for requests and content.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Accepts an index with manifests that are not in the repository, as in a mirror of some platforms.
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
    /// are all allowed need not be in the repository. A manifest with any other URL is refused, whatever the
    /// layer's type: 400 `MANIFEST_INVALID`.
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
