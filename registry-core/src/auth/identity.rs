//! Someone known: [`Identity`].

use super::Access;
use std::sync::Arc;

/// Someone known: a subject, the groups they are in, and perhaps a limit to what this login may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The user or service.
    pub subject: Arc<str>,
    /// The groups, as the authenticator knows them.
    pub groups: Vec<Arc<str>>,
    /// All that this login may be used for, as a token says it; `None` sets no limit. What is not among them is
    /// refused before the authorizer is asked, what is among them the authorizer may still refuse.
    ///
    /// [`Access::catalog`] stands for the listing itself: it shows what the authorizer lets the subject see.
    pub grants: Option<Vec<Access>>,
}

impl Identity {
    /// Someone in no group.
    #[must_use]
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: subject.into(),
            groups: Vec::new(),
            grants: None,
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

    /// The same, for nothing but `grants`.
    #[must_use]
    pub fn limited_to(self, grants: impl IntoIterator<Item = Access>) -> Self {
        Self {
            grants: Some(grants.into_iter().collect()),
            ..self
        }
    }

    /// Whether the login itself sets no limit that excludes `access`.
    pub(crate) fn is_granted(&self, access: &Access) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.contains(access))
    }
}
