//! Deletions that account for the bytes that they release, when there is no record of them.

use super::*;
use crate::faults::fail;
use rustix::io::Errno;

/// Puts an image in a new storage. Returns it with its layer.
async fn with_image(root: &Path) -> (FsStorage, Digest, Digest) {
    let storage = relaxed(root);
    let layer = support::content(100);
    push(&storage, &name("a"), &layer).await;
    let image = image(&[blob(&layer)], "image");
    put(&storage, &name("a"), &image, &[blob(&layer)], &[])
        .await
        .unwrap();
    (storage, *image.digest(), blob(&layer).digest)
}

async fn assert_accounted_after_restart(storage: FsStorage, root: &Path, blobs: &[Digest]) {
    assert!(storage.close().await);
    let released = relaxed(root).released(blobs).await.unwrap();
    assert!(released.iter().all(|released| *released), "{released:?}");
}

/// Otherwise an automatic run after a restart may refuse to free the bytes.
#[tokio::test]
async fn a_deletion_without_space_for_its_record_accounts_for_what_it_releases() {
    let root = scratch();
    let (storage, image, layer) = with_image(root.path()).await;
    let records = storage.store().layout.deletions(&name("a"));
    let full = fail(&records, Errno::NOSPC);
    let deleted = writer(&storage)
        .delete_manifest(&name("a"), &image, Deletion::new())
        .await;
    assert!(deleted.unwrap().is_some());
    drop(full);

    assert_accounted_after_restart(storage, root.path(), &[image, layer]).await;
}

#[tokio::test]
async fn a_removal_without_space_for_its_record_accounts_for_what_it_releases() {
    let root = scratch();
    let (storage, image, layer) = with_image(root.path()).await;
    let records = storage.store().layout.deletions(&name("a"));
    let full = fail(&records, Errno::NOSPC);
    let run = storage.begin(Terms::new()).await.unwrap();
    assert!(is_removed(&storage, &run, Victim::Manifest(name("a"), image)).await);
    drop((full, run));

    assert_accounted_after_restart(storage, root.path(), &[image, layer]).await;
}

/// Otherwise, a later loss of what uses it would be taken for that deletion.
#[tokio::test]
async fn what_a_run_leaves_in_use_is_not_accounted_for_any_more() {
    let root = scratch();
    let (storage, image_of_shared, shared) = with_image(root.path()).await;
    let a = name("a");
    let own = support::content(10);
    push(&storage, &a, &own).await;
    let needs = [blob(&support::content(100)), blob(&own)];
    let other = image(&needs, "other");
    put(&storage, &a, &other, &needs, &["v1"]).await.unwrap();
    let tagged = image(&needs[..1], "image");
    put(&storage, &a, &tagged, &needs[..1], &["v2"]).await.unwrap();
    assert_eq!(*tagged.digest(), image_of_shared);
    let deleted = writer(&storage)
        .delete_manifest(&a, other.digest(), Deletion::new().permanently())
        .await;
    assert!(deleted.unwrap().is_some());
    let accounted = || std::fs::read_to_string(storage.store().layout.collect_released()).unwrap();

    // It may have kept them because somebody was pushing.
    let run = storage.begin(Terms::new()).await.unwrap();
    storage.end(run, Census::new(1)).await.unwrap();
    for blob in [&shared, &needs[1].digest, other.digest()] {
        assert!(accounted().contains(&blob.to_string()), "{}", accounted());
    }
    collect(&storage).await;

    assert_eq!(accounted(), "");
    assert!(storage.close().await);
    let released = relaxed(root.path()).released(&[shared]).await.unwrap();
    assert_eq!(released, [false]);
}
