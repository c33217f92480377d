//! Health of [`FallbackStorage`].

use super::FallbackStorage;
use crate::{
    forward_storage,
    storage::{error::Result, health::StorageHealth, page::Page, read::Storage},
};
use async_trait::async_trait;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<U: Storage, L: Storage> StorageHealth for FallbackStorage<U, L> {
    forward_storage! { StorageHealth: self => self.upper.health(); except probe }

    /// Checks that the upper storage can be used. The lower one is only read, also if it can be written to.
    async fn probe(&self) -> Result<()> {
        if let Some(health) = self.upper.health() {
            health.probe().await?;
        }
        self.lower.repositories(Page::first(1)).await.map(drop)
    }
}
