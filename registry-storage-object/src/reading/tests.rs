use super::*;
use crate::{
    Location, ObjectStorage, keys,
    location::Asking,
    support::{Remote, name},
};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http_body_util::BodyExt as _;
use object_stores::proxy::{Fault, Kind, on};
use registry_core::{
    Digest, Registry,
    storage::{BlobBody, ReadBlob, Storage as _},
};
use std::time::Duration;
use tokio::time::advance;

const KEY: &str = "a/b";

/// Size of an object of 25 ranges.
const SIZE: u64 = 100;

fn content() -> Bytes {
    part(&(0..SIZE))
}

/// Returns a part of the content.
fn part(range: &Range<u64>) -> Bytes {
    range.clone().map(|at| u8::try_from(at).unwrap()).collect()
}

/// Ranges of 4 bytes.
fn settings(permits: usize) -> ReadAhead {
    ReadAhead {
        memory: Arc::new(Semaphore::new(permits)),
        range: 4,
        ranges: 2,
        rates: Rates {
            client: 16 << 20,
            store: u64::MAX,
        },
    }
}

/// An object, and the bucket that has it.
async fn stored() -> (Bucket, Meta) {
    let bucket = Location::memory().bucket("", &Asking::default()).unwrap();
    bucket.put(KEY, content()).await.unwrap();
    let object = bucket.head(KEY).await.unwrap().unwrap();
    (bucket, object)
}

/// Reads a part of the object. The first answer comes in pieces of 2 bytes.
fn read((bucket, object): &(Bucket, Meta), range: Range<u64>, settings: &ReadAhead) -> Reading {
    let first: Vec<_> = part(&range)
        .chunks(2)
        .map(|two| Ok(Bytes::copy_from_slice(two)))
        .collect();
    Reading::new(bucket, object, range, stream::iter(first).boxed(), settings)
}

/// Takes frames until so many bytes have come.
async fn take(reading: &mut Reading, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let frame = reading.frame().await.unwrap().unwrap();
        taken.extend_from_slice(&frame.into_data().unwrap());
    }
    taken
}

/// Takes the rest, and returns all that has come, with the error if there is one.
async fn take_rest(reading: &mut Reading, mut taken: Vec<u8>) -> (Vec<u8>, Option<StorageError>) {
    while let Some(frame) = reading.frame().await {
        match frame {
            Ok(frame) => taken.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => {
                assert!(reading.frame().await.is_none(), "nothing follows an error");
                return (taken, Some(error));
            }
        }
    }
    (taken, None)
}

