//! [`Registry`]: runs requests against a storage and an authorizer.
//!
//! Only this module uses both the protocol and the contracts: it authorizes, acts and responds. The same
//! operations are available in process through [`Repository`], with the authority of the host or of a user.

mod answers;
mod asked;
mod blobs;
mod body;
mod builder;
mod by_host;
mod documents;
mod file_sender;
mod head;
mod hosted;
mod http;
mod last_states;
mod layer_urls;
mod limits;
mod manifests;
mod needs;
mod oneshot;
mod operation;
mod overruled;
mod parts;
mod referrers;
mod referrers_tag;
mod remedies;
mod repeatable;
mod restore;
mod retention;
mod sessions;
mod source;
mod tag_moves;
mod tags;
mod upkeep;
mod uploads;
mod view;

pub use self::{
    body::ResponseBody,
    builder::Builder,
    by_host::{ByHost, HostName, HostTable, Hosts, InvalidHostName},
    file_sender::FileSender,
    hosted::{RegistryService, Task},
    http::DefaultLinks,
    limits::Limits,
    manifests::{ManifestPush, ManifestPushed},
    overruled::Overruled,
    referrers::ReferrersPage,
    remedies::Setting,
    restore::{Deletions, NotRestored, Restore, RestoreError, Restored},
    source::BlobSource,
    view::RegistryView,
};

use self::{
    documents::Documents, head::RequestHead, last_states::LastStates, layer_urls::LayerUrls,
    remedies::Remedies, sessions::Sessions,
};
use crate::{
    auth::{
        Access, Action, AuthError, AuthRequest, Authenticator, Authorize, Authorizer, Challenge, Decision,
        Identity,
    },
    error::Error,
    hooks::{Actor, Context, Hooks},
    ledger::UploadLedger,
    name::{InvalidName, RepositoryName},
    protocol::Links,
    storage::{Deletion, Page, SizePolicy, Storage, StorageWrite, Uploader},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A registry: a storage with authentication, authorization and hooks. Cheap to clone; all clones share one
/// registry.
///
/// ```
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
///
/// let blob = repository.push_blob("content", None).await?;
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
    hooks: Vec<Arc<dyn Hooks>>,
    /// Number of operations so far, counted if there are hooks.
    operations: AtomicU64,
    limits: Limits,
    ledger: UploadLedger,
    last_states: LastStates,
    /// Memory budgets for documents in flight, per direction.
    received: Documents,
    sent: Documents,
    links: Option<Links>,
    /// True if anonymous clients are asked to log in at `/v2/`.
    base_login: bool,
    sparse_indexes: bool,
    sizes: SizePolicy,
    layer_urls: LayerUrls,
    deletion: bool,
    read_only: bool,
    remedies: Remedies,
}

/// Authority with which an operation runs.
#[derive(Clone, Debug)]
enum Authority {
    /// The host, possibly on behalf of a user: everything is allowed.
    Host { for_user: Option<Identity> },
    /// An authenticated or anonymous client: the authorizer decides.
    Caller {
        who: Option<Identity>,
        /// Head of the request; `None` in process.
        request: Option<Arc<RequestHead>>,
    },
}

impl Authority {
    /// Returns the authority of a user, or of an anonymous client, for calls in process.
    const fn in_process(who: Option<Identity>) -> Self {
        Self::Caller { who, request: None }
    }

    /// Returns the same authority for a request, which the authorizer and the hooks see.
    fn in_request(self, head: &Arc<RequestHead>) -> Self {
        match self {
            Self::Caller { who, .. } => Self::Caller {
                who,
                request: Some(Arc::clone(head)),
            },
            host @ Self::Host { .. } => host,
        }
    }

    /// Returns the authority of the host itself.
    const fn host() -> Self {
        Self::Host { for_user: None }
    }

