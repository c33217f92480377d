//! A password is hashed once, and a stranger learns nothing from what is hashed.

use crate::scene::{Scene, lines};
use std::{num::NonZeroUsize, time::Duration};

#[tokio::test(start_paused = true)]
async fn a_verified_password_is_hashed_once() {
    let scene = Scene::new(&[("alice", "right")]);
    for _ in 0..20 {
        assert_eq!(scene.login("alice", "right").await, 200);
    }

    let statistics = scene.users.statistics();
    assert_eq!((statistics.hashed, statistics.cached), (1, 19));
    // The cached password is of no use to others.
    assert_eq!(scene.login("alice", "wrong").await, 401);
    assert_eq!(scene.login("bob", "right").await, 401);
    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.hashed(), 3);
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_hashed_once() {
    let one = NonZeroUsize::MIN;
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| builder.threads(one));

    let layers = tokio::join!(
        scene.login("alice", "right"),
        scene.login("alice", "right"),
        scene.login("alice", "right"),
        scene.login("alice", "right"),
    );

    assert_eq!(layers, (200, 200, 200, 200));
    assert_eq!(scene.hashed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_forgotten_when_it_was_not_used_for_a_while() {
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| {
        builder.cache_for(Duration::from_secs(60))
    });
    scene.login("alice", "right").await;
    tokio::time::advance(Duration::from_secs(60)).await;
    scene.login("alice", "right").await;
    tokio::time::advance(Duration::from_secs(60)).await;
    scene.login("alice", "right").await;
    assert_eq!(scene.hashed(), 1);

    tokio::time::advance(Duration::from_secs(61)).await;

    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.hashed(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_user_costs_what_a_known_one_costs() {
    let scene = Scene::new(&[("alice", "right")]);
    assert_eq!(scene.login("alice", "wrong").await, 401);
    assert_eq!(scene.hashed(), 1);

    assert_eq!(scene.login("nobody", "wrong").await, 401);
    assert_eq!(scene.hashed(), 2);
    // Not even with the password of the line that is hashed in its place, also when that is cached.
    assert_eq!(scene.login("nobody", "right").await, 401);
    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.login("nobody", "right").await, 401);
    assert_eq!(scene.hashed(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_password_is_what_follows_the_first_colon_whatever_its_bytes() {
    let scene = Scene::new(&[("jörg", "größe:72"), ("empty", "")]);

    assert_eq!(scene.login("jörg", "größe:72").await, 200);
    assert_eq!(scene.login("jörg", "größe").await, 401);
    assert_eq!(scene.login("empty", "").await, 200);
    assert_eq!(scene.login("empty", "x").await, 401);
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_is_a_stranger_and_is_challenged() {
    let scene = Scene::new(&[("alice", "right")]);

    // An empty login, as some clients send it, and the credentials of another scheme.
    for authorization in ["Basic Og==", "Bearer abc"] {
        assert_eq!(scene.ping(None, authorization).await.status, 401);
    }
    assert_eq!(scene.users.statistics(), Default::default());
}
