//! Uploads, as far as the contract does not say it.

use crate::{
    Location, ObjectStorage, keys,
    support::{name, open},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use registry_core::{
    Algorithm, Digest, RepositoryName, Storage as _, UploadId,
    hash::Hasher,
    storage::{NewUpload, Page, Seen, StorageWrite as _, UploadBody, UploadState, Verified},
};
use std::pin::pin;

const MIB: usize = 1 << 20;

/// Returns bytes, different for each seed.
fn content(seed: u8, size: usize) -> Bytes {
    vec![seed; size].into()
}

async fn opened(storage: &ObjectStorage) -> UploadState {
    let new = NewUpload::hashed_by(Algorithm::Sha256);
    storage.open_upload(&name("a"), new).await.unwrap()
}

async fn append(
    storage: &ObjectStorage,
    state: UploadState,
    bytes: Bytes,
    closing: Option<Digest>,
) -> (UploadState, Hasher) {
    let source = pin!(Full::new(bytes).map_err(|never| match never {}));
    let mut body = UploadBody::new(source, &state, closing);
    let state = storage.append(&name("a"), state, &mut body).await.unwrap();
    (state, body.finish().unwrap())
}

async fn commit(storage: &ObjectStorage, state: UploadState, hasher: Hasher) {
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    storage.commit(&name("a"), state, proof).await.unwrap();
}

#[tokio::test]
async fn bytes_of_a_closing_body_have_their_memory_until_they_are_committed() {
    let storage = open(&Location::memory()).await;
    let memory = &storage.store.part_memory;
    let all = memory.free();
    let bytes = content(1, MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);

    let (state, hasher) = append(&storage, opened(&storage).await, bytes.clone(), Some(digest)).await;
    assert_eq!(all - memory.free(), MIB as u64);
    commit(&storage, state, hasher).await;
    assert_eq!(memory.free(), all);

    // A state that is not committed gives it back as well.
    let (state, _) = append(&storage, opened(&storage).await, bytes, Some(digest)).await;
    assert_eq!(all - memory.free(), MIB as u64);
    drop(state);
    assert_eq!(memory.free(), all);
}

#[tokio::test]
async fn a_closing_body_of_unknown_length_keeps_only_the_memory_that_it_needs() {
    let storage = open(&Location::memory()).await;
    let memory = &storage.store.part_memory;
    let all = memory.free();
    let bytes = content(1, MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let state = opened(&storage).await;

    let frames = futures_util::stream::iter([Ok(http_body::Frame::data(bytes))]);
    let source = pin!(StreamBody::new(frames));
    let mut body = UploadBody::new(source, &state, Some(digest));
    let state = storage.append(&name("a"), state, &mut body).await.unwrap();

    assert_eq!(all - memory.free(), MIB as u64);
    commit(&storage, state, body.finish().unwrap()).await;
    assert_eq!(memory.free(), all);
}

#[tokio::test]
async fn a_commit_whose_caller_has_all_memory_does_not_wait_for_more() {
    let options = ObjectStorage::options().part_memory(3 * MIB as u64);
    let storage = options.open(Location::memory()).await.unwrap();
    let bytes = content(1, 3 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);

    // A piece, and the rest in the state: both are needed at once.
    let (state, _) = append(&storage, opened(&storage).await, bytes.slice(..2 * MIB), None).await;
    let (state, hasher) = append(&storage, state, bytes.slice(2 * MIB..), Some(digest)).await;
    assert_eq!(storage.store.part_memory.free(), 0);

    commit(&storage, state, hasher).await;
    assert_eq!(storage.store.part_memory.free(), 3 * MIB as u64);
}

/// Returns the repositories with sessions, and the sessions of the repository of these tests.
async fn listed(storage: &ObjectStorage) -> (Vec<Seen<RepositoryName>>, Vec<Seen<UploadState, UploadId>>) {
    let inspect = storage.inspect().unwrap();
    let repositories = inspect.uploading(Page::first(10)).await.unwrap().items;
    let sessions = inspect.uploads(&name("a"), Page::first(10)).await.unwrap().items;
    (repositories, sessions)
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other_session() {
    let location = Location::memory();
    let storage = open(&location).await;
    let bucket = &storage.store.bucket;
    let [whole, newer, cut] = [
        opened(&storage).await.id,
        opened(&storage).await.id,
        opened(&storage).await.id,
    ];
    let record = bucket.get(&keys::session(&newer)).await.unwrap().unwrap().bytes;
    let text = str::from_utf8(&record).unwrap().replace("\"open\"", "\"future\"");
    bucket.put(&keys::session(&newer), text).await.unwrap();
    bucket
        .put(&keys::session(&cut), record.slice(..20))
        .await
        .unwrap();

    // Another process has not listed them before.
    let (repositories, mut sessions) = listed(&open(&location).await).await;
    sessions.sort_by_key(|session| matches!(session, Seen::Unreadable { .. }));

    assert!(matches!(&repositories[..], [Seen::Whole(found)] if *found == name("a")));
    match &sessions[..] {
        [Seen::Whole(first), Seen::Unreadable { key, .. }] => assert_eq!((first.id, *key), (whole, newer)),
        other => panic!("{other:?}"),
    }
}
