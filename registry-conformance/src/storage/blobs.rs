//! Blobs of every size and algorithm are returned as they were pushed.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Deletion, IngestError, ReadBlob},
};

/// Sizes around the ends of pieces, of hash blocks and of pages of files.
const SIZES: [usize; 9] = [0, 1, 63, 64, 129, 4096, 65_537, 262_144, 262_145];

async fn blobs_come_back(backend: &Backend, algorithm: Algorithm, sizes: &[usize]) {
    let a = repository("a");
    for (seed, size) in (0..).zip(sizes) {
        let bytes = content(seed, *size);
        let digest = Digest::of(algorithm, &bytes);

        let stored = try_push(&backend.first, &a, &bytes, digest).await.unwrap();

        assert_eq!((stored.digest, stored.size), (digest, *size as u64));
        let found = backend.second.blob(&a, &digest).await.unwrap().unwrap();
        assert_eq!((found.digest, found.size), (digest, *size as u64));
        let back = read(&backend.second, &a, &digest).await.unwrap();
        assert!(
            back == bytes,
            "{size} bytes under {digest} came back as {} others",
            back.len()
        );
    }
}

pub async fn sha256_blobs_of_every_size_come_back(backend: Backend) {
    blobs_come_back(&backend, Algorithm::Sha256, &SIZES).await;
}

pub async fn sha512_blobs_of_every_size_come_back(backend: Backend) {
    blobs_come_back(&backend, Algorithm::Sha512, &SIZES).await;
}

pub async fn blobs_of_several_mebibytes_come_back(backend: Backend) {
    for algorithm in Algorithm::ALL {
        blobs_come_back(&backend, algorithm, &[5 * 1024 * 1024 + 12_345]).await;
    }
}

pub async fn the_same_bytes_are_two_blobs_under_two_algorithms(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let [sha256, sha512] = Algorithm::ALL.map(|algorithm| Digest::of(algorithm, &bytes));
    try_push(&backend.first, &a, &bytes, sha256).await.unwrap();
    assert!(!holds(&backend.second, &a, &sha512).await);

    try_push(&backend.first, &a, &bytes, sha512).await.unwrap();
    assert_eq!(read(&backend.second, &a, &sha512).await, Some(bytes.clone()));

    assert!(
        writer(&backend.first)
            .delete_blob(&a, &sha512, Deletion::new())
            .await
            .unwrap()
    );
    assert!(!holds(&backend.second, &a, &sha512).await);
    assert_eq!(read(&backend.second, &a, &sha256).await, Some(bytes));
}

pub async fn a_blob_that_nobody_pushed_is_absent(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, b"never pushed");
        assert!(!holds(&backend.first, &a, &digest).await);
        let empty = Digest::of(algorithm, b"");
        assert!(
            !holds(&backend.first, &a, &empty).await,
            "not even the empty one is there unasked"
        );
    }
}

pub async fn pushing_a_blob_again_succeeds_and_changes_nothing(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let first = push(&backend.first, &a, &bytes).await;

    let second = push(&backend.second, &a, &bytes).await;

    assert_eq!((first.digest, first.size), (second.digest, second.size));
    assert_eq!(read(&backend.first, &a, &first.digest).await, Some(bytes));
}

pub async fn bytes_of_another_digest_leave_neither_a_blob_nor_a_session(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let actual = Digest::of(Algorithm::Sha256, &bytes);
    let expected = Digest::of(Algorithm::Sha256, b"something else");

    let refused = try_push(&backend.first, &a, &bytes, expected).await;

    assert!(
        matches!(refused, Err(IngestError::DigestMismatch { .. })),
        "{refused:?}"
    );
    assert!(!holds(&backend.second, &a, &expected).await);
    assert!(!holds(&backend.second, &a, &actual).await);
    if let Some(inspect) = backend.second.inspect() {
        assert!(inspect.uploads(&a, all()).await.unwrap().items.is_empty());
    }
}

pub async fn a_blob_that_is_being_read_stays_whole_when_it_is_deleted(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 3 << 20);
    let blob = push(&backend.first, &a, &bytes).await;
    let opened = backend
        .first
        .open_blob(&a, &blob.digest, ReadBlob::default())
        .await;

    assert!(
        writer(&backend.second)
            .delete_blob(&a, &blob.digest, Deletion::new())
            .await
            .unwrap()
    );

    assert!(!holds(&backend.first, &a, &blob.digest).await);
    let back = drain(opened.unwrap().unwrap()).await;
    assert!(back == bytes, "a read that had begun was cut short or changed");
}

pub async fn a_blob_that_was_deleted_can_be_pushed_again(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let blob = push(&backend.first, &a, &bytes).await;
    writer(&backend.first)
        .delete_blob(&a, &blob.digest, Deletion::new())
        .await
        .unwrap();

    push(&backend.first, &a, &bytes).await;

    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}
