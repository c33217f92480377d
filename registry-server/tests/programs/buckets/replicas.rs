//! Servers on one bucket, and clients of them.

use libtest_mimic::Trial;

use super::{OURS, Scene, push, target};
use crate::{
    http,
    image::{Layout, sha256},
    program::argument,
    server::{Server, Starting, closing, program},
};

pub(super) fn trials() -> Vec<Trial> {
    let clients = trials!(["weed", "crane", "skopeo"]; clients_push_to_seaweedfs_and_pull);
    let gateway = trials!(["versitygw", "crane", "skopeo"]; clients_push_to_versitygw_and_pull);
    let plain = trials!(["versitygw"];
        what_one_server_was_told_every_server_answers,
        an_upload_continues_at_another_server,
        a_blob_comes_from_the_bucket_unless_that_is_disabled,
        a_read_only_server_serves_the_bucket_and_changes_nothing,
        a_collection_that_is_ended_holds_nobody_up,
    );
    [clients, gateway, plain].into_iter().flatten().collect()
}

fn clients_push_to_seaweedfs_and_pull() {
    clients_push_and_pull(&Scene::seaweedfs());
}

fn clients_push_to_versitygw_and_pull() {
    clients_push_and_pull(&Scene::versitygw());
}

fn clients_push_and_pull(scene: &Scene) {
    let server = scene.serve("clients", "");
    let layout = Layout::sample(scene.bench.path("layout"));
    let reference = server.repository("team/app:one");
    scene.bench.skopeo(&[
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &layout.oci("multi"),
        &format!("docker://{}", server.repository("team/app:multi")),
    ]);
    scene.bench.skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &layout.oci("one"),
        &format!("docker://{reference}"),
    ]);

    scene
        .bench
        .crane(&["validate", "--insecure", "--remote", &reference]);
    let pulled = scene.bench.path("pulled");
    scene.bench.crane(&[
        "pull",
        "--insecure",
        "--format",
        "oci",
        &reference,
        argument(&pulled),
    ]);

    for tag in ["one", "multi"] {
        assert_eq!(target(&server, "team/app", tag), layout.digest(tag).to_string());
    }
    let tags = server.get("/v2/team/app/tags/list");
    assert_eq!(tags.body, br#"{"name":"team/app","tags":["multi","one"]}"#);
    assert_eq!(
        server.get("/v2/_catalog").body,
        br#"{"repositories":["team/app"]}"#
    );
}

fn two(scene: &Scene) -> [Server; 2] {
    let config = scene.config("shared", "");
    [(); 2].map(|()| Server::start(Scene::serving(&config), "listening on http://"))
}

fn what_one_server_was_told_every_server_answers() {
    let scene = Scene::versitygw();
    let [one, other] = two(&scene);
    for seed in 1..=3 {
        let digest = push(&one, "team/app", "latest", seed);
        assert_eq!(target(&other, "team/app", "latest"), digest);
    }
    let digest = push(&other, "team/other", "v1", 4);
    one.request("DELETE", &format!("/v2/team/other/manifests/{digest}"), &[], b"")
        .expect_status(202);
    other
        .request("GET", "/v2/team/other/manifests/v1", &[], b"")
        .expect_status(404);

    // A command is one more of them.
    let config = scene.config("shared", "");
    let config = argument(&config);
    let listed = scene.operate(&["ls", "--config", config, "team/app"]).unwrap();
    assert_eq!(listed.text(), "latest");
    scene
        .operate(&["rm", "--yes", "--config", config, "team/app:latest"])
        .unwrap();
    one.request("GET", "/v2/team/app/manifests/latest", &[], b"")
        .expect_status(404);
    scene
        .operate(&["restore", "--config", config, "team/app:latest"])
        .unwrap();
    assert_eq!(
        target(&one, "team/app", "latest"),
        target(&other, "team/app", "latest")
    );
}

fn an_upload_continues_at_another_server() {
    let scene = Scene::versitygw();
    let [one, other] = two(&scene);
    let session = one.open_upload("team/app");
    let began = one
        .request("PATCH", &session, &[("Content-Range", "0-4")], b"Hello")
        .expect_status(202);
    one.kill();

    other
        .request(
            "PUT",
            &closing(&began.location(), &sha256(b"Hello, you").to_string()),
            &[],
            b", you",
        )
        .expect_status(201);

    let path = format!("/v2/team/app/blobs/{}", sha256(b"Hello, you"));
    let blob = other.request("HEAD", &path, &[], b"").expect_status(200);
    assert_eq!(blob.header("content-length"), Some("10"));
}

fn a_blob_comes_from_the_bucket_unless_that_is_disabled() {
    let scene = Scene::versitygw();
    let server = scene.serve("redirected", "");
    let path = format!("/v2/team/app/blobs/{}", sha256(b"a blob"));
    server.push_blob("team/app", &sha256(b"a blob").to_string(), b"a blob");
    let redirect = server.request("GET", &path, &[], b"").expect_status(307);
    let location = redirect.header("location").unwrap();
    assert!(location.starts_with(&scene.store.endpoint()), "{location}");
    let found = http::request(scene.store.address(), "GET", &redirect.location(), &[], b"");
    assert_eq!(found.expect_status(200).body, b"a blob");
    server.request("HEAD", &path, &[], b"").expect_status(200);

    let server = scene.serve("redirected", "  redirect: { disable: true }\n");
    let sent = server.request("GET", &path, &[], b"").expect_status(200);
    assert_eq!(sent.body, b"a blob");
}

fn a_read_only_server_serves_the_bucket_and_changes_nothing() {
    let scene = Scene::versitygw();
    let digest = push(&scene.serve("read", ""), "team/app", "v1", 1);

    let reader = scene.serve("read", "  maintenance: { readonly: { enabled: true } }\n");

    assert_eq!(target(&reader, "team/app", "v1"), digest);
    reader
        .request("POST", "/v2/team/app/blobs/uploads/", &[], b"")
        .expect_status(405);
}

/// One that was killed would hold the next one up for four minutes.
fn a_collection_that_is_ended_holds_nobody_up() {
    let scene = Scene::versitygw();
    let collecting = "  maintenance: { collect: { enabled: false, grace: 0s } }\n";
    let server = scene.serve("ended", collecting);
    let digest = push(&server, "team/app", "v1", 1);
    let target = format!("/v2/team/app/manifests/{digest}");
    server.request("DELETE", &target, &[], b"").expect_status(202);
    let config = scene.config("ended", collecting);
    for _ in 0..2 {
        let mut collect = program(OURS);
        collect.arg("garbage-collect").arg(&config);
        let mut collection = Starting::new(collect);
        collection.says("waiting: the removals are announced to all replicas");
        collection.terminate();
        collection.says("interrupted: the next collection goes on");
        assert_eq!(collection.wait().code(), Some(143));
    }
}
