//! `registry garbage-collect --hold`: no collection for some time, for a backup.
//!
//! A hold is an open run that removes nothing: while it is open, no other run begins, whoever asks for it.

use super::{
    operation::{BoxError, Items, Operation, Operator},
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

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct HoldItem {
    /// End of the hold, as RFC 3339. `None` without a hold: it was ended, or no server runs that could remove anything.
    pub(crate) until: Option<String>,
}

impl Operation for Hold {
    const NAME: &'static str = "hold";
    type Item = HoldItem;

    /// Without a server nothing is removed, so that there is nothing to prevent.
    fn needs_owner(&self) -> bool {
        false
    }

    async fn run(self, operator: Operator, items: Items<HoldItem>) -> Result<(), BoxError> {
        let Some(holding) = operator.holding() else {
            return Ok(items.send(HoldItem { until: None }).await?);
        };
        holding.end().await;
        let time = Duration::from_secs(self.seconds).min(LONGEST);
        let mut until = None;
        if !time.is_zero() {
            let storage = Arc::clone(operator.registry.storage());
            let collect = storage
                .collect()
                .ok_or(StorageError::Unsupported("collect content"))?;
            let run = collect.begin(Terms::new()).await?;
            until = Some(holding.begin(run, time));
        }
        let until = until.map(rfc3339);
        tracing::info!(until, "an operator holds collections");
        Ok(items.send(HoldItem { until }).await?)
    }
}
