//! [`sooner`]: records of deletions expire sooner while a storage is nearly full.

use crate::{
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError, StorageTrash},
};
use std::time::{Duration, SystemTime};

/// Number of repositories that are listed at once.
const PAGE: usize = 256;
/// Age below which no record expires sooner.
const MIN_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum time that one step covers.
const MIN_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the time before which records of deletions expire if fewer than `below` bytes are free.
///
/// A step takes the oldest quarter of the time that the records cover, and a day at least. The next step comes after a
/// collection has had the chance to free what the records kept.
pub(super) async fn sooner(
    storage: &dyn Storage,
    below: u64,
    now: SystemTime,
) -> Result<Option<SystemTime>, StorageError> {
    let (Some(health), Some(trash)) = (storage.health(), storage.trash()) else {
        return Ok(None);
    };
    let space = health.space().await?;
    let Some(free) = space.map(|space| space.bytes_free).filter(|free| *free < below) else {
        return Ok(None);
    };
    let Some(oldest) = oldest(trash).await? else {
        return Ok(None);
    };
    let newest = now.checked_sub(MIN_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(covered) = newest.duration_since(oldest) else {
        return Ok(None);
    };
    let until = oldest.checked_add((covered / 4).max(MIN_STEP));
    let until = until.map_or(newest, |until| until.min(newest));
    tracing::warn!(
        free_bytes = free,
        refused_below = below,
        "the storage is nearly full: the oldest records of deletions are removed before their time, so that a collection \
         frees what they keep"
    );
    Ok(Some(until))
}

/// Returns the time of the oldest record of all repositories.
async fn oldest(trash: &dyn StorageTrash) -> Result<Option<SystemTime>, StorageError> {
    let mut oldest = None;
    let mut after: Option<RepositoryName> = None;
    loop {
        let listed = trash
            .with_deleted(Page::first(PAGE).after(after.as_ref()))
            .await?;
        for repository in listed.items.iter().map(Seen::key) {
            let first = trash.deleted(repository, Page::first(1)).await?;
            let first = first.items.first().map(|record| match record {
                Seen::Whole(record) => record.id,
                Seen::Unreadable { key, .. } => *key,
            });
            oldest = [oldest, first].into_iter().flatten().min();
        }
        after = listed.items.last().map(|item| item.key().clone());
        if !listed.more {
            return Ok(oldest.map(crate::storage::TrashId::time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Registry, forward_storage,
        reference::Tag,
        service::ManifestPush,
        storage::{
            MemoryStorage, Result, Space, StorageCollect, StorageExpire, StorageHealth, StorageInspect,
            StorageRepair, StorageWrite,
        },
    };
    use async_trait::async_trait;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A storage with this number of free bytes.
    #[derive(Debug)]
    struct Tight(MemoryStorage, u64);

    impl Storage for Tight {
        forward_storage! { Storage: self => &self.0 }

        fn write(&self) -> Option<&dyn StorageWrite> {
            self.0.write()
        }

        fn inspect(&self) -> Option<&dyn StorageInspect> {
            self.0.inspect()
        }

        fn expire(&self) -> Option<&dyn StorageExpire> {
            self.0.expire()
        }

        fn collect(&self) -> Option<&dyn StorageCollect> {
            self.0.collect()
        }

        fn health(&self) -> Option<&dyn StorageHealth> {
            Some(self)
        }

        fn trash(&self) -> Option<&dyn StorageTrash> {
            self.0.trash()
        }

        fn repair(&self) -> Option<&dyn StorageRepair> {
            self.0.repair()
        }
    }

    #[async_trait]
    impl StorageHealth for Tight {
        async fn probe(&self) -> Result<()> {
            Ok(())
        }

        async fn space(&self) -> Result<Option<Space>> {
            Ok(Some(Space::new(self.1, 1000)))
        }

        async fn accepts_uploads(&self) -> Result<()> {
            Ok(())
        }
    }

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
        let oldest = deleted(&memory).await;
        let storage = Tight(memory, 99);
        for (age, step) in [
            (9 * DAY, Some(2 * DAY)),
            (4 * DAY, Some(DAY)),
            (25 * HOUR, Some(HOUR)),
            (23 * HOUR, None),
        ] {
            let until = sooner(&storage, 100, oldest + age).await.unwrap();

            assert_eq!(until, step.map(|step| oldest + step), "{age:?}");
        }
    }

    #[tokio::test]
    async fn with_space_enough_and_without_records_nothing_expires_sooner() {
        let memory = MemoryStorage::new();
        let empty = Tight(memory.clone(), 0);
        assert_eq!(sooner(&empty, 100, SystemTime::UNIX_EPOCH).await.unwrap(), None);
        let late = deleted(&memory).await + 9 * DAY;

        assert_eq!(
            sooner(&Tight(memory.clone(), 100), 100, late).await.unwrap(),
            None
        );
        // Without a limit of its space.
        assert_eq!(sooner(&memory, u64::MAX, late).await.unwrap(), None);
    }
}
