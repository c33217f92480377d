//! skopeo: copies between layouts, directories and registries, in both formats of images.

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use super::{Scene, digests};
use crate::{
    image::{DOCKER_MANIFEST, references},
    program::argument,
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["skopeo"];
        copies_an_image_as_oci,
        copies_an_image_as_docker_schema_2,
        copies_an_index_with_every_platform,
        copies_out_by_tag_and_by_digest,
        uploads_nothing_when_it_copies_again,
        copies_between_repositories,
        pushes_again_after_cuts,
        inspects_and_lists,
        syncs_a_repository_to_a_directory_and_back,
        deletes,
    )
}

fn copies_an_image_as_oci() {
    let scene = Scene::new();

    scene.skopeo_push("one", "team/app:one", &["--format", "oci"]);

    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn copies_an_image_as_docker_schema_2() {
    let scene = Scene::new();
    let converted = scene.bench.path("converted");
    let to = format!("dir:{}", converted.display());
    scene
        .bench
        .skopeo(&["copy", "--format", "v2s2", &scene.layout.oci("one"), &to]);
    let converted = fs::read(converted.join("manifest.json")).unwrap();

    scene.skopeo_push("one", "team/app:one", &["--format", "v2s2"]);

    let served = scene.server.get("/v2/team/app/manifests/one");
    assert_eq!(served.header("content-type"), Some(DOCKER_MANIFEST));
    assert_eq!(
        served.body, converted,
        "the manifest is the one that skopeo makes of this image"
    );
    let (_, blobs) = references(&served.body);
    let (_, given) = references(&scene.layout.blob(&scene.layout.digest("one")));
    assert_eq!(
        digests(&blobs),
        digests(&given),
        "the conversion keeps configuration and layers"
    );
    scene.assert_blobs_served("team/app", &blobs);
}

fn copies_an_index_with_every_platform() {
    let scene = Scene::new();

    scene.skopeo_push("multi", "team/app:multi", &["--all"]);

    scene.assert_served("team/app", "multi", &scene.layout.digest("multi"));
}

fn copies_out_by_tag_and_by_digest() {
    let scene = Scene::new();
    scene.publish("multi", "team/app:multi");
    pulls_by_tag_and_by_digest(&scene);
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    scene.skopeo_push("multi", "team/app:multi", &["--all"]);
    scene.assert_served("team/app", "multi", &scene.layout.digest("multi"));
    pulls_by_tag_and_by_digest(scene);
}

fn pulls_by_tag_and_by_digest(scene: &Scene) {
    let digest = scene.layout.digest("multi");
    let by_digest = format!("docker://{}@{digest}", scene.server.repository("team/app"));

    for (from, directory) in [
        (scene.docker("team/app:multi"), "by-tag"),
        (by_digest, "by-digest"),
    ] {
        let to = scene.bench.path(directory);
        let copy = ["copy", "--all", "--src-tls-verify=false", &from];
        scene
            .bench
            .skopeo(&[&copy[..], &[&format!("oci:{}:copied", to.display())]].concat());
        scene.assert_copied("multi", &to);
    }
}

fn uploads_nothing_when_it_copies_again() {
    let scene = Scene::new();
    let copy = |tag: &str| {
        let to = format!("docker://{}", scene.tapped(&format!("team/app:{tag}")));
        let copy = [
            "copy",
            "--all",
            "--dest-tls-verify=false",
            &scene.layout.oci("multi"),
            &to,
        ];
        scene.bench.skopeo(&copy);
    };

    copy("one");
    let first = scene.traffic();
    copy("one");
    copy("again");
    let later = scene.traffic();

    // Three layers, one of them in both images, and two configurations.
    assert_eq!(first.uploads(), 5, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    scene.assert_served("team/app", "again", &scene.layout.digest("multi"));
}

fn pushes_again_after_cuts() {
    let scene = Scene::new();
    let to = format!("docker://{}", scene.tapped("team/app:one"));
    let copy = [
        "--insecure-policy",
        "copy",
        "--retry-times=3",
        "--dest-tls-verify=false",
        &scene.layout.oci("one"),
        &to,
    ];

    // It tries again, but takes some of what a cut looks like for final.
    scene.push_until_it_is_not_cut(250_000, || scene.bench.attempt("skopeo", &copy).map(drop));

    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn copies_between_repositories() {
    let scene = Scene::new();
    // What it pushed, it knows the place of.
    let push = [
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &scene.layout.oci("multi"),
    ];
    let to = format!("docker://{}", scene.tapped("team/app:multi"));
    scene.bench.skopeo(&[&push[..], &[&to]].concat());
    scene.traffic();

    let [from, to] =
        ["team/app:multi", "other/copy:multi"].map(|name| format!("docker://{}", scene.tapped(name)));
    scene.bench.skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &from,
        &to,
    ]);

    // Layers are mounted; configurations are small enough that it sends them again.
    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (3, 2),
        "{}",
        traffic.lines()
    );
    scene.assert_served("other/copy", "multi", &scene.layout.digest("multi"));
}

fn inspects_and_lists() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.skopeo_push(tag, &format!("team/app:{tag}"), &[]);
    }
    let one = scene.layout.digest("one");

    let raw = scene.bench.skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        &scene.docker("team/app:one"),
    ]);
    let inspected = scene
        .bench
        .skopeo(&["inspect", "--tls-verify=false", &scene.docker("team/app:one")]);
    let listed = scene
        .bench
        .skopeo(&["list-tags", "--tls-verify=false", &scene.docker("team/app")]);

    assert_eq!(raw.out, scene.layout.blob(&one));
    let inspected: Value = serde_json::from_slice(&inspected.out).unwrap();
    assert_eq!(inspected["Digest"], one.to_string());
    assert_eq!(inspected["Architecture"], "amd64");
    let listed: Value = serde_json::from_slice(&listed.out).unwrap();
    assert_eq!(listed["Tags"], serde_json::json!(["one", "two"]));
}

fn syncs_a_repository_to_a_directory_and_back() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.skopeo_push(tag, &format!("team/app:{tag}"), &[]);
    }
    let mirror = scene.bench.path("mirror");
    fs::create_dir(&mirror).unwrap();
    let mirror = argument(&mirror);

    let from = scene.server.repository("team/app");
    scene.bench.skopeo(&[
        "sync",
        "--src",
        "docker",
        "--dest",
        "dir",
        "--src-tls-verify=false",
        &from,
        mirror,
    ]);
    let to = scene.server.repository("restored");
    scene.bench.skopeo(&[
        "sync",
        "--src",
        "dir",
        "--dest",
        "docker",
        "--dest-tls-verify=false",
        mirror,
        &to,
    ]);

    for tag in ["one", "two"] {
        scene.assert_served("restored/app", tag, &scene.layout.digest(tag));
    }
}

fn deletes() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.skopeo_push(tag, &format!("team/app:{tag}"), &[]);
    }

    scene
        .bench
        .skopeo(&["delete", "--tls-verify=false", &scene.docker("team/app:one")]);

    // skopeo deletes the manifest that the tag names, and with it the tag.
    scene.assert_unknown("team/app", "one");
    scene.assert_unknown("team/app", &scene.layout.digest("one").to_string());
    scene.assert_served("team/app", "two", &scene.layout.digest("two"));
}
