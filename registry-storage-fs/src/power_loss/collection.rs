//! Collections: after a loss of power, what was removed may be there again, but nothing without what it refers to.

use super::*;
use registry_core::storage::{Census, Reclaimed, StorageCollect as _, StorageTrash as _, Terms, Victim};

async fn remove(storage: &FsStorage, victims: impl IntoIterator<Item = Victim>, left: u64) {
    let run = storage.begin(Terms::new().with_permanent(true)).await.unwrap();
    for victim in victims {
        let reclaimed = storage
            .reclaim(&run, std::slice::from_ref(&victim))
            .await
            .unwrap();
        assert!(
            matches!(reclaimed[..], [Reclaimed::Removed { .. }]),
            "{victim}: {reclaimed:?}"
        );
    }
    storage.end(run, Census::new(left)).await.unwrap();
}

/// Removes an image beside another one, and pushes it again; then all goes, and comes back.
async fn collected(watched: &Watched) -> Vec<Fact> {
    let a = name("a");
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let (first, second) = (image(&[&layer], "first"), manifest("second"));
    let media_type = media_type(MediaType::OCI_MANIFEST);
    let storage = &watched.storage;

    push(storage, &a, &layer).await;
    watched.acknowledged(); // 1
    put_with(storage, &a, &first, &media_type, &[&layer], "v1").await;
    watched.acknowledged(); // 2
    put_with(storage, &a, &second, &media_type, &[], "v1").await;
    watched.acknowledged(); // 3
    let record = |manifest: &Verified<Bytes>| Victim::Manifest(a.clone(), *manifest.digest());
    let link = Victim::Link(a.clone(), digest);
    let data = [Victim::Data(digest), Victim::Data(*first.digest())];
    watched.examine(true);
    remove(
        storage,
        [record(&first), link.clone()].into_iter().chain(data.clone()),
        1,
    )
    .await;
    watched.examine(false);
    watched.acknowledged(); // 4
    push(storage, &a, &layer).await;
    watched.acknowledged(); // 5
    put_with(storage, &a, &first, &media_type, &[&layer], "v2").await;
    watched.acknowledged(); // 6
    for tagged in ["v1", "v2"] {
        let tagged = tag(tagged);
        let deleted = writer(storage).delete_tag(&a, &tagged, TagExpect::Any, Deletion::new().permanently());
        assert!(deleted.await.unwrap().is_some());
    }
    watched.acknowledged(); // 7
    let all = [record(&first), record(&second), link].into_iter().chain(data);
    watched.examine(true);
    remove(
        storage,
        all.chain([Victim::Data(*second.digest()), Victim::Repository(a.clone())]),
        0,
    )
    .await;
    watched.examine(false);
    watched.acknowledged(); // 8
    push(storage, &a, &layer).await;
    put_with(storage, &a, &first, &media_type, &[&layer], "v3").await;
    watched.acknowledged(); // 9

    let fact = |from, until, what| Fact { from, until, what };
    vec![
        fact(3, 4, What::AccountedOnceGone(a.clone(), *first.digest(), digest)),
        fact(0, END, What::Whole(a.clone(), *first.digest(), digest)),
        fact(3, 4, What::Sound),
        fact(7, 8, What::Sound),
        fact(3, 4, What::Walkable),
        fact(7, 8, What::Walkable),
        fact(0, END, What::WalkableAfterKill),
        fact(0, END, What::CompleteLinks),
        fact(4, 4, What::NoLink(a.clone(), digest)),
        fact(8, 8, What::NoRepository(a.clone())),
        fact(1, END, What::Own),
        fact(4, 7, What::Census(1)),
        fact(8, END, What::Census(0)),
        fact(1, 3, What::Blob(a.clone(), layer.clone())),
        fact(2, 3, What::Manifest(a.clone(), first.clone(), media_type.clone())),
        fact(3, 6, What::Tag(a.clone(), "v1", Some(*second.digest()))),
        fact(4, 4, What::NoData(digest)),
        fact(4, 5, What::NoManifest(a.clone(), *first.digest())),
        fact(5, 7, What::Blob(a.clone(), layer.clone())),
        fact(6, 6, What::Tag(a.clone(), "v2", Some(*first.digest()))),
        fact(6, 7, What::Manifest(a.clone(), first.clone(), media_type.clone())),
        fact(8, 8, What::NoManifest(a.clone(), *second.digest())),
        fact(9, END, What::Blob(a.clone(), layer)),
        fact(9, END, What::Manifest(a.clone(), first.clone(), media_type)),
        fact(9, END, What::Tag(a, "v3", Some(*first.digest()))),
    ]
}

