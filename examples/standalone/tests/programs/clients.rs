//! Pushes and pulls by the clients that people use, over HTTP on the loopback interface.
//!
//! After each push, what the registry serves is compared with what the client was given: every manifest and every
//! blob, byte for byte. Which requests a client makes of all that is no specification: only running it tells.

use std::{collections::BTreeSet, fs, path::Path};

use libtest_mimic::Trial;
use registry_core::Digest;
use serde_json::Value;

use crate::{
    image::{
        DOCKER_MANIFEST, Layer, Layout, OCI_INDEX, OCI_MANIFEST, digest_of, read_blob, references, sha256,
    },
    program::{Workbench, argument},
    server::Server,
    trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    [
        (
            "skopeo",
            "copies_an_image_as_oci",
            skopeo_copies_an_image_as_oci as fn(),
        ),
        (
            "skopeo",
            "copies_an_image_as_docker_schema_2",
            skopeo_copies_an_image_as_docker_schema_2,
        ),
        (
            "skopeo",
            "copies_an_index_with_every_platform",
            skopeo_copies_an_index_with_every_platform,
        ),
        (
            "skopeo",
            "copies_between_repositories",
            skopeo_copies_between_repositories,
        ),
        ("skopeo", "inspects_and_lists", skopeo_inspects_and_lists),
        (
            "skopeo",
            "syncs_a_repository_to_a_directory_and_back",
            skopeo_syncs_to_a_directory_and_back,
        ),
        ("skopeo", "deletes", skopeo_deletes),
        (
            "crane",
            "pushes_a_layout_and_pulls_it",
            crane_pushes_a_layout_and_pulls_it,
        ),
        ("crane", "appends_and_validates", crane_appends_and_validates),
        ("crane", "copies_and_mutates", crane_copies_and_mutates),
        (
            "crane",
            "reads_manifests_and_blobs",
            crane_reads_manifests_and_blobs,
        ),
        ("crane", "builds_an_index", crane_builds_an_index),
        ("crane", "tags_lists_and_deletes", crane_tags_lists_and_deletes),
        (
            "podman",
            "pushes_and_pulls_by_tag_and_by_digest",
            podman_pushes_and_pulls,
        ),
        (
            "podman",
            "uploads_nothing_when_it_pushes_again",
            podman_uploads_nothing_when_it_pushes_again,
        ),
        (
            "podman",
            "mounts_layers_into_a_second_repository",
            podman_mounts_into_a_second_repository,
        ),
        ("podman", "pushes_a_manifest_list", podman_pushes_a_manifest_list),
    ]
    .into_iter()
    .map(|(program, name, test)| trial(&format!("clients::{program}_{name}"), &[program], test))
    .collect()
}

fn skopeo_copies_an_image_as_oci() {
    let scene = Scene::new();

    scene.skopeo_push("one", "team/app:one", &["--format", "oci"]);

    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn skopeo_copies_an_image_as_docker_schema_2() {
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

fn skopeo_copies_an_index_with_every_platform() {
    let scene = Scene::new();

    scene.skopeo_push("multi", "team/app:multi", &["--all"]);

    scene.assert_served("team/app", "multi", &scene.layout.digest("multi"));
}

fn skopeo_copies_between_repositories() {
    let scene = Scene::new();
    scene.skopeo_push("multi", "team/app:multi", &["--all"]);

    let (from, to) = (scene.docker("team/app:multi"), scene.docker("other/copy:multi"));
    scene.bench.skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &from,
        &to,
    ]);

    scene.assert_served("other/copy", "multi", &scene.layout.digest("multi"));
}

