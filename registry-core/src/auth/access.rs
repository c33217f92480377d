//! Requested operations: [`Action`], and [`Access`], an action in a repository.

use crate::name::RepositoryName;
use std::fmt;

/// Operation in a repository, or, for [`Catalog`](Self::Catalog), on the whole registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Add content: uploads, mounts, manifests, new tags.
    Push,
    /// Move a tag that exists to another manifest.
    Overwrite,
    /// Delete tags, manifests, or blobs of a repository.
    Delete,
    /// List the repositories. Each user sees only those from which they may pull.
    Catalog,
}

impl Action {
    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Overwrite => "overwrite",
            Self::Delete => "delete",
            Self::Catalog => "catalog",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Requested action, and the repository that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The repository; `None` for [`Action::Catalog`].
    pub repository: Option<RepositoryName>,
    /// The action.
    pub action: Action,
}

impl Access {
    /// Describes an action in a repository.
    #[must_use]
    pub fn to(repository: &RepositoryName, action: Action) -> Self {
        Self {
            repository: Some(repository.clone()),
            action,
        }
    }

    /// Describes the listing of repositories.
    #[must_use]
    pub const fn catalog() -> Self {
        Self {
            repository: None,
            action: Action::Catalog,
        }
    }

    /// Returns Docker's notation, for token services.
    pub(super) fn scope(&self) -> String {
        let Some(repository) = &self.repository else {
            return "registry:catalog:*".into();
        };
        let actions = match self.action {
            Action::Pull | Action::Catalog => "pull",
            Action::Push | Action::Overwrite => "pull,push",
            Action::Delete => "delete",
        };
        format!("repository:{repository}:{actions}")
    }
}
