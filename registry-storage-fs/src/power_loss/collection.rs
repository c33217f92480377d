//! Collections: after a loss of power, what was removed may be there again, but nothing without what it refers to.

use super::*;
use registry_core::storage::{Census, Reclaimed, StorageCollect as _, Terms, Victim};

/// Selects the paths of some syncs.
type Syncs = fn(&Path) -> bool;

async fn remove(storage: &FsStorage, victims: impl IntoIterator<Item = Victim>) {
    let run = storage.begin(Terms::new()).await.unwrap();
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
    storage.end(run, Census::new(0)).await.unwrap();
}

/// Removes an image beside another one, and pushes it again; then all goes, and comes back. Returns what happens when
/// the power fails, and what then holds. The syncs of some paths have no effect while the image is removed.
async fn collected(unsynced: Option<Syncs>) -> (Vec<Failure>, Vec<Fact>) {
    let a = name("a");
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let (first, second) = (manifest("first"), manifest("second"));
    let image = media_type(MediaType::OCI_MANIFEST);
    let watched = Watched::open(scratch());
    let storage = &watched.storage;

    push(storage, &a, &layer).await;
    watched.acknowledged(); // 1
    put_with(storage, &a, &first, &image, &[&layer], "v1").await;
    watched.acknowledged(); // 2
    put_with(storage, &a, &second, &image, &[], "v1").await;
    watched.acknowledged(); // 3
    watched.without_syncs(unsynced);
    let record = |manifest: &Verified<Bytes>| Victim::Manifest(a.clone(), *manifest.digest());
    let link = Victim::Link(a.clone(), digest);
    let data = [Victim::Data(digest), Victim::Data(*first.digest())];
    remove(
        storage,
        [record(&first), link.clone()].into_iter().chain(data.clone()),
    )
    .await;
    watched.acknowledged(); // 4
    watched.without_syncs(None);
    push(storage, &a, &layer).await;
    watched.acknowledged(); // 5
    put_with(storage, &a, &first, &image, &[&layer], "v2").await;
    watched.acknowledged(); // 6
    for tagged in ["v1", "v2"] {
        let tagged = tag(tagged);
        let deleted = writer(storage).delete_tag(&a, &tagged, TagExpect::Any, Deletion::new());
        assert!(deleted.await.unwrap().is_some());
    }
    watched.acknowledged(); // 7
    let all = [record(&first), record(&second), link].into_iter().chain(data);
    remove(
        storage,
        all.chain([Victim::Data(*second.digest()), Victim::Repository(a.clone())]),
    )
    .await;
    watched.acknowledged(); // 8
    push(storage, &a, &layer).await;
    put_with(storage, &a, &first, &image, &[&layer], "v3").await;
    watched.acknowledged(); // 9

    let fact = |from, until, what| Fact { from, until, what };
    const END: usize = usize::MAX;
    let facts = vec![
        fact(0, END, What::Whole(a.clone(), *first.digest(), digest)),
        fact(1, 3, What::Blob(a.clone(), layer.clone())),
        fact(2, 3, What::Manifest(a.clone(), first.clone(), image.clone())),
        fact(3, 6, What::Tag(a.clone(), "v1", Some(*second.digest()))),
        fact(4, 5, What::NoManifest(a.clone(), *first.digest())),
        fact(5, 7, What::Blob(a.clone(), layer.clone())),
        fact(6, 6, What::Tag(a.clone(), "v2", Some(*first.digest()))),
        fact(6, 7, What::Manifest(a.clone(), first.clone(), image.clone())),
        fact(8, 8, What::NoManifest(a.clone(), *second.digest())),
        fact(9, END, What::Blob(a.clone(), layer)),
        fact(9, END, What::Manifest(a.clone(), first.clone(), image)),
        fact(9, END, What::Tag(a, "v3", Some(*first.digest()))),
    ];
    (watched.end(), facts)
}

#[tokio::test]
async fn nothing_is_ever_there_without_what_it_refers_to() {
    let (failures, facts) = collected(None).await;
    check(&failures, &facts).await;
}

/// Each of these syncs is necessary, and the test above finds it if it is missing.
#[tokio::test]
async fn without_any_of_these_syncs_something_would_be_lost() {
    let syncs: [(&str, Syncs); 1] = [("manifests are gone before what they name is removed", |path| {
        path.ends_with("_manifests/revisions/sha256")
    })];
    for (what, sync) in syncs {
        let (failures, facts) = collected(Some(sync)).await;
        let checked = tokio::spawn(async move { check(&failures, &facts).await });
        assert!(checked.await.is_err(), "nothing shows that {what}");
    }
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
    check(&watched.end(), &[fact]).await;
}
