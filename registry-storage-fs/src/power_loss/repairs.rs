//! Repairs: damaged content stays somewhere, and what was repaired stays repaired.

use super::*;
use registry_core::maintenance::{VerifyOptions, verify};
use std::fs;

const DAMAGED: &str = "damaged";

fn blobs() -> [Bytes; 3] {
    ["layer", "linked", "lost"].map(Bytes::from)
}

/// Pushes images, and damages a blob, a link and a manifest. Another link is lost.
async fn damage(root: &Path) {
    damage_with(root, Durability::Full).await;
}

async fn damage_with(root: &Path, durability: Durability) {
    let (a, b) = (name("a"), name("b"));
    let [layer, linked, lost] = &blobs();
    let storage = FsStorage::options().durability(durability).open(root).unwrap();
    let image_type = media_type(MediaType::OCI_MANIFEST);
    let (first, second) = (image(&[layer], "first"), image(&[linked, lost], "second"));
    let third = image(&[linked], "third");
    let images = [
        (&a, &[layer][..], &first),
        (&b, &[linked, lost], &second),
        (&b, &[linked], &third),
    ];
    for (repository, layers, document) in images {
        for layer in layers {
            push(&storage, repository, layer).await;
        }
        let mut put = PutManifest::new(document.clone(), image_type.clone());
        put.needs = needs(layers);
        writer(&storage).put_manifest(repository, put).await.unwrap();
    }
    let layout = &storage.store().layout;
    let [layer, linked, lost] = [layer, linked, lost].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
    fs::write(layout.blob(&layer), DAMAGED).unwrap();
    fs::write(layout.layer(&b, &linked), "").unwrap();
    fs::write(layout.revision(&b, third.digest()), "").unwrap();
    fs::remove_dir_all(layout.layer(&b, &lost).parent().unwrap()).unwrap();
}

/// Does the same without a sync.
async fn damage_unsynced(root: &Path) {
    damage_with(root, Durability::Relaxed).await;
}

/// Repairs all of that, and pushes the damaged blob again. Returns what holds afterwards, whoever left the damage.
async fn repair_and_push(watched: &Watched) -> Vec<Fact> {
    let [layer, linked, lost] = blobs();
    let storage = &watched.storage;
    watched.acknowledged(); // 1
    watched.examine(true);
    let report = verify(storage, VerifyOptions::new().repair(true), &mut |_| {}).await;
    watched.examine(false);
    let report = report.unwrap();
    assert!(report.repaired >= 4, "{report:?}");
    watched.acknowledged(); // 2
    push(storage, &name("a"), &layer).await;
    watched.acknowledged(); // 3

    let (b, third) = (name("b"), image(&[&linked], "third"));
    let after = |from, what| Fact {
        from,
        until: END,
        what,
    };
    vec![
        after(
            2,
            What::Manifest(b.clone(), third, media_type(MediaType::OCI_MANIFEST)),
        ),
        after(2, What::Blob(b.clone(), linked)),
        after(2, What::Blob(b, lost)),
        after(3, What::Blob(name("a"), layer)),
    ]
}

async fn repaired(watched: &Watched) -> Vec<Fact> {
    let mut facts = repair_and_push(watched).await;
    let [damaged, _, lost] = blobs().map(|bytes| Digest::of(Algorithm::Sha256, &bytes));
    let fact = |from, until, what| Fact { from, until, what };
    facts.extend([
        fact(0, END, What::WalkableAfterKill),
        fact(0, END, What::Mendable(name("b"), lost)),
        fact(1, END, What::Kept(damaged, DAMAGED)),
        fact(2, 2, What::NoBlob(name("a"), damaged)),
        fact(2, END, What::Quarantined(damaged, DAMAGED)),
        fact(3, END, What::Sound),
    ]);
    facts
}

#[tokio::test]
async fn a_repair_is_durable_once_it_has_ended_and_loses_no_bytes() {
    use Step::{Rename, Sync};
    let repaired = Scenario {
        before: |root| Box::pin(damage(root)),
        is_durable: true,
        perform: |watched| Box::pin(repaired(watched)),
    };
    let after_another = Scenario {
        before: |root| Box::pin(damage_unsynced(root)),
        is_durable: false,
        perform: |watched| Box::pin(repair_and_push(watched)),
    };
    assert_necessary(
        &[repaired, after_another],
        &[
            (Sync, ""),
            (Sync, "_quarantine"),
            (Sync, "_quarantine/sha256"),
            (Sync, "_quarantine/sha256/DIGEST"),
            (Sync, "_quarantine/sha256/DIGEST/1"),
            (Sync, "_quarantine/sha256/DIGEST/1/why"),
            (Sync, "blobs"),
            (Sync, "blobs/sha256"),
            (Sync, "blobs/sha256/XX"),
            (Sync, "blobs/sha256/XX/DIGEST"),
            (Sync, "blobs/sha256/XX/DIGEST/data"),
            (Sync, "repositories"),
            (Sync, "repositories/b"),
            (Sync, "repositories/b/_layers"),
            (Sync, "repositories/b/_layers/sha256"),
            (Sync, "repositories/b/_layers/sha256/DIGEST"),
            (Sync, "repositories/b/_layers/sha256/DIGEST/link"),
            (Sync, "repositories/b/_manifests"),
            (Sync, "repositories/b/_manifests/revisions"),
            (Sync, "repositories/b/_manifests/revisions/sha256"),
            (Sync, "repositories/b/_manifests/revisions/sha256/DIGEST"),
            (Sync, "repositories/b/_manifests/revisions/sha256/DIGEST/link"),
            (Rename, "repositories/b/_layers/sha256/DIGEST"),
        ],
        // The fault is written and durable before the bytes move there. A link that is half written is still what is
        // repaired. Both are written as files are everywhere.
        &[
            (Rename, "_quarantine/sha256/DIGEST/1/why"),
            (Rename, "repositories/b/_layers/sha256/DIGEST/link"),
            (Rename, "repositories/b/_manifests/revisions/sha256/DIGEST/link"),
        ],
    )
    .await;
}
