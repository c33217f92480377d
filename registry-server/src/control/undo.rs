//! `registry history` and `registry restore`: where tags pointed, and undoing a deletion.
//!
//! A restore goes through the registry, as a push does: hooks are asked, and they receive its events.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    time::{parse_rfc3339, rfc3339},
    walk::{Cursor, require},
};
use registry_core::{
    Reference, Registry, RepositoryName, Tag,
    service::{NotRestored, Restore, RestoreError, Restored},
    storage::{Page, StorageError, StorageTrash, TagEvent, TrashId, Trashed},
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
    /// Time of the last push of the same manifest since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pushed_again: Option<String>,
    /// True if the event undid a deletion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) restored: bool,
}

impl HistoryItem {
    fn of(tag: &Tag, event: &TagEvent) -> Self {
        Self {
            tag: tag.to_string(),
            time: event.at.map(rfc3339),
            digest: event.target.map(|target| target.to_string()),
            by: event.by.as_deref().map(str::to_owned),
            pushed_again: event.put_again.map(rfc3339),
            restored: event.restored,
        }
    }
}

/// Lists what was deleted in a repository and can be restored, the newest last; of a tag, what was deleted with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListDeleted {
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
}

/// Manifest or tag that was deleted and can be restored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct DeletedItem {
    /// Time of the deletion, as RFC 3339.
    pub(crate) time: String,
    /// Digest of the manifest; `None` if the record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// Tags that were deleted.
    pub(crate) tags: Vec<String>,
    /// True if the manifest was deleted. False if only its tag was.
    pub(crate) manifest: bool,
    /// Name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Reason why the record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl DeletedItem {
    fn of(record: Result<Trashed, (TrashId, String)>) -> Self {
        match record {
            Ok(record) => Self {
                time: rfc3339(record.id.time()),
                digest: Some(record.digest.to_string()),
                tags: record.tags.iter().map(ToString::to_string).collect(),
                manifest: record.manifest_deleted,
                by: record.by.as_deref().map(str::to_owned),
                problem: None,
            },
            Err((id, problem)) => Self {
                time: rfc3339(id.time()),
                digest: None,
                tags: Vec::new(),
                manifest: false,
                by: None,
                problem: Some(problem),
            },
        }
    }

    /// Returns true if the record tells about this tag, or cannot be read.
    fn is_of(&self, tag: Option<&str>) -> bool {
        self.problem.is_some() || tag.is_none_or(|tag| self.tags.iter().any(|deleted| deleted == tag))
    }
}

impl Operation for ListDeleted {
    const NAME: &'static str = "deleted";
    type Item = DeletedItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<DeletedItem>) -> Result<(), BoxError> {
        let name = RepositoryName::parse(&self.repository)?;
        let trash = trash(&operator.registry)?;
        let (mut cursor, mut is_empty) = (Cursor::start(), true);
        while let Some(page) = cursor.page() {
            let listing = trash.deleted(&name, page).await?;
            let records = cursor.advance(listing, |record: &Trashed| record.id);
            for item in records.into_iter().map(DeletedItem::of) {
                if item.is_of(self.tag.as_deref()) {
                    items.send(item).await?;
                    is_empty = false;
                }
            }
        }
        match is_empty {
            true => Err(format!(
                "nothing that was deleted in {name}{} can be restored; records end after storage.maintenance.trash.keep, with garbage-collect without --keep-trash, and with rm --now",
                self.tag.map_or_else(String::new, |tag| format!(":{tag}"))
            )
            .into()),
            false => Ok(()),
        }
    }
}

impl Operation for ListHistory {
    const NAME: &'static str = "history";
    type Item = HistoryItem;

    fn access(&self) -> Access {
        Access::Read
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

pub(super) fn trash(registry: &Registry) -> Result<&dyn StorageTrash, StorageError> {
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
    /// Reason why a newer record, which may be of the same tag or manifest, cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
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

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<RestoredItem>) -> Result<(), BoxError> {
        let under = self.under.as_deref().map(Tag::parse).transpose()?;
        let restore = Restore::new(Reference::parse(&self.reference)?).under(under);
        let repository = operator.view().repository(self.repository.as_str())?;
        let restored = repository.restore(restore).await?;
        let item = RestoredItem::of(restored);
        items.send(item).await?;
        Ok(())
    }
}

/// Undoes all deletions in a repository, from a time on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct UndoDeletions {
    pub(crate) repository: String,
    /// Time of the first deletion to undo, as RFC 3339; `None` for everything that can be restored.
    pub(crate) since: Option<String>,
}

/// Outcome for one deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UndoneItem {
    Restored(RestoredItem),
    Failed(NotUndoneItem),
}

/// Deletion that was not undone.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct NotUndoneItem {
    /// Time of the deletion, as RFC 3339.
    pub(crate) time: String,
    /// Digest of the manifest; `None` if the record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) error: String,
}

impl Operation for UndoDeletions {
    const NAME: &'static str = "restore-all";
    type Item = UndoneItem;

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<UndoneItem>) -> Result<(), BoxError> {
        let since = self.since.as_deref().map(parse_rfc3339).transpose()?;
        let repository = operator.view().repository(self.repository.as_str())?;
        let mut deletions = repository.deletions(since).await?;
        for (id, reason) in deletions.unreadable().to_vec() {
            let failed = NotUndoneItem {
                time: rfc3339(id.time()),
                digest: None,
                tags: Vec::new(),
                error: reason,
            };
            items.send(UndoneItem::Failed(failed)).await?;
        }
        while let Some((record, outcome)) = deletions.restore_next().await {
            items.send(UndoneItem::of(&record, outcome)).await?;
        }
        Ok(())
    }
}

impl UndoneItem {
    fn of(record: &Trashed, outcome: Result<Restored, RestoreError>) -> Self {
        match outcome {
            Ok(restored) => Self::Restored(RestoredItem::of(restored)),
            Err(error) => Self::Failed(NotUndoneItem {
                time: rfc3339(record.id.time()),
                digest: Some(record.digest.to_string()),
                tags: record.tags.iter().map(ToString::to_string).collect(),
                error: crate::causes::with_causes(&error),
            }),
        }
    }
}

impl RestoredItem {
    fn of(restored: Restored) -> Self {
        Self {
            digest: restored.digest.to_string(),
            tags: restored.tags.iter().map(ToString::to_string).collect(),
            manifests: restored.manifests.len(),
            left: restored.left.iter().map(LeftItem::of).collect(),
            unreadable: restored.unreadable,
        }
    }
}
