//! Whether someone may: [`Authorizer`].

use super::{Access, Action, AuthError, Identity};
use crate::name::RepositoryName;
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// What an [`Authorizer`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Allow,
    /// No: 401 for someone unknown who could log in, 403 for everybody else.
    Deny,
    /// No, and the answer is exactly that of a repository that does not exist.
    DenyHidden,
}

/// Says whether someone may do something.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Decides; `None` is someone unknown.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if it cannot be decided.
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError>;

    /// Those of `repositories` that someone may see in a listing: by default where they may pull.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if it cannot be decided.
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

/// What holds without an authorizer: whoever logged in may do everything; strangers may pull if nobody can log
/// in, and push only where the host spelled it out.
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
