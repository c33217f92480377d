//! `registry history` and `registry restore`: where tags pointed, and undoing a deletion.
//!
//! A restore goes through the registry, as a push does: hooks are asked, and they receive its events.

use super::{
    operation::{BoxError, Items, Operation, Operator},
    time::rfc3339,
    walk::require,
};
use registry_core::{
    Reference, Registry, RepositoryName, Tag,
    service::{NotRestored, Restore},
    storage::{Page, StorageError, StorageTrash, TagEvent},
};
use serde::{Deserialize, Serialize};

/// Number of tags on a page.
const PAGE: usize = 1000;

/// Lists the moves and deletions of a tag, or of all tags of a repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListHistory {
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
}

/// Move or deletion of a tag.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct HistoryItem {
    pub(crate) tag: String,
    /// Time, as RFC 3339; `None` for a move by another program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<String>,
    /// Digest that the tag pointed at from then on; `None` if it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// Name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
}

impl HistoryItem {
    fn of(tag: &Tag, event: &TagEvent) -> Self {
        Self {
            tag: tag.to_string(),
            time: event.at.map(rfc3339),
            digest: event.target.map(|target| target.to_string()),
            by: event.by.as_deref().map(str::to_owned),
        }
    }
}

impl Operation for ListHistory {
    const NAME: &'static str = "history";
    type Item = HistoryItem;

    fn needs_owner(&self) -> bool {
        false
    }

    async fn run(self, operator: Operator, items: Items<HistoryItem>) -> Result<(), BoxError> {
        let name = RepositoryName::parse(&self.repository)?;
        let trash = trash(&operator.registry)?;
        if let Some(tag) = self.tag {
            let tag = Tag::parse(&tag)?;
            return match list(trash, &name, &tag, &items).await? {
                0 => Err(format!("{name} never had a tag {tag}, as far as is known").into()),
                _ => Ok(()),
            };
        }
        let (mut after, mut is_empty) = (None, true);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = trash.with_history(&name, page).await?;
            for tag in &listing.items {
                list(trash, &name, tag, &items).await?;
                is_empty = false;
            }
            if !listing.more {
                break;
            }
            after = listing.items.last().cloned();
        }
        match is_empty {
            true => require(&operator.registry, &name).await,
            false => Ok(()),
        }
    }
}

/// Sends the history of a tag. Returns the number of its events.
async fn list(
    trash: &dyn StorageTrash,
    name: &RepositoryName,
    tag: &Tag,
    items: &Items<HistoryItem>,
) -> Result<usize, BoxError> {
    let events = trash.history(name, tag).await?;
    for event in &events {
        items.send(HistoryItem::of(tag, event)).await?;
    }
    Ok(events.len())
}

fn trash(registry: &Registry) -> Result<&dyn StorageTrash, StorageError> {
    registry
        .storage()
        .trash()
        .ok_or(StorageError::Unsupported("undo deletions"))
}

/// Undoes the newest deletion of a tag or manifest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct UndoDeletion {
    pub(crate) repository: String,
    /// Tag or digest.
    pub(crate) reference: String,
    /// Tag to use instead of the deleted ones.
    pub(crate) under: Option<String>,
}

/// Restored manifest, with its tags.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct RestoredItem {
    pub(crate) digest: String,
    pub(crate) tags: Vec<String>,
    /// Number of manifests that the repository did not have before.
    pub(crate) manifests: usize,
    /// Deleted manifests that refer, or may refer, to the restored ones, and that could not be restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<LeftItem>,
}

/// Deleted manifest that was not restored with its subject.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct LeftItem {
    pub(crate) digest: String,
    pub(crate) reason: String,
}

impl LeftItem {
    fn of(left: &NotRestored) -> Self {
        Self {
            digest: left.digest.to_string(),
            reason: left.reason.clone(),
        }
    }
}

impl Operation for UndoDeletion {
    const NAME: &'static str = "restore";
    type Item = RestoredItem;

    fn needs_owner(&self) -> bool {
        true
    }

    async fn run(self, operator: Operator, items: Items<RestoredItem>) -> Result<(), BoxError> {
        let under = self.under.as_deref().map(Tag::parse).transpose()?;
        let restore = Restore::new(Reference::parse(&self.reference)?).under(under);
        let repository = operator.view().repository(self.repository.as_str())?;
        let restored = repository.restore(restore).await?;
        let item = RestoredItem {
            digest: restored.digest.to_string(),
            tags: restored.tags.iter().map(ToString::to_string).collect(),
            manifests: restored.manifests.len(),
            left: restored.left.iter().map(LeftItem::of).collect(),
        };
        items.send(item).await?;
        Ok(())
    }
}
