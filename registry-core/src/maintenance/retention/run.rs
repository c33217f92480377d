//! [`Registry::retain`]: drops the tags that rules drop, and the manifests that go with their last tags.

use super::{
    dropping::Dropping,
    failure::Failure,
    retained::Retained,
    survey::{Retain, inspection, look},
};
use crate::{
    name::RepositoryName,
    service::Registry,
    storage::{Page, StorageError},
};

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;

impl Registry {
    /// Drops the tags that rules of retention drop, and the manifests that lose their last tag in this way.
    ///
    /// - Hooks are asked about each tag, and receive the events of the deletions. Clients need not be able to delete.
    /// - The entries of an index and the referrers of a manifest go with it. A manifest stays if another tag or an index
    ///   has it. If a client uses it, it stays until a later run.
    /// - A run that would drop more than half of the tags of a rule drops none, unless it is
    ///   [forced](Retain::force).
    /// - In a repository with a damaged manifest, or an unreadable tag, nothing is dropped.
    ///
    /// Removal of manifests needs a storage that [collects](crate::Storage::collect). Otherwise they stay, without a tag.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call stops between two steps. What it has dropped stays so, and the next run goes on.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`] if the repositories cannot be listed. [`Unsupported`](StorageError::Unsupported) if the
    /// storage cannot be inspected.
    pub async fn retain(&self, rules: &Retain<'_>) -> Result<Retained, StorageError> {
        retain(self, rules).await
    }
}

async fn retain(registry: &Registry, retain: &Retain<'_>) -> Result<Retained, StorageError> {
    let storage = &**registry.storage();
    let inspect = inspection(storage)?;
    let survey = look(storage, retain, false, &mut |_, _| {}).await?;
    let excessive = survey.excessive().filter(|_| !retain.force);
    let mut report = Retained {
        excessive,
        survey,
        ..Retained::default()
    };
    if excessive.is_some() {
        return Ok(report);
    }
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = inspect.all_repositories(page).await?;
        for seen in &listed.items {
            let mut dropping = Dropping {
                registry,
                storage,
                inspect,
                repository: seen.key(),
                report: &mut report,
            };
            match dropping.run(seen, retain).await {
                Ok(()) => {}
                // A collection is running, or held: no repository would fare better.
                Err(error @ StorageError::Busy { .. }) => return Err(error),
                Err(error) => {
                    let failure = Failure::of_repository(seen.key(), &error);
                    report.failures.push(failure);
                }
            }
        }
        after = listed.items.last().map(|last| last.key().clone());
        if !listed.more {
            return Ok(report);
        }
    }
}
