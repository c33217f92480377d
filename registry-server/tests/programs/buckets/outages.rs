//! Outages of the store.

use std::{
    fs,
    time::{Duration, Instant},
};

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
        a_server_ends_if_the_store_refuses_it,
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

fn await_health(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while health(server).0 != 200 {
        assert!(Instant::now() < deadline, "{:?}", health(server));
    }
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
    await_health(&server);
}

fn a_server_waits_for_its_store() {
    let mut scene = Scene::versitygw();
    let config = scene.config("late", "");
    scene.store.kill().unwrap();
    let mut starting = Starting::new(Scene::serving(&config));
    let debug = starting.address_after("debug server listening on ");
    let clients = starting.address_after("clients on ");
    starting.says("the bucket cannot be reached, trying again");
    starting.says("start it, or correct the endpoint");

    // It is alive and not ready.
    let get = |address, path| http::request(address, "GET", path, &[], b"");
    assert_eq!(get(clients, "/").status, 200);
    let refused = get(clients, "/v2/team/app/manifests/v1");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let report = get(debug, "/debug/health");
    assert_eq!(report.status, 503);
    let report = String::from_utf8_lossy(&report.body).into_owned();
    assert!(
        report.contains("storagedriver_s3") && report.contains("s3://images/late"),
        "{report}"
    );

    scene.store.restart().unwrap();

    let server = starting.listening("listening on http://");
    assert_eq!(server.address(), clients);
    push(&server, "team/app", "v1", 1);
    await_health(&server);
}

/// A server whose configuration no store will ever accept ends, instead of waiting.
fn a_server_ends_if_the_store_refuses_it() {
    let scene = Scene::versitygw();
    for (directory, wrong, told) in [
        (
            "absent",
            ("bucket: images", "bucket: nobodys"),
            "there is no such bucket",
        ),
        ("secret", ("secretkey: ", "secretkey: x"), "secret"),
    ] {
        let config = scene.config(directory, "");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(wrong.0, wrong.1)).unwrap();
        let mut starting = Starting::new(Scene::serving(&config));
        starting.says(told);
        starting.says("storage.s3");
        assert!(!starting.wait().success());
    }
}

fn a_bucket_that_does_not_exist_is_told() {
    let scene = Scene::versitygw();
    let absent = format!("s3://absent?regionendpoint={}", scene.store.endpoint());

    let refused = scene.operate(&["storage", "check", &absent]).unwrap_err();

    assert!(refused.contains("exit status: 2"), "{refused}");
    assert!(refused.contains("s3://absent"), "{refused}");
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}
