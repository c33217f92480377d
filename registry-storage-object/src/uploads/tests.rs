//! Uploads, as far as the contract does not say it.

use crate::{
    Location, ObjectStorage,
    bucket::Bucket,
    keys,
    support::{Remote, name, open},
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, StreamBody};
use object_stores::proxy::{Fault, Kind, on};
use registry_core::{
    Algorithm, Digest, RepositoryName, Storage as _, UploadId,
    hash::Hasher,
    storage::{NewUpload, Page, Seen, StorageError, StorageWrite as _, UploadBody, UploadState, Verified},
};
use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, SystemTime},
};

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
    try_append(storage, state, bytes, closing).await.unwrap()
}

async fn try_append(
    storage: &ObjectStorage,
    state: UploadState,
    bytes: Bytes,
    closing: Option<Digest>,
) -> Result<(UploadState, Hasher), StorageError> {
    let source = pin!(Full::new(bytes).map_err(|never| match never {}));
    let mut body = UploadBody::new(source, &state, closing);
    let state = storage.append(&name("a"), state, &mut body).await?;
    Ok((state, body.finish().unwrap()))
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

/// Lets the store's clock be ahead.
fn pass(bucket: &Bucket, time: Duration) {
    let date = httpdate::fmt_http_date(SystemTime::now() + time).parse().unwrap();
    let headers = [(http::header::DATE, date)].into_iter().collect();
    bucket.observed().answer(&headers, tokio::time::Instant::now());
}

#[tokio::test]
async fn old_bytes_without_a_record_are_removed() {
    let storage = open(&Location::memory()).await;
    let bucket = &storage.store.bucket;
    let (state, _) = append(&storage, opened(&storage).await, content(1, MIB), None).await;
    let session = storage.store.load(&state.id).await.unwrap().unwrap();
    let piece = keys::session_piece(&state.id, &session.record.content.pieces[0].name);
    let gone = UploadId::from_random([7; 16]);
    let orphans = [keys::session_piece(&gone, "x"), keys::session_data(&gone)];
    for key in &orphans {
        bucket.put(key, "bytes").await.unwrap();
    }
    let are_there = async || {
        let mut there = 0;
        for key in &orphans {
            there += usize::from(bucket.head(key).await.unwrap().is_some());
        }
        there
    };

    listed(&storage).await;
    assert_eq!(are_there().await, 2);
    let later = SystemTime::now() + Duration::from_secs(16 * 60);
    let date = httpdate::fmt_http_date(later).parse().unwrap();
    let headers = [(http::header::DATE, date)].into_iter().collect();
    bucket.observed().answer(&headers, tokio::time::Instant::now());
    listed(&storage).await;

    assert_eq!(are_there().await, 0);
    assert!(bucket.head(&piece).await.unwrap().is_some());
}

/// Sends the first bytes of a closing body that breaks off.
async fn break_off(
    storage: &ObjectStorage,
    state: UploadState,
    bytes: Bytes,
    closing: Digest,
) -> UploadState {
    let id = state.id;
    let frames = [
        Ok(http_body::Frame::data(bytes)),
        Err("the client has gone".into()),
    ];
    let source = pin!(StreamBody::new(futures_util::stream::iter(frames)));
    let mut body = UploadBody::new(source, &state, Some(closing));
    let broken = storage.append(&name("a"), state, &mut body).await;
    assert!(matches!(broken, Err(StorageError::Body(_))), "{broken:?}");
    storage.upload(&name("a"), &id).await.unwrap().unwrap()
}

#[tokio::test]
async fn parts_are_dropped_only_once_the_record_names_others() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let [first, second] = [1, 2].map(|seed| content(seed, 17 * MIB));
    let [former, latter] = [&first, &second].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
    let state = break_off(&storage, opened(&storage).await, first, former).await;
    assert_eq!(remote.open_multiparts(), 1);

    // The claim is recorded, and the new parts are not.
    let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
    let records = on(Kind::ConditionalPut).key("_sessions/");
    remote.proxy.fault(records.after(1).always(), unavailable);
    let failed = try_append(&storage, state, second, Some(latter)).await;

    assert!(failed.is_err());
    assert_eq!(remote.open_multiparts(), 2, "the record may name either");
}

/// Drops the parts of a session, as a rule of the bucket does.
async fn drop_parts(storage: &ObjectStorage, id: &UploadId) {
    let session = storage.store.load(id).await.unwrap().unwrap();
    let multipart = session.record.multipart.unwrap();
    let key = multipart.target.key(id);
    let bucket = &storage.store.bucket;
    bucket.abort_multipart(&key, &multipart.id).await.unwrap();
}

