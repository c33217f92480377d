//! Requested operations: [`Action`], and [`Access`], an action in a repository.

use crate::{name::RepositoryName, reference::Tag};
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

/// Requested or granted action, and what it concerns.
///
/// Permissions are compared by [`covers`](Self::covers). Equality is only for tests and lists: a grant for a
/// whole repository is not equal to a request for one tag of it, and covers it.
///
/// ```
/// use registry_core::{Action, RepositoryName, auth::Access};
///
/// let access = Access::to(&RepositoryName::parse("team/app")?, Action::Delete);
/// assert_eq!(access.action.to_string(), "delete");
/// assert!(access.tag.is_none());
/// assert!(Access::catalog().repository.is_none());
/// # Ok::<(), registry_core::name::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The repository; `None` for [`Action::Catalog`].
    pub repository: Option<RepositoryName>,
    /// The action.
    pub action: Action,
    /// The tag, if the action concerns one: [`Push`](Action::Push) and [`Overwrite`](Action::Overwrite) of a
    /// manifest under a tag, and [`Delete`](Action::Delete) of a tag. `None` if it concerns the repository.
    pub tag: Option<Tag>,
}

impl Access {
    /// Describes an action in a repository.
    #[must_use]
    pub fn to(repository: &RepositoryName, action: Action) -> Self {
        Self {
            repository: Some(repository.clone()),
            action,
            tag: None,
        }
    }

    /// Describes an action on one tag of a repository.
    #[must_use]
    pub fn to_tag(repository: &RepositoryName, action: Action, tag: &Tag) -> Self {
        Self {
            tag: Some(tag.clone()),
            ..Self::to(repository, action)
        }
    }

    /// Describes the listing of repositories.
    #[must_use]
    pub const fn catalog() -> Self {
        Self {
            repository: None,
            action: Action::Catalog,
            tag: None,
        }
    }

    /// Returns true if a permission for `self` includes `asked`. A permission without a tag includes every tag.
    ///
    /// ```
    /// use registry_core::{Action, RepositoryName, Tag, auth::Access};
    ///
    /// let repository = RepositoryName::parse("team/app")?;
    /// let push = Access::to(&repository, Action::Push);
    /// let push_v1 = Access::to_tag(&repository, Action::Push, &Tag::parse("v1")?);
    ///
    /// assert!(push.covers(&push_v1));
    /// assert!(!push_v1.covers(&push));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        self.repository == asked.repository
            && self.action == asked.action
            && (self.tag.is_none() || self.tag == asked.tag)
    }
}
