//! [`RegistryView`]: a registry with the authority of one user, or of the host on behalf of a user.

use super::{Authority, Registry, Repository, ResponseBody};
use crate::{
    auth::{Access, Action, Decision, Identity},
    error::Error,
    name::{InvalidName, RepositoryName},
    protocol::PageQuery,
    storage::{BoxError, Listing},
};
use http_body::Body;
use std::future::Future;

/// A registry with the authority of a user or of anonymous clients: the registry's authorizer decides. Created
/// by [`Registry::as_identity`] and [`Registry::as_anonymous`], or with the authority of the host by
/// [`Registry::on_behalf_of`]; cheap to clone.
///
/// ```
/// use registry_core::{
///     Action, Identity, Registry, RepositoryName,
///     auth::{Access, Decision},
///     storage::MemoryStorage,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let ann = registry.as_identity(Identity::new("ann"));
/// let anonymous = registry.as_anonymous();
///
/// // A page that shows a button for what it would do.
/// let push = Access::to(&RepositoryName::parse("team/app")?, Action::Push);
/// assert_eq!(ann.decide(&push).await?, Decision::Allow);
/// assert_eq!(anonymous.decide(&push).await?, Decision::Deny);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RegistryView {
    registry: Registry,
    authority: Authority,
}

impl Registry {
    /// Uses the registry with the authority of a user.
    #[must_use]
    pub fn as_identity(&self, identity: Identity) -> RegistryView {
        self.viewed(Authority::in_process(Some(identity)))
    }

    /// Uses the registry with the authority of an anonymous client.
    #[must_use]
    pub fn as_anonymous(&self) -> RegistryView {
        self.viewed(Authority::in_process(None))
    }

    /// Uses the registry with the authority of the host, on behalf of a user. Everything is allowed, and the authorizer
    /// is not asked. Hooks, events and the records of changes show the user, for example the operator of a server.
    ///
    /// ```
    /// use registry_core::{Identity, Registry, Tag, service::ManifestPush, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    /// // Clients cannot delete anything; the operator can.
    /// let registry = Registry::builder(MemoryStorage::new()).without_deletion().build();
    /// registry.repository("team/app")?.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
    ///
    /// let operator = registry.on_behalf_of(Identity::new("operator"));
    /// assert!(operator.repository("team/app")?.delete_manifest("v1").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_behalf_of(&self, user: Identity) -> RegistryView {
        self.viewed(Authority::Host { for_user: Some(user) })
    }

    fn viewed(&self, authority: Authority) -> RegistryView {
        RegistryView {
            registry: self.clone(),
            authority,
        }
    }

    /// Returns true if the storage can perform the action, and the host has not disabled it for all clients.
    fn enables(&self, authority: &Authority, action: Action) -> bool {
        let inner = &self.inner;
        let is_host = matches!(authority, Authority::Host { .. });
        let writable = (is_host || !inner.read_only) && inner.storage.write().is_some();
        match action {
            Action::Pull | Action::Catalog => true,
            Action::Push | Action::Overwrite => writable,
            Action::Delete => writable && (is_host || inner.deletion),
        }
    }
}

impl RegistryView {
    /// Returns a repository by name, with this authority. It need not exist. The name is a text or a
    /// [`RepositoryName`].
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the name is malformed.
    pub fn repository<N>(&self, name: N) -> Result<Repository, InvalidName>
    where
        N: TryInto<RepositoryName, Error: Into<InvalidName>>,
    {
        let name = name.try_into().map_err(Into::into)?;
        Ok(self.registry.scope(name, self.authority.clone()))
    }

    /// Returns the repositories that the user may see, in byte order.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the user may not list them, or the storage or the authorizer fails.
    pub async fn repositories(
        &self,
        page: &PageQuery<RepositoryName>,
    ) -> Result<Listing<RepositoryName>, Error> {
        self.registry.repositories_for(&self.authority, page).await
    }

    /// Returns the decision about an operation, without performing it. What the host has disabled for all
    /// clients is denied to them.
    ///
    /// The operation decides again when it is performed.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::Auth`] if the authorizer cannot decide.
    pub async fn decide(&self, access: &Access) -> Result<Decision, Error> {
        match self.registry.decide(&self.authority, access).await? {
            Decision::Allow if !self.registry.enables(&self.authority, access.action) => Ok(Decision::Deny),
            decision => Ok(decision),
        }
    }

    /// Answers one HTTP request under `/v2/` with this authority. Otherwise it is like [`Registry::handle`].
    ///
    /// No authenticator is asked, and an `Authorization` header changes nothing. A refusal is 403 and never 401, because no
    /// login would help. An authorizer and hooks see the request, unless the authority is that of the host.
    ///
    /// # Security
    ///
    /// Whoever can send a request here has this authority. With [`Registry::on_behalf_of`] that is all of the registry,
    /// whatever the authorizer says, and also while the registry is [read-only](super::Builder::read_only). Use it behind a
    /// check of your own, such as the user at the other end of a Unix socket.
    ///
    /// ```
    /// use registry_core::{Identity, Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Clients cannot push; the operator can.
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let operator = registry.on_behalf_of(Identity::new("operator"));
    /// let push = || http::Request::post("/v2/team/app/blobs/uploads/").body(String::new());
    ///
    /// assert_eq!(registry.handle(push()?).await.status(), 403);
    /// assert_eq!(operator.handle(push()?).await.status(), 202);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The same as for [`Registry::handle`].
    pub fn handle<B>(
        &self,
        request: http::Request<B>,
    ) -> impl Future<Output = http::Response<ResponseBody>> + Send + use<B>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.registry.handle_as(Some(self.authority.clone()), request)
    }
}
