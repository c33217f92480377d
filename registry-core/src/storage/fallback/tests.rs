//! Tests of two storages, of which only the upper one changes.

use super::FallbackStorage;
use crate::{
    Registry,
    digest::{Algorithm, Digest},
    error::{Error, ErrorCode},
    forward_storage,
    media_type::MediaType,
    name::RepositoryName,
    protocol::Precondition,
    reference::{Reference, Tag},
    service::{ManifestPush, Repository},
    storage::{
        BlobBody, BlobRead, Content, MemoryStorage, Need, Needed, Page, PutManifest, ReadBlob,
        ReadOnlyStorage, Referring, Result, Storage, StorageError, TagExpect, TagMove, Verified,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn repository(storage: impl Storage, text: &str) -> Repository {
    Registry::builder(storage).build().repository(name(text)).unwrap()
}

type Layers = FallbackStorage<MemoryStorage, ReadOnlyStorage<MemoryStorage>>;

/// Creates two empty storages, and one that is made of them.
fn layers() -> (MemoryStorage, MemoryStorage, Layers) {
    let (upper, lower) = (MemoryStorage::new(), MemoryStorage::new());
    let both = FallbackStorage::new(upper.clone(), ReadOnlyStorage::new(lower.clone()));
    (upper, lower, both)
}

async fn push(storage: impl Storage, text: &str, bytes: &str) -> Digest {
    let repository = repository(storage, text);
    let blob = repository.push_blob(bytes.to_owned(), None).await.unwrap();
    blob.digest
}

fn descriptor(media_type: &str, content: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#,
        content.len()
    )
}

/// Returns an image of one layer, whose config is the same text.
fn image(layer: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        descriptor("application/vnd.oci.image.config.v1+json", layer),
        descriptor("application/vnd.oci.image.layer.v1.tar", layer),
    )
}

/// Returns an index of manifests.
fn index(manifests: &[&str]) -> String {
    let of = |manifest: &&str| {
        let media_type = match manifest.contains("config") {
            true => MediaType::OCI_MANIFEST,
            false => MediaType::OCI_INDEX,
        };
        descriptor(media_type, manifest)
    };
    let entries: Vec<_> = manifests.iter().map(of).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        entries.join(",")
    )
}

/// Returns a referrer without content of its own.
fn referrer(number: usize, subject: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/x.{number}","manifests":[],"subject":{}}}"#,
        MediaType::OCI_INDEX,
        descriptor(MediaType::OCI_MANIFEST, subject)
    )
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

async fn put(storage: impl Storage, text: &str, reference: impl Into<Reference>, manifest: &str) {
    let push = ManifestPush::new(reference, manifest.to_owned());
    repository(storage, text).put_manifest(push).await.unwrap();
}

/// Pushes an image with its blob.
async fn push_image(storage: impl Storage + Clone, text: &str, reference: &str, layer: &str) -> Digest {
    push(storage.clone(), text, layer).await;
    put(storage, text, tag(reference), &image(layer)).await;
    digest(&image(layer))
}

async fn resolve(storage: &dyn Storage, text: &str, reference: &str) -> Option<Digest> {
    let found = storage
        .manifest(&name(text), &tag(reference).into())
        .await
        .unwrap();
    found.map(|found| found.digest)
}

/// Fails every call.
#[derive(Clone, Debug, Default)]
struct Outage(MemoryStorage);

impl Outage {
    async fn fail<T: Send>(&self, _: &'static str, _: impl Future<Output = Result<T>> + Send) -> Result<T> {
        Err(StorageError::internal("the disk is gone"))
    }
}

impl Storage for Outage {
    forward_storage! { Storage: self => &self.0; around fail }
}

/// Returns other content for each blob than the right one, or a stream that breaks off.
#[derive(Clone, Debug)]
struct Damaged {
    storage: MemoryStorage,
    breaks_off: bool,
}

#[async_trait]
impl Storage for Damaged {
    forward_storage! { Storage: self => &self.storage; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let read = self.storage.open_blob(repository, digest, how).await?;
        Ok(read.map(|read| {
            let content = match self.breaks_off {
                true => Content::stream(Box::pin(BreaksOff)),
                false => Content::bytes("other".into()),
            };
            BlobRead::new(read.info, read.range, BlobBody::Content(content))
        }))
    }
}

struct BreaksOff;

impl Body for BreaksOff {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Err(StorageError::internal("the disk is gone"))))
    }
}

