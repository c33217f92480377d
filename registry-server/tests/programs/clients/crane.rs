//! crane: pushes layouts, builds images from layers, and reads what is there.

use std::{collections::BTreeSet, fs};

use libtest_mimic::Trial;
use serde_json::Value;

use super::{Scene, digests};
use crate::{
    image::{Layer, Layout, OCI_INDEX, digest_of, read_blob, references, sha256},
    program::argument,
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["crane"];
        pushes_a_layout_and_pulls_it,
        appends_and_validates,
        uploads_nothing_when_it_pushes_again,
        mounts_into_a_second_repository,
        pushes_although_it_is_cut_twice,
        copies_and_mutates,
        reads_manifests_and_blobs,
        builds_an_index,
        tags_lists_and_deletes,
    )
}

fn pushes_a_layout_and_pulls_it() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let reference = scene.server.repository("team/layout:all");
    let pulled = scene.bench.path("pulled");

    scene
        .bench
        .crane(&["push", "--index", argument(scene.layout.path()), &reference]);
    scene
        .bench
        .crane(&["pull", "--format", "oci", &reference, argument(&pulled)]);

    // `index.json` itself becomes the index in the registry, with the other index as its child.
    let index = fs::read(scene.layout.path().join("index.json")).unwrap();
    assert_eq!(scene.server.get("/v2/team/layout/manifests/all").body, index);
    for tag in ["one", "two", "multi"] {
        let digest = scene.layout.digest(tag);
        scene.assert_served("team/layout", &digest.to_string(), &digest);
        assert_eq!(read_blob(&pulled, &digest), scene.layout.blob(&digest));
    }
}

fn appends_and_validates() {
    let scene = Scene::new();
    let reference = scene.server.repository("team/appended:1");
    let (first, second) = (Layer::new(11, 150_000), Layer::new(12, 50_000));
    let files = [
        scene.bench.path("first.tar.gz"),
        scene.bench.path("second.tar.gz"),
    ];
    fs::write(&files[0], &first.blob).unwrap();
    fs::write(&files[1], &second.blob).unwrap();

    scene
        .bench
        .crane(&["append", "-f", argument(&files[0]), "-t", &reference]);
    scene.bench.crane(&[
        "append",
        "-b",
        &reference,
        "-f",
        argument(&files[1]),
        "-t",
        &reference,
    ]);

    scene.bench.crane(&["validate", "--remote", &reference]);
    let manifest = scene.server.get("/v2/team/appended/manifests/1").body;
    let (_, blobs) = references(&manifest);
    for (layer, served) in [&first, &second].into_iter().zip(&blobs) {
        assert_eq!(digest_of(served), sha256(&layer.blob));
        let served = scene
            .server
            .get(&format!("/v2/team/appended/blobs/{}", digest_of(served)));
        assert!(
            served.body == layer.blob,
            "the layer is served as it was appended"
        );
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    let layout = argument(scene.layout.path());
    let push = |tag: &str| {
        let to = scene.tapped(&format!("team/layout:{tag}"));
        scene.bench.crane(&["push", "--index", layout, &to]);
    };

    push("all");
    let first = scene.traffic();
    push("all");
    push("again");
    let later = scene.traffic();

    // Three layers, one of them in both images, and two configurations.
    assert_eq!(first.uploads(), 5, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    scene.assert_served(
        "team/layout",
        &scene.layout.digest("multi").to_string(),
        &scene.layout.digest("multi"),
    );
}

fn mounts_into_a_second_repository() {
    let scene = Scene::new();
    scene.publish("multi", "team/app:multi");

    let (from, to) = (scene.tapped("team/app:multi"), scene.tapped("other/app:multi"));
    scene.bench.crane(&["copy", &from, &to]);

    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (5, 0),
        "{}",
        traffic.lines()
    );
    scene.assert_served("other/app", "multi", &scene.layout.digest("multi"));
}

fn pushes_although_it_is_cut_twice() {
    let scene = Scene::new();
    scene.cut_uploads_twice();
    let mut alone = Layout::create(scene.bench.path("alone"));
    alone.import(&scene.layout, "one");

    scene
        .bench
        .crane(&["push", argument(alone.path()), &scene.tapped("team/app:one")]);

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 2, "{}", traffic.lines());
    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
    for cut in traffic.cut() {
        scene.assert_abandoned(cut);
    }
}

