//! Interrupted uploads: the number of stored bytes is exact, and continuing there results in the right blob.

use super::{Backend, support::*};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest,
    hash::Checkpoint,
    storage::{Storage, StorageError, Verified},
};

/// Maximum number of bytes that the contract lets an interrupted append lose.
const KEPT_AT_LEAST_EVERY: u64 = 16 << 20;

pub async fn a_body_that_breaks_off_keeps_what_came_before(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 600_000);
    for cut in [0, 1, 50_000, 262_144, 599_999] {
        let opened = open(&backend.first, &a, Algorithm::Sha256).await;
        let body = Incoming::in_chunks(&bytes.slice(..cut), 10_000).then_breaks();

        let (broken, _) = append(&backend.first, &a, &opened, body).await;

        assert!(
            matches!(broken, Err(StorageError::Body(_))),
            "cut at {cut}: {broken:?}"
        );
        let state = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
        assert_eq!(state.offset, cut as u64);
        let state = appended(backend.sharing(), &a, &state, &bytes.slice(cut..)).await;
        let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
        assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes), "cut at {cut}");
        let back = read(&backend.second, &a, &blob.digest).await.unwrap();
        assert!(back == bytes, "cut at {cut}");
    }
}

pub async fn a_closing_body_that_breaks_off_or_is_dropped_counts_for_nothing(backend: Backend) {
    let a = repository("a");
    let bytes = Bytes::from([content(1, 1000), content(2, 1 << 20).repeat(18).into()].concat());
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let rest = bytes.slice(1000..);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let before = appended(&backend.first, &a, &opened, &bytes.slice(..1000)).await;
    // The longest part is longer than the interval at which other appends store their bytes.
    for cut in [0, 1, 262_145, rest.len()] {
        let part = || Incoming::in_chunks(&rest.slice(..cut), 100_000);
        let state = settled(backend.sharing(), &a, &opened.id).await;
        let (broken, _) =
            append_closing(&backend.first, &a, &state, part().then_breaks(), Some(digest)).await;
        assert!(
            matches!(broken, Err(StorageError::Body(_))),
            "cut at {cut}: {broken:?}"
        );
        let state = settled(backend.sharing(), &a, &opened.id).await;
        assert_eq!(state.offset, before.offset, "broken off at {cut}");

        append_closing_and_drop(&backend.first, &a, &state, part(), Some(digest)).await;
        let state = settled(backend.sharing(), &a, &opened.id).await;
        assert_eq!(state.offset, before.offset, "dropped at {cut}");
    }

    // The client repeats the request.
    let state = settled(backend.sharing(), &a, &opened.id).await;
    let whole = Incoming::in_chunks(&rest, 100_000);
    let (state, _) = append_closing(&backend.first, &a, &state, whole, Some(digest)).await;
    let blob = close(backend.sharing(), &a, state.unwrap(), Algorithm::Sha256).await;
    assert_eq!(blob.digest, digest);
    assert!(read(&backend.first, &a, &digest).await == Some(bytes));
}

pub async fn a_closing_body_counts_only_once_it_is_committed(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 600_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let before = appended(&backend.first, &a, &opened, &bytes.slice(..1000)).await;
    let rest = || Incoming::in_chunks(&bytes.slice(1000..), 50_000);

    // The commit of the first one fails, or its process dies.
    for _ in 0..2 {
        let state = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
        let (closing, _) = append_closing(&backend.first, &a, &state, rest(), Some(digest)).await;
        assert_eq!(closing.unwrap().offset, bytes.len() as u64);

        let state = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
        let checkpoint = state.checkpoint.as_ref().map(Checkpoint::offset);
        assert_eq!((state.offset, checkpoint), (before.offset, Some(before.offset)));
    }

    // The client repeats the request.
    let state = state_of(backend.sharing(), &a, &opened.id).await.unwrap();
    let (state, _) = append_closing(&backend.first, &a, &state, rest(), Some(digest)).await;
    let blob = close(&backend.first, &a, state.unwrap(), Algorithm::Sha256).await;
    assert_eq!(blob.digest, digest);
    assert_eq!(read(&backend.second, &a, &digest).await, Some(bytes));
}