#[tokio::test]
async fn what_the_upper_storage_lacks_is_read_from_the_lower_one() {
    let (upper, lower, both) = layers();
    let below = push_image(lower.clone(), "app", "below", "below").await;
    let above = push_image(upper, "app", "above", "above").await;

    for (reference, manifest, layer) in [("below", below, "below"), ("above", above, "above")] {
        assert_eq!(resolve(&both, "app", reference).await, Some(manifest));
        let app = repository(both.clone(), "app");
        assert!(app.manifest(manifest).await.unwrap().is_some());
        assert!(app.blob(&digest(layer)).await.unwrap().is_some());
        let read = both
            .open_blob(&name("app"), &digest(layer), ReadBlob::default())
            .await;
        assert_eq!(read.unwrap().unwrap().info.size, layer.len() as u64);
    }
}

#[tokio::test]
async fn an_outage_of_the_upper_storage_is_none_of_the_content() {
    let (_, lower, _) = layers();
    let app = name("app");
    let manifest = push_image(lower.clone(), "app", "v1", "layer").await;
    let both = FallbackStorage::new(Outage::default(), lower);

    assert!(both.blob(&app, &digest("layer")).await.is_err());
    assert!(
        both.open_blob(&app, &digest("layer"), ReadBlob::default())
            .await
            .is_err()
    );
    assert!(both.manifest(&app, &manifest.into()).await.is_err());
    assert!(both.manifest(&app, &tag("v1").into()).await.is_err());
    assert!(both.tags(&app, Page::first(9)).await.is_err());
    assert!(both.repositories(Page::first(9)).await.is_err());
    assert!(
        both.referrers(&app, Referring::new(&manifest), Page::first(9))
            .await
            .is_err()
    );
    assert!(both.holders(&digest("layer"), Page::first(9)).await.is_err());
}

