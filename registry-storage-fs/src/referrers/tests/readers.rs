//! Storages that are opened read-only, with an owner that maintains the index and without.

use super::*;

#[tokio::test]
async fn a_reader_reads_again_a_manifest_whose_link_named_other_content() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (other, wanted) = (image(0), signature(0));
    put(&storage, &other).await;
    put(&storage, &wanted).await;
    let link = storage.store().layout.revision(&name("a"), &digest_of(&wanted));
    fs::write(&link, digest_of(&other).to_string()).unwrap();
    let reader = read_only(root.path());
    assert_eq!(listed(&reader).await, []);

    put(&storage, &wanted).await;

    assert_eq!(listed(&reader).await, sorted(&[&wanted]));
}

#[tokio::test]
async fn a_reader_reads_again_a_manifest_that_was_put_as_another_type() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let subject = subject();
    // Only an image has the type of its config.
    let as_image = put_of(format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{TYPE}","digest":"{subject}","size":7}},"layers":[],"subject":{{"mediaType":"{kind}","digest":"{subject}","size":7}}}}"#,
        kind = MediaType::OCI_MANIFEST,
    ));
    let mut as_index = as_image.clone();
    as_index.media_type = media_type(MediaType::OCI_INDEX);
    let page = Page::first(10);
    let reader = read_only(root.path());
    let of_type = async || {
        let listing = reader
            .referrers(&name("a"), Referring::new(&subject).of_type(Some(TYPE)), page)
            .await;
        listing.unwrap().items.len()
    };
    put(&storage, &as_index).await;
    assert_eq!(of_type().await, 0);

    put(&storage, &as_image).await;

    assert_eq!(of_type().await, 1);
}

/// Another program may have written since.
#[tokio::test]
async fn an_index_whose_owner_has_ended_does_not_count() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let [indexed, other] = [0, 1].map(signature);
    put(&storage, &indexed).await;
    assert_eq!(listed(&storage).await, sorted(&[&indexed]));
    let layout = &storage.store().layout;
    let digest = digest_of(&other);
    let (data, link) = (layout.blob(&digest), layout.revision(&name("a"), &digest));
    drop(storage);
    for (path, content) in [
        (data, other.manifest.bytes().to_vec()),
        (link, digest.to_string().into()),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    let reader = read_only(root.path());
    assert_eq!(listed(&reader).await, sorted(&[&indexed, &other]));
}

/// Its owner has locked the file and not written its name yet.
#[tokio::test]
async fn an_index_whose_owner_has_no_name_yet_does_not_count() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    let layout = &storage.store().layout;
    let (owner, own) = (layout.index_owner(), layout.referrers(&name("a")));
    drop(storage);
    fs::remove_dir_all(&own).unwrap();
    fs::create_dir(&own).unwrap();
    fs::write(own.join("complete"), "").unwrap();
    let owner = fs::File::create(owner).unwrap();
    flock(&owner, FlockOperation::NonBlockingLockExclusive).unwrap();

    assert_eq!(listed(&read_only(root.path())).await, sorted(&[&signature(0)]));
}

#[tokio::test]
async fn readers_without_an_owner_read_each_manifest_once_and_see_what_changes() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for seed in 0..40 {
        put(&storage, &image(seed)).await;
    }
    let [stays, goes, comes] = [0, 1, 2].map(signature);
    for manifest in [&stays, &goes] {
        put(&storage, manifest).await;
    }
    drop(storage);
    let reader = read_only(root.path());
    assert_eq!(listed(&reader).await, sorted(&[&stays, &goes]));

    seams::watch(root.path());
    assert_eq!(listed(&reader).await, sorted(&[&stays, &goes]));
    let costs = seams::watch(root.path());
    assert_eq!(costs.files, 2 * 3, "{costs:?}");

    // Two owners later, neither of which was asked for referrers.
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &comes).await;
    let write = writer(&storage);
    write
        .delete_manifest(&name("a"), &digest_of(&goes), Deletion::new())
        .await
        .unwrap();
    drop(storage);
    let storage = FsStorage::open(root.path()).unwrap();
    assert_eq!(listed(&reader).await, sorted(&[&stays, &comes]));
    drop(storage);
    assert_eq!(listed(&reader).await, sorted(&[&stays, &comes]));
}

/// A read in progress for another request may have begun before the manifest was put.
#[tokio::test]
async fn a_reader_that_asks_while_another_one_reads_sees_what_was_put_meanwhile() {
    let root = TempDir::new().unwrap();
    let owner = FsStorage::open(root.path()).unwrap();
    put(&owner, &signature(0)).await;
    let reader = read_only(root.path());
    let (read, is_read) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    reader.store().pauses.at(Point::ManifestScanRead, move || {
        read.send(()).unwrap();
        goes_on.recv().unwrap();
    });
    let other = reader.clone();
    let earlier = tokio::spawn(async move { listed(&other).await });
    is_read.await.unwrap();

    put(&owner, &signature(1)).await;
    assert_eq!(listed(&reader).await, sorted(&[&signature(0), &signature(1)]));

    go_on.send(()).unwrap();
    assert_eq!(earlier.await.unwrap(), sorted(&[&signature(0)]));
}

#[tokio::test]
async fn readers_beside_an_owner_that_keeps_the_index_read_no_other_manifest() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for seed in 0..40 {
        put(&storage, &image(seed)).await;
    }
    put(&storage, &signature(0)).await;
    listed(&storage).await;
    let reader = read_only(root.path());

    seams::watch(root.path());
    assert_eq!(listed(&reader).await, sorted(&[&signature(0)]));

    let costs = seams::watch(root.path());
    assert!(costs.files == 3 && costs.entries <= 2, "{costs:?}");
}