pub async fn a_closing_body_can_be_hashed_with_another_algorithm(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 5000);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes.slice(..1000)).await;
    let rest = Incoming::whole(&bytes.slice(1000..));

    let (state, _) = append_closing(&backend.first, &a, &state, rest, Some(digest)).await;
    let blob = close(&backend.first, &a, state.unwrap(), Algorithm::Sha512).await;

    assert_eq!(blob.digest, digest);
    assert_eq!(read(&backend.second, &a, &digest).await, Some(bytes));
}

pub async fn an_append_discards_a_closing_body_whose_commit_is_then_a_conflict(backend: Backend) {
    let a = repository("a");
    let writer = writer(&backend.first);
    let bytes = content(1, 5000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    appended(&backend.first, &a, &opened, &bytes.slice(..1000)).await;
    let state = state_of(&backend.first, &a, &opened.id).await.unwrap();
    let rest = Incoming::whole(&bytes.slice(1000..));
    let (closing, hasher) = append_closing(&backend.first, &a, &state, rest, Some(digest)).await;
    let proof = Verified::from_hasher(opened.id, hasher.unwrap()).unwrap();

    // As many bytes as the closing body has, and others.
    let state = state_of(&backend.first, &a, &opened.id).await.unwrap();
    let state = appended(&backend.first, &a, &state, &content(2, 4000)).await;
    let refused = writer.commit(&a, closing.unwrap(), proof).await;

    assert!(
        matches!(refused, Err(StorageError::UploadConflict { offset: 5000, .. })),
        "{refused:?}"
    );
    assert!(!holds(&backend.first, &a, &digest).await);
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
    let expected: Bytes = [bytes.slice(..1000), content(2, 4000)].concat().into();
    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(expected));
}

pub async fn a_session_whose_append_was_dropped_goes_on_where_it_stands(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 900_000);
    for cut in [0, 1, 50_000, 262_144, 800_000] {
        let opened = open(&backend.first, &a, Algorithm::Sha256).await;
        append_and_drop(
            &backend.first,
            &a,
            &opened,
            Incoming::in_chunks(&bytes.slice(..cut), 10_000),
        )
        .await;

        let state = settled(backend.sharing(), &a, &opened.id).await;

        assert!(state.offset <= cut as u64, "cut at {cut}, kept {}", state.offset);
        let rest = bytes.slice(usize::try_from(state.offset).unwrap()..);
        let state = appended(backend.sharing(), &a, &state, &rest).await;
        let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
        assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes), "cut at {cut}");
        let back = read(&backend.second, &a, &blob.digest).await.unwrap();
        assert!(back == bytes, "cut at {cut}");
    }
}

pub async fn a_session_whose_append_was_dropped_closes_at_what_it_kept(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 900_000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes.slice(..1000)).await;
    append_and_drop(
        &backend.first,
        &a,
        &state,
        Incoming::in_chunks(&bytes.slice(1000..), 10_000),
    )
    .await;

    let state = settled(backend.sharing(), &a, &opened.id).await;
    let kept = bytes.slice(..usize::try_from(state.offset).unwrap());
    let blob = close(&backend.first, &a, state, Algorithm::Sha512).await;

    assert!(kept.len() >= 1000, "what an earlier append returned is kept");
    assert_eq!(
        blob.digest,
        Digest::of(Algorithm::Sha512, &kept),
        "bytes beyond the offset were hashed"
    );
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(kept));
}

