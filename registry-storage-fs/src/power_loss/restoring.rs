//! Restores: what was deleted is restored as a whole, or can still be restored.

use super::*;
use registry_core::{
    Reference, Registry,
    service::{ManifestPush, Restore},
};

/// An index of an image of a layer.
struct Content {
    layer: Bytes,
    child: Verified<Bytes>,
    index: Verified<Bytes>,
}

impl Content {
    fn new() -> Self {
        let layer = Bytes::from("layer");
        let child = image(&[&layer], "child");
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
            MediaType::OCI_INDEX,
            MediaType::OCI_MANIFEST,
            child.digest(),
            child.size(),
        );
        let index = Verified::of(Algorithm::Sha256, Bytes::from(index));
        Self { layer, child, index }
    }

    /// Pushes it under a tag, with another image, and deletes all of it.
    async fn push_and_delete(&self, storage: &FsStorage, told: impl Fn() + Send + Sync) {
        let repository = Registry::builder(storage.clone())
            .build()
            .repository("a")
            .unwrap();
        repository.push_blob(self.layer.clone(), None).await.unwrap();
        let other = image(&[&self.layer], "other");
        let references = [*self.child.digest(), *other.digest()].map(Reference::from);
        let [child, of_other] = references;
        for (reference, document) in [
            (child, &self.child),
            (of_other, &other),
            (tag("v1").into(), &self.index),
        ] {
            let push = ManifestPush::new(reference, document.bytes().clone());
            repository.put_manifest(push).await.unwrap();
        }
        told(); // 1
        for document in [&self.index, &self.child, &other] {
            repository.delete_manifest(*document.digest()).await.unwrap();
        }
        told(); // 2
    }

    async fn restore(&self, watched: &Watched) {
        let registry = Registry::builder(watched.storage.clone()).build();
        let repository = registry.repository("a").unwrap();
        watched.examine(true);
        repository.restore(Restore::new(tag("v1"))).await.unwrap();
        watched.examine(false);
        watched.acknowledged(); // 3
    }

    /// Returns what holds after the restore.
    fn facts(&self) -> Vec<Fact> {
        let a = name("a");
        let [image_type, index_type] = [MediaType::OCI_MANIFEST, MediaType::OCI_INDEX].map(media_type);
        let index = *self.index.digest();
        let facts = [
            What::Blob(a.clone(), self.layer.clone()),
            What::Manifest(a.clone(), self.index.clone(), index_type),
            What::Manifest(a.clone(), self.child.clone(), image_type),
            What::Tag(a, "v1", Some(index)),
        ];
        let after = facts.into_iter().map(|what| Fact {
            from: 3,
            until: END,
            what,
        });
        after.collect()
    }
}

async fn restored(watched: &Watched) -> Vec<Fact> {
    let content = Content::new();
    let acknowledged = || _ = watched.acknowledged();
    content.push_and_delete(&watched.storage, acknowledged).await;
    content.restore(watched).await;

    let a = name("a");
    let fact = |from, until, what| Fact { from, until, what };
    let mut facts = content.facts();
    facts.extend([
        fact(1, 2, What::Sound),
        fact(1, 2, What::Walkable),
        fact(3, END, What::Sound),
        fact(3, END, What::Walkable),
        fact(0, END, What::WalkableAfterKill),
        fact(0, END, What::CompleteLinks),
        fact(0, END, What::WholeRecords(a.clone())),
        fact(1, END, What::Restorable(a.clone(), "v1", content.index.clone())),
        fact(2, 2, What::NoManifest(a.clone(), *content.index.digest())),
        fact(3, END, What::NoRecord(a.clone(), *content.index.digest())),
        fact(3, END, What::NoRecord(a, *content.child.digest())),
    ]);
    facts
}

/// Restores what a process has left that does not sync.
async fn restored_after_another(watched: &Watched) -> Vec<Fact> {
    for _ in 1..=2 {
        watched.acknowledged();
    }
    let content = Content::new();
    content.restore(watched).await;
    content.facts()
}

async fn leave_unsynced(root: &Path) {
    let relaxed = FsStorage::options().durability(Durability::Relaxed);
    let storage = relaxed.open(root).unwrap();
    Content::new().push_and_delete(&storage, || {}).await;
}

#[tokio::test]
async fn a_restore_is_durable_once_it_is_acknowledged_and_can_be_repeated_before() {
    use Step::{Rename, Sync};
    let after_another = Scenario {
        before: |root| Box::pin(leave_unsynced(root)),
        is_durable: false,
        perform: |watched| Box::pin(restored_after_another(watched)),
    };
    assert_necessary(
        &[
            Scenario::new(|watched| Box::pin(restored(watched))),
            after_another,
        ],
        &[
            (Sync, "_trash/a/_deleted"),
            (Sync, "blobs"),
            (Sync, "blobs/sha256"),
            (Sync, "blobs/sha256/XX"),
            (Sync, "blobs/sha256/XX/DIGEST"),
            (Sync, "blobs/sha256/XX/DIGEST/data"),
            (Sync, "repositories"),
            (Sync, "repositories/a"),
            (Sync, "repositories/a/_layers"),
            (Sync, "repositories/a/_layers/sha256"),
            (Sync, "repositories/a/_layers/sha256/DIGEST"),
            (Sync, "repositories/a/_layers/sha256/DIGEST/link"),
            (Sync, "repositories/a/_manifests"),
            (Sync, "repositories/a/_manifests/revisions"),
            (Sync, "repositories/a/_manifests/revisions/sha256"),
            (Sync, "repositories/a/_manifests/revisions/sha256/DIGEST"),
            (Sync, "repositories/a/_manifests/revisions/sha256/DIGEST/link"),
            (Sync, "repositories/a/_manifests/tags"),
            (Sync, "repositories/a/_manifests/tags/v1"),
            (Sync, "repositories/a/_manifests/tags/v1/current"),
            (Sync, "repositories/a/_manifests/tags/v1/current/link"),
            (Sync, "repositories/a/_manifests/tags/v1/index/sha256/DIGEST/link"),
            (Rename, "repositories/a/_manifests/revisions/sha256/DIGEST/link"),
            (Rename, "repositories/a/_manifests/tags/v1"),
        ],
        // The opening has synced the first one. The others may not be durable yet, which makes no difference to what goes
        // from them.
        &[(Sync, ""), (Sync, "_trash"), (Sync, "_trash/a")],
    )
    .await;
}
