//! Forgetting of records of deletions, so that what they keep can be removed.

use super::{
    pass::{Means, Pass},
    survey::PAGE,
};
use crate::{
    name::RepositoryName,
    storage::{Page, Result, Seen, StorageTrash, TrashId},
};

/// Forgets all records, if the options say so, and counts them. Only counts them unless `forgets`.
pub(super) async fn empty_trash(pass: &mut Pass<'_>, means: Means<'_>, forgets: bool) -> Result<()> {
    let trash = means.storage.trash();
    let Some(trash) = trash.filter(|_| means.options.terms.permanent) else {
        return Ok(());
    };
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listing = trash.with_deleted(page).await?;
        for item in &listing.items {
            forget(pass, trash, item.key(), forgets).await?;
        }
        after = listing.items.last().map(|item| item.key().clone());
        if !listing.more {
            return Ok(());
        }
    }
}

async fn forget(
    pass: &mut Pass<'_>,
    trash: &dyn StorageTrash,
    name: &RepositoryName,
    forgets: bool,
) -> Result<()> {
    let mut after: Option<TrashId> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listing = trash.deleted(name, page).await?;
        for item in listing.items {
            let (id, tags) = match item {
                Seen::Whole(record) => (record.id, record.tags.len() as u64),
                Seen::Unreadable { key, .. } => (key, 0),
            };
            after = Some(id);
            if !forgets || trash.forget(name, &id).await? {
                pass.report.forgotten += 1;
                pass.report.forgotten_tags += tags;
            }
        }
        if !listing.more {
            return Ok(());
        }
    }
}
