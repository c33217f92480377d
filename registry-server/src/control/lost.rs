//! `registry rm --lost`: lists the tags that are gone although nobody is known to have deleted them.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    undo::trash,
    walk::{Cursor, Read},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{LostTag, Page, StorageTrash},
};
use serde::{Deserialize, Serialize};

/// Lists the lost tags of all repositories, also of those that do not exist.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListLost {}

/// A lost tag, or a tag of which nobody knows if it is lost.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LossItem {
    Lost(LostItem),
    /// The history of a tag that does not exist cannot be read.
    Unreadable {
        tag: String,
        reason: String,
    },
}

/// A lost tag.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct LostItem {
    pub(crate) repository: String,
    pub(crate) tag: String,
    /// Digest that it pointed at last.
    pub(crate) digest: String,
}

impl Operation for ListLost {
    const NAME: &'static str = "lost";
    type Item = LossItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<LossItem>) -> Result<(), BoxError> {
        let trash = trash(&operator.registry)?;
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = trash.with_histories(page).await?;
            for seen in cursor.advance(listing, RepositoryName::clone) {
                let repository = seen.map_err(|(name, reason)| unreadable(name.as_ref(), &reason))?;
                for lost in lost_tags(trash, &repository).await? {
                    items.send(LossItem::of(&repository, lost)).await?;
                }
            }
        }
        Ok(())
    }
}

impl LossItem {
    fn of(repository: &RepositoryName, lost: Read<LostTag, Tag>) -> Self {
        match lost {
            Ok(lost) => Self::Lost(LostItem {
                repository: repository.to_string(),
                tag: lost.tag.to_string(),
                digest: lost.digest.to_string(),
            }),
            Err((tag, reason)) => Self::Unreadable {
                tag: format!("{repository}:{tag}"),
                reason,
            },
        }
    }
}

/// Returns the lost tags of a repository, with those whose histories cannot be read.
pub(super) async fn lost_tags(
    trash: &dyn StorageTrash,
    repository: &RepositoryName,
) -> Result<Vec<Read<LostTag, Tag>>, BoxError> {
    let (mut lost, mut cursor) = (Vec::new(), Cursor::start());
    while let Some(page) = cursor.page() {
        let listing = trash.lost_tags(repository, page).await?;
        lost.extend(cursor.advance(listing, |lost: &LostTag| lost.tag.clone()));
    }
    Ok(lost)
}

/// Looks for one lost tag, from a tag before it on. Returns the digest that it pointed at; an inner `None` if its history
/// cannot be read.
pub(super) async fn lost_tag(
    trash: &dyn StorageTrash,
    repository: &RepositoryName,
    tag: &Tag,
    before: Option<Tag>,
) -> Result<Option<Option<Digest>>, BoxError> {
    let mut after = before;
    loop {
        // The histories of other tags are read as rarely as possible.
        let page = Page::first(1).after(after.as_ref());
        let listing = trash.lost_tags(repository, page).await?;
        let Some(seen) = listing.items.into_iter().next() else {
            return Ok(None);
        };
        let (found, digest) = match seen.read() {
            Ok(lost) => (lost.tag, Some(lost.digest)),
            Err((found, _)) => (found, None),
        };
        if found >= *tag {
            return Ok((found == *tag).then_some(digest));
        }
        after = Some(found);
    }
}

fn unreadable(what: &str, reason: &str) -> BoxError {
    format!("cannot read the history of {what}: {reason}; check the disk and the permissions").into()
}