fn skopeo_inspects_and_lists() {
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

fn skopeo_syncs_to_a_directory_and_back() {
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

fn skopeo_deletes() {
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

fn crane_pushes_a_layout_and_pulls_it() {
    let scene = Scene::new();
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

fn crane_appends_and_validates() {
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

fn crane_copies_and_mutates() {
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

fn crane_reads_manifests_and_blobs() {
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

fn crane_builds_an_index() {
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

fn crane_tags_lists_and_deletes() {
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

fn podman_pushes_and_pulls() {
    let scene = Scene::new();
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

fn podman_uploads_nothing_when_it_pushes_again() {
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

fn podman_mounts_into_a_second_repository() {
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

fn podman_pushes_a_manifest_list() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.crane_push(tag, &format!("team/app:{tag}"));
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

/// A registry with nothing in it, and a layout to push.
struct Scene {
    bench: Workbench,
    layout: Layout,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let bench = Workbench::new();
        let root = bench.path("registry");
        Self {
            layout: Layout::sample(bench.path("layout")),
            server: Server::under_test(&root),
            bench,
        }
    }

    /// What skopeo and podman call something in the registry.
    fn docker(&self, name: &str) -> String {
        format!("docker://{}", self.server.repository(name))
    }

    /// Copies an image of the layout to the registry.
    fn skopeo_push(&self, tag: &str, to: &str, options: &[&str]) {
        let (from, to) = (self.layout.oci(tag), self.docker(to));
        self.bench
            .skopeo(&[&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    /// Puts an image or index of the layout into the registry by crane, from a layout with nothing else in it.
    fn crane_push(&self, tag: &str, to: &str) {
        let mut alone = Layout::create(self.bench.path(&format!("{tag}-alone")));
        alone.import(&self.layout, tag);
        let to = self.server.repository(to);
        self.bench.crane(&["push", argument(alone.path()), &to]);
    }

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

    /// Compares a manifest, and everything that it refers to, with the layout that it was pushed from.
    fn assert_served(&self, repository: &str, reference: &str, digest: &Digest) {
        self.assert_served_from(self.layout.path(), repository, reference, digest);
    }

    fn assert_served_from(&self, layout: &Path, repository: &str, reference: &str, digest: &Digest) {
        let expected = read_blob(layout, digest);
        let served = self
            .server
            .get(&format!("/v2/{repository}/manifests/{reference}"));
        assert_eq!(
            String::from_utf8_lossy(&served.body),
            String::from_utf8_lossy(&expected),
            "the manifest is served as it was pushed"
        );
        assert_eq!(
            served.header("docker-content-digest"),
            Some(digest.to_string().as_str())
        );
        let (children, blobs) = references(&expected);
        assert!(
            !(children.is_empty() && blobs.is_empty()),
            "there is something to compare"
        );
        let media_type = if children.is_empty() {
            OCI_MANIFEST
        } else {
            OCI_INDEX
        };
        assert_eq!(served.header("content-type"), Some(media_type));

        for child in children {
            let digest = digest_of(&child);
            self.assert_served_from(layout, repository, &digest.to_string(), &digest);
        }
        self.assert_blobs_served_from(layout, repository, &blobs);
    }

    fn assert_blobs_served(&self, repository: &str, blobs: &[Value]) {
        self.assert_blobs_served_from(self.layout.path(), repository, blobs);
    }

    fn assert_blobs_served_from(&self, layout: &Path, repository: &str, blobs: &[Value]) {
        for blob in blobs {
            let digest = digest_of(blob);
            let served = self.server.get(&format!("/v2/{repository}/blobs/{digest}"));
            assert!(
                served.body == read_blob(layout, &digest),
                "{digest} is served as it was pushed"
            );
        }
    }

    fn assert_unknown(&self, repository: &str, reference: &str) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        self.server.request("GET", &target, &[], b"").expect_status(404);
    }
}

/// What podman did in one push, by its own log.
struct PodmanPush {
    log: String,
    digest: Digest,
}

impl PodmanPush {
    /// How many requests of this method it sent.
    fn requests(&self, method: &str) -> usize {
        let request = format!("msg=\"{method} http");
        self.log.lines().filter(|line| line.contains(&request)).count()
    }

    /// How many mounts it asked for.
    fn mounts(&self) -> usize {
        self.log
            .lines()
            .filter(|line| line.contains("msg=\"POST http") && line.contains("mount="))
            .count()
    }
}

fn digests(descriptors: &[Value]) -> BTreeSet<Digest> {
    descriptors.iter().map(digest_of).collect()
}