#[tokio::test]
async fn a_session_whose_parts_the_store_has_dropped_begins_new_ones() {
    let options = ObjectStorage::options().part_size(MIB as u64);
    let storage = options.open(Location::memory()).await.unwrap();
    let bytes = content(1, 3 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let begun = bytes.slice(..MIB + MIB / 2);
    let state = break_off(&storage, opened(&storage).await, begun, digest).await;
    drop_parts(&storage, &state.id).await;
    let id = state.id;

    let failed = try_append(&storage, state, bytes.clone(), Some(digest)).await;
    assert!(
        matches!(failed, Err(StorageError::Unavailable { .. })),
        "{failed:?}"
    );

    let state = storage.upload(&name("a"), &id).await.unwrap().unwrap();
    let (state, hasher) = append(&storage, state, bytes, Some(digest)).await;
    commit(&storage, state, hasher).await;
    let blob = storage.blob(&name("a"), &digest).await.unwrap().unwrap();
    assert_eq!(blob.size, 3 * MIB as u64);
}

#[tokio::test]
async fn a_session_whose_bytes_the_store_has_dropped_ends() {
    let options = ObjectStorage::options().part_size(MIB as u64);
    let storage = options.open(Location::memory()).await.unwrap();
    let bytes = content(1, 3 * MIB);
    let (state, _) = append(&storage, opened(&storage).await, bytes.clone(), None).await;
    let id = state.id;
    drop_parts(&storage, &id).await;

    let failed = try_append(&storage, state, bytes, None).await;

    assert!(matches!(failed, Err(StorageError::UploadUnknown)), "{failed:?}");
    assert!(storage.upload(&name("a"), &id).await.unwrap().is_none());
}

#[tokio::test]
async fn only_the_store_itself_ends_a_session_whose_parts_have_gone() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let (state, _) = append(&storage, opened(&storage).await, content(1, 17 * MIB), None).await;
    let id = state.id;
    // Something in front of the store answers in its place.
    let part = on(Kind::UploadPart).always();
    let rule = remote.proxy.fault(part, Fault::Answer(StatusCode::NOT_FOUND));
    let failed = try_append(&storage, state, content(2, 17 * MIB), None).await;
    assert!(rule.happened() > 0);
    assert!(
        matches!(failed, Err(StorageError::Unavailable { .. })),
        "{failed:?}"
    );
    rule.remove();

    let state = storage.upload(&name("a"), &id).await.unwrap().unwrap();
    drop_parts(&storage, &id).await;
    let failed = try_append(&storage, state, content(2, 17 * MIB), None).await;
    assert!(matches!(failed, Err(StorageError::UploadUnknown)), "{failed:?}");
    assert!(storage.upload(&name("a"), &id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_copy_that_was_made_is_not_made_again() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let bytes = content(1, 17 * MIB);
    let (state, hasher) = append(&storage, opened(&storage).await, bytes, None).await;
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    let (id, digest) = (state.id, *proof.digest());
    // The copy is made, and then nothing can be published.
    let link = on(Kind::Put).key("_layers/");
    let rule = remote
        .proxy
        .fault(link.always(), Fault::Answer(StatusCode::SERVICE_UNAVAILABLE));
    let failed = storage.commit(&name("a"), state, proof.clone()).await;
    assert!(
        matches!(failed, Err(StorageError::Unavailable { .. })),
        "{failed:?}"
    );
    rule.remove();

    let state = storage.upload(&name("a"), &id).await.unwrap().unwrap();
    storage.commit(&name("a"), state, proof).await.unwrap();

    assert_eq!(remote.proxy.count(Kind::Copy), 1);
    assert!(storage.blob(&name("a"), &digest).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_committed_session_is_unknown_at_once_and_its_record_is_removed_later() {
    let location = Location::memory();
    let (storage, other) = (open(&location).await, open(&location).await);
    let (state, _) = append(&storage, opened(&storage).await, content(1, MIB), None).await;
    let (id, record) = (state.id, keys::session(&state.id));
    let (state, hasher) = append(&storage, state, content(2, MIB), None).await;
    commit(&storage, state, hasher).await;

    assert!(storage.store.bucket.head(&record).await.unwrap().is_some());
    assert!(other.upload(&name("a"), &id).await.unwrap().is_none());
    assert!(!other.cancel(&name("a"), &id).await.unwrap());
    assert!(listed(&other).await.1.is_empty());

    tokio::time::sleep(Duration::from_secs(3)).await;
    let left: Vec<_> = storage
        .store
        .bucket
        .list(keys::SESSIONS)
        .try_collect()
        .await
        .unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_a_process_that_died_has_left_of_a_committed_session_is_removed() {
    let storage = open(&Location::memory()).await;
    let bucket = &storage.store.bucket;
    let bytes = content(1, 1000);
    let (state, hasher) = append(&storage, opened(&storage).await, bytes, None).await;
    let record = keys::session(&state.id);
    commit(&storage, state, hasher).await;
    // It has not removed the record.
    storage.store.removals.take();
    assert!(bucket.head(&record).await.unwrap().is_some());

    pass(bucket, Duration::from_secs(2 * 60));
    listed(&storage).await;

    assert!(bucket.head(&record).await.unwrap().is_none());
}

/// Returns the number of requests of each kind so far, except those that follow later or are about collections.
fn requests(remote: &Remote) -> BTreeMap<Kind, usize> {
    let mut requests = BTreeMap::new();
    for seen in remote.proxy.seen() {
        if seen.kind != Kind::Delete && !seen.key.contains("/_collect/") {
            *requests.entry(seen.kind).or_default() += 1;
        }
    }
    requests
}

#[tokio::test]
async fn a_small_blob_of_a_known_digest_takes_four_requests() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let bytes = content(1, 10_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    remote.proxy.forget();

    let new = NewUpload::of(digest, Some(10_000));
    let state = storage.open_upload(&name("a"), new).await.unwrap();
    let (state, hasher) = append(&storage, state, bytes, Some(digest)).await;
    commit(&storage, state, hasher).await;

    // The record, the bytes, the record, the link. The record is removed later, with others.
    let expected = BTreeMap::from([(Kind::ConditionalPut, 2), (Kind::Put, 2)]);
    assert_eq!(requests(&remote), expected, "{:#?}", remote.proxy.seen());
}

#[tokio::test]
async fn a_blob_whose_digest_is_known_is_not_copied() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let bytes = content(1, 17 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &bytes);

    let (state, hasher) = append(&storage, opened(&storage).await, bytes, Some(digest)).await;
    commit(&storage, state, hasher).await;

    assert_eq!(remote.proxy.count(Kind::UploadPart), 2);
    assert_eq!(remote.proxy.count(Kind::Copy), 0);
    let blob = storage.blob(&name("a"), &digest).await.unwrap().unwrap();
    assert_eq!(blob.size, 17 * MIB as u64);
}

/// Amazon S3 and versitygw refuse a conditional write while another one of the same object is under way.
#[tokio::test]
async fn a_record_is_moved_although_the_store_refuses_that_for_a_while() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let state = opened(&storage).await;
    let moved = on(Kind::ConditionalPut).key("/_sessions/").first(5);
    let rule = remote.proxy.fault(moved, Fault::Answer(StatusCode::CONFLICT));

    let (state, _) = append(&storage, state, content(1, 1000), None).await;

    assert_eq!((rule.happened(), state.offset), (5, 1000));
}

#[tokio::test]
async fn parts_that_no_record_names_are_dropped_once_they_are_old() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let store = &storage.store;
    let state = opened(&storage).await;
    let (state, _) = append(&storage, state, content(1, 17 * MIB), None).await;
    let named = remote.open_multiparts();
    assert_eq!(named, 1, "the session has parts");
    let gone = UploadId::parse("0f5a1c2e-0000-4000-8000-000000000000").unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"content");
    // The session has other parts than these. And another program has some.
    let unnamed = [
        keys::session_data(&state.id),
        keys::session_data(&gone),
        keys::blob(&digest),
    ];
    let other = "docker/registry/v2/repositories/a/_uploads/1/data".to_owned();
    for key in unnamed.iter().chain([&other]) {
        store.bucket.create_multipart(key).await.unwrap();
    }
    assert_eq!(remote.open_multiparts(), 5);

    let sweep = async |age: Duration| {
        remote.age_multiparts(age);
        let inspect = storage.inspect().unwrap();
        let listed = inspect.uploading(Page::first(10)).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        remote.open_multiparts()
    };
    let minute = Duration::from_secs(60);
    assert_eq!(sweep(minute).await, 5, "a record that names them may come");
    assert_eq!(sweep(15 * minute).await, 3, "a copy in parts may take hours");
    assert_eq!(sweep(24 * 60 * minute).await, 2);

    let (state, hasher) = append(&storage, state, content(1, MIB), None).await;
    commit(&storage, state, hasher).await;
    assert_eq!(remote.open_multiparts(), 1, "that of another program");
}
