//! [`Registry`]: runs requests against a storage and an authorizer.
//!
//! The only part that sees both the protocol and the contracts: authorise, then act, then answer. The same
//! operations work in process, through [`Repository`], with the host's own authority or as somebody.

mod asked;
mod blobs;
mod body;
mod builder;
mod documents;
mod http;
mod layer_urls;
mod limits;
mod manifests;
mod needs;
mod parts;
mod referrers;
mod referrers_tag;
mod remedies;
mod tags;
mod uploads;

pub use self::{
    body::ResponseBody,
    builder::{Builder, Limits},
    manifests::{ManifestPush, ManifestPushed},
    referrers::ReferrersPage,
    remedies::Setting,
};

use self::{documents::Documents, layer_urls::LayerUrls, remedies::Remedies};
use crate::{
    auth::{Access, Action, AuthError, Authenticator, Authorizer, Challenge, Decision, Identity},
    error::Error,
    hooks::{Context, Event, Hooks},
    name::{InvalidName, RepositoryName},
    protocol::Links,
    storage::{Page, SizePolicy, Storage, StorageWrite, Uploader},
};
use std::{net::IpAddr, sync::Arc};

/// A registry: a storage, who may use it, and what the host adds. Cheap to clone; all clones are one registry.
///
/// ```
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
///
/// let blob = repository.push_blob(String::from("content"), None).await?;
///
/// assert_eq!(repository.blob(&blob.digest).await?.unwrap().size, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Arc<dyn Authorizer>,
    hooks: Arc<dyn Hooks>,
    limits: Limits,
    /// That are received, and that are sent.
    received: Documents,
    sent: Documents,
    links: Links,
    sparse_indexes: bool,
    sizes: SizePolicy,
    layer_urls: LayerUrls,
    deletion: bool,
    read_only: bool,
    remedies: Remedies,
}

/// On whose behalf something is done.
#[derive(Clone, Debug)]
enum Authority {
    /// The host: everything is allowed.
    Host,
    /// Somebody, or a stranger: the authorizer decides.
    Caller {
        who: Option<Identity>,
        /// Where they are, if the listener says it.
        address: Option<IpAddr>,
    },
}

impl Authority {
    const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Host => None,
            Self::Caller { who, .. } => who.as_ref(),
        }
    }

    /// Whom upload sessions and documents count for.
    fn uploader(&self) -> Option<Uploader> {
        match self {
            Self::Host => None,
            Self::Caller { who: Some(who), .. } => Some(Uploader::User(Arc::clone(&who.subject))),
            Self::Caller { who: None, address } => address.map(Uploader::stranger),
        }
    }
}

/// What a permission that was not refused comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Granted,
    /// To be answered as if the repository did not exist.
    Hidden,
}

impl Registry {
    /// Begins a registry on a storage.
    pub fn builder(storage: impl Storage) -> Builder {
        Builder::new(Arc::new(storage))
    }

    /// A repository, by name, with the authority of the host. It need not exist yet.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the name is malformed.
    pub fn repository(&self, name: &str) -> Result<Repository, InvalidName> {
        Ok(self.scope(RepositoryName::parse(name)?, Authority::Host))
    }

