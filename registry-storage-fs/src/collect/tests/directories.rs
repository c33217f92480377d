//! Directories that a collection removes, while others create entries in them, and rely on their durability.

use super::*;
use crate::{collect::places::Empty, pauses::Point};
use std::fs;

/// A repository that holds one image, which is deleted.
async fn with_deleted_image(storage: &FsStorage, repository: &RepositoryName) -> (Verified<Bytes>, Needed) {
    let layer = support::content(100);
    push(storage, repository, &layer).await;
    let image = image(&[blob(&layer)], "image");
    put(storage, repository, &image, &[blob(&layer)], &["v1"])
        .await
        .unwrap();
    let write = writer(storage);
    let deleted = write
        .delete_manifest(repository, image.digest(), Deletion::new())
        .await;
    assert!(deleted.unwrap().is_some());
    (image, blob(&layer))
}

#[tokio::test]
async fn an_empty_repository_goes_as_a_whole_and_comes_back_as_a_whole() {
    let root = scratch();
    let storage = FsStorage::open(root.path()).unwrap();
    let (above, below) = (name("a/b"), name("a/b/c"));
    let (image, needed) = with_deleted_image(&storage, &below).await;
    let (_, _) = with_deleted_image(&storage, &above).await;
    let layout = &storage.store().layout;
    collect(&storage).await;
    for repository in [&above, &below] {
        assert!(!layout.manifests(repository).exists() && !layout.all_layers(repository).exists());
    }
    assert_eq!(fs::read_dir(layout.repositories()).unwrap().count(), 0);
    assert!(storage.repositories(all()).await.unwrap().items.is_empty());

    push(&storage, &above, &support::content(100)).await;
    put(&storage, &above, &image, &[needed], &[]).await.unwrap();

    assert!(layout.all_layers(&above).is_dir() && layout.tags(&above).is_dir());
    let listed = storage.repositories(all()).await.unwrap().items;
    assert_eq!(listed, [above]);
}

#[tokio::test]
async fn a_repository_with_anything_in_it_stays_whole() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    with_deleted_image(&storage, &a).await;
    let run = storage.begin(Terms::new()).await.unwrap();
    let layout = &storage.store().layout;
    let foreign = layout.manifests(&a).join("notes");
    let session = support::open_upload(&storage, &a).await;
    let is_kept = async || {
        let removed = is_removed(&storage, &run, Victim::Repository(a.clone())).await;
        assert_eq!(layout.manifests(&a).exists(), layout.tags(&a).exists());
        assert!(layout.all_layers(&a).exists() || !layout.manifests(&a).exists());
        !removed
    };
    assert!(is_kept().await, "its layer is linked");

    for victim in [Victim::Link(a.clone(), blob(&support::content(100)).digest)] {
        assert!(is_removed(&storage, &run, victim).await);
    }
    assert!(is_kept().await, "it has a session");
    assert!(writer(&storage).cancel(&a, &session.id).await.unwrap());
    fs::write(&foreign, "").unwrap();
    assert!(is_kept().await, "somebody has left a file");
    fs::remove_file(&foreign).unwrap();
    // Left by a crash between the removals of a manifest and of its media type.
    let media_type = layout.media_type(&a, &blob(&support::content(1)).digest);
    fs::create_dir_all(media_type.parent().unwrap()).unwrap();
    fs::write(media_type, "text/plain").unwrap();
    assert!(!is_kept().await);
    assert_eq!(
        storage
            .due(&Terms::new(), &[Victim::Repository(a)])
            .await
            .unwrap(),
        [Due::Absent]
    );
}

#[tokio::test]
async fn directories_that_many_digests_share_stay() {
    let root = scratch();
    let storage = relaxed(root.path());
    let (_, needed) = with_deleted_image(&storage, &name("a")).await;
    let data = storage.store().layout.blob(&needed.digest);
    let own = data.parent().unwrap();

    collect(&storage).await;

    assert!(!own.exists() && own.parent().unwrap().is_dir());
}

/// Otherwise the push that finds them durable would skip their syncs.
#[tokio::test]
async fn what_was_removed_is_not_taken_for_durable() {
    let root = scratch();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    let (image, needed) = with_deleted_image(&storage, &a).await;
    let store = storage.store();
    let files = [
        store.layout.blob(&needed.digest),
        store.layout.layer(&a, &needed.digest),
        store.layout.blob(image.digest()),
    ];
    assert!(files.iter().all(|file| store.disk.is_durable(file)));

    collect(&storage).await;

    for file in &files {
        assert!(!file.exists() && !store.disk.is_durable(file), "{file:?}");
        assert!(
            !store.disk.directories.is_durable(file.parent().unwrap()),
            "{file:?}"
        );
    }
}

