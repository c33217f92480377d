//! `registry rm --quarantined`: lists the content in quarantine, and removes it for good.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    time::rfc3339,
};
use registry_core::{
    Digest, Registry,
    storage::{Page, QuarantineId, Quarantined, StorageError, StorageRepair},
};
use serde::{Deserialize, Serialize};

/// Number of items on a page.
const PAGE: usize = 1000;

/// Lists the items in quarantine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListQuarantined {
    /// Only those of this digest.
    pub(crate) digest: Option<String>,
}

/// Removes items of the quarantine. Those that have gone meanwhile are left out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RemoveQuarantined {
    pub(crate) items: Vec<QuarantinedItem>,
}

/// An item in quarantine.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct QuarantinedItem {
    pub(crate) digest: String,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Time at which it was moved there, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    pub(crate) place: String,
    pub(crate) reason: String,
}

impl QuarantinedItem {
    fn of(item: Quarantined) -> Self {
        Self {
            digest: item.id.digest.to_string(),
            number: item.id.number,
            bytes: item.size,
            since: item.since.map(rfc3339),
            place: item.place,
            reason: item.reason,
        }
    }
}

impl Operation for ListQuarantined {
    const NAME: &'static str = "quarantined";
    type Item = QuarantinedItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<QuarantinedItem>) -> Result<(), BoxError> {
        let only = self.digest.as_deref().map(Digest::parse).transpose()?;
        let repair = repair(&operator.registry)?;
        // An item is numbered from 1.
        let mut after = only.map(|digest| QuarantineId::new(digest, 0));
        loop {
            let listing = repair
                .quarantined(Page::first(PAGE).after(after.as_ref()))
                .await?;
            after = listing.items.last().map(|item| item.id);
            let is_last = !listing.more || after.is_none();
            for item in listing.items {
                if only.is_some_and(|only| only != item.id.digest) {
                    return Ok(());
                }
                items.send(QuarantinedItem::of(item)).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Operation for RemoveQuarantined {
    const NAME: &'static str = "remove-quarantined";
    type Item = QuarantinedItem;

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<QuarantinedItem>) -> Result<(), BoxError> {
        let repair = repair(&operator.registry)?;
        for item in self.items {
            let id = QuarantineId::new(Digest::parse(&item.digest)?, item.number);
            if repair.remove_quarantined(&id).await? {
                operator.log_quarantine(&id);
                items.send(item).await?;
            }
        }
        Ok(())
    }
}

fn repair(registry: &Registry) -> Result<&dyn StorageRepair, StorageError> {
    let repair = registry.storage().repair();
    repair.ok_or(StorageError::Unsupported("keep a quarantine"))
}
