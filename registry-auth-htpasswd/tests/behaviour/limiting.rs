//! Clients that try passwords are told to wait, and clients with verified passwords are not.

use crate::scene::{Answer, HOME, Scene, lines};
use registry_auth_htpasswd::FailureLimit;
use std::{num::NonZeroUsize, time::Duration};

const OTHER: &str = "198.51.100.1:50000";

fn scene() -> Scene {
    Scene::with(&lines(&[("alice", "right"), ("bob", "right")]), |builder| {
        builder.failure_limit(FailureLimit::new(3, Duration::from_secs(10)))
    })
}

const fn wait(seconds: u64) -> Answer {
    Answer {
        status: 429,
        retry_after: Some(seconds),
    }
}

#[tokio::test(start_paused = true)]
async fn after_too_many_failures_the_answer_is_429_before_anything_is_hashed() {
    let scene = scene();
    for _ in 0..3 {
        assert_eq!(scene.login("alice", "wrong").await, 401);
    }

    assert_eq!(scene.login_from(HOME, "alice", "wrong").await, wait(10));
    assert_eq!(scene.login_from(HOME, "alice", "right").await, wait(10));
    assert_eq!(scene.hashed(), 3);
    assert_eq!(scene.users.statistics().throttled, 2);
    // Other users, and the same user from elsewhere, are not limited.
    assert_eq!(scene.login("bob", "right").await, 200);
    assert_eq!(scene.login_from(OTHER, "alice", "right").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_forgiven_at_a_time() {
    let scene = scene();
    for _ in 0..3 {
        scene.login("alice", "wrong").await;
    }

    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(scene.login_from(HOME, "alice", "wrong").await, wait(4));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(scene.login("alice", "wrong").await, 401);
    assert_eq!(scene.login_from(HOME, "alice", "wrong").await, wait(10));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(scene.login("alice", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_succeeds_forgives_the_failures_of_its_user_and_address_alone() {
    let scene = scene();
    for _ in 0..2 {
        scene.login("alice", "wrong").await;
    }
    for _ in 0..3 {
        scene.login("bob", "wrong").await;
    }
    assert_eq!(scene.login("alice", "right").await, 200);

    for _ in 0..3 {
        assert_eq!(scene.login("alice", "wrong").await, 401);
    }
    assert_eq!(scene.login_from(HOME, "alice", "wrong").await, wait(10));
    assert_eq!(scene.login_from(HOME, "bob", "right").await, wait(10));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_password_is_never_refused() {
    let scene = scene();
    assert_eq!(scene.login("alice", "right").await, 200);
    for _ in 0..5 {
        scene.login("alice", "wrong").await;
    }

    // Behind a proxy, the attacker has the same address as all clients.
    assert_eq!(scene.login_from(HOME, "alice", "wrong").await, wait(10));
    assert_eq!(scene.login("alice", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn unknown_users_are_limited_like_known_ones() {
    let scene = scene();
    for _ in 0..3 {
        assert_eq!(scene.login("nobody", "wrong").await, 401);
    }
    assert_eq!(scene.login_from(HOME, "nobody", "wrong").await, wait(10));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_wait_for_their_turn_together_do_not_pass_the_limit() {
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| {
        let limit = FailureLimit::new(3, Duration::from_secs(10));
        builder.failure_limit(limit).threads(NonZeroUsize::MIN)
    });

    let answers = tokio::join!(
        scene.login("alice", "a"),
        scene.login("alice", "b"),
        scene.login("alice", "c"),
        scene.login("alice", "d"),
        scene.login("alice", "e"),
    );

    let mut answers = <[u16; 5]>::from(answers);
    answers.sort_unstable();
    assert_eq!(answers, [401, 401, 401, 429, 429]);
    assert_eq!(scene.hashed(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_limit_can_be_turned_off() {
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| {
        builder.failure_limit(None)
    });
    for _ in 0..30 {
        assert_eq!(scene.login("alice", "wrong").await, 401);
    }
    assert_eq!(scene.login("alice", "right").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_shows_a_new_name_each_time_is_limited_as_well() {
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| {
        builder.network_failure_limit(FailureLimit::new(5, Duration::from_secs(4)))
    });
    for stranger in ["a", "b", "c", "d", "e"] {
        assert_eq!(scene.login(stranger, "wrong").await, 401);
    }

    assert_eq!(scene.login_from(HOME, "f", "wrong").await, wait(4));
    assert_eq!(scene.login_from(HOME, "alice", "right").await, wait(4));
    assert_eq!(scene.hashed(), 5);
    // Other networks are not limited, nor are those that may be shared by all clients.
    assert_eq!(scene.login_from(OTHER, "alice", "right").await.status, 200);
    for stranger in ["a", "b", "c", "d", "e", "f"] {
        let answer = scene.login_from("10.0.0.1:50000", stranger, "wrong").await;
        assert_eq!(answer.status, 401);
    }

    // A right password resets the failures of its user only.
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(scene.login("alice", "right").await, 200);
    assert_eq!(scene.login("f", "wrong").await, 401);
    assert_eq!(scene.login_from(HOME, "g", "wrong").await, wait(4));
}

#[tokio::test(start_paused = true)]
async fn whoever_claims_any_address_is_limited_by_their_own() {
    let scene = Scene::with(&lines(&[("alice", "right"), ("bob", "right")]), |builder| {
        builder.presumed_failure_limit(FailureLimit::new(5, Duration::from_secs(4)))
    });
    let own = "10.0.0.9";
    for end in 1..=5 {
        let claimed = format!("198.51.100.{end}:0");
        let answer = scene.login_through(own, &claimed, "alice", "wrong").await;
        assert_eq!(answer.status, 401);
    }
    let first = scene.log.take().remove(0);
    let line = r#"login failed client=198.51.100.1 user="alice" reason="wrong password" via=10.0.0.9"#;
    assert!(first.ends_with(line), "{first}");

    let again = scene.login_through(own, "198.51.100.9:0", "alice", "wrong").await;
    assert_eq!(again, wait(4));
    assert_eq!(scene.hashed(), 5);
    // Other users there, and the same user through another peer, are not limited.
    for (proxy, user) in [(own, "bob"), ("10.0.0.1", "alice")] {
        let answer = scene.login_through(proxy, "198.51.100.9:0", user, "right").await;
        assert_eq!(answer.status, 200, "{proxy} {user}");
    }
    // A cached password is never refused.
    let answer = scene.login_through(own, "198.51.100.9:0", "alice", "right").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tries_for_a_user_through_one_presumed_proxy_are_allowed_by_default() {
    let scene = Scene::with(&lines(&[("alice", "right")]), |builder| {
        builder.failure_limit(None).network_failure_limit(None)
    });
    let own = "10.0.0.9";
    for number in 0..100 {
        let claimed = format!("198.51.100.{number}:0");
        let answer = scene.login_through(own, &claimed, "alice", "wrong").await;
        assert_eq!(answer.status, 401, "{number}");
    }

    let again = scene.login_through(own, "203.0.113.1:0", "alice", "right").await;
    assert_eq!(again, wait(3));
    tokio::time::advance(Duration::from_secs(3)).await;
    let answer = scene.login_through(own, "203.0.113.1:0", "alice", "right").await;
    assert_eq!(answer.status, 200);
}
