//! podman: pushes and pulls by an engine. It compresses layers again, so that they differ from the layout's.

use std::{collections::BTreeSet, fs};

use libtest_mimic::Trial;
use registry_core::Digest;

use super::{Scene, digests};
use crate::{
    image::{digest_of, references, sha256},
    program::{argument, output_of},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["podman"];
        pushes_and_pulls_by_tag_and_by_digest,
        uploads_nothing_when_it_pushes_again,
        mounts_layers_into_a_second_repository,
        pushes_a_manifest_list,
        pushes_again_after_cuts,
    )
}

fn pushes_and_pulls_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let image = scene.podman_load("one");
    let reference = scene.server.repository("team/app:one");

    let digest = scene.podman_push(&image, &reference).digest;
    scene
        .bench
        .podman("second", &["pull", "--tls-verify=false", &reference]);
    let by_digest = format!("{}@{digest}", scene.server.repository("team/app"));
    scene
        .bench
        .podman("third", &["pull", "--tls-verify=false", &by_digest]);

    // podman compresses the layers anew: what it pushes is what it writes to a layout in the same way.
    scene.bench.podman("first", &["push", &image, "oci:written:one"]);
    scene.assert_served_from(&scene.bench.path("written"), "team/app", "one", &digest);
    for (storage, name) in [("second", &reference), ("third", &by_digest)] {
        let pulled = scene
            .bench
            .podman(storage, &["image", "inspect", "--format", "{{.Id}}", name]);
        assert_eq!(
            pulled.text(),
            image,
            "the image's id is the digest of its configuration"
        );
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    let image = scene.podman_load("one");

    let first = scene.podman_push(&image, &scene.server.repository("team/app:one"));
    let again = scene.podman_push(&image, &scene.server.repository("team/app:one"));
    let renamed = scene.podman_push(&image, &scene.server.repository("team/app:two"));

    // Two layers and a configuration, each opened once and sent once; the first push shows that this would be seen.
    assert_eq!((first.requests("POST"), first.requests("PATCH")), (3, 3));
    assert_eq!((again.requests("POST"), again.requests("PATCH")), (0, 0));
    assert_eq!((renamed.requests("POST"), renamed.requests("PATCH")), (0, 0));
    assert_eq!([again.digest, renamed.digest], [first.digest; 2]);
}

fn mounts_layers_into_a_second_repository() {
    let scene = Scene::new();
    let image = scene.podman_load("one");
    let first = scene.podman_push(&image, &scene.server.repository("team/app:one"));

    let second = scene.podman_push(&image, &scene.server.repository("other/app:one"));

    // Both layers come by mount; the configuration is small enough that podman sends it again.
    assert_eq!(second.mounts(), 2);
    assert!(second.requests("PATCH") <= 1, "{}", second.log);
    let manifest = scene.server.get("/v2/team/app/manifests/one").body;
    assert_eq!(scene.server.get("/v2/other/app/manifests/one").body, manifest);
    assert_eq!(second.digest, first.digest);
    for blob in references(&manifest).1 {
        let digest = digest_of(&blob);
        let [here, there] = ["team/app", "other/app"]
            .map(|repository| scene.server.get(&format!("/v2/{repository}/blobs/{digest}")).body);
        assert_eq!(sha256(&there), digest);
        assert!(here == there, "{digest} is the same in both repositories");
    }
}

fn pushes_a_manifest_list() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.publish(tag, &format!("team/app:{tag}"));
    }
    let podman = |arguments: &[&str]| scene.bench.podman("first", arguments);
    podman(&["manifest", "create", "both"]);
    for tag in ["one", "two"] {
        podman(&[
            "manifest",
            "add",
            "--tls-verify=false",
            "both",
            &scene.docker(&format!("team/app:{tag}")),
        ]);
    }

    podman(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        "both",
        &scene.docker("lists/app:both"),
    ]);

    let list = scene.server.get("/v2/lists/app/manifests/both");
    let expected: BTreeSet<_> = ["one", "two"].map(|tag| scene.layout.digest(tag)).into();
    assert_eq!(digests(&references(&list.body).0), expected);
    for digest in expected {
        scene.assert_served("lists/app", &digest.to_string(), &digest);
    }
}

fn pushes_again_after_cuts() {
    let scene = Scene::new();
    let image = scene.podman_load("one");
    let reference = scene.tapped("team/app:one");
    let push = ["push", "--tls-verify=false", &image, &reference];

    scene.push_until_it_is_not_cut(250_000, || {
        output_of(scene.bench.podman_command("first", &push)).map(drop)
    });

    let written = ["push", &image, "oci:written:one"];
    scene.bench.podman("first", &written);
    let digest = sha256(&scene.server.get("/v2/team/app/manifests/one").body);
    scene.assert_served_from(&scene.bench.path("written"), "team/app", "one", &digest);
}

impl Scene {
    /// Loads an image of the layout into podman's first storage and returns its id.
    fn podman_load(&self, tag: &str) -> String {
        // By its relative path: podman names the image for it, and a temporary directory's name may not be one.
        self.bench
            .podman("first", &["pull", "--quiet", &format!("oci:layout:{tag}")])
            .text()
            .to_owned()
    }

    fn podman_push(&self, image: &str, reference: &str) -> PodmanPush {
        let digest_file = self.bench.path("digest");
        let push = [
            "--log-level",
            "debug",
            "push",
            "--tls-verify=false",
            "--digestfile",
            argument(&digest_file),
        ];
        let log = self
            .bench
            .podman("first", &[&push[..], &[image, reference]].concat())
            .log;
        let digest = fs::read_to_string(&digest_file).unwrap();
        PodmanPush {
            log,
            digest: Digest::parse(&digest).unwrap(),
        }
    }
}

/// Log of one push by podman, and the digest.
struct PodmanPush {
    log: String,
    digest: Digest,
}

impl PodmanPush {
    /// Returns the number of requests of this method.
    fn requests(&self, method: &str) -> usize {
        let request = format!("msg=\"{method} http");
        self.log.lines().filter(|line| line.contains(&request)).count()
    }

    /// Returns the number of mounts that it requested.
    fn mounts(&self) -> usize {
        self.log
            .lines()
            .filter(|line| line.contains("msg=\"POST http") && line.contains("mount="))
            .count()
    }
}
