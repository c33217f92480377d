//! Manifests that come and go while the index is completed, or after.

use super::*;
use registry_core::storage::Deletion;

#[tokio::test]
async fn manifests_that_come_and_go_while_the_index_is_completed_are_in_it_and_are_not() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let [stays, goes, comes, returns] = [0, 1, 2, 3].map(signature);
    for manifest in [&stays, &goes, &returns] {
        put(&storage, manifest).await;
    }
    drop(storage);
    let storage = FsStorage::open(root.path()).unwrap();
    let meanwhile = [goes.clone(), comes.clone(), returns.clone()];
    listed_while(&storage, move |store| {
        let a = name("a");
        let [goes, comes, returns] = meanwhile;
        let tags = store.build_tag_index(&a).unwrap();
        store
            .delete_manifest(&a, &digest_of(&goes), &tags, &Deletion::new())
            .unwrap()
            .unwrap();
        store
            .delete_manifest(&a, &digest_of(&returns), &tags, &Deletion::new())
            .unwrap()
            .unwrap();
        store.put_manifest(&a, comes).unwrap();
        store.put_manifest(&a, returns).unwrap();
    })
    .await;

    let expected = sorted(&[&stays, &comes, &returns]);
    assert_eq!(listed(&storage).await, expected);
    assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
    assert_eq!(listed(&read_only(root.path())).await, expected);
}

/// The manifest's entry exists and the manifest does not yet: the entry is not left over.
#[tokio::test]
async fn a_manifest_that_is_on_its_way_while_the_index_is_completed_is_in_it() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    drop(storage);
    let storage = FsStorage::open(root.path()).unwrap();
    let (at_entry, entry_added) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    storage.store().pauses.at(Point::PutManifestEntryAdded, move || {
        at_entry.send(()).unwrap();
        goes_on.recv().unwrap();
    });
    let coming = signature(1);
    let pushing = storage.clone();
    let manifest = coming.clone();
    let push = tokio::spawn(async move { put(&pushing, &manifest).await });
    tokio::task::spawn_blocking(move || entry_added.recv().unwrap())
        .await
        .unwrap();

    // The look at what may be left over waits for the push.
    listed_while(&storage, move |_| go_on.send(()).unwrap()).await;
    push.await.unwrap();

    assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
    assert_eq!(listed(&storage).await, sorted(&[&signature(0), &coming]));
}

#[tokio::test]
async fn what_an_interrupted_deletion_left_in_the_index_goes_and_is_never_shown() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let [stays, gone] = [0, 1].map(signature);
    for manifest in [&stays, &gone] {
        put(&storage, manifest).await;
    }
    let index = top(root.path()).join("_index/a/_referrers");
    let before = files(&index).len();
    listed(&storage).await;
    fs::remove_file(storage.store().layout.revision(&name("a"), &digest_of(&gone))).unwrap();

    assert_eq!(listed(&storage).await, sorted(&[&stays]));
    drop(storage);
    let storage = FsStorage::open(root.path()).unwrap();
    assert_eq!(listed(&storage).await, sorted(&[&stays]));
    // One entry, and that it is complete.
    assert_eq!((before, files(&index).len()), (2, 2));
}

#[tokio::test]
async fn the_entry_of_a_deleted_referrer_goes_with_its_directories() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    listed(&storage).await;
    let own = top(root.path()).join("_index/a/_referrers");
    assert_eq!(files(&own).len(), 2);

    let write = writer(&storage);
    let digest = digest_of(&signature(0));
    write
        .delete_manifest(&name("a"), &digest, Deletion::new())
        .await
        .unwrap()
        .unwrap();

    assert_eq!(files(&own), ["complete"]);
    let subject = own.join(format!("sha256/{}", subject().hex()));
    assert!(!subject.exists());
}

#[tokio::test]
async fn a_question_about_no_repository_leaves_nothing_behind() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let before = files(root.path());

    assert_eq!(listed(&storage).await, []);

    assert_eq!(files(root.path()), before);
    assert!(!top(root.path()).join("_index/a").exists());
}
