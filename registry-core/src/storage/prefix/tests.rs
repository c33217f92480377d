//! Tests of the isolation of tenants, beside neighbours that have the same content.

use super::PrefixStorage;
use crate::{
    Registry,
    digest::{Algorithm, Digest},
    error::{Error, ErrorCode},
    forward_storage,
    name::{MAX_NAME, RepositoryName},
    reference::Tag,
    service::{ManifestPush, Repository},
    storage::{
        Deletion, Listing, MemoryStorage, Mount, NewUpload, Page, ReadBlob, Result, Storage, StorageError,
        TagExpect,
    },
    upload_id::UploadId,
};
use async_trait::async_trait;
use http::StatusCode;

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn tenant(storage: &MemoryStorage, prefix: &str) -> PrefixStorage<MemoryStorage> {
    PrefixStorage::new(storage.clone(), name(prefix))
}

fn repository(storage: impl Storage, text: &str) -> Repository {
    Registry::builder(storage).build().repository(name(text)).unwrap()
}

async fn push(storage: impl Storage, text: &str, bytes: &'static str) -> Digest {
    let repository = repository(storage, text);
    repository.push_blob(bytes, None).await.unwrap().digest
}

/// Makes a repository exist.
async fn create(storage: impl Storage, text: &str) {
    let push = ManifestPush::new(tag("v1"), INDEX);
    repository(storage, text).put_manifest(push).await.unwrap();
}

/// Reads the whole catalog in pages of `limit`, and the number of pages.
async fn pages(storage: &dyn Storage, limit: usize) -> (Vec<String>, usize) {
    let (mut names, mut last, mut count) = (Vec::new(), None, 0);
    loop {
        let page = Page::first(limit).after(last.as_ref());
        let listing = storage.repositories(page).await.unwrap();
        assert!(listing.items.len() <= limit && (!listing.more || listing.items.len() == limit));
        names.extend(listing.items.iter().map(ToString::to_string));
        last = listing.items.last().cloned();
        count += 1;
        if !listing.more {
            return (names, count);
        }
    }
}

#[tokio::test]
async fn the_catalog_has_the_names_below_the_prefix_whatever_is_around_them() {
    let storage = MemoryStorage::new();
    let tenant = tenant(&storage, "a");
    let around = [
        "a", "a-b", "a-b/x", "a.b", "a.zz/y", "a0", "a_b", "aa/x", "0", "b/x", "z",
    ];
    let own = ["0", "b", "b-c", "b/c", "zz"];

    for (step, neighbour) in [None].into_iter().chain(around.map(Some)).enumerate() {
        if let Some(neighbour) = neighbour {
            create(storage.clone(), neighbour).await;
        }
        if step == 0 {
            assert_eq!(pages(&tenant, 2).await, (vec![], 1));
            for short in own {
                create(tenant.clone(), short).await;
            }
        }
        assert_eq!(pages(&tenant, 1).await, (own.map(String::from).to_vec(), 5));
        assert_eq!(pages(&tenant, 2).await.1, 3, "beside {neighbour:?}");
        assert_eq!(pages(&tenant, 5).await.1, 1, "beside {neighbour:?}");
        let after = name("b-c");
        let listing = tenant
            .repositories(Page::first(9).after(Some(&after)))
            .await
            .unwrap();
        assert_eq!(listing.items, ["b/c", "zz"].map(name));
        let none = tenant.repositories(Page::first(0)).await.unwrap();
        assert!(none.items.is_empty() && !none.more);
    }
}

/// Refuses a listing that does not begin near the prefix `a`.
#[derive(Debug)]
struct Seeking(MemoryStorage);

#[async_trait]
impl Storage for Seeking {
    forward_storage! { Storage: self => &self.0; except repositories }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        assert!(page.after.is_some_and(|after| *after > name("a.zz")), "{page:?}");
        self.0.repositories(page).await
    }
}

#[tokio::test]
async fn a_page_is_found_by_seeking_to_the_prefix() {
    let storage = MemoryStorage::new();
    create(tenant(&storage, "a"), "b").await;
    for number in 0..20 {
        create(storage.clone(), &format!("a-{number}")).await;
    }

    let tenant = PrefixStorage::new(Seeking(storage), name("a"));

    assert_eq!(pages(&tenant, 1).await, (vec!["b".into()], 1));
}

#[tokio::test]
async fn no_answer_shows_that_another_tenant_has_the_same_content() {
    let storage = MemoryStorage::new();
    let (alone, beside) = (MemoryStorage::new(), storage.clone());
    for number in 0..40 {
        push(storage.clone(), &format!("other/r{number}"), "shared").await;
        create(storage.clone(), &format!("other/r{number}")).await;
    }
    for storage in [alone, beside] {
        let tenant = tenant(&storage, "acme");
        let (app, copy) = (name("app"), name("copy"));
        let digest = Digest::of(Algorithm::Sha256, b"shared");
        let write = tenant.write().unwrap();
        let holders = async || tenant.holders(&digest, Page::first(9)).await.unwrap().items;

        assert_eq!(tenant.blob(&app, &digest).await.unwrap(), None);
        assert!(
            tenant
                .open_blob(&app, &digest, ReadBlob::default())
                .await
                .unwrap()
                .is_none()
        );
        assert!(holders().await.is_empty());
        for from in ["app", "other/r1", "r1"] {
            let from = name(from);
            assert_eq!(
                write.mount(&copy, Mount::new(&from, &digest)).await.unwrap(),
                None
            );
        }
        assert_eq!(
            repository(tenant.clone(), "copy")
                .mount(&digest, None)
                .await
                .unwrap(),
            None
        );
        assert!(!write.delete_blob(&app, &digest, Deletion::new()).await.unwrap());
        assert_eq!(
            tenant
                .tags(&app, Page::first(9))
                .await
                .unwrap()
                .map(|tags| tags.items),
            None
        );

        push(tenant.clone(), "app", "shared").await;
        create(tenant.clone(), "app").await;

        let blob = tenant.blob(&app, &digest).await.unwrap().unwrap();
        assert_eq!(
            (blob.size, blob.modified),
            (6, None),
            "it may be older than the push"
        );
        let read = tenant
            .open_blob(&app, &digest, ReadBlob::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.info, blob);
        assert_eq!(holders().await, std::slice::from_ref(&app));
        let mounted = repository(tenant.clone(), "copy")
            .mount(&digest, None)
            .await
            .unwrap();
        assert_eq!(mounted, Some(app.clone()));
        assert_eq!(holders().await, [app, copy]);
    }
}

