//! Permission for requested operations: [`Authorizer`].

use super::{Access, Action, AuthError, Identity};
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

/// Decides about permission for an operation.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Decides about one operation. `who` is `None` for an anonymous client.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if no decision can be made.
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError>;

    /// Returns the subset of `repositories` that a client may see in a listing. By default, these are the
    /// ones from which it may pull.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if no decision can be made.
    async fn visible(
        &self,
        who: Option<&Identity>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        let mut visible = Vec::with_capacity(repositories.len());
        for repository in repositories {
            if self
                .authorize(who, &Access::to(&repository, Action::Pull))
                .await?
                == Decision::Allow
            {
                visible.push(repository);
            }
        }
        Ok(visible)
    }
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        (**self).authorize(who, access).await
    }

    async fn visible(
        &self,
        who: Option<&Identity>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        (**self).visible(who, repositories).await
    }
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Box<A> {
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        (**self).authorize(who, access).await
    }

    async fn visible(
        &self,
        who: Option<&Identity>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        (**self).visible(who, repositories).await
    }
}

/// Rules without an authorizer. Every authenticated user may do everything. Anonymous clients may pull if no
/// login is configured, and push only if the host allows it explicitly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultRules {
    pub(crate) strangers_pull: bool,
    pub(crate) strangers_push: bool,
}

#[async_trait]
impl Authorizer for DefaultRules {
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        let allowed = who.is_some()
            || match access.action {
                Action::Pull | Action::Catalog => self.strangers_pull || self.strangers_push,
                Action::Push | Action::Overwrite | Action::Delete => self.strangers_push,
            };
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}
