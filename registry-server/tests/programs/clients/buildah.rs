//! buildah: builds from nothing, and pushes indexes with all their images.

use std::{collections::BTreeSet, fs};

use libtest_mimic::Trial;
use registry_core::Digest;

use super::{Scene, digests};
use crate::{
    image::{OCI_INDEX, digest_of, gunzip, noise, references},
    program::{Printed, argument},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["buildah"];
        builds_pushes_and_pulls_by_tag_and_by_digest,
        pushes_a_manifest_list_with_every_image,
        uploads_nothing_when_it_pushes_again,
        mounts_into_a_second_repository,
        pushes_again_after_cuts,
    )
}

fn builds_pushes_and_pulls_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let file = noise(7, 200_000);
    fs::write(scene.bench.path("file"), &file).unwrap();
    let tagged = scene.docker("team/built:one");

    let container = scene.buildah("first", &["from", "scratch"]);
    scene.buildah("first", &["copy", container.text(), "file", "/data/file"]);
    let image = scene.buildah(
        "first",
        &["commit", "--quiet", "--format", "oci", container.text()],
    );
    let digest = scene.buildah_push(&["push"], image.text(), &tagged);
    let by_digest = format!("docker://{}@{digest}", scene.server.repository("team/built"));

    let manifest = scene.server.get("/v2/team/built/manifests/one").body;
    let (_, blobs) = references(&manifest);
    let layer = scene
        .server
        .get(&format!("/v2/team/built/blobs/{}", digest_of(&blobs[0])));
    let archive = gunzip(&layer.body);
    assert!(
        archive.windows(file.len()).any(|window| window == file),
        "the layer holds the file"
    );
    for (storage, reference) in [("second", &tagged), ("third", &by_digest)] {
        let pulled = scene.buildah(storage, &["pull", "--quiet", "--tls-verify=false", reference]);
        assert_eq!(
            pulled.text(),
            image.text(),
            "the id is the digest of the configuration"
        );
    }
}

fn pushes_a_manifest_list_with_every_image() {
    let scene = Scene::new();
    scene.buildah_list();

    let digest = scene.buildah_push(
        &["manifest", "push", "--all"],
        "both",
        &scene.docker("team/app:both"),
    );

    let index = scene.server.get("/v2/team/app/manifests/both");
    assert_eq!(index.header("content-type"), Some(OCI_INDEX));
    assert_eq!(
        index.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    let (children, _) = references(&index.body);
    let platforms: BTreeSet<_> = children
        .iter()
        .map(|child| child["platform"]["architecture"].as_str())
        .collect();
    assert_eq!(platforms, [Some("amd64"), Some("arm64")].into());
    let expected: BTreeSet<_> = ["one", "two"].map(|tag| scene.layout.digest(tag)).into();
    assert_eq!(digests(&children), expected);
    for digest in expected {
        scene.assert_served("team/app", &digest.to_string(), &digest);
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    scene.buildah_list();
    let push = |tag: &str| {
        let to = format!("docker://{}", scene.tapped(&format!("team/app:{tag}")));
        scene.buildah_push(&["manifest", "push", "--all"], "both", &to)
    };

    let digest = push("both");
    let first = scene.traffic();
    let again = [push("both"), push("again")];
    let later = scene.traffic();

    // Three layers, one of them in both images, and two configurations.
    assert_eq!(first.uploads(), 5, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    assert_eq!(again, [digest; 2]);
}

fn mounts_into_a_second_repository() {
    let scene = Scene::new();
    scene.buildah_list();
    let to = |name: &str| format!("docker://{}", scene.tapped(name));
    let digest = scene.buildah_push(&["manifest", "push", "--all"], "both", &to("team/app:both"));
    scene.traffic();

    let again = scene.buildah_push(&["manifest", "push", "--all"], "both", &to("other/app:both"));

    // Layers are mounted; configurations are small enough that it sends them again.
    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (3, 2),
        "{}",
        traffic.lines()
    );
    assert_eq!(again, digest);
    for tag in ["one", "two"] {
        let digest = scene.layout.digest(tag);
        scene.assert_served("other/app", &digest.to_string(), &digest);
    }
}

fn pushes_again_after_cuts() {
    let scene = Scene::new();
    scene.buildah_list();
    let to = format!("docker://{}", scene.tapped("team/app:both"));

    scene.push_until_it_is_not_cut(250_000, || {
        let pushed = scene.buildah_try_push(&["manifest", "push", "--all"], "both", &to);
        pushed.map(drop).ok_or_else(|| "no digest".to_owned())
    });

    for digest in ["one", "two"].map(|tag| scene.layout.digest(tag)) {
        scene.assert_served("team/app", &digest.to_string(), &digest);
    }
}

impl Scene {
    /// Runs `buildah` on a storage of its own.
    fn buildah(&self, storage: &str, arguments: &[&str]) -> Printed {
        let (root, run) = (
            self.bench.path(storage).join("root"),
            self.bench.path(storage).join("run"),
        );
        let options = [
            "--storage-driver",
            "vfs",
            "--root",
            argument(&root),
            "--runroot",
            argument(&run),
        ];
        self.bench.run("buildah", &[&options[..], arguments].concat())
    }

    /// Makes the list `both` of the layout's two images.
    fn buildah_list(&self) {
        self.buildah("first", &["manifest", "create", "both"]);
        for tag in ["one", "two"] {
            self.buildah("first", &["manifest", "add", "both", &self.layout.oci(tag)]);
        }
    }

    /// Pushes an image or a list and returns the digest that buildah prints.
    fn buildah_push(&self, command: &[&str], what: &str, to: &str) -> Digest {
        let pushed = self.buildah_try_push(command, what, to);
        pushed.expect("buildah says what it has pushed")
    }

    /// Does the same for a push that may fail. The exit status does not tell: it is 0 even if a list was not pushed.
    fn buildah_try_push(&self, command: &[&str], what: &str, to: &str) -> Option<Digest> {
        let file = self.bench.path("digest");
        let options = ["--tls-verify=false", "--digestfile", argument(&file), what, to];
        self.buildah("first", &[command, &options].concat());
        Digest::parse(&fs::read_to_string(&file).unwrap()).ok()
    }
}