#[tokio::test]
async fn a_holder_that_lost_the_blob_elsewhere_is_no_longer_listed() {
    let storage = MemoryStorage::new();
    let tenant = tenant(&storage, "acme");
    let digest = push(tenant.clone(), "app", "layer").await;

    let write = storage.write().unwrap();
    assert!(
        write
            .delete_blob(&name("acme/app"), &digest, Deletion::new())
            .await
            .unwrap()
    );

    let holders = tenant.holders(&digest, Page::first(9)).await.unwrap();
    assert!(holders.items.is_empty());
}

#[tokio::test]
async fn a_session_of_another_tenant_is_unknown() {
    let storage = MemoryStorage::new();
    let [acme, other] = ["acme", "other"].map(|prefix| tenant(&storage, prefix));
    let app = name("app");
    let new = NewUpload::hashed_by(Algorithm::Sha256);
    let opened = other.write().unwrap().open_upload(&app, new).await.unwrap();

    for guess in ["app", "other/app"].map(name) {
        let write = acme.write().unwrap();
        assert!(write.upload(&guess, &opened.id).await.unwrap().is_none());
        assert!(!write.cancel(&guess, &opened.id).await.unwrap());
        let hasher = crate::hash::Hasher::new(Algorithm::Sha256);
        let rehashed = write.rehash(&guess, opened.clone(), hasher).await;
        assert!(
            matches!(rehashed, Err(StorageError::UploadUnknown)),
            "{rehashed:?}"
        );
    }
    assert!(other.write().unwrap().cancel(&app, &opened.id).await.unwrap());
}

#[tokio::test]
async fn a_tenant_changes_and_deletes_nothing_of_another() {
    let storage = MemoryStorage::new();
    let [acme, other] = ["acme", "other"].map(|prefix| tenant(&storage, prefix));
    create(other.clone(), "app").await;
    create(acme.clone(), "app").await;
    let acme = repository(acme, "app");

    assert!(acme.delete_manifest("v1").await.unwrap());
    assert!(
        acme.delete_manifest(Digest::of(Algorithm::Sha256, INDEX.as_bytes()))
            .await
            .unwrap()
    );

    assert!(repository(other, "app").manifest("v1").await.unwrap().is_some());
}

#[tokio::test]
async fn names_are_as_long_as_the_prefix_leaves_room_for() {
    let storage = MemoryStorage::new();
    let tenant = tenant(&storage, "acme");
    let longest = "a".repeat(MAX_NAME - "acme/".len());
    let digest = push(tenant.clone(), &longest, "layer").await;
    create(tenant.clone(), &longest).await;
    let long = name(&format!("{longest}a"));

    let refused = repository(tenant.clone(), long.as_str())
        .push_blob("layer", None)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::NameTooLong { limit: 250 }),
        "{refused:?}"
    );
    assert_eq!(refused.wire(), (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid));

    let write = tenant.write().unwrap();
    let id = UploadId::from_random([0; 16]);
    assert_eq!(tenant.blob(&long, &digest).await.unwrap(), None);
    assert!(tenant.tags(&long, Page::first(1)).await.unwrap().is_none());
    assert!(write.upload(&long, &id).await.unwrap().is_none());
    assert_eq!(
        write
            .mount(&name(&longest), Mount::new(&long, &digest))
            .await
            .unwrap(),
        None
    );
    let deleted = write
        .delete_tag(&long, &tag("v1"), TagExpect::Any, Deletion::new())
        .await;
    assert_eq!(deleted.unwrap(), None);
    let refused = write
        .delete_tag(&long, &tag("v1"), TagExpect::Is(digest), Deletion::new())
        .await;
    assert!(
        matches!(refused, Err(StorageError::TagConflict { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_page_after_a_name_that_is_too_long_begins_behind_it() {
    let storage = MemoryStorage::new();
    let prefix = "p".repeat(MAX_NAME - 5);
    let tenant = tenant(&storage, &prefix);
    let own = ["a", "a-b", "a/0", "a/b", "b"];
    for short in own {
        create(tenant.clone(), short).await;
    }
    for after in [
        "a---a",
        "a--a--a",
        "a.aaaa",
        "a/aaaaaaa",
        "a/b/c/d",
        "aaaaaaaaa",
        "zzzzz",
    ]
    .map(name)
    {
        let listing = tenant
            .repositories(Page::first(2).after(Some(&after)))
            .await
            .unwrap();
        let model: Vec<RepositoryName> = own.map(name).into_iter().filter(|own| *own > after).collect();
        assert_eq!(listing.items, model[..model.len().min(2)], "after {after}");
        assert_eq!(listing.more, model.len() > 2);
    }

    let full = PrefixStorage::new(storage, name(&"p".repeat(MAX_NAME - 1)));
    assert_eq!(pages(&full, 3).await, (vec![], 1));
}
