//! Manifests that an interrupted run has left are removed by a later one.

use super::{is_there, newest, preview, put, run};
use registry_core::{
    Digest, Registry, Storage, StorageWrite, Tag, forward_storage,
    maintenance::retention::Retain,
    storage::{MemoryStorage, Page, Reclaimed, StorageInspect, StorageTrash, Terms, Victim},
};

/// Storage in which a run ends once it has dropped tags.
#[derive(Clone, Debug)]
struct Interrupted(MemoryStorage);

impl Storage for Interrupted {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.0.trash()
    }
}

/// Puts an index with a tag, an entry and a referrer, and then another tag. The first tag is dropped by a run that removes
/// no manifest. Returns the storage and the three manifests.
async fn left_by_a_run() -> (MemoryStorage, Registry, [Digest; 3]) {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    let entry = put(&repository, None, "entry", &[], None).await;
    let index = put(&repository, Some("old"), "index", &[entry], None).await;
    let referrer = put(&repository, None, "referrer", &[], Some(index)).await;
    put(&repository, Some("new"), "new", &[], None).await;
    // An upkeep that ends between the tags and the manifests.
    let ended = Registry::builder(Interrupted(storage.clone())).build();
    let dropped = ended
        .retain(&Retain::new(&newest(1), None).force(true))
        .await
        .unwrap();
    assert_eq!((dropped.tags, dropped.manifests), (1, 0));
    (storage, registry, [index, entry, referrer])
}

#[tokio::test]
async fn a_later_run_removes_what_an_earlier_one_has_left() {
    for keeps_records in [true, false] {
        let (storage, registry, manifests) = left_by_a_run().await;
        let repository = registry.repository("team/app").unwrap();
        if !keeps_records {
            // The history of the tag is left.
            let trash = storage.trash().unwrap();
            let recorded = trash.deleted(repository.name(), Page::first(10)).await.unwrap();
            for record in recorded.items {
                trash
                    .forget(repository.name(), &record.whole().unwrap().id)
                    .await
                    .unwrap();
            }
        }

        let preview = preview(&registry, &newest(1)).await;
        let report = run(&registry, &newest(1)).await;

        assert_eq!(preview, report);
        assert_eq!((report.tags, report.manifests, report.left), (0, 3, 0));
        for digest in manifests {
            assert!(!is_there(&repository, &digest).await);
        }
        assert_eq!(run(&registry, &newest(1)).await.manifests, 0);
    }
}

#[tokio::test]
async fn what_only_a_removed_index_named_goes_later_too() {
    let (storage, registry, [index, entry, referrer]) = left_by_a_run().await;
    let repository = registry.repository("team/app").unwrap();
    // The process ends after the first manifest.
    let collect = storage.collect().unwrap();
    let open = collect.begin(Terms::new()).await.unwrap();
    let victim = Victim::Manifest(repository.name().clone(), index);
    let reclaimed = collect.reclaim(&open, &[victim]).await.unwrap();
    assert!(
        matches!(reclaimed[..], [Reclaimed::Removed { .. }]),
        "{reclaimed:?}"
    );
    drop(open);

    let report = run(&registry, &newest(1)).await;

    assert_eq!((report.manifests, report.left), (2, 0));
    for digest in [entry, referrer] {
        assert!(!is_there(&repository, &digest).await);
    }
}

#[tokio::test]
async fn what_is_pushed_or_deleted_on_purpose_is_not_left_by_a_run() {
    let (_, registry, [index, entry, referrer]) = left_by_a_run().await;
    let repository = registry.repository("team/app").unwrap();
    let by_hand = put(&repository, Some("by-hand"), "by hand", &[], None).await;
    let tag = Tag::parse("by-hand").unwrap();
    assert!(repository.delete_manifest(&tag).await.unwrap());
    put(&repository, None, "index", &[entry], None).await;

    let report = run(&registry, &newest(1)).await;

    assert_eq!((report.tags, report.manifests), (0, 0));
    for digest in [index, entry, referrer, by_hand] {
        assert!(is_there(&repository, &digest).await);
    }
}