#[tokio::test]
async fn nothing_is_ever_there_without_what_it_refers_to() {
    use Step::{Discard, Rename, Sync};
    assert_necessary(
        &[Scenario::new(|watched| Box::pin(collected(watched)))],
        &[
            (Sync, "_collect"),
            (Sync, "_collect/released"),
            (Sync, "_collect/state"),
            (Sync, "blobs/sha256/XX"),
            (Sync, "repositories"),
            (Sync, "repositories/a"),
            (Sync, "repositories/a/_layers/sha256"),
            (Sync, "repositories/a/_manifests/revisions/sha256"),
            (Rename, "_collect/state"),
            (Discard, "repositories/a/_manifests"),
        ],
        // Nobody looks there without `_manifests`. It goes in the same way. Damaged lines of the other file are passed over.
        &[(Discard, "repositories/a/_layers"), (Rename, "_collect/released")],
    )
    .await;
}

/// A client that finds a parent does not push what is below it.
#[tokio::test]
async fn parents_are_durably_gone_before_their_children_are_removed() {
    let a = name("a");
    let (parent, child) = (manifest("parent"), manifest("child"));
    let watched = Watched::open(scratch());
    let storage = &watched.storage;
    for manifest in [&child, &parent] {
        put(storage, &a, manifest.clone(), &[]).await;
    }
    let run = storage.begin(Terms::new()).await.unwrap();
    for manifest in [&parent, &child] {
        let victim = Victim::Manifest(a.clone(), *manifest.digest());
        let reclaimed = storage.reclaim(&run, &[victim]).await.unwrap();
        assert!(
            matches!(reclaimed[..], [Reclaimed::Removed { .. }]),
            "{reclaimed:?}"
        );
    }

    watched.acknowledged(); // 1

    let what = What::NoManifest(a, *parent.digest());
    let fact = Fact {
        from: 1,
        until: usize::MAX,
        what,
    };
    check(&watched.end().0, &[fact]).await;
}

/// Forgets the records of the deletions of two images, deletes a third one for good, and a blob.
async fn forgotten(watched: &Watched) -> Vec<Fact> {
    let a = name("a");
    let image_type = media_type(MediaType::OCI_MANIFEST);
    let storage = &watched.storage;
    let layers = ["first", "second", "third", "fourth"].map(Bytes::from);
    let mut images = Vec::new();
    for layer in &layers {
        push(storage, &a, layer).await;
        let image = image(&[layer], "");
        put_with(storage, &a, &image, &image_type, &[layer], "v1").await;
        images.push(*image.digest());
    }
    let [first, second, third, _] = images[..] else {
        unreachable!();
    };
    for digest in [first, second] {
        let deleted = writer(storage).delete_manifest(&a, &digest, Deletion::new());
        assert!(deleted.await.unwrap().is_some());
    }
    watched.acknowledged(); // 1
    watched.examine(true);
    for record in storage.deleted(&a, support::all()).await.unwrap().items {
        let id = record.whole().unwrap().id;
        assert!(storage.forget(&a, &id).await.unwrap());
        watched.acknowledged(); // 2, 3
    }
    watched.examine(false);
    let permanent = Deletion::new().permanently();
    let deleted = writer(storage).delete_manifest(&a, &third, permanent.clone());
    assert!(deleted.await.unwrap().is_some());
    watched.acknowledged(); // 4
    let digests = layers.map(|layer| Digest::of(Algorithm::Sha256, &layer));
    assert!(
        writer(storage)
            .delete_blob(&a, &digests[3], permanent)
            .await
            .unwrap()
    );
    watched.acknowledged(); // 5

    let fact = |from, until, what| Fact { from, until, what };
    vec![
        fact(1, END, What::Accounted(a.clone(), first, digests[0])),
        fact(1, END, What::Accounted(a.clone(), second, digests[1])),
        fact(4, END, What::Accounted(a.clone(), third, digests[2])),
        fact(5, END, What::Accounted(a.clone(), third, digests[3])),
        fact(2, END, What::NoRecord(a.clone(), first)),
        fact(3, END, What::NoRecord(a.clone(), second)),
        fact(4, END, What::NoManifest(a.clone(), third)),
        fact(5, END, What::NoBlob(a, digests[3])),
    ]
}

#[tokio::test]
async fn what_was_deleted_is_accounted_for_before_its_record_goes() {
    use Step::{Rename, Sync};
    assert_necessary(
        &[Scenario::new(|watched| Box::pin(forgotten(watched)))],
        &[
            (Sync, "_collect"),
            (Sync, "_collect/released"),
            (Sync, "_trash/a/_deleted"),
        ],
        // A directory that only loses an empty one, and a file of which damaged lines are passed over.
        &[(Sync, "_trash"), (Rename, "_collect/released")],
    )
    .await;
}
