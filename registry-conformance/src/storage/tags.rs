//! A tag is one object, moved by compare-and-swap.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Moved, StorageError, TagExpect},
};
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn a_tag_moves_and_the_outcome_says_from_where(backend: Backend) {
    let a = repository("a");
    let [one, two] = [1, 2].map(Image::new);
    let first = put(&backend.first, &a, one.tagged(&["v1"])).await;
    let second = put(&backend.second, &a, two.tagged(&["v1"])).await;

    let moved = |previous| [Moved::new(tag("v1"), previous)];
    assert_eq!(first.moved, moved(None));
    assert_eq!(second.moved, moved(Some(one.digest())));
    for storage in [&backend.first, &backend.second] {
        assert_eq!(resolve(storage, &a, "v1").await, Some(two.digest()));
    }
    assert!(
        manifest(&backend.first, &a, one.digest()).await.is_some(),
        "by digest it is still there"
    );
}

pub async fn a_tag_moves_between_algorithms(backend: Backend) {
    let a = repository("a");
    let sha256 = Image::new(1);
    let sha512 = Image::new(1).hashed_by(Algorithm::Sha512);
    put(&backend.first, &a, sha256.tagged(&["v1"])).await;

    let outcome = put(&backend.first, &a, sha512.tagged(&["v1"])).await;

    assert_eq!(outcome.moved[0].previous, Some(sha256.digest()));
    assert_eq!(resolve(&backend.second, &a, "v1").await, Some(sha512.digest()));
}

/// Returns cases: the target of a tag, an expectation, and true if it admits the move.
fn expectations(here: Digest, elsewhere: Digest) -> [(Option<Digest>, TagExpect, bool); 12] {
    [
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
        (Some(elsewhere), TagExpect::Is(here), false),
        (Some(elsewhere), TagExpect::AbsentOrIs(here), false),
    ]
}

pub async fn a_tag_moves_only_from_where_it_is_expected(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let [here, elsewhere, new] = [1, 2, 3].map(Image::new);
    for (n, (current, expect, admitted)) in (0..).zip(expectations(here.digest(), elsewhere.digest())) {
        let a = repository(&format!("a{n}"));
        for image in [&here, &elsewhere] {
            let tags: &[&str] = if current == Some(image.digest()) {
                &["v1"]
            } else {
                &[]
            };
            put(&backend.first, &a, image.tagged(tags)).await;
        }

        let put = new.expecting([("v1", expect)]);
        let outcome = writer(&backend.second).put_manifest(&a, put).await.unwrap();

        let context = format!("{current:?}, {expect:?}: {outcome:?}");
        assert!(
            manifest(&backend.first, &a, new.digest()).await.is_some(),
            "{context}"
        );
        if admitted {
            assert!(outcome.failed.is_none(), "{context}");
            assert_eq!(outcome.moved[0].previous, current, "{context}");
            assert_eq!(
                resolve(&backend.first, &a, "v1").await,
                Some(new.digest()),
                "{context}"
            );
        } else {
            let conflict = StorageError::tag_conflict(tag("v1"), current);
            let (failed, error) = outcome.failed.expect(&context);
            assert_eq!(
                (failed, error.to_string()),
                (tag("v1"), conflict.to_string()),
                "{context}"
            );
            assert!(
                matches!(error, StorageError::TagConflict { current: told, .. } if told == current),
                "{context}"
            );
            assert!(outcome.moved.is_empty(), "{context}");
            assert_eq!(resolve(&backend.first, &a, "v1").await, current, "{context}");
        }
    }
}

pub async fn pushing_the_same_manifest_to_an_immutable_tag_again_succeeds(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let a = repository("a");
    let image = Image::new(1);
    let put = || image.expecting([("v1", TagExpect::AbsentOrIs(image.digest()))]);
    let first = writer(&backend.first).put_manifest(&a, put()).await.unwrap();

    let again = writer(&backend.second).put_manifest(&a, put()).await.unwrap();

    assert!(
        first.failed.is_none() && again.failed.is_none(),
        "{first:?}, {again:?}"
    );
    assert_eq!(again.moved[0].previous, Some(image.digest()));
    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(image.digest()));
}