fn copies_and_mutates() {
    let scene = Scene::new();
    scene.crane_push("multi", "team/app:multi");
    scene.crane_push("one", "team/app:one");
    let (app, other) = (
        scene.server.repository("team/app"),
        scene.server.repository("other/app"),
    );

    scene
        .bench
        .crane(&["copy", &format!("{app}:multi"), &format!("{other}:multi")]);
    scene.bench.crane(&[
        "mutate",
        "--label",
        "season=autumn",
        "-t",
        &format!("{app}:labelled"),
        &format!("{app}:one"),
    ]);

    scene.assert_served("other/app", "multi", &scene.layout.digest("multi"));
    let config = scene.bench.crane(&["config", &format!("{app}:labelled")]);
    let config: Value = serde_json::from_slice(&config.out).unwrap();
    assert_eq!(config["config"]["Labels"]["season"], "autumn");
    scene
        .bench
        .crane(&["validate", "--remote", &format!("{app}:labelled")]);
    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn reads_manifests_and_blobs() {
    let scene = Scene::new();
    scene.crane_push("one", "team/app:one");
    let app = scene.server.repository("team/app");
    let digest = scene.layout.digest("one");
    let manifest = scene.layout.blob(&digest);

    let named = scene.bench.crane(&["digest", &format!("{app}:one")]);
    let by_tag = scene.bench.crane(&["manifest", &format!("{app}:one")]);
    let by_digest = scene.bench.crane(&["manifest", &format!("{app}@{digest}")]);

    assert_eq!(named.text(), digest.to_string());
    // It ends what it prints with a newline of its own.
    assert_eq!(by_tag.text().as_bytes(), manifest);
    assert_eq!(by_digest.text().as_bytes(), manifest);
    for blob in references(&manifest).1 {
        let digest = digest_of(&blob);
        let read = scene.bench.crane(&["blob", &format!("{app}@{digest}")]);
        assert!(
            read.out == scene.layout.blob(&digest),
            "{digest} is read as it was pushed"
        );
    }
}

fn builds_an_index() {
    let scene = Scene::new();
    scene.crane_push("one", "team/app:one");
    scene.crane_push("two", "team/app:two");
    let app = scene.server.repository("team/app");
    let (one, two) = (format!("{app}:one"), format!("{app}:two"));

    scene.bench.crane(&[
        "index",
        "append",
        "-m",
        &one,
        "-m",
        &two,
        "-t",
        &format!("{app}:both"),
    ]);

    let index = scene.server.get("/v2/team/app/manifests/both");
    assert_eq!(index.header("content-type"), Some(OCI_INDEX));
    let (children, _) = references(&index.body);
    let expected: BTreeSet<_> = ["one", "two"].map(|tag| scene.layout.digest(tag)).into();
    assert_eq!(digests(&children), expected);
    scene
        .bench
        .crane(&["validate", "--remote", &format!("{app}:both")]);
}

fn tags_lists_and_deletes() {
    let scene = Scene::new();
    scene.crane_push("one", "team/app:one");
    scene.crane_push("two", "team/tool:two");
    let app = scene.server.repository("team/app");
    let digest = scene.layout.digest("one");

    scene.bench.crane(&["tag", &format!("{app}:one"), "stable"]);
    assert_eq!(scene.bench.crane(&["ls", &app]).lines(), ["one", "stable"]);
    let catalog = scene
        .bench
        .crane(&["catalog", &scene.server.address().to_string()]);
    assert_eq!(catalog.lines(), ["team/app", "team/tool"]);

    scene.bench.crane(&["delete", &format!("{app}:stable")]);
    assert_eq!(scene.bench.crane(&["ls", &app]).lines(), ["one"]);
    scene.assert_served("team/app", "one", &digest);

    scene.bench.crane(&["delete", &format!("{app}@{digest}")]);
    scene.assert_unknown("team/app", "one");
    scene.assert_unknown("team/app", &digest.to_string());
    scene.assert_served("team/tool", "two", &scene.layout.digest("two"));
}
