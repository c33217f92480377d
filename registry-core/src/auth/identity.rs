//! Authenticated users and services: [`Identity`].

use super::Access;
use std::sync::Arc;

/// Authenticated user or service: a subject, its groups, and optionally a limit to the use of this login.
///
/// ```
/// use registry_core::{Identity, Registry, auth::Scope, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A token that allows less than its user may do.
/// let scope: Scope = "repository:team/app:pull".parse()?;
/// let robot = Identity::new("robot").limited_to(scope.accesses());
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.as_identity(robot).repository("team/app")?;
/// assert!(repository.manifest("v1").await.is_ok());
/// assert!(repository.push_blob("content", None).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Name of the user or service.
    pub subject: Arc<str>,
    /// The groups, as the authenticator knows them.
    pub groups: Vec<Arc<str>>,
    /// Maximum set of operations for this login, such as a token grants. `None` sets no limit. Any other
    /// operation is refused before the authorizer is asked. The authorizer may still refuse operations in the
    /// set. A grant for a repository [covers](Access::covers) its tags. [`Scope::accesses`](super::Scope::accesses)
    /// converts the scopes of a token.
    ///
    /// [`Access::catalog`] stands for the listing itself. The listing shows the repositories that the
    /// authorizer lets the subject see.
    pub grants: Option<Vec<Access>>,
}

impl Identity {
    /// Creates an identity without groups.
    #[must_use]
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: subject.into(),
            groups: Vec::new(),
            grants: None,
        }
    }

    /// Sets the groups.
    #[must_use]
    pub fn in_groups<G: Into<Arc<str>>>(self, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            groups: groups.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// Limits the login to `grants`.
    #[must_use]
    pub fn limited_to(self, grants: impl IntoIterator<Item = Access>) -> Self {
        Self {
            grants: Some(grants.into_iter().collect()),
            ..self
        }
    }

    /// Returns true if the limit of the login, if any, includes `access`.
    pub(crate) fn is_granted(&self, access: &Access) -> bool {
        self.grants
            .as_ref()
            .is_none_or(|grants| grants.iter().any(|grant| grant.covers(access)))
    }
}
