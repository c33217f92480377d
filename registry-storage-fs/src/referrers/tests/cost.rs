//! Number of files and entries that a request for referrers reads.

use super::*;

#[tokio::test]
async fn after_the_first_request_only_what_is_shown_is_read() {
    let mut costs = Vec::new();
    for count in [10, 200] {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..count {
            put(&storage, &image(seed)).await;
        }
        put(&storage, &signature(0)).await;
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(listed(&storage).await.len(), 1);

        seams::watch(root.path());
        assert_eq!(listed(&storage).await.len(), 1);
        costs.push(seams::watch(root.path()));
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn requests_that_come_at_once_read_the_manifests_once() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for seed in 0..50 {
        put(&storage, &image(seed)).await;
    }
    drop(storage);
    let storage = FsStorage::open(root.path()).unwrap();
    seams::watch(root.path());

    let requests: Vec<_> = (0..100)
        .map(|_| {
            let storage = storage.clone();
            tokio::spawn(async move { listed(&storage).await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), []);
    }

    let costs = seams::watch(root.path());
    // A link, its bytes and the media type that it may have been put as.
    assert!((150..200).contains(&costs.files), "{costs:?}");
    assert!(costs.entries < 60, "{costs:?}");
}

#[tokio::test]
async fn a_page_reads_as_many_manifests_as_it_shows() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for seed in 0..300 {
        put(&storage, &signature(seed)).await;
    }
    let all = listed(&storage).await;
    assert_eq!(all.len(), 300);
    for after in [None, Some(&all[100]), Some(&all[280])] {
        seams::watch(root.path());
        let page = Page::first(5).after(after);
        let listing = storage
            .referrers(&name("a"), Referring::new(&subject()).of_type(Some(TYPE)), page)
            .await
            .unwrap();

        assert!(listing.more && listing.items.len() == 5);
        let costs = seams::watch(root.path());
        assert_eq!(costs.files, 6 * 3);
        // The directories, of which there are no more than 256, and what is in those of the page.
        assert!(costs.entries < 256 + 50, "{costs:?}");
    }
}

#[tokio::test]
async fn a_list_of_one_type_reads_no_manifest_of_another() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    for seed in 1..20 {
        let text = String::from_utf8(signature(seed).manifest.bytes().to_vec()).unwrap();
        put(
            &storage,
            &put_of(text.replace(TYPE, "application/vnd.example.sbom")),
        )
        .await;
    }
    assert_eq!(listed(&storage).await.len(), 20);
    seams::watch(root.path());

    let page = Page::first(10);
    let listing = storage
        .referrers(&name("a"), Referring::new(&subject()).of_type(Some(TYPE)), page)
        .await
        .unwrap();

    assert_eq!(listing.items.len(), 1);
    assert_eq!(seams::watch(root.path()).files, 3);
}

#[tokio::test]
async fn of_an_index_on_disk_nothing_stays_in_memory() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for seed in 0..10 {
        put(&storage, &image(seed)).await;
    }

    listed(&storage).await;

    assert_eq!(storage.store().known_manifests.bytes(), 0);
}