#[tokio::test(start_paused = true)]
async fn a_fast_client_gets_the_same_bytes_by_ranges() {
    let (stored, settings) = (stored().await, settings(2));
    for range in [0..SIZE, 3..SIZE - 3, 1..17] {
        let mut reading = read(&stored, range.clone(), &settings);
        let taken = take(&mut reading, 10).await;
        assert_eq!(reading.front.end, range.start + 12, "its answer is cut short");
        let (taken, error) = take_rest(&mut reading, taken).await;

        assert!(error.is_none(), "{error:?}");
        assert_eq!(taken, part(&range));
        drop(reading);
        assert_eq!(settings.memory.available_permits(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_share_of_the_memory_until_it_goes_away() {
    let (stored, settings) = (stored().await, settings(5));
    let (mut one, mut other) = (
        read(&stored, 0..SIZE, &settings),
        read(&stored, 0..SIZE, &settings),
    );
    take(&mut one, 10).await;
    assert_eq!(settings.memory.available_permits(), 3);
    take(&mut other, 10).await;
    assert_eq!(settings.memory.available_permits(), 1);

    drop(one);

    assert_eq!(settings.memory.available_permits(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_memory_one_answer_follows_the_other() {
    let (stored, none) = (stored().await, settings(0));
    let mut reading = read(&stored, 0..SIZE, &none);
    take(&mut reading, 50).await;
    assert_eq!(reading.front.end, SIZE, "the first answer goes on");

    // The memory is taken after ranges have been read ahead.
    let one = settings(1);
    let mut reading = read(&stored, 0..SIZE, &one);
    let mut taken = take(&mut reading, 10).await;
    taken.extend(take(&mut reading, 4).await);
    let _taken = Arc::clone(&one.memory).try_acquire_owned();
    let (taken, error) = take_rest(&mut reading, taken).await;

    assert!(error.is_none(), "{error:?}");
    assert_eq!(taken, content());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_ahead_of_a_slow_client() {
    let (stored, settings) = (stored().await, settings(2));
    let mut reading = read(&stored, 0..SIZE, &settings);
    for _ in 0..20 {
        take(&mut reading, 2).await;
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(settings.memory.available_permits(), 2);
    assert_eq!(reading.front.end, SIZE, "the first answer goes on");

    // It was fast before.
    let mut reading = read(&stored, 0..SIZE, &settings);
    take(&mut reading, 10).await;
    assert_eq!(settings.memory.available_permits(), 0);
    for frame in [10..12, 12..16, 16..20, 20..SIZE] {
        assert_eq!(
            take(&mut reading, 1).await,
            part(&frame),
            "the rest comes in one answer"
        );
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(settings.memory.available_permits(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_small_blob_and_a_weak_tag_need_one_answer() {
    let (bucket, object) = stored().await;
    let mut weak = object.clone();
    weak.version = (Some("W/\"1\"".to_owned()), None).into();
    for (object, range) in [(object, 0..15), (weak, 0..SIZE)] {
        let end = range.end;
        let mut reading = read(&(bucket.clone(), object), range, &settings(2));
        take(&mut reading, 14).await;
        assert_eq!(reading.front.end, end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_could_not_be_read_ahead_is_read_when_it_is_needed() {
    let (stored, settings) = (stored().await, settings(2));
    let mut reading = read(&stored, 0..SIZE, &settings);
    let taken = take(&mut reading, 10).await;
    for segment in &mut reading.ahead {
        let begun = segment.end - 4;
        segment.fail_at(begun + 1, part(&(begun..begun + 1)));
    }

    let (taken, error) = take_rest(&mut reading, taken).await;

    assert!(error.is_none(), "{error:?}");
    assert_eq!(taken, content());
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_another_object_are_an_error() {
    for is_removed in [false, true] {
        let (stored, settings) = (stored().await, settings(2));
        let mut reading = read(&stored, 0..SIZE, &settings);
        let taken = take(&mut reading, 10).await;
        match is_removed {
            true => stored.0.delete(KEY).await.unwrap(),
            false => stored.0.put(KEY, vec![0; content().len() + 1]).await.unwrap(),
        }

        let (taken, error) = take_rest(&mut reading, taken).await;

        assert!(error.unwrap().to_string().contains("a/b was replaced or removed"));
        assert!(taken.len() < content().len());
        assert_eq!(taken, part(&(0..taken.len() as u64)));
        assert_eq!(settings.memory.available_permits(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_pushed_again_is_read_on() {
    let (stored, settings) = (stored().await, settings(2));
    let mut reading = read(&stored, 0..SIZE, &settings);
    let taken = take(&mut reading, 10).await;
    stored.0.put(KEY, content()).await.unwrap();
    let again = stored.0.head(KEY).await.unwrap().unwrap();
    assert_ne!(again.version, stored.1.version, "it has another version");

    let (taken, error) = take_rest(&mut reading, taken).await;

    assert!(error.is_none(), "{error:?}");
    assert_eq!(taken, content());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let (bucket, object) = stored().await;
    for end in [Some(Err(StorageError::internal("broken"))), None] {
        let first = stream::iter([Ok(content().slice(..3))].into_iter().chain(end));
        let mut reading = Reading::new(&bucket, &object, 0..SIZE, first.boxed(), &settings(2));

        let (taken, error) = take_rest(&mut reading, Vec::new()).await;

        assert!(error.is_none(), "{error:?}");
        assert_eq!(taken, content());
    }
}

#[tokio::test]
async fn an_answer_for_a_small_blob_that_ends_too_early_is_an_error() {
    let (bucket, object) = stored().await;
    let first = stream::iter([Ok(content().slice(..3))]);
    let mut reading = Reading::new(&bucket, &object, 0..10, first.boxed(), &settings(2));

    let (taken, error) = take_rest(&mut reading, Vec::new()).await;

    assert_eq!(taken, part(&(0..3)));
    assert!(error.unwrap().to_string().contains("7 bytes too early"));
}

/// Opens a replica behind a proxy, with a blob of 40 ranges of 4 KiB.
async fn remote() -> (Remote, ObjectStorage, Digest, Bytes) {
    let remote = Remote::start().await;
    let options = ObjectStorage::options().read_ranges_of(4 << 10);
    let storage = remote.open_with(options, true).await;
    let repository = Registry::builder(storage.clone())
        .build()
        .repository("a")
        .unwrap();
    let content: Bytes = (0..40_u32 << 10).flat_map(u32::to_le_bytes).collect();
    let blob = repository.push_blob(content.clone(), None).await.unwrap();
    remote.proxy.forget();
    (remote, storage, blob.digest, content)
}

async fn pull(storage: &ObjectStorage, digest: &Digest) -> Result<Bytes> {
    let opened = storage.open_blob(&name("a"), digest, ReadBlob::default()).await?;
    let BlobBody::Content(content) = opened.unwrap().body else {
        panic!("no redirect is allowed");
    };
    Ok(content.into_stream().collect().await?.to_bytes())
}

/// Returns the number of requests for the content.
fn answers(remote: &Remote, digest: &Digest) -> usize {
    let key = keys::blob(digest);
    let seen = remote.proxy.seen();
    seen.iter().filter(|seen| seen.key.ends_with(&key)).count()
}

#[tokio::test]
async fn a_large_blob_is_read_by_ranges_of_one_object() {
    let (remote, storage, digest, content) = remote().await;

    let pulled = pull(&storage, &digest).await;

    assert!(pulled.unwrap() == content);
    // Without the ranges, it is one.
    let answers = answers(&remote, &digest);
    assert!((2..=40).contains(&answers), "{answers}");
}

#[tokio::test]
async fn a_refused_range_does_not_end_a_pull() {
    let (remote, storage, digest, content) = remote().await;
    let third = on(Kind::Get).key("blobs/").after(2).first(1);
    remote.proxy.fault(third, Fault::Answer(StatusCode::FORBIDDEN));

    let pulled = pull(&storage, &digest).await;

    assert!(pulled.unwrap() == content);
}

#[tokio::test]
async fn a_store_that_refuses_all_further_ranges_ends_a_pull() {
    let (remote, storage, digest, _) = remote().await;
    let further = on(Kind::Get).key("blobs/").after(1).always();
    remote.proxy.fault(further, Fault::Answer(StatusCode::FORBIDDEN));

    let pulled = pull(&storage, &digest).await;

    assert!(pulled.unwrap_err().to_string().contains("refuses to read"));
}
