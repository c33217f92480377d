//! [`Pressure`]: collections and early expiry of records of deletions while a storage is nearly full.

use super::{
    collect::{Collections, RunRequest},
    repositories::RepositoryPages,
};
use crate::storage::{Page, Seen, Storage, StorageError, StorageTrash, TrashId};
use std::time::{Duration, SystemTime};

/// Number of repositories that are listed at once.
const PAGE: usize = 256;
/// Age below which no record expires early.
const MIN_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum time that one step covers.
const MIN_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Pressure on the space of a storage, which collections relieve.
///
/// When it begins, a collection is due. If that does not relieve it, the oldest records of deletions expire, and the next
/// collection is due, which frees what they kept. And so on: no records expire before a collection has freed what the last
/// ones kept.
#[derive(Debug)]
pub(super) struct Pressure<'a> {
    /// Number of free bytes below which there is pressure.
    below: u64,
    collections: &'a Collections,
    is_low: bool,
    /// The last request for a collection during this pressure.
    request: Option<RunRequest>,
}

impl<'a> Pressure<'a> {
    pub(super) const fn new(below: u64, collections: &'a Collections) -> Self {
        Self {
            below,
            collections,
            is_low: false,
            request: None,
        }
    }

    /// Measures the free space. Asks for a collection when a pressure begins.
    pub(super) async fn measure(&mut self, storage: &dyn Storage) {
        let free = match free(storage).await {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "cannot measure the free space");
                None
            }
        };
        self.is_low = free.is_some_and(|free| free < self.below);
        if self.is_low && self.request.is_none() {
            tracing::warn!(
                free_bytes = free,
                refused_below = self.below,
                "the storage is nearly full: a collection begins before its time"
            );
            self.request = Some(self.collections.request());
        }
    }

    /// Returns true if collections have not relieved the pressure, although they have removed all that they could. Ends the
    /// pressure if they have.
    ///
    /// It is called periodically. Collections because of new pressures then have this interval at least.
    pub(super) fn persists(&mut self) -> bool {
        if !self.is_low {
            self.request = None;
        }
        self.request
            .is_some_and(|request| self.collections.is_met(request))
    }

    /// Asks for a collection, after records have expired.
    pub(super) fn collect_again(&mut self) {
        self.request = Some(self.collections.request());
    }
}

async fn free(storage: &dyn Storage) -> Result<Option<u64>, StorageError> {
    let Some(health) = storage.health() else {
        return Ok(None);
    };
    Ok(health.space().await?.map(|space| space.bytes_free))
}

/// Returns the time before which records of deletions expire in one step under pressure. `None` if all are too new.
///
/// A step takes the oldest quarter of the time that the records cover, and a day at least.
pub(super) async fn expiry_under_pressure(
    trash: &dyn StorageTrash,
    now: SystemTime,
) -> Result<Option<SystemTime>, StorageError> {
    let Some(oldest) = oldest(trash).await?.map(TrashId::time) else {
        return Ok(None);
    };
    let newest = now.checked_sub(MIN_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(covered) = newest.duration_since(oldest) else {
        return Ok(None);
    };
    let until = oldest.checked_add((covered / 4).max(MIN_STEP));
    Ok(Some(until.map_or(newest, |until| until.min(newest))))
}

/// Returns the oldest record of all repositories.
async fn oldest(trash: &dyn StorageTrash) -> Result<Option<TrashId>, StorageError> {
    let mut oldest = None;
    let mut repositories = RepositoryPages::of(PAGE);
    while let Some(page) = repositories.page() {
        let listed = trash.with_deleted(page).await?;
        repositories.listed(&listed);
        for repository in listed.items.iter().map(Seen::key) {
            let first = trash.deleted(repository, Page::first(1)).await?;
            let first = first.items.first().map(|record| match record {
                Seen::Whole(record) => record.id,
                Seen::Unreadable { key, .. } => *key,
            });
            oldest = [oldest, first].into_iter().flatten().min();
        }
    }
    Ok(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Registry, name::RepositoryName, reference::Tag, service::ManifestPush, storage::MemoryStorage,
    };

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Deletes a tag in two repositories. Returns the time of the first deletion.
    async fn deleted(storage: &MemoryStorage) -> SystemTime {
        let registry = Registry::builder(storage.clone()).build();
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        for name in ["b", "a"] {
            let repository = registry.repository(name).unwrap();
            let push = ManifestPush::new(Tag::parse("v1").unwrap(), index);
            repository.put_manifest(push).await.unwrap();
            assert!(repository.delete_manifest("v1").await.unwrap());
        }
        let first = RepositoryName::parse("b").unwrap();
        let trash = storage.trash().unwrap();
        let records = trash.deleted(&first, Page::first(1)).await.unwrap().items;
        records.into_iter().find_map(Seen::whole).unwrap().id.time()
    }

    #[tokio::test]
    async fn a_step_takes_the_oldest_quarter_and_a_day_at_least_and_nothing_of_the_last_day() {
        let memory = MemoryStorage::new();
        let trash = memory.trash().unwrap();
        assert_eq!(
            expiry_under_pressure(trash, SystemTime::UNIX_EPOCH)
                .await
                .unwrap(),
            None
        );
        let oldest = deleted(&memory).await;
        for (age, step) in [
            (9 * DAY, Some(2 * DAY)),
            (4 * DAY, Some(DAY)),
            (25 * HOUR, Some(HOUR)),
            (23 * HOUR, None),
        ] {
            let until = expiry_under_pressure(trash, oldest + age).await.unwrap();

            assert_eq!(until, step.map(|step| oldest + step), "{age:?}");
        }
    }
}
