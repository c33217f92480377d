//! [`Failure`]: a repository or a tag in which retention has failed.

use crate::{name::RepositoryName, reference::Tag};
use std::fmt;

/// Repository in which nothing is dropped, or a tag that stays, although rules of retention drop it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; `None` if the repository cannot be read.
    pub tag: Option<Tag>,
    /// The reason.
    pub reason: String,
}

impl Failure {
    /// Describes a repository in which nothing is dropped.
    pub(super) fn of_repository(repository: &RepositoryName, error: &dyn fmt::Display) -> Self {
        Self {
            repository: repository.clone(),
            tag: None,
            reason: error.to_string(),
        }
    }

    /// Describes a tag that stays.
    pub(super) fn of_tag(repository: &RepositoryName, tag: &Tag, error: &dyn fmt::Display) -> Self {
        Self {
            repository: repository.clone(),
            tag: Some(tag.clone()),
            reason: error.to_string(),
        }
    }

    /// Logs the failure, for a run that nobody asked for.
    pub(super) fn log(&self) {
        let Self {
            repository,
            tag,
            reason: error,
        } = self;
        match tag {
            Some(tag) => {
                tracing::warn!(%repository, %tag, error, "a tag that a rule of retention drops stays");
            }
            None => {
                tracing::warn!(%repository, error, "rules of retention cannot be applied to a repository; its tags stay");
            }
        }
    }
}