    /// The storage it runs on.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    fn scope(&self, name: RepositoryName, authority: Authority) -> Repository {
        Repository {
            registry: self.clone(),
            name,
            authority,
        }
    }

    /// The one decision function: every method, identity and resource comes through here, before the storage is
    /// touched.
    async fn decide(&self, authority: &Authority, access: &Access) -> Result<Decision, Error> {
        match authority {
            Authority::Host => Ok(Decision::Allow),
            Authority::Caller { who: Some(who), .. } if !who.is_granted(access) => Ok(Decision::Deny),
            Authority::Caller { who, .. } => self
                .inner
                .authorizer
                .authorize(who.as_ref(), access)
                .await
                .map_err(|e| self.auth_error(e)),
        }
    }

    async fn permit(&self, authority: &Authority, access: &Access) -> Result<Permission, Error> {
        match self.decide(authority, access).await? {
            Decision::Allow => Ok(Permission::Granted),
            Decision::DenyHidden => Ok(Permission::Hidden),
            Decision::Deny => Err(self.refusal(authority, access)),
        }
    }

    /// 401 for whom another login would help, 403 for everybody else.
    fn refusal(&self, authority: &Authority, access: &Access) -> Error {
        let challenges = self.challenges();
        let login_helps = match authority.identity() {
            None => !challenges.is_empty(),
            // A token that lacks this can be exchanged for one that has it.
            Some(who) => {
                let token = |challenge: &Challenge| matches!(challenge, Challenge::Bearer { .. });
                !who.is_granted(access) && challenges.iter().any(token)
            }
        };
        if login_helps {
            Error::Unauthorized {
                challenges,
                needed: vec![access.clone()],
            }
        } else {
            Error::Denied
        }
    }

    fn challenges(&self) -> Vec<Challenge> {
        let authenticator = self.inner.authenticator.as_ref();
        authenticator.map(|a| a.challenges()).unwrap_or_default()
    }

    fn auth_error(&self, error: AuthError) -> Error {
        match error {
            AuthError::Rejected => match self.challenges() {
                nothing if nothing.is_empty() => Error::Denied,
                challenges => Error::Unauthorized {
                    challenges,
                    needed: Vec::new(),
                },
            },
            AuthError::Throttled { retry_after } => Error::Throttled { retry_after },
            AuthError::Failed(source) => Error::Auth(source),
        }
    }
}

/// A repository of a registry, and on whose behalf it is used.
#[derive(Clone, Debug)]
pub struct Repository {
    registry: Registry,
    name: RepositoryName,
    authority: Authority,
}

impl Repository {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The same repository, used by somebody: the registry's authorizer decides.
    #[must_use]
    pub fn as_identity(self, identity: Identity) -> Self {
        Self {
            authority: Authority::Caller {
                who: Some(identity),
                address: None,
            },
            ..self
        }
    }

    /// The same repository, used by a stranger: the registry's authorizer decides.
    #[must_use]
    pub fn as_stranger(self) -> Self {
        Self {
            authority: Authority::Caller {
                who: None,
                address: None,
            },
            ..self
        }
    }

    fn storage(&self) -> &dyn Storage {
        &*self.registry.inner.storage
    }

    /// The plane that changes things, where that is allowed at all.
    fn write(&self) -> Result<&dyn StorageWrite, Error> {
        if self.registry.inner.read_only && matches!(self.authority, Authority::Caller { .. }) {
            return Err(Error::ReadOnly);
        }
        self.registry.inner.storage.write().ok_or(Error::ReadOnly)
    }

    /// The plane that deletes, where that is allowed at all.
    fn delete(&self) -> Result<&dyn StorageWrite, Error> {
        if !self.registry.inner.deletion && matches!(self.authority, Authority::Caller { .. }) {
            return Err(Error::DeletionOff);
        }
        self.write()
    }

    async fn permit(&self, action: Action) -> Result<Permission, Error> {
        self.registry
            .permit(&self.authority, &Access::to(&self.name, action))
            .await
    }

    /// For what adds content: where that is hidden, there is no such repository to add to.
    async fn require_push(&self) -> Result<(), Error> {
        match self.permit(Action::Push).await? {
            Permission::Granted => self.require_shallow().await,
            Permission::Hidden => Err(Error::RepositoryUnknown(self.name.clone())),
        }
    }

    /// For what may create the repository: each component of its name can cost a storage as much as a repository.
    async fn require_shallow(&self) -> Result<(), Error> {
        let limit = self.registry.inner.limits.name_components;
        let components = self.name.as_str().split('/').count();
        if components <= limit {
            return Ok(());
        }
        let nothing = Page {
            after: None,
            limit: 0,
        };
        match self.storage().tags(&self.name, nothing).await? {
            Some(_) => Ok(()),
            None => Err(Error::NameTooDeep { components, limit }),
        }
    }

    fn hooks(&self) -> &dyn Hooks {
        &*self.registry.inner.hooks
    }

    fn context(&self) -> Context<'_> {
        Context {
            repository: &self.name,
            identity: self.authority.identity(),
        }
    }

    fn tell(&self, event: &Event<'_>) {
        self.hooks().event(&self.context(), event);
    }
}