/// A push that overlaps many removals would sync everything again otherwise.
#[tokio::test]
async fn removals_keep_nobody_from_remembering_what_is_durable() {
    let root = scratch();
    let storage = FsStorage::open(root.path()).unwrap();
    let a = name("a");
    with_deleted_image(&storage, &a).await;
    let store = storage.store();
    let file = store.layout.top().join("somewhere/file");
    let mut changes = store.disk.changes();
    changes.put(&file, b"content").unwrap();

    let run = storage.begin(Terms::new()).await.unwrap();
    let layer = blob(&support::content(100)).digest;
    for victim in [Victim::Link(a, layer), Victim::Data(layer)] {
        assert!(is_removed(&storage, &run, victim).await);
    }
    changes.settle().unwrap();

    assert!(store.disk.is_durable(&file));
}

/// Files of other programs, such as `.nfs…`.
#[tokio::test]
async fn a_preview_does_not_promise_a_repository_with_files_that_stay() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let layer = support::content(10);
    push(&storage, &a, &layer).await;
    let document = image(&[blob(&layer)], "1");
    put(&storage, &a, &document, &[blob(&layer)], &[]).await.unwrap();
    let victim = Victim::Repository(a.clone());
    let due = async || {
        storage
            .due(&Terms::new(), std::slice::from_ref(&victim))
            .await
            .unwrap()[0]
    };
    assert!(matches!(due().await, Due::Now { .. }));
    let links = storage.store().layout.all_layers(&a).join("sha256");

    fs::write(links.join(".nfs0001"), "").unwrap();

    assert_eq!(due().await, Due::InUse);
}

/// A repair takes a link without a directory for lost, and writes it again.
#[tokio::test]
async fn a_directory_stays_for_who_may_name_its_digest_and_goes_with_the_last_of_them() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let layer = support::content(10);
    push(&storage, &a, &layer).await;
    let digest = blob(&layer).digest;
    let deleted = writer(&storage).delete_blob(&a, &digest, Deletion::new()).await;
    assert!(deleted.unwrap());
    let store = storage.store();
    let link = store.layout.layer(&a, &digest);
    let is_kept = |began| {
        let empty = vec![Empty::Layer(a.clone(), digest)];
        store.remove_empty_records(&a, empty, began).unwrap();
        link.parent().unwrap().exists()
    };
    let began = store.collecting.release([]);

    // A put that has read it, and whose manifest was not there when the others were read.
    store.collecting.touch([store.digest_locks.key(&digest)]);
    assert!(is_kept(began));
    let began = store.collecting.release([]);
    let garbled = store.layout.tag(&a, &tag("v1")).current();
    fs::create_dir_all(garbled.parent().unwrap()).unwrap();
    fs::write(&garbled, "garbled").unwrap();
    assert!(
        is_kept(began),
        "a tag that cannot be read may point at a manifest that names it"
    );
    // A manifest of which the record was lost.
    let image = image(&[blob(&layer)], "image");
    let data = store.layout.blob(image.digest());
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::write(&data, image.bytes()).unwrap();
    fs::write(&garbled, image.digest().to_string()).unwrap();
    assert!(is_kept(began), "a tag points at a manifest that names it");
    let index = index(&[child(&image)], "index");
    put(&storage, &a, &index, &[], &["v1"]).await.unwrap();
    assert!(is_kept(began), "an index contains a manifest that names it");
    fs::write(store.layout.blob(index.digest()), "damaged").unwrap();
    assert!(is_kept(began), "a damaged manifest may name it");

    fs::remove_file(&garbled).unwrap();
    fs::remove_file(store.layout.revision(&a, index.digest())).unwrap();
    fs::remove_dir_all(store.layout.tag(&a, &tag("v1")).directory).unwrap();
    assert!(!is_kept(began));
}

#[tokio::test]
async fn a_media_type_that_could_not_be_removed_goes_with_the_next_run() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let image = image(&[], "image");
    let typed = PutManifest::new(image.clone(), MediaType::parse("text/plain").unwrap());
    writer(&storage).put_manifest(&a, typed).await.unwrap();
    collect(&storage).await;
    put(&storage, &a, &index(&[], "kept"), &[], &["v1"])
        .await
        .unwrap();
    let typed = PutManifest::new(image.clone(), MediaType::parse("text/plain").unwrap());
    writer(&storage).put_manifest(&a, typed).await.unwrap();
    let media_type = storage.store().layout.media_type(&a, image.digest());
    let aside = root.path().join("aside");
    let swap = {
        let (media_type, aside) = (media_type.clone(), aside.clone());
        // A directory cannot be removed as a file.
        move || {
            fs::rename(&media_type, &aside).unwrap();
            fs::create_dir(&media_type).unwrap();
        }
    };
    storage.store().pauses.at(Point::ReclaimManifestLinkRemoved, swap);
    let run = storage.begin(Terms::new()).await.unwrap();
    let victim = Victim::Manifest(a.clone(), *image.digest());
    assert!(matches!(
        reclaim(&storage, &run, victim).await,
        Reclaimed::Failed(_)
    ));
    assert!(is_removed(&storage, &run, Victim::Data(*image.digest())).await);
    storage.end(run, Census::new(1)).await.unwrap();
    fs::remove_dir(&media_type).unwrap();
    fs::rename(&aside, &media_type).unwrap();

    collect(&storage).await;

    assert!(!media_type.exists());
}
