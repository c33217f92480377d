//! Manifests are returned as they were put, and are stored whole or not at all.

use super::{Backend, support::*};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType,
    storage::{Deletion, Need, Needed, PutManifest, Referring, SizePolicy, Storage, StorageError, Verified},
};

/// Asserts that a put of `image` with the tag `v1` left nothing new in a repository.
async fn assert_without_a_trace(storage: &dyn Storage, image: &Image) {
    let a = repository("a");
    assert!(manifest(storage, &a, image.digest()).await.is_none());
    assert!(manifest(storage, &a, tag("v1")).await.is_none());
    assert!(
        storage.tags(&a, all()).await.unwrap().is_none(),
        "the repository exists"
    );
    assert!(storage.repositories(all()).await.unwrap().items.is_empty());
    let subject = Image::new(99).digest();
    assert!(
        storage
            .referrers(&a, Referring::new(&subject), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub async fn a_manifest_comes_back_byte_for_byte_by_digest_and_by_tag(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);

    let outcome = put(&backend.first, &a, image.tagged(&["v1"])).await;

    assert!(outcome.created);
    for found in [
        manifest(&backend.second, &a, image.digest()).await.unwrap(),
        manifest(&backend.second, &a, tag("v1")).await.unwrap(),
    ] {
        assert_eq!(found.bytes, image.bytes());
        assert_eq!(found.digest, image.digest());
        assert_eq!(found.media_type, *image.media_type());
    }
}

pub async fn every_media_type_survives(backend: Backend) {
    let a = repository("a");
    for (seed, text) in (0..).zip([
        MediaType::OCI_MANIFEST,
        MediaType::OCI_INDEX,
        MediaType::DOCKER_MANIFEST,
        MediaType::DOCKER_LIST,
        "application/vnd.example.something+json",
    ]) {
        let image = Image::new(seed).of_type(text);
        put(&backend.first, &a, image.tagged(&[])).await;

        let found = manifest(&backend.second, &a, image.digest()).await.unwrap();
        assert_eq!(found.media_type.as_str(), text);
    }
}

pub async fn a_media_type_that_the_document_does_not_name_survives(backend: Backend) {
    let a = repository("a");
    for (document, text) in [
        (r#"{"schemaVersion":2,"layers":[]}"#, MediaType::OCI_MANIFEST),
        (r#"{"schemaVersion":2,"manifests":[]}"#, MediaType::OCI_INDEX),
        (r#"{"schemaVersion":2}"#, "application/vnd.example.something+json"),
    ] {
        let bytes = Bytes::from_static(document.as_bytes());
        let proof = Verified::of(Algorithm::Sha256, bytes.clone());
        let digest = *proof.digest();
        put(&backend.first, &a, PutManifest::new(proof, media_type(text))).await;

        let found = manifest(&backend.second, &a, digest).await.unwrap();
        assert_eq!((found.media_type.as_str(), found.bytes), (text, bytes));
    }
}

pub async fn sha512_manifests_are_equals(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1).hashed_by(Algorithm::Sha512);
    let sha256 = Image::new(1);
    let index = Image::new(2).needing(image.digest(), image.size(), Need::Manifest);

    put(&backend.first, &a, image.tagged(&["v1"])).await;
    put(&backend.first, &a, index.tagged(&["all"])).await;

    assert_eq!(resolve(&backend.second, &a, "v1").await, Some(image.digest()));
    assert_eq!(
        manifest(&backend.second, &a, image.digest()).await.unwrap().bytes,
        image.bytes()
    );
    assert!(
        manifest(&backend.second, &a, sha256.digest()).await.is_none(),
        "under its sha256 nobody put it"
    );
    let gone = writer(&backend.first)
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap();
    assert_eq!(gone, Some(vec![tag("v1")]));
    assert!(manifest(&backend.second, &a, image.digest()).await.is_none());
}

pub async fn a_manifest_of_4_mebibytes_comes_back(backend: Backend) {
    let a = repository("a");
    let document = format!(r#"{{"schemaVersion":2,"filler":"{}"}}"#, "x".repeat(4 << 20));
    let proof = Verified::of(Algorithm::Sha256, Bytes::from(document));
    let (digest, bytes) = (*proof.digest(), proof.bytes().clone());
    put(
        &backend.first,
        &a,
        PutManifest::new(proof, media_type(MediaType::OCI_MANIFEST)),
    )
    .await;

    assert!(manifest(&backend.second, &a, digest).await.unwrap().bytes == bytes);
}

pub async fn putting_the_same_manifest_again_succeeds_and_creates_nothing(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;

    let again = put(&backend.second, &a, image.tagged(&["v1", "v2"])).await;

    assert!(!again.created);
    assert_eq!(again.moved[0].previous, Some(image.digest()));
    assert_eq!(again.moved[1].previous, None);
    assert_eq!(tags(&backend.first, &a).await, ["v1", "v2"]);
}

pub async fn a_manifest_that_was_deleted_can_be_put_again(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    writer(&backend.first)
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap();

    let again = put(&backend.second, &a, image.tagged(&["v1"])).await;

    assert!(again.created);
    assert_eq!(again.moved[0].previous, None);
    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(image.digest()));
}

pub async fn everything_that_is_missing_is_named(backend: Backend) {
    let a = repository("a");
    let there = push(&backend.first, &a, &content(1, 10)).await;
    let blobs = [2, 3].map(|seed| Digest::of(Algorithm::Sha256, &content(seed, 10)));
    let child = Image::new(7);
    let image = Image::new(1)
        .needing(blobs[0], 10, Need::Blob)
        .needing(there.digest, 10, Need::Blob)
        .needing(blobs[1], 10, Need::Blob)
        .needing(child.digest(), child.size(), Need::Manifest);

    let refused = writer(&backend.first)
        .put_manifest(&a, image.tagged(&["v1"]))
        .await;

    let Err(StorageError::MissingReferences(mut missing)) = refused else {
        panic!("{refused:?}");
    };
    let mut expected = vec![blobs[0], blobs[1], child.digest()];
    missing.sort();
    expected.sort();
    assert_eq!(missing, expected);
}

pub async fn a_refused_manifest_leaves_no_trace(backend: Backend) {
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let image = Image::new(1)
        .referring_to(Image::new(99).digest(), "application/vnd.example.signature")
        .needing(absent, 6, Need::Blob);

    let refused = writer(&backend.first)
        .put_manifest(&repository("a"), image.tagged(&["v1"]))
        .await;

    assert!(
        matches!(refused, Err(StorageError::MissingReferences(_))),
        "{refused:?}"
    );
    assert_without_a_trace(&backend.second, &image).await;
}

pub async fn a_refused_manifest_moves_no_tag(backend: Backend) {
    let a = repository("a");
    let before = Image::new(1);
    put(&backend.first, &a, before.tagged(&["v1"])).await;
    let absent = Digest::of(Algorithm::Sha256, b"absent");

    let refused = Image::new(2).needing(absent, 6, Need::Blob).tagged(&["v1", "v2"]);
    writer(&backend.first)
        .put_manifest(&a, refused)
        .await
        .unwrap_err();

    assert_eq!(resolve(&backend.second, &a, "v1").await, Some(before.digest()));
    assert_eq!(tags(&backend.second, &a).await, ["v1"]);
}

pub async fn a_manifest_is_refused_whose_descriptor_lies_about_a_whole_blob(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    for claimed in [0, 999, 1001] {
        let image = Image::new(claimed).needing(blob.digest, claimed, Need::Blob);

        let refused = writer(&backend.first)
            .put_manifest(&a, image.tagged(&["v1"]))
            .await;

        let Err(StorageError::SizeMismatch {
            digest,
            stored,
            claimed: told,
            ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((digest, stored, told), (blob.digest, 1000, claimed));
        assert_without_a_trace(&backend.second, &image).await;
    }
    assert_eq!(
        read(&backend.second, &a, &blob.digest).await,
        Some(bytes),
        "the blob is not condemned"
    );
}

pub async fn a_size_that_does_not_match_is_accepted_where_any_is(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let child = Image::new(2);
    put(&backend.first, &a, child.tagged(&[])).await;
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let index = Image::new(3).needing(blob.digest, 999, Need::Either).needing(
        child.digest(),
        child.size(),
        Need::Manifest,
    );
    let mut accepted = index.tagged(&["v1"]);
    accepted.sizes = SizePolicy::Any;
    let mut sparse = index.needing(absent, 6, Need::Either).tagged(&["v1"]);
    sparse.sizes = SizePolicy::Any;

    let refused = writer(&backend.first).put_manifest(&a, sparse).await;
    let outcome = put(&backend.first, &a, accepted).await;

    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [absent]),
        "{refused:?}"
    );
    let expected = Needed::new(blob.digest, 999, Need::Either).wrong_size(1000);
    assert_eq!(outcome.wrong_sizes, Vec::from_iter(expected));
    assert_eq!(tags(&backend.second, &a).await, ["v1"]);
}

pub async fn an_index_is_refused_whose_descriptor_lies_about_a_manifest(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    put(&backend.first, &a, child.tagged(&[])).await;
    let index = Image::new(2).needing(child.digest(), child.size() + 1, Need::Manifest);

    let refused = writer(&backend.first)
        .put_manifest(&a, index.tagged(&["v1"]))
        .await;

    assert!(
        matches!(refused, Err(StorageError::SizeMismatch { .. })),
        "{refused:?}"
    );
    assert!(manifest(&backend.second, &a, index.digest()).await.is_none());
    assert!(manifest(&backend.second, &a, child.digest()).await.is_some());
}

pub async fn a_blob_does_not_stand_in_for_a_manifest_nor_the_other_way_round(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    let document = Image::new(2);
    put(&backend.first, &a, child.tagged(&[])).await;
    let blob = push(&backend.first, &a, &document.bytes()).await;

    assert!(manifest(&backend.second, &a, blob.digest).await.is_none());
    assert!(!holds(&backend.second, &a, &child.digest()).await);
    for (digest, size, need) in [
        (child.digest(), child.size(), Need::Blob),
        (blob.digest, blob.size, Need::Manifest),
    ] {
        let image = Image::new(3).needing(digest, size, need);
        let refused = writer(&backend.first).put_manifest(&a, image.tagged(&[])).await;
        assert!(
            matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [digest]),
            "{need:?}: {refused:?}"
        );
    }
}

pub async fn what_may_be_either_is_a_blob_or_a_manifest_of_the_repository(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    put(&backend.first, &a, child.tagged(&[])).await;
    let layer = content(2, 1000);
    let layer = try_push(&backend.first, &a, &layer, Digest::of(Algorithm::Sha512, &layer))
        .await
        .unwrap();
    let elsewhere = push(&backend.first, &repository("b"), &content(3, 10)).await;
    let index = Image::new(4)
        .needing(child.digest(), child.size(), Need::Either)
        .needing(layer.digest, layer.size, Need::Either);
    let sparse = index
        .clone()
        .needing(elsewhere.digest, elsewhere.size, Need::Either);

    put(&backend.second, &a, index.tagged(&["v1"])).await;
    let refused = writer(&backend.second).put_manifest(&a, sparse.tagged(&[])).await;

    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(index.digest()));
    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [elsewhere.digest]),
        "{refused:?}"
    );
}