/// Lets eight writers, each with its own manifest, move one tag through both handles. Returns the digest of the
/// winner.
async fn race(backend: &Backend, expect: TagExpect) -> Digest {
    let a = repository("a");
    let mut race = JoinSet::new();
    for n in 0..8 {
        let storage = Arc::clone(if n % 2 == 0 {
            &backend.first
        } else {
            &backend.second
        });
        let a = a.clone();
        race.spawn(async move {
            let image = Image::new(100 + n);
            let put = image.expecting([("v1", expect)]);
            let outcome = writer(&storage).put_manifest(&a, put).await.unwrap();
            (image.digest(), outcome)
        });
    }
    let outcomes = race.join_all().await;
    let winners: Vec<Digest> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.failed.is_none())
        .map(|(digest, _)| *digest)
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    for (digest, outcome) in outcomes {
        assert!(
            manifest(&backend.first, &a, digest).await.is_some(),
            "the manifest itself is in"
        );
        if let Some((_, error)) = outcome.failed {
            assert!(
                matches!(&error, StorageError::TagConflict { current: Some(current), .. } if *current == winners[0]),
                "{error:?}"
            );
        }
    }
    winners[0]
}

pub async fn of_writers_that_race_for_a_new_tag_one_wins(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let winner = race(&backend, TagExpect::Absent).await;

    for storage in [&backend.first, &backend.second] {
        assert_eq!(resolve(storage, &repository("a"), "v1").await, Some(winner));
    }
}

pub async fn of_writers_that_race_to_move_a_tag_one_wins(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let before = Image::new(1);
    put(&backend.first, &repository("a"), before.tagged(&["v1"])).await;

    let winner = race(&backend, TagExpect::Is(before.digest())).await;

    for storage in [&backend.first, &backend.second] {
        assert_eq!(resolve(storage, &repository("a"), "v1").await, Some(winner));
    }
}

pub async fn several_tags_are_moved_in_byte_order(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);

    let outcome = put(
        &backend.first,
        &a,
        image.tagged(&["b", "1.2", "a", "B", "1-alpine", "1", "_"]),
    )
    .await;

    let moved: Vec<_> = outcome.moved.iter().map(|moved| moved.tag.to_string()).collect();
    assert_eq!(moved, ["1", "1-alpine", "1.2", "B", "_", "a", "b"]);
    for name in moved {
        assert_eq!(
            resolve(&backend.second, &a, &name).await,
            Some(image.digest()),
            "{name}"
        );
    }
}

pub async fn a_tag_that_conflicts_ends_the_put_and_earlier_tags_stay_moved(backend: Backend) {
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let a = repository("a");
    let [before, new] = [1, 2].map(Image::new);
    put(&backend.first, &a, before.tagged(&["a", "c", "d"])).await;

    let put = new.expecting([
        ("d", TagExpect::Any),
        ("c", TagExpect::Absent),
        ("b", TagExpect::Any),
        ("a", TagExpect::Is(before.digest())),
    ]);
    let outcome = writer(&backend.first).put_manifest(&a, put).await.unwrap();

    assert!(outcome.created);
    let moved =
        [("a", Some(before.digest())), ("b", None)].map(|(name, previous)| Moved::new(tag(name), previous));
    assert_eq!(outcome.moved, moved);
    let (failed, error) = outcome.failed.expect("a tag conflicts");
    assert_eq!(failed, tag("c"));
    assert!(
        matches!(error, StorageError::TagConflict { current, .. } if current == Some(before.digest())),
        "{error:?}"
    );
    for (name, target) in [("a", &new), ("b", &new), ("c", &before), ("d", &before)] {
        assert_eq!(
            resolve(&backend.second, &a, name).await,
            Some(target.digest()),
            "{name}"
        );
    }
}

pub async fn a_tag_points_at_one_whole_manifest_while_it_is_moved(backend: Backend) {
    let a = repository("a");
    let images = [1, 2].map(Image::new);
    put(&backend.first, &a, images[0].tagged(&["v1"])).await;
    let mover = tokio::spawn({
        let (storage, a, images) = (Arc::clone(&backend.first), a.clone(), images.clone());
        async move {
            for round in 0..40 {
                put(&storage, &a, images[round % 2].tagged(&["v1"])).await;
            }
        }
    });

    loop {
        let found = manifest(&backend.second, &a, tag("v1"))
            .await
            .expect("the tag never goes away");
        let image = images.iter().find(|image| image.digest() == found.digest);
        assert_eq!(found.bytes, image.expect("one of the two").bytes());
        if mover.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    mover.await.unwrap();
}
