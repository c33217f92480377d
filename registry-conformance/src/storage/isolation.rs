//! Every call is scoped to a repository.

use super::{Backend, support::*};
use registry_core::{
    Algorithm,
    storage::{Deletion, Need, StorageError, TagExpect},
};

pub async fn a_blob_of_one_repository_is_absent_from_another(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    // The second repository exists, so that its absence is not the reason for the answer.
    put(&backend.first, &b, Image::new(1).tagged(&["v1"])).await;

    assert!(holds(&backend.second, &a, &blob.digest).await);
    assert!(!holds(&backend.second, &b, &blob.digest).await);
    assert!(!holds(&backend.second, &repository("a/b"), &blob.digest).await);
}

pub async fn a_blob_pushed_to_two_repositories_is_read_through_both(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let bytes = content(1, 100);

    let first = push(&backend.first, &a, &bytes).await;
    let second = push(&backend.second, &b, &bytes).await;

    assert_eq!(first.digest, second.digest);
    assert_eq!(read(&backend.first, &a, &first.digest).await, Some(bytes.clone()));
    assert_eq!(read(&backend.first, &b, &first.digest).await, Some(bytes));
}

pub async fn a_manifest_cannot_refer_to_a_blob_of_another_repository(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);

    let refused = writer(&backend.first).put_manifest(&b, image.tagged(&[])).await;

    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [blob.digest]),
        "{refused:?}"
    );
    assert!(manifest(&backend.first, &b, image.digest()).await.is_none());
}

pub async fn a_manifest_and_its_tags_are_of_one_repository(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    put(&backend.first, &b, Image::new(2).tagged(&["v2"])).await;

    assert!(manifest(&backend.second, &b, image.digest()).await.is_none());
    assert_eq!(resolve(&backend.second, &b, "v1").await, None);
    assert_eq!(tags(&backend.second, &b).await, ["v2"]);
}

pub async fn a_nested_repository_is_another_one(backend: Backend) {
    let (outer, inner) = (repository("team"), repository("team/app"));
    put(&backend.first, &inner, Image::new(1).tagged(&["v1"])).await;

    assert!(
        backend.second.tags(&outer, all()).await.unwrap().is_none(),
        "only the inner one exists"
    );

    put(&backend.first, &outer, Image::new(2).tagged(&["v2"])).await;
    assert_eq!(tags(&backend.second, &outer).await, ["v2"]);
    assert_eq!(tags(&backend.second, &inner).await, ["v1"]);
}

pub async fn the_parts_of_urls_are_names_of_repositories_like_others(backend: Backend) {
    for (seed, name) in (0..).zip(["blobs", "a/uploads", "a/manifests", "a/tags", "a/tags/list", "a"]) {
        let repository = repository(name);
        let blob = push(&backend.first, &repository, &content(seed, 10)).await;
        let image = Image::new(seed).needing(blob.digest, blob.size, Need::Blob);
        put(
            &backend.first,
            &repository,
            image.tagged(&[name.split('/').next().unwrap()]),
        )
        .await;

        assert_eq!(
            manifest(&backend.second, &repository, image.digest())
                .await
                .unwrap()
                .bytes,
            image.bytes()
        );
        assert_eq!(tags(&backend.second, &repository).await.len(), 1, "{name}");
    }
}

pub async fn deleting_in_one_repository_leaves_the_others(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let bytes = content(1, 100);
    let image = Image::new(1);
    let writer = writer(&backend.first);
    let blob = push(&backend.first, &a, &bytes).await;
    push(&backend.first, &b, &bytes).await;
    for repository in [&a, &b] {
        put(&backend.first, repository, image.tagged(&["v1", "v2"])).await;
    }

    assert!(
        writer
            .delete_blob(&a, &blob.digest, Deletion::new())
            .await
            .unwrap()
    );
    assert!(
        writer
            .delete_tag(&a, &tag("v2"), TagExpect::Any, Deletion::new())
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        writer
            .delete_manifest(&a, &image.digest(), Deletion::new())
            .await
            .unwrap()
            .is_some()
    );

    assert!(!holds(&backend.second, &a, &blob.digest).await);
    assert_eq!(read(&backend.second, &b, &blob.digest).await, Some(bytes));
    assert_eq!(tags(&backend.second, &b).await, ["v1", "v2"]);
    assert_eq!(resolve(&backend.second, &b, "v1").await, Some(image.digest()));
}

pub async fn a_session_of_one_repository_is_unknown_to_another(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let writer = writer(&backend.first);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &content(1, 10)).await;
    let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;

    assert!(state_of(&backend.first, &b, &state.id).await.is_none());
    let (refused, _) = append(&backend.first, &b, &state, Incoming::whole(&content(2, 10))).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    let refused = writer.commit(&b, state.clone(), proof).await;
    assert!(matches!(refused, Err(StorageError::UploadUnknown)), "{refused:?}");
    assert!(!writer.cancel(&b, &state.id).await.unwrap());
    assert_eq!(state_of(&backend.first, &a, &state.id).await.unwrap().offset, 10);
}