pub async fn the_size_of_what_may_be_either_is_checked_whatever_it_is(backend: Backend) {
    let a = repository("a");
    let child = Image::new(1);
    put(&backend.first, &a, child.tagged(&[])).await;
    let blob = push(&backend.first, &a, &content(2, 1000)).await;
    for (digest, size) in [(child.digest(), child.size()), (blob.digest, 1000)] {
        let index = Image::new(3).needing(digest, size + 1, Need::Either);

        let refused = writer(&backend.first).put_manifest(&a, index.tagged(&[])).await;

        let Err(StorageError::SizeMismatch { stored, claimed, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((stored, claimed), (size, size + 1));
    }
}

pub async fn a_manifest_goes_in_when_what_it_needs_is_there(backend: Backend) {
    let a = repository("a");
    let config = push(&backend.first, &a, &content(1, 0)).await;
    let layer = content(2, 70_000);
    let layer = try_push(&backend.second, &a, &layer, Digest::of(Algorithm::Sha512, &layer))
        .await
        .unwrap();
    let child = Image::new(1)
        .needing(config.digest, config.size, Need::Blob)
        .needing(layer.digest, layer.size, Need::Blob)
        .needing(layer.digest, layer.size, Need::Blob);
    let index = Image::new(2).needing(child.digest(), child.size(), Need::Manifest);

    put(&backend.first, &a, child.tagged(&[])).await;
    put(&backend.second, &a, index.tagged(&["v1"])).await;

    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(index.digest()));
}

pub async fn a_manifest_that_nobody_put_is_absent(backend: Backend) {
    let a = repository("a");
    assert!(manifest(&backend.first, &a, tag("v1")).await.is_none());
    put(&backend.first, &a, Image::new(1).tagged(&["v1"])).await;

    assert!(
        manifest(&backend.second, &a, Image::new(2).digest())
            .await
            .is_none()
    );
    assert!(manifest(&backend.second, &a, tag("v")).await.is_none());
    assert!(manifest(&backend.second, &a, tag("v11")).await.is_none());
    assert!(
        manifest(&backend.second, &a, tag("V1")).await.is_none(),
        "tags differ by case"
    );
}