    const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Host { for_user: who } | Self::Caller { who, .. } => who.as_ref(),
        }
    }

    /// Returns the request, if this is not a call in process.
    fn request(&self) -> Option<AuthRequest<'_>> {
        match self {
            Self::Caller {
                request: Some(head), ..
            } => Some(head.auth_request()),
            Self::Host { .. } | Self::Caller { request: None, .. } => None,
        }
    }

    /// Returns the user or network that upload sessions and documents count for. Anonymous clients count if the
    /// listener reports their addresses.
    fn uploader(&self) -> Option<Uploader> {
        match self {
            Self::Host { .. } => None,
            Self::Caller { who: Some(who), .. } => Some(Uploader::user(Arc::clone(&who.subject))),
            Self::Caller { who: None, .. } => {
                let client = self.request()?.client_address()?;
                Some(Uploader::anonymous(client.ip()))
            }
        }
    }
}

/// Permission that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Granted,
    /// The response is that for a repository that does not exist.
    Hidden,
}

impl Registry {
    /// Returns a repository by name, with the authority of the host. It need not exist yet. The name is a
    /// text or a [`RepositoryName`].
    ///
    /// ```
    /// use registry_core::{Registry, RepositoryName, storage::MemoryStorage};
    ///
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    ///
    /// let name = RepositoryName::parse("team/app")?;
    /// assert_eq!(registry.repository(&name)?.name(), registry.repository("team/app")?.name());
    /// assert!(registry.repository("Team/App").is_err());
    /// # Ok::<(), registry_core::name::InvalidName>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the name is malformed.
    pub fn repository<N>(&self, name: N) -> Result<Repository, InvalidName>
    where
        N: TryInto<RepositoryName, Error: Into<InvalidName>>,
    {
        let name = name.try_into().map_err(Into::into)?;
        Ok(self.scope(name, Authority::host()))
    }

    /// Returns the storage of the registry.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// Returns the configured external location, see [`Builder::external_url`].
    #[must_use]
    pub fn links(&self) -> Option<&Links> {
        self.inner.links.as_ref()
    }

    fn scope(&self, name: RepositoryName, authority: Authority) -> Repository {
        Repository {
            registry: self.clone(),
            name,
            authority,
        }
    }

    /// Decides about an access. Every request calls this function before it uses the storage.
    async fn decide(&self, authority: &Authority, access: &Access) -> Result<Decision, Error> {
        match authority {
            Authority::Host { .. } => Ok(Decision::Allow),
            Authority::Caller { who: Some(who), .. } if !who.is_granted(access) => Ok(Decision::Deny),
            Authority::Caller { who, .. } => {
                let ask = Authorize::new(who.as_ref(), access).in_request(authority.request());
                let decision = self.inner.authorizer.authorize(ask).await;
                decision.map_err(|error| self.auth_error(error, authority.request()))
            }
        }
    }

    async fn permit(&self, authority: &Authority, access: &Access) -> Result<Permission, Error> {
        match self.decide(authority, access).await? {
            Decision::Allow => Ok(Permission::Granted),
            Decision::DenyHidden => Ok(Permission::Hidden),
            Decision::Deny => Err(self.refusal(authority, access)),
        }
    }

    /// Returns 401 if another login would help, and 403 otherwise.
    fn refusal(&self, authority: &Authority, access: &Access) -> Error {
        let needed = vec![access.clone()];
        let challenges = self.challenges(authority.request(), &needed);
        let login_helps = match authority.identity() {
            None => !challenges.is_empty(),
            // The client can exchange its token for one that includes this access.
            Some(who) => {
                let token = |challenge: &Challenge| matches!(challenge, Challenge::Bearer { .. });
                !who.is_granted(access) && challenges.iter().any(token)
            }
        };
        if login_helps {
            Error::Unauthorized { challenges, needed }
        } else {
            Error::Denied
        }
    }

