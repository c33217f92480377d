//! Outages of the store.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::{Scene, push, target};
use crate::{
    http,
    server::{Server, Starting, address_after},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["versitygw"];
        an_outage_is_told_and_ends_by_itself,
        a_server_waits_for_its_store,
        a_bucket_that_does_not_exist_is_told,
    )
}

/// Returns the status of the health report.
fn health(server: &Server) -> (u16, String) {
    server.says("health at /debug/health");
    let debug = address_after(&server.said(), "debug server listening on ").unwrap();
    let answer = http::request(debug, "GET", "/debug/health", &[], b"");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn an_outage_is_told_and_ends_by_itself() {
    let mut scene = Scene::versitygw();
    let server = scene.serve("outage", "");
    let digest = push(&server, "team/app", "v1", 1);
    assert_eq!(health(&server).0, 200);

    scene.store.kill().unwrap();

    let refused = server
        .request("GET", "/v2/team/app/tags/list", &[], b"")
        .expect_status(503);
    assert!(refused.header("retry-after").is_some());
    server
        .request("POST", "/v2/team/app/blobs/uploads/", &[], b"")
        .expect_status(503);
    // It is alive all the same, and not ready.
    server.request("GET", "/", &[], b"").expect_status(200);
    server.request("GET", "/v2/", &[], b"").expect_status(200);
    server.says("a health check failed");
    let (status, report) = health(&server);
    assert_eq!(status, 503);
    assert!(report.contains("storagedriver_s3"), "{report}");

    scene.store.restart().unwrap();

    assert_eq!(target(&server, "team/app", "v1"), digest);
    let deadline = Instant::now() + Duration::from_secs(60);
    while health(&server).0 != 200 {
        assert!(Instant::now() < deadline, "{:?}", health(&server));
    }
}

fn a_server_waits_for_its_store() {
    let mut scene = Scene::versitygw();
    let config = scene.config("late", "");
    scene.store.kill().unwrap();
    let mut starting = Starting::new(Scene::serving(&config));
    starting.says("the bucket cannot be reached, trying again");

    scene.store.restart().unwrap();

    let server = starting.listening("listening on http://");
    push(&server, "team/app", "v1", 1);
}

fn a_bucket_that_does_not_exist_is_told() {
    let scene = Scene::versitygw();
    let absent = format!("s3://absent?regionendpoint={}", scene.store.endpoint());

    let refused = scene.operate(&["storage", "check", &absent]).unwrap_err();

    assert!(refused.contains("exit status: 2"), "{refused}");
    assert!(refused.contains("s3://absent"), "{refused}");
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}
