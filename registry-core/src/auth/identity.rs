//! Someone known: [`Identity`].

use std::sync::Arc;

/// Someone known: a subject, and the groups they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The user or service.
    pub subject: Arc<str>,
    /// The groups, as the authenticator knows them.
    pub groups: Vec<Arc<str>>,
}

impl Identity {
    /// Someone in no group.
    #[must_use]
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: subject.into(),
            groups: Vec::new(),
        }
    }

    /// The same, in these groups.
    #[must_use]
    pub fn in_groups<G: Into<Arc<str>>>(self, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            groups: groups.into_iter().map(Into::into).collect(),
            ..self
        }
    }
}
