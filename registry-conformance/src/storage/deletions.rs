//! A deletion removes what it says and nothing else.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Deletion, Need, StorageError, TagExpect},
};
use std::sync::Arc;

pub async fn deleting_a_tag_leaves_the_manifest_and_the_other_tags(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1", "v1.0", "v1-alpine"])).await;

    let was = writer(&backend.first)
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();

    assert_eq!(was, Some(image.digest()));
    assert_eq!(tags(&backend.second, &a).await, ["v1-alpine", "v1.0"]);
    assert_eq!(resolve(&backend.second, &a, "v1").await, None);
    assert_eq!(resolve(&backend.second, &a, "v1.0").await, Some(image.digest()));
    assert!(manifest(&backend.second, &a, image.digest()).await.is_some());
}

pub async fn a_tag_is_deleted_only_if_it_is_as_expected(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let a = repository("a");
    let [here, elsewhere] = [1, 2].map(|seed| Image::new(seed).digest());
    for (current, expect, admitted) in [
        (None, TagExpect::Any, true),
        (None, TagExpect::Absent, true),
        (None, TagExpect::Is(here), false),
        (None, TagExpect::AbsentOrIs(here), true),
        (Some(here), TagExpect::Any, true),
        (Some(here), TagExpect::Absent, false),
        (Some(here), TagExpect::Is(here), true),
        (Some(here), TagExpect::Is(elsewhere), false),
        (Some(here), TagExpect::AbsentOrIs(here), true),
        (Some(here), TagExpect::AbsentOrIs(elsewhere), false),
    ] {
        let before: &[&str] = if current.is_some() { &["v1"] } else { &[] };
        put(&backend.first, &a, Image::new(1).tagged(before)).await;

        let result = writer(&backend.second)
            .delete_tag(&a, &tag("v1"), expect, Deletion::new())
            .await;

        let context = format!("{current:?}, {expect:?}: {result:?}");
        let now = resolve(&backend.first, &a, "v1").await;
        if admitted {
            assert_eq!(result.expect(&context), current, "{context}");
            assert_eq!(now, None, "{context}");
        } else {
            assert!(
                matches!(result, Err(StorageError::TagConflict { current: told, .. }) if told == current),
                "{context}"
            );
            assert_eq!(now, current, "{context}");
        }
        let _ = writer(&backend.first)
            .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
            .await
            .unwrap();
    }
}

pub async fn deleting_what_is_not_there_says_so(backend: Backend) {
    let a = repository("a");
    let digest = Digest::of(Algorithm::Sha256, b"absent");
    // In a repository that does not exist, then in one that does.
    for _ in 0..2 {
        let writer = writer(&backend.first);
        assert_eq!(
            writer
                .delete_tag(&a, &tag("absent"), TagExpect::Any, Deletion::new())
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            writer
                .delete_manifest(&a, &digest, Deletion::new())
                .await
                .unwrap(),
            None
        );
        assert!(!writer.delete_blob(&a, &digest, Deletion::new()).await.unwrap());
        put(&backend.first, &a, Image::new(1).tagged(&["v1"])).await;
    }
    assert_eq!(tags(&backend.second, &a).await, ["v1"]);
}

pub async fn deleting_a_manifest_deletes_exactly_its_tags(backend: Backend) {
    let a = repository("a");
    let [gone, stays] = [1, 2].map(Image::new);
    put(
        &backend.first,
        &a,
        gone.tagged(&["b", "1-alpine", "1.2", "1", "moved"]),
    )
    .await;
    put(&backend.first, &a, stays.tagged(&["a", "moved", "z"])).await;

    let removed = writer(&backend.second)
        .delete_manifest(&a, &gone.digest(), Deletion::new())
        .await
        .unwrap();

    let mut removed = texts(&removed.expect("it was there"));
    removed.sort();
    assert_eq!(removed, ["1", "1-alpine", "1.2", "b"]);
    assert_eq!(tags(&backend.first, &a).await, ["a", "moved", "z"]);
    assert!(manifest(&backend.first, &a, gone.digest()).await.is_none());
    for name in ["a", "moved", "z"] {
        assert_eq!(
            resolve(&backend.first, &a, name).await,
            Some(stays.digest()),
            "{name}"
        );
    }
    let again = writer(&backend.second)
        .delete_manifest(&a, &gone.digest(), Deletion::new())
        .await
        .unwrap();
    assert_eq!(again, None);
}

pub async fn deleting_a_manifest_leaves_its_blobs_and_children(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let child = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    let index = Image::new(2).needing(child.digest(), child.size(), Need::Manifest);
    put(&backend.first, &a, child.tagged(&[])).await;
    put(&backend.first, &a, index.tagged(&["v1"])).await;

    writer(&backend.first)
        .delete_manifest(&a, &index.digest(), Deletion::new())
        .await
        .unwrap()
        .unwrap();

    assert!(manifest(&backend.second, &a, child.digest()).await.is_some());
    assert!(holds(&backend.second, &a, &blob.digest).await);
}

pub async fn a_manifest_can_no_longer_refer_to_what_was_deleted(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    writer(&backend.first)
        .delete_blob(&a, &blob.digest, Deletion::new())
        .await
        .unwrap();

    let refused = writer(&backend.second).put_manifest(&a, image.tagged(&[])).await;

    assert!(
        matches!(refused, Err(StorageError::MissingReferences(_))),
        "{refused:?}"
    );
}

pub async fn a_blob_is_deleted_before_a_manifest_that_needs_it_is_put_or_after(backend: Backend) {
    let a = repository("a");
    for round in 0..16 {
        let blob = push(&backend.first, &a, &content(round, 100)).await;
        let image = Image::new(round).needing(blob.digest, blob.size, Need::Blob);
        let putting = {
            let (backend, a, put) = (Arc::clone(&backend.first), a.clone(), image.tagged(&["v1"]));
            tokio::spawn(async move { writer(&backend).put_manifest(&a, put).await })
        };
        let deleting = {
            let (backend, a) = (Arc::clone(&backend.second), a.clone());
            tokio::spawn(async move {
                writer(&backend)
                    .delete_blob(&a, &blob.digest, Deletion::new())
                    .await
            })
        };

        let (put, deleted) = (putting.await.unwrap(), deleting.await.unwrap());

        assert!(deleted.unwrap(), "it is there, whatever refers to it");
        assert!(!holds(&backend.first, &a, &blob.digest).await);
        let there = manifest(&backend.second, &a, image.digest()).await.is_some();
        match put {
            Ok(_) => assert!(there, "it was put, and then its blob was deleted"),
            Err(StorageError::MissingReferences(missing)) => {
                assert_eq!(missing, [blob.digest]);
                assert!(!there, "its blob was deleted, and then it was refused");
            }
            Err(other) => panic!("neither before nor after: {other}"),
        }
    }
}