#[tokio::test]
async fn listings_have_the_items_of_both_storages_once_and_in_order() {
    let (upper, lower, both) = layers();
    for (storage, own) in [(&upper, ["a", "c", "e"]), (&lower, ["b", "c", "d"])] {
        for text in own {
            let manifest = push_image(storage.clone(), "app", text, text).await;
            push_image(storage.clone(), text, "v1", text).await;
            assert_eq!(manifest, digest(&image(text)));
            let number = text.bytes().next().unwrap().into();
            put(
                storage.clone(),
                "app",
                digest(&referrer(number, "s")),
                &referrer(number, "s"),
            )
            .await;
        }
    }
    let all = ["a", "b", "c", "d", "e"];
    let mut signatures: Vec<Digest> = (usize::from(b'a')..=usize::from(b'e'))
        .map(|number| digest(&referrer(number, "s")))
        .collect();
    signatures.sort_unstable();
    let app = name("app");
    let subject = digest("s");

    for limit in 1..=6 {
        let (mut tags, mut names, mut found) = (Vec::<Tag>::new(), Vec::<RepositoryName>::new(), Vec::new());
        loop {
            let page = Page::first(limit).after(tags.last());
            let listing = both.tags(&app, page).await.unwrap().unwrap();
            tags.extend(listing.items.iter().cloned());
            let page = Page::first(limit).after(names.last());
            names.extend(both.repositories(page).await.unwrap().items);
            let page = Page::first(limit).after(found.last());
            let referrers = both
                .referrers(&app, Referring::new(&subject), page)
                .await
                .unwrap();
            found.extend(referrers.items.iter().map(|referrer| referrer.digest));
            assert_eq!(listing.more, tags.len() < 5, "pages of {limit}");
            assert_eq!(referrers.more, found.len() < 5, "pages of {limit}");
            if !listing.more {
                names.extend(
                    both.repositories(Page::first(1).after(names.last()))
                        .await
                        .unwrap()
                        .items,
                );
                break;
            }
        }
        assert_eq!(tags, all.map(tag));
        assert_eq!(names, ["a", "app", "b", "c", "d", "e"].map(name));
        assert_eq!(found, signatures);
    }
    assert!(both.tags(&name("none"), Page::first(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_manifest_is_complete_in_the_upper_storage_with_all_that_it_names() {
    let (upper, lower, both) = layers();
    let [first, second] = ["first", "second"].map(image);
    for layer in ["first", "second"] {
        push_image(lower.clone(), "app", layer, layer).await;
    }
    // A manifest below an index, with a subject.
    let signature = referrer(1, &first);
    put(lower.clone(), "app", digest(&signature), &signature).await;
    let inner = index(&[&second, &signature]);
    put(lower.clone(), "app", tag("inner"), &inner).await;
    let outer = index(&[&first, &inner]);

    put(both.clone(), "app", tag("outer"), &outer).await;

    let own = repository(upper.clone(), "app");
    for manifest in [&first, &second, &signature, &inner, &outer] {
        let found = own.manifest(digest(manifest)).await.unwrap().unwrap();
        assert_eq!(found.bytes, *manifest);
    }
    for layer in ["first", "second"] {
        assert!(own.blob(&digest(layer)).await.unwrap().is_some());
    }
    let subject = digest(&first);
    let referrers = upper
        .referrers(&name("app"), Referring::new(&subject), Page::first(9))
        .await;
    assert_eq!(
        referrers.unwrap().items.len(),
        1,
        "the copy is listed as a referrer"
    );
    let tags = upper.tags(&name("app"), Page::first(9)).await.unwrap().unwrap();
    assert_eq!(tags.items, [tag("outer")], "no tag is copied");
}

#[tokio::test]
async fn a_manifest_that_needs_what_neither_holds_is_refused_and_nothing_is_copied() {
    let (upper, lower, both) = layers();
    push(lower, "app", "layer").await;
    let put = PutManifest {
        needs: ["layer", "absent"]
            .map(|text| Needed::new(digest(text), text.len() as u64, Need::Blob))
            .to_vec(),
        ..PutManifest::new(
            Verified::of(Algorithm::Sha256, image("layer").into()),
            MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
        )
    };

    let refused = both
        .write()
        .unwrap()
        .put_manifest(&name("app"), put)
        .await
        .unwrap_err();

    assert!(
        matches!(&refused, StorageError::MissingReferences(missing) if *missing == [digest("absent")]),
        "{refused:?}"
    );
    assert!(
        upper
            .blob(&name("app"), &digest("layer"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_blob_is_not_taken_for_a_manifest_that_only_the_lower_storage_could_have() {
    let (_, lower, both) = layers();
    push(lower, "app", &image("layer")).await;

    let put = ManifestPush::new(tag("v1"), index(&[&image("layer")]));
    let refused = repository(both, "app").put_manifest(put).await.unwrap_err();

    assert!(matches!(refused, Error::MissingEntries(_)), "{refused:?}");
}

#[tokio::test]
async fn damaged_content_of_the_lower_storage_is_missing_and_an_outage_is_an_outage() {
    for breaks_off in [false, true] {
        let (upper, storage, _) = layers();
        push(storage.clone(), "app", "layer").await;
        let both = FallbackStorage::new(upper.clone(), Damaged { storage, breaks_off });
        let app = repository(both.clone(), "app");

        let refused = app
            .put_manifest(ManifestPush::new(tag("v1"), image("layer")))
            .await
            .unwrap_err();
        let mounted = repository(both, "copy")
            .mount(&digest("layer"), Some(&name("app")))
            .await;

        if breaks_off {
            assert!(matches!(refused, Error::Storage(_)), "{refused:?}");
            assert!(matches!(mounted, Err(Error::Storage(_))), "{mounted:?}");
        } else {
            assert!(matches!(refused, Error::MissingReferences(_)), "{refused:?}");
            assert_eq!(mounted.unwrap(), None);
        }
        let inspect = upper.inspect().unwrap();
        assert!(
            inspect.uploading(Page::first(9)).await.unwrap().items.is_empty(),
            "no session is left"
        );
        assert!(inspect.blobs(Page::first(9)).await.unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn a_mount_from_the_lower_storage_copies_the_blob() {
    let (upper, lower, both) = layers();
    push(lower, "base", "layer").await;
    let app = repository(both, "app");

    // The source is named, and found.
    for from in [Some(name("base")), None] {
        let mounted = app.mount(&digest("layer"), from.as_ref()).await.unwrap();
        assert!(mounted.is_some(), "{from:?}");
        assert!(
            upper
                .blob(&name("app"), &digest("layer"))
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            upper
                .blob(&name("base"), &digest("layer"))
                .await
                .unwrap()
                .is_none()
        );
    }
    assert_eq!(
        app.mount(&digest("absent"), Some(&name("base"))).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_the_lower_storage_holds_is_not_deleted() {
    let (_, lower, both) = layers();
    let below = push_image(lower, "app", "v1", "layer").await;
    let app = repository(both.clone(), "app");
    for _ in 0..2 {
        let refused = [
            app.delete_manifest("v1").await,
            app.delete_manifest(below).await,
            app.delete_blob(&digest("layer")).await,
        ];
        for refused in refused {
            let refused = refused.unwrap_err();
            assert_eq!(
                refused.wire(),
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
            );
            assert!(refused.to_string().contains("lower storage"), "{refused}");
        }
        assert_eq!(resolve(&both, "app", "v1").await, Some(below));
        // The second time, the upper storage has all of it as well.
        push_image(both.clone(), "app", "v1", "layer").await;
    }

    let above = push_image(both.clone(), "app", "v2", "above").await;
    assert!(app.delete_manifest("v2").await.unwrap());
    assert!(app.delete_manifest(above).await.unwrap());
    assert!(app.delete_blob(&digest("above")).await.unwrap());
    assert!(!app.delete_manifest("v2").await.unwrap());
}

#[tokio::test]
async fn no_deletion_brings_the_old_target_of_a_tag_back() {
    let (_, lower, both) = layers();
    push_image(lower, "app", "v1", "below").await;
    let above = push_image(both.clone(), "app", "v1", "above").await;
    put(both.clone(), "app", tag("v2"), &image("above")).await;
    let app = repository(both.clone(), "app");

    for refused in [app.delete_manifest("v1").await, app.delete_manifest(above).await] {
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    }
    assert_eq!(resolve(&both, "app", "v1").await, Some(above));

    // Once the tag is elsewhere, the manifest goes.
    push_image(both.clone(), "app", "v1", "other").await;
    assert!(app.delete_manifest(above).await.unwrap());
    assert_eq!(resolve(&both, "app", "v2").await, None);
}

#[tokio::test]
async fn conditions_and_previous_targets_are_those_that_readers_see() {
    let (upper, lower, both) = layers();
    let below = push_image(lower, "app", "v1", "below").await;
    push(both.clone(), "app", "above").await;
    let app = repository(both.clone(), "app");
    let mut create = ManifestPush::new(tag("v1"), image("above"));
    create.precondition = Some(Precondition::Absent);
    let refused = app.put_manifest(create.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Precondition { .. }), "{refused:?}");
    let write = both.write().unwrap();
    let put = |tags: Vec<TagMove>| PutManifest {
        tags,
        ..PutManifest::new(
            Verified::of(Algorithm::Sha256, image("above").into()),
            MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
        )
    };

    // The tags before the one with a conflict move.
    let moves = ["v2", "v1", "v0"].map(|text| TagMove::new(tag(text)).expecting(TagExpect::Absent));
    let outcome = write
        .put_manifest(&name("app"), put(moves.to_vec()))
        .await
        .unwrap();
    assert_eq!(
        outcome.moved.iter().map(|moved| &moved.tag).collect::<Vec<_>>(),
        [&tag("v0")]
    );
    let (failed, conflict) = outcome.failed.unwrap();
    assert_eq!(failed, tag("v1"));
    assert!(
        matches!(conflict, StorageError::TagConflict { current, .. } if current == Some(below)),
        "{conflict:?}"
    );
    assert_eq!(resolve(&upper, "app", "v1").await, None);

    let elsewhere = TagMove::new(tag("v1")).expecting(TagExpect::Is(digest("elsewhere")));
    let outcome = write
        .put_manifest(&name("app"), put(vec![elsewhere]))
        .await
        .unwrap();
    let (_, conflict) = outcome.failed.unwrap();
    assert!(
        matches!(conflict, StorageError::TagConflict { current, .. } if current == Some(below)),
        "{conflict:?}"
    );

    let there = TagMove::new(tag("v1")).expecting(TagExpect::Is(below));
    let outcome = write.put_manifest(&name("app"), put(vec![there])).await.unwrap();
    assert!(outcome.failed.is_none());
    assert_eq!(outcome.moved.first().unwrap().previous, Some(below));
    assert_eq!(resolve(&both, "app", "v1").await, Some(digest(&image("above"))));
}

#[tokio::test]
async fn a_manifest_of_the_lower_storage_is_not_created() {
    let (_, lower, both) = layers();
    push_image(lower, "app", "v1", "layer").await;
    let put = PutManifest::new(
        Verified::of(Algorithm::Sha256, image("layer").into()),
        MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
    );

    let outcome = both
        .write()
        .unwrap()
        .put_manifest(&name("app"), put)
        .await
        .unwrap();

    assert!(!outcome.created);
}

#[tokio::test]
async fn several_layers_nest() {
    let (middle, lowest, below) = layers();
    let upper = MemoryStorage::new();
    let all = FallbackStorage::new(upper.clone(), below);
    push(lowest.clone(), "app", "lowest").await;
    push(middle.clone(), "app", "middle").await;
    push_image(lowest, "app", "v1", "lowest").await;
    push_image(middle, "app", "v2", "middle").await;
    let both = index(&["lowest", "middle"].map(image).each_ref().map(String::as_str));

    put(all.clone(), "app", tag("v3"), &both).await;

    let tags = all.tags(&name("app"), Page::first(9)).await.unwrap().unwrap();
    assert_eq!(tags.items, ["v1", "v2", "v3"].map(tag));
    for layer in ["lowest", "middle"] {
        assert!(upper.blob(&name("app"), &digest(layer)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn health_checks_both_storages_and_writes_to_the_upper_one() {
    let (upper, _, both) = layers();
    both.health().unwrap().probe().await.unwrap();

    let both = FallbackStorage::new(upper, Outage::default());

    assert!(both.health().unwrap().probe().await.is_err());
    assert!(both.health().unwrap().accepts_uploads().await.is_ok());
}

#[tokio::test]
async fn a_read_only_upper_storage_makes_both_read_only() {
    let (upper, lower, _) = layers();
    assert!(
        FallbackStorage::new(ReadOnlyStorage::new(upper), lower)
            .write()
            .is_none()
    );
}
