//! [`RepositoryPages`]: the pages of a listing of repositories.

use crate::{
    name::RepositoryName,
    storage::{Listing, Page, Seen},
};

/// The pages of a listing of repositories, one after the other.
pub(super) struct RepositoryPages {
    limit: usize,
    after: Option<RepositoryName>,
    has_ended: bool,
}

impl RepositoryPages {
    /// Begins with the first page. `limit` is the number of repositories on each.
    pub(super) const fn of(limit: usize) -> Self {
        Self {
            limit,
            after: None,
            has_ended: false,
        }
    }

    /// Returns the page to list now. `None` if the last one was listed.
    pub(super) fn page(&self) -> Option<Page<'_, RepositoryName>> {
        let page = Page::first(self.limit).after(self.after.as_ref());
        (!self.has_ended).then_some(page)
    }

    /// Moves on to the page after the listed one.
    pub(super) fn listed(&mut self, listing: &Listing<Seen<RepositoryName>>) {
        self.after = listing.items.last().map(|last| last.key().clone());
        self.has_ended = !listing.more;
    }
}
