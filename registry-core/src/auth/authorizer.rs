//! Permission for requested operations: [`Authorizer`], which answers [`Authorize`].

use super::{Access, Action, AuthError, AuthRequest, Identity};
use crate::name::RepositoryName;
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// Decision of an [`Authorizer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The request is allowed.
    Allow,
    /// The request is refused: with 401 for an anonymous client that can log in, with 403 otherwise.
    Deny,
    /// The request is refused, with exactly the answer for a repository that does not exist.
    DenyHidden,
}

/// Question to an [`Authorizer`]: a user, an operation, and the request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Authorize<'a> {
    /// The user; `None` for an anonymous client.
    pub who: Option<&'a Identity>,
    /// The operation.
    pub access: &'a Access,
    /// The request, for decisions that depend on an address, a header, or a value of the host's own
    /// middleware. `None` for calls in process.
    pub request: Option<AuthRequest<'a>>,
}

impl<'a> Authorize<'a> {
    /// Asks about a call in process.
    #[must_use]
    pub const fn new(who: Option<&'a Identity>, access: &'a Access) -> Self {
        Self {
            who,
            access,
            request: None,
        }
    }

    /// Adds the request.
    #[must_use]
    pub const fn in_request(self, request: Option<AuthRequest<'a>>) -> Self {
        Self { request, ..self }
    }

    /// Asks the same about another operation.
    #[must_use]
    pub const fn about<'b>(&self, access: &'b Access) -> Authorize<'b>
    where
        'a: 'b,
    {
        Authorize {
            who: self.who,
            access,
            request: self.request,
        }
    }
}

/// Decides about permission for an operation.
///
/// ```
/// use async_trait::async_trait;
/// use registry_core::{
///     Authorizer, Identity, Registry,
///     auth::{AuthError, Authorize, Decision},
///     storage::MemoryStorage,
/// };
///
/// /// Gives each team the repositories below its name, and hides all others.
/// #[derive(Debug)]
/// struct Teams;
///
/// #[async_trait]
/// impl Authorizer for Teams {
///     async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
///         let team = ask.access.repository.as_ref().and_then(|name| name.as_str().split('/').next());
///         let groups = ask.who.map_or(&[][..], |user| &user.groups);
///         let allowed = team.is_none_or(|team| groups.iter().any(|group| **group == *team));
///         Ok(if allowed { Decision::Allow } else { Decision::DenyHidden })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).authorizer(Teams).build();
/// let ann = registry.as_identity(Identity::new("ann").in_groups(["web"]));
///
/// assert!(ann.repository("web/shop")?.push_blob("content", None).await.is_ok());
/// assert!(ann.repository("data/model")?.push_blob("content", None).await.is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A future is dropped with its request, as when the client disconnects. An implementation leaves nothing half
/// done: later calls behave as if the dropped one had ended, or had not been made.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Decides about one operation.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if no decision can be made.
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError>;

    /// Returns the subset of `repositories` that a client may see in the listing that `ask` is about. By default,
    /// these are the repositories from which it may pull.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if no decision can be made.
    async fn visible(
        &self,
        ask: Authorize<'_>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        let mut visible = Vec::with_capacity(repositories.len());
        for repository in repositories {
            let pull = Access::to(&repository, Action::Pull);
            if self.authorize(ask.about(&pull)).await? == Decision::Allow {
                visible.push(repository);
            }
        }
        Ok(visible)
    }
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        (**self).authorize(ask).await
    }

    async fn visible(
        &self,
        ask: Authorize<'_>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        (**self).visible(ask, repositories).await
    }
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Box<A> {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        (**self).authorize(ask).await
    }

    async fn visible(
        &self,
        ask: Authorize<'_>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        (**self).visible(ask, repositories).await
    }
}

/// Rules without an authorizer. Every authenticated user may do everything. Anonymous clients may pull if no
/// login is configured, and push only if the host allows it explicitly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultRules {
    pub(crate) anonymous_pull: bool,
    pub(crate) anonymous_push: bool,
}

#[async_trait]
impl Authorizer for DefaultRules {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let allowed = ask.who.is_some()
            || match ask.access.action {
                Action::Pull | Action::Catalog => self.anonymous_pull || self.anonymous_push,
                Action::Push | Action::Overwrite | Action::Delete => self.anonymous_push,
            };
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}
