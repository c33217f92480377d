//! [`RepositoryPages`]: the pages of a listing of repositories. [`Remembered`]: repositories that only histories know.

use crate::{
    name::RepositoryName,
    storage::{Listing, Page, Result, Seen, StorageTrash},
};
use std::collections::VecDeque;

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;

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

/// The repositories with a history that do not exist, beside a walk through those that exist. Both are in order.
pub(super) struct Remembered<'a> {
    trash: Option<&'a dyn StorageTrash>,
    pages: RepositoryPages,
    listed: VecDeque<RepositoryName>,
}

impl<'a> Remembered<'a> {
    /// Begins before the first repository.
    pub(super) const fn of(trash: Option<&'a dyn StorageTrash>) -> Self {
        Self {
            trash,
            pages: RepositoryPages::of(PAGE),
            listed: VecDeque::new(),
        }
    }

    /// Returns the next one before the next repository that exists, or the next of all if no other exists.
    pub(super) async fn before(
        &mut self,
        existing: Option<&RepositoryName>,
    ) -> Result<Option<RepositoryName>> {
        while self.listed.is_empty() {
            let (Some(trash), Some(page)) = (self.trash, self.pages.page()) else {
                return Ok(None);
            };
            let listing = trash.with_histories(page).await?;
            self.pages.listed(&listing);
            // One that cannot be read may have any history.
            self.listed = listing.items.iter().map(|item| item.key().clone()).collect();
        }
        let is_before = |name: &RepositoryName| existing.is_none_or(|existing| name < existing);
        let next = self.listed.pop_front_if(|name| is_before(name));
        if next.is_none() {
            self.listed.pop_front_if(|name| existing == Some(&*name));
        }
        Ok(next)
    }
}