    /// Returns the ways in which a client can log in, to be allowed `needed`.
    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        let authenticator = self.inner.authenticator.as_ref();
        authenticator
            .map(|authenticator| authenticator.challenges(request, needed))
            .unwrap_or_default()
    }

    fn auth_error(&self, error: AuthError, request: Option<AuthRequest<'_>>) -> Error {
        match error {
            AuthError::Rejected => match self.challenges(request, &[]) {
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

/// A repository of a registry, with the authority with which it is used.
#[derive(Clone, Debug)]
pub struct Repository {
    registry: Registry,
    name: RepositoryName,
    authority: Authority,
}

impl Repository {
    /// Returns the name of the repository.
    #[must_use]
    pub const fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Uses the repository with the authority of a user: the registry's authorizer decides.
    #[must_use]
    pub fn as_identity(self, identity: Identity) -> Self {
        Self {
            authority: Authority::in_process(Some(identity)),
            ..self
        }
    }

    /// Uses the repository with the authority of an anonymous client: the registry's authorizer decides.
    #[must_use]
    pub fn as_anonymous(self) -> Self {
        Self {
            authority: Authority::in_process(None),
            ..self
        }
    }

    fn storage(&self) -> &dyn Storage {
        &*self.registry.inner.storage
    }

    /// Returns the plane that changes content, unless the storage or the registry is read-only.
    fn write(&self) -> Result<&dyn StorageWrite, Error> {
        if self.registry.inner.read_only && matches!(self.authority, Authority::Caller { .. }) {
            return Err(Error::ReadOnly);
        }
        self.registry.inner.storage.write().ok_or(Error::ReadOnly)
    }

    /// Returns the upload sessions of the repository, unless the storage or the registry is read-only.
    fn sessions(&self) -> Result<Sessions<'_>, Error> {
        let Inner {
            storage,
            ledger,
            last_states,
            ..
        } = &*self.registry.inner;
        let abilities = storage.abilities();
        let is_elsewhere = abilities.shared_sessions && !abilities.exclusive;
        Ok(Sessions {
            write: self.write()?,
            ledger,
            last_states: is_elsewhere.then_some(last_states),
            repository: &self.name,
        })
    }

    /// Returns the plane that deletes content, unless deletion or any change is disabled.
    fn delete(&self) -> Result<&dyn StorageWrite, Error> {
        if !self.registry.inner.deletion && matches!(self.authority, Authority::Caller { .. }) {
            return Err(Error::DeletionOff);
        }
        self.write()
    }

    /// Returns the name of the user that the repository is used for.
    fn user(&self) -> Option<Arc<str>> {
        let who = self.authority.identity()?;
        Some(Arc::clone(&who.subject))
    }

    /// Describes a deletion for the storage.
    fn deletion(&self) -> Deletion {
        Deletion::new().by(self.user())
    }

    async fn permit(&self, action: Action) -> Result<Permission, Error> {
        self.registry
            .permit(&self.authority, &Access::to(&self.name, action))
            .await
    }

    /// Checks that the caller may add content. A hidden repository is reported as unknown.
    async fn require_push(&self) -> Result<(), Error> {
        match self.permit(Action::Push).await? {
            Permission::Granted => self.require_shallow().await,
            Permission::Hidden => Err(Error::RepositoryUnknown(self.name.clone())),
        }
    }

    /// Checks the depth of a new repository's name. Each component of a name can cost a storage as much as a
    /// repository.
    async fn require_shallow(&self) -> Result<(), Error> {
        let limit = self.registry.inner.limits.name_components;
        let components = self.name.as_str().split('/').count();
        if components <= limit {
            return Ok(());
        }
        let nothing = Page::first(0);
        match self.storage().tags(&self.name, nothing).await? {
            Some(_) => Ok(()),
            None => Err(Error::NameTooDeep { components, limit }),
        }
    }

    /// Describes a new operation for the hooks.
    fn context(&self) -> Context {
        let operation = self.registry.inner.operations.fetch_add(1, Ordering::Relaxed);
        let mut context = Context::new(operation, self.name.clone());
        match &self.authority {
            Authority::Host { for_user } => {
                context.actor = for_user.clone().map_or(Actor::Host, Actor::Known);
            }
            Authority::Caller { who, request } => {
                context.actor = who.clone().map_or(Actor::Anonymous, Actor::Known);
                if let Some(head) = request {
                    head.describe(&mut context);
                }
            }
        }
        context
    }
}
