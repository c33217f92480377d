//! The real servers, by the client that the storage uses.

use crate::{Test, on_each_server, read, round_trip, wait_for};
use libtest_mimic::Trial;
use object_store::{Error, ObjectStoreExt as _, RetryConfig, path::Path};
use object_stores::S3Server;
use std::time::Duration;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("objects_are_stored_under_conditions_and_listed", |server| {
            wait_for(round_trip(&server.bucket("objects").unwrap().build().unwrap()));
        }),
        ("signatures_are_checked", signatures_are_checked),
        (
            "a_killed_server_has_its_objects_when_it_starts_again",
            a_killed_server_has_its_objects_when_it_starts_again,
        ),
        (
            "a_paused_server_answers_when_it_continues",
            a_paused_server_answers_when_it_continues,
        ),
    ];
    on_each_server("servers", &tests)
}

fn signatures_are_checked(server: &mut S3Server) {
    let settings = server.bucket("signed").unwrap();
    let forged = settings.with_secret_access_key("another").build().unwrap();

    let refused = wait_for(forged.put(&Path::from("object"), "x".into())).unwrap_err();

    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");
}

fn a_killed_server_has_its_objects_when_it_starts_again(server: &mut S3Server) {
    let store = server.bucket("kept").unwrap().build().unwrap();
    let (path, address, pid) = (Path::from("kept"), server.address(), server.pid());
    wait_for(store.put(&path, "kept".into())).unwrap();

    server.kill().unwrap();
    server.restart().unwrap();

    assert_eq!(server.address(), address);
    assert_ne!(server.pid(), pid);
    assert_eq!(wait_for(read(&store, &path)), b"kept");
}

fn a_paused_server_answers_when_it_continues(server: &mut S3Server) {
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let store = server
        .bucket("paused")
        .unwrap()
        .with_retry(retry)
        .build()
        .unwrap();
    let path = Path::from("object");

    server.pause().unwrap();
    let stored = wait_for(async {
        let mut stored = std::pin::pin!(store.put(&path, "x".into()));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut stored).await;
        assert!(early.is_err(), "a paused server answers: {early:?}");
        server.resume().unwrap();
        stored.await
    });

    stored.unwrap();
}