pub async fn an_append_that_dies_loses_less_than_16_mebibytes(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1 << 20).repeat(41);
    // The length is no multiple of a block or piece, so that misplaced bytes are detected.
    let bytes = Bytes::from(bytes).slice(..(40 << 20) + 54_321);
    let sent = bytes.len() as u64;
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;

    append_and_drop(&backend.first, &a, &opened, Incoming::in_chunks(&bytes, 1 << 20)).await;

    let state = settled(backend.sharing(), &a, &opened.id).await;
    assert!(state.offset <= sent, "kept {} of {sent} bytes", state.offset);
    assert!(
        sent - state.offset <= KEPT_AT_LEAST_EVERY,
        "kept only {} of {sent} bytes",
        state.offset
    );
    let checkpoint = state
        .checkpoint
        .as_ref()
        .expect("what is kept is kept with its hash");
    assert_eq!(checkpoint.offset(), state.offset);
    // The client continues with other bytes, and fewer than were cut off.
    let kept = bytes.slice(..usize::try_from(state.offset).unwrap());
    let whole = Bytes::from([kept, content(2, 1000)].concat());
    let state = appended(backend.sharing(), &a, &state, &content(2, 1000)).await;
    let blob = close(&backend.first, &a, state, Algorithm::Sha256).await;
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &whole));
    let back = read(&backend.second, &a, &blob.digest).await.unwrap();
    assert!(back == whole, "what was cut off came back");
}

/// End of a `PATCH`.
#[derive(Debug)]
enum End {
    Well,
    Broken,
    Dropped,
}

pub async fn a_patch_cut_at_random_points_and_resumed_gives_the_right_blob(backend: Backend) {
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let most = random.one_of(&[500, 100_000, 900_000]);
        let size = 1 + random.below(most);
        let bytes = content(seed, size);
        let announced = random.one_of(&Algorithm::ALL);
        let closing = random.one_of(&Algorithm::ALL);
        let story = cut_three_times(&backend, &mut random, &bytes, announced, closing).await;

        let digest = Digest::of(closing, &bytes);
        let back = read(&backend.second, &repository("a"), &digest).await;
        assert!(
            back.as_ref() == Some(&bytes),
            "seed {seed}, {size} bytes, {announced} announced, {closing} at the close: {story:?}"
        );
    }
}

async fn cut_three_times(
    backend: &Backend,
    random: &mut Random,
    bytes: &Bytes,
    announced: Algorithm,
    closing: Algorithm,
) -> Vec<(u64, usize, End)> {
    let a = repository("a");
    let handles: [&dyn Storage; 2] = [&backend.first, backend.sharing()];
    let mut story = Vec::new();
    let mut state = open(&backend.first, &a, announced).await;
    for _ in 0..3 {
        let storage = random.one_of(&handles);
        let from = usize::try_from(state.offset).unwrap();
        let cut = from + random.below(bytes.len() - from + 1);
        let body = Incoming::in_chunks(&bytes.slice(from..cut), 1 + random.below(70_000));
        let end = match random.below(3) {
            0 => {
                append(storage, &a, &state, body).await.0.unwrap();
                End::Well
            }
            1 => {
                let (broken, _) = append(storage, &a, &state, body.then_breaks()).await;
                assert!(matches!(broken, Err(StorageError::Body(_))), "{broken:?}");
                End::Broken
            }
            _ => {
                append_and_drop(storage, &a, &state, body).await;
                End::Dropped
            }
        };
        let seen = settled(random.one_of(&handles), &a, &state.id).await;
        let kept = usize::try_from(seen.offset).unwrap();
        match end {
            End::Well | End::Broken => assert_eq!(kept, cut, "everything that came is kept: {end:?}"),
            End::Dropped => assert!((from..=cut).contains(&kept), "{kept} is not in {from}..={cut}"),
        }
        story.push((state.offset, cut, end));
        state = seen;
    }
    let rest = bytes.slice(usize::try_from(state.offset).unwrap()..);
    let state = appended(random.one_of(&handles), &a, &state, &rest).await;
    let blob = close(random.one_of(&handles), &a, state, closing).await;
    assert_eq!(blob.digest, Digest::of(closing, bytes), "{story:?}");
    story
}
