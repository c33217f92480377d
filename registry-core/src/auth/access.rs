//! What is asked for: an [`Action`], and where: an [`Access`].

use crate::name::RepositoryName;
use std::fmt;

/// What someone wants to do in a repository, or, for [`Catalog`](Self::Catalog), with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Add content: uploads, mounts, manifests, new tags.
    Push,
    /// Move a tag that exists to another manifest.
    Overwrite,
    /// Delete tags, manifests, or a repository's hold on a blob.
    Delete,
    /// List the repositories; each is shown only to those who may pull from it.
    Catalog,
}

impl Action {
    /// The name, in lower case.
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

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Where; `None` for [`Action::Catalog`].
    pub repository: Option<RepositoryName>,
    /// What.
    pub action: Action,
}

impl Access {
    /// An action in a repository.
    #[must_use]
    pub fn to(repository: &RepositoryName, action: Action) -> Self {
        Self {
            repository: Some(repository.clone()),
            action,
        }
    }

    /// The listing of repositories.
    #[must_use]
    pub const fn catalog() -> Self {
        Self {
            repository: None,
            action: Action::Catalog,
        }
    }

    /// Docker's spelling, for token services.
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
