//! `registry garbage-collect --hold`: no collection for some time, for a backup.
//!
//! A hold is an open run that removes nothing: while it is open, no other run begins, whoever asks for it.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    time::rfc3339,
};
use registry_core::storage::{StorageError, Terms};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Longest hold: a backup that takes longer has failed, and nobody ends its hold.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Prevents collections for some time; 0 ends that.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Hold {
    pub(crate) seconds: u64,
}

/// Result for a hold.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum HoldItem {
    /// No collection removes anything until this time, as RFC 3339.
    Held { until: String },
    /// Collections are not held any more.
    Ended,
    /// No server runs that could remove anything.
    NoServer,
}

impl Operation for Hold {
    const NAME: &'static str = "hold";
    type Item = HoldItem;

    /// A server whose socket cannot be reached would remove content although its operator was told that nothing is removed.
    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<HoldItem>) -> Result<(), BoxError> {
        let Some(holding) = operator.holding() else {
            return Ok(items.send(HoldItem::NoServer).await?);
        };
        holding.end().await;
        let time = Duration::from_secs(self.seconds).min(LONGEST);
        let mut item = HoldItem::Ended;
        if !time.is_zero() {
            let storage = Arc::clone(operator.registry.storage());
            let collect = storage
                .collect()
                .ok_or(StorageError::Unsupported("collect content"))?;
            let _paused = holding.collections().pause().await;
            let run = collect.begin(Terms::new()).await?;
            item = HoldItem::Held {
                until: rfc3339(holding.begin(run, time)),
            };
        }
        Ok(items.send(item).await?)
    }
}
