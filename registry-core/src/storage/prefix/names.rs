//! [`Prefix`]: names with and without the prefix, and the pages of a listing below it.

use crate::{
    name::{MAX_NAME, RepositoryName},
    storage::{
        error::{Result, StorageError},
        page::{Listing, Page},
        read::Storage,
    },
};
use std::sync::Arc;

/// Prefix of the names of a tenant's repositories.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    /// The prefix and a slash.
    text: Arc<str>,
    /// Last possible name before those with the prefix. `None` if no name fits after the prefix.
    before: Option<RepositoryName>,
}

impl Prefix {
    pub(super) fn new(prefix: &RepositoryName) -> Self {
        let text = format!("{prefix}/");
        // In byte order, `a`, `a-b` and `a.b` are before `a/b`, and `a_b` and `a0` after it. No name has a later
        // character than `z`.
        let fill = "z".repeat(MAX_NAME.saturating_sub(text.len()));
        let before = RepositoryName::parse(&format!("{prefix}.{fill}")).ok();
        Self {
            text: text.into(),
            before,
        }
    }

    /// Returns the name with the prefix.
    ///
    /// # Errors
    ///
    /// [`StorageError::NameTooLong`] with the longest name that fits after the prefix.
    pub(super) fn full(&self, name: &RepositoryName) -> Result<RepositoryName> {
        let longest = self.longest();
        if name.as_str().len() > longest {
            return Err(StorageError::name_too_long(longest));
        }
        let full = RepositoryName::parse(&format!("{}{name}", self.text));
        full.map_err(|invalid| StorageError::failed("cannot add the prefix to a repository name", invalid))
    }

    /// Returns the name with the prefix, or `None` if it is so long that there is no such repository.
    pub(super) fn find(&self, name: &RepositoryName) -> Result<Option<RepositoryName>> {
        match self.full(name) {
            Ok(full) => Ok(Some(full)),
            Err(StorageError::NameTooLong { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the repositories with the prefix by their names without it, on one page.
    pub(super) async fn repositories(
        &self,
        storage: &dyn Storage,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        let Some(mut after) = self.seek(page.after).filter(|_| page.limit > 0) else {
            return Ok(Listing::default());
        };
        // One more than the page has: `more` of the storage is also true if only other tenants follow.
        let limit = page.limit.saturating_add(1);
        let mut names = Vec::new();
        while names.len() < limit {
            let listing = storage
                .repositories(Page::first(limit).after(Some(&after)))
                .await?;
            let Some(last) = listing.items.last() else {
                break;
            };
            let is_complete = !listing.more || self.short(last).is_none();
            after = last.clone();
            let found = listing.items.iter().filter_map(|name| self.short(name));
            names.extend(found.filter(|name| page.after.is_none_or(|after| name > after)));
            if is_complete {
                break;
            }
        }
        Ok(Listing::first(page.limit, names))
    }

    /// Returns the name without the prefix, or `None` if it has another one.
    fn short(&self, full: &RepositoryName) -> Option<RepositoryName> {
        RepositoryName::parse(full.as_str().strip_prefix(&*self.text)?).ok()
    }

    /// Returns a lower bound in the storage for the names after `after`. It may be before others that are not.
    fn seek(&self, after: Option<&RepositoryName>) -> Option<RepositoryName> {
        let Some(after) = after else {
            return self.before.clone();
        };
        // No name is longer than the cut one, so all that sort after this one sort after the whole one as well.
        let cut = after.as_str().get(..self.longest()).unwrap_or(after.as_str());
        let cut = cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        RepositoryName::parse(&format!("{}{cut}", self.text)).ok()
    }

    /// Returns the length of the longest name that fits after the prefix.
    fn longest(&self) -> usize {
        MAX_NAME.saturating_sub(self.text.len())
    }
}
