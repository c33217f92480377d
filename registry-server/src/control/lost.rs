//! `registry rm --lost`: lists the tags that are gone although nobody is known to have deleted them.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    undo::trash,
    walk::Cursor,
};
use registry_core::{
    RepositoryName,
    storage::{LostTag, StorageTrash},
};
use serde::{Deserialize, Serialize};

/// Lists the lost tags of all repositories, also of those that do not exist.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListLost {}

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
    type Item = LostItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<LostItem>) -> Result<(), BoxError> {
        let trash = trash(&operator.registry)?;
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = trash.with_histories(page).await?;
            for seen in cursor.advance(listing, RepositoryName::clone) {
                let repository = seen.map_err(|(name, reason)| unreadable(name.as_ref(), &reason))?;
                for lost in lost_tags(trash, &repository).await? {
                    let item = LostItem {
                        repository: repository.to_string(),
                        tag: lost.tag.to_string(),
                        digest: lost.digest.to_string(),
                    };
                    items.send(item).await?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the lost tags of a repository.
pub(super) async fn lost_tags(
    trash: &dyn StorageTrash,
    repository: &RepositoryName,
) -> Result<Vec<LostTag>, BoxError> {
    let (mut lost, mut cursor) = (Vec::new(), Cursor::start());
    while let Some(page) = cursor.page() {
        let listing = trash.lost_tags(repository, page).await?;
        for seen in cursor.advance(listing, |lost: &LostTag| lost.tag.clone()) {
            lost.push(seen.map_err(|(tag, reason)| unreadable(&format!("{repository}:{tag}"), &reason))?);
        }
    }
    Ok(lost)
}

fn unreadable(what: &str, reason: &str) -> BoxError {
    format!("cannot read the history of {what}: {reason}; check the disk and the permissions").into()
}
