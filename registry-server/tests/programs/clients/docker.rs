//! docker: an engine that pushes Docker's own types, compresses layers anew, and keeps images by their
//! configuration; and its client's `manifest` commands, which speak to the registry themselves.

use libtest_mimic::Trial;
use serde_json::Value;

use super::Scene;
use crate::{
    docker::{Engine, PROGRAMS, where_engines_start},
    image::{DOCKER_MANIFEST, DockerArchive, Layer, digest_of, gunzip, references, sha256},
    program::argument,
};

pub(super) fn trials() -> Vec<Trial> {
    where_engines_start(trials!(PROGRAMS;
        pushes_what_it_was_given,
        uploads_nothing_when_it_pushes_again,
        mounts_layers_into_a_second_repository,
        pushes_although_it_is_cut_twice,
        resumes_a_layer_that_is_cut,
        pulls_by_tag_and_by_digest_what_it_pushed,
        pulls_what_others_pushed,
        pulls_the_platform_that_it_asks_for,
        pulls_every_tag,
        makes_and_pushes_a_manifest_list,
        builds_on_an_image_of_the_registry,
        says_what_is_missing,
        says_that_it_cannot_search,
        logs_in_where_no_login_is_asked_for,
    ))
}

fn pushes_what_it_was_given() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let reference = scene.server.repository("team/app:one");

    let id = docker.load(&image.to_load(&reference));
    docker.run(&["push", &reference]);

    assert_eq!(id, image.id().to_string());
    scene.assert_holds("team/app", "one", &image);
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let (one, two) = (scene.tapped("team/app:one"), scene.tapped("team/app:two"));

    let pushed = docker.push(&image, &one);
    let first = scene.traffic();
    let again = docker.push(&image, &one);
    docker.run(&["tag", &one, &two]);
    docker.run(&["push", &two]);
    let later = scene.traffic();

    assert_eq!(again, pushed);
    // Two layers and a configuration; that they are counted shows that more would be seen.
    assert_eq!(first.uploads(), 3, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    scene.assert_holds("team/app", "two", &image);
}

fn mounts_layers_into_a_second_repository() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let (here, there) = (scene.tapped("team/app:one"), scene.tapped("other/app:one"));
    docker.push(&image, &here);
    scene.traffic();

    docker.run(&["tag", &here, &there]);
    docker.run(&["push", &there]);

    // Docker mounts layers only: it sends the configuration again.
    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (2, 1),
        "{}",
        traffic.lines()
    );
    scene.assert_holds("other/app", "one", &image);
}

fn pushes_although_it_is_cut_twice() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    // Both are sent at once, and each is cut once: after the second cut of one layer docker waits for ten seconds.
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 300_000)]);
    scene.cut_uploads_twice();

    docker.push(&image, &scene.tapped("team/app:one"));

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 2, "{}", traffic.lines());
    scene.assert_holds("team/app", "one", &image);
    // It begins anew each time, and never says that it gave up what it had begun.
    for cut in traffic.cut() {
        scene.assert_abandoned(cut);
    }
}

fn resumes_a_layer_that_is_cut() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let docker = Engine::start(&scene.bench, "first");
    let reference = scene.tapped("team/app:one");
    scene.cut_downloads(1);

    docker.run(&["pull", "--quiet", &reference]);

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 1, "{}", traffic.lines());
    assert_eq!(traffic.ranges(), ["bytes=100000-"], "{}", traffic.lines());
    docker.assert_has(&reference, &scene.archive("one"));
}

fn pulls_by_tag_and_by_digest_what_it_pushed() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let tagged = scene.server.repository("team/app:one");
    let pushed = Engine::start(&scene.bench, "first").push(&image, &tagged);
    let by_digest = format!("{}@{pushed}", scene.server.repository("team/app"));

    for (engine, reference) in [("second", &tagged), ("third", &by_digest)] {
        let docker = Engine::start(&scene.bench, engine);
        docker.run(&["pull", "--quiet", reference]);
        docker.assert_has(reference, &image);
    }
}

fn pulls_what_others_pushed() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let docker = Engine::start(&scene.bench, "first");
    let reference = scene.server.repository("team/app:one");

    docker.run(&["pull", "--quiet", &reference]);

    docker.assert_has(&reference, &scene.archive("one"));
}

fn pulls_the_platform_that_it_asks_for() {
    let scene = Scene::new();
    scene.publish("multi", "team/app:multi");
    let docker = Engine::start(&scene.bench, "first");
    let reference = scene.server.repository("team/app:multi");

    for (platform, tag) in [("linux/amd64", "one"), ("linux/arm64", "two")] {
        docker.run(&["pull", "--quiet", "--platform", platform, &reference]);
        docker.assert_has(&reference, &scene.archive(tag));
    }
}

fn pulls_every_tag() {
    let scene = Scene::new();
    for tag in ["one", "two"] {
        scene.publish(tag, &format!("team/app:{tag}"));
    }
    let docker = Engine::start(&scene.bench, "first");

    docker.run(&[
        "pull",
        "--quiet",
        "--all-tags",
        &scene.server.repository("team/app"),
    ]);

    for tag in ["one", "two"] {
        let reference = scene.server.repository(&format!("team/app:{tag}"));
        docker.assert_has(&reference, &scene.archive(tag));
    }
}

fn makes_and_pushes_a_manifest_list() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    let images = ["one", "two"].map(|tag| scene.server.repository(&format!("team/app:{tag}")));
    for (seed, reference) in (1..).zip(&images) {
        let image = DockerArchive::new(&[&Layer::new(seed, 30_000)]);
        docker.push(&image, reference);
    }
    let list = scene.server.repository("lists/app:both");

    let create = ["manifest", "create", "--insecure", &list];
    docker.run(&[&create[..], &images.each_ref().map(String::as_str)].concat());
    docker.run(&["manifest", "annotate", "--arch", "arm64", &list, &images[1]]);
    let pushed = docker.run(&["manifest", "push", "--insecure", &list]);
    let inspected = docker.run(&["manifest", "inspect", "--insecure", &list]);

    let served = scene.server.get("/v2/lists/app/manifests/both");
    let said = pushed.text().lines().last();
    assert_eq!(said, Some(sha256(&served.body).to_string().as_str()));
    let inspected: Value = serde_json::from_slice(&inspected.out).unwrap();
    let list: Value = serde_json::from_slice(&served.body).unwrap();
    assert_eq!(inspected, list);
    // Children and blobs came by mounts from the other repository, and are all there.
    for (child, tag) in references_of(&served.body).iter().zip(["one", "two"]) {
        let [here, there] = [
            format!("lists/app/manifests/{child}"),
            format!("team/app/manifests/{tag}"),
        ]
        .map(|manifest| scene.server.get(&format!("/v2/{manifest}")).body);
        assert_eq!(here, there);
        for blob in references(&here).1 {
            let [here, there] = ["lists/app", "team/app"].map(|name| {
                scene
                    .server
                    .get(&format!("/v2/{name}/blobs/{}", digest_of(&blob)))
                    .body
            });
            assert!(here == there, "{blob} is in both repositories");
        }
    }
}

fn builds_on_an_image_of_the_registry() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let docker = Engine::start(&scene.bench, "first");
    let context = scene.bench.path("context");
    let base = scene.server.repository("team/app:one");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM {base}\nLABEL season=autumn\n"),
    )
    .unwrap();
    let built = scene.server.repository("team/built:one");

    docker.run_with(
        &[("DOCKER_BUILDKIT", "0")],
        &["build", "--pull", "--tag", &built, argument(&context)],
    );
    docker.run(&["push", &built]);

    let manifest = scene.server.get("/v2/team/built/manifests/one").body;
    let (_, blobs) = references(&manifest);
    let [first, second, config] = &blobs[..] else {
        panic!("two layers and a configuration, not {blobs:?}");
    };
    let archive = scene.archive("one");
    for (layer, expected) in [first, second].into_iter().zip(&archive.layers) {
        let served = scene
            .server
            .get(&format!("/v2/team/built/blobs/{}", digest_of(layer)));
        assert!(&gunzip(&served.body) == expected, "the base's layers are kept");
    }
    let config = scene
        .server
        .get(&format!("/v2/team/built/blobs/{}", digest_of(config)));
    let config: Value = serde_json::from_slice(&config.body).unwrap();
    assert_eq!(config["config"]["Labels"]["season"], "autumn");
}

fn says_what_is_missing() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let docker = Engine::start(&scene.bench, "first");
    let digest = scene.layout.digest("one");
    let reference = scene.server.repository("team/app:one");

    let unknown_tag = docker.refused(&["pull", &scene.server.repository("team/app:none")]);
    scene
        .server
        .request("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], b"")
        .expect_status(202);
    let deleted = docker.refused(&["pull", &reference]);

    assert!(
        unknown_tag.contains("manifest unknown") || unknown_tag.contains("not found"),
        "{unknown_tag}"
    );
    assert!(
        deleted.contains("manifest unknown") || deleted.contains("not found"),
        "{deleted}"
    );
}

/// docker asks for an API that only the first registries had. The answer that there is none has the form that docker
/// expects.
fn says_that_it_cannot_search() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");

    let refused = docker.refused(&["search", &scene.server.repository("app")]);

    assert!(refused.contains("Unexpected status code 404"), "{refused}");
}

fn logs_in_where_no_login_is_asked_for() {
    let scene = Scene::new();
    let docker = Engine::start(&scene.bench, "first");
    let address = scene.server.address().to_string();

    let login = docker.run(&[
        "login",
        "--username",
        "anybody",
        "--password",
        "anything",
        &address,
    ]);

    assert!(login.text().contains("Login Succeeded"), "{}", login.text());
}

impl Engine<'_> {
    /// Loads an image under this reference, pushes it, and returns the digest of its manifest as docker prints it.
    pub(super) fn push(&self, image: &DockerArchive, reference: &str) -> String {
        self.load(&image.to_load(reference));
        let pushed = self.run(&["push", reference]);
        let digest = pushed.text().split_once("digest: ").map(|(_, rest)| rest);
        let digest = digest.and_then(|rest| rest.split(' ').next());
        digest.expect("docker says what it has pushed").to_owned()
    }

    /// Compares an image that the engine has with what was pushed: configuration and layers, byte for byte.
    pub(crate) fn assert_has(&self, reference: &str, expected: &DockerArchive) {
        let saved = DockerArchive::read(&self.run(&["save", reference]).out);
        assert_eq!(self.id(reference), expected.id().to_string());
        assert_eq!(
            String::from_utf8_lossy(&saved.config),
            String::from_utf8_lossy(&expected.config)
        );
        assert!(
            saved.layers == expected.layers,
            "the layers are those that were pushed"
        );
    }
}

impl Scene {
    /// Returns the image of the layout in the form in which docker keeps it.
    fn archive(&self, tag: &str) -> DockerArchive {
        let manifest = self.layout.blob(&self.layout.digest(tag));
        let (_, mut blobs) = references(&manifest);
        let config = blobs.pop().expect("an image has a configuration");
        DockerArchive {
            config: self.layout.blob(&digest_of(&config)),
            layers: blobs
                .iter()
                .map(|layer| gunzip(&self.layout.blob(&digest_of(layer))))
                .collect(),
        }
    }

    /// Compares what the registry holds with the image that docker was given: a manifest of schema 2, the
    /// configuration as it was, and layers that docker has compressed and nothing else.
    pub(super) fn assert_holds(&self, repository: &str, tag: &str, image: &DockerArchive) {
        let served = self.server.get(&format!("/v2/{repository}/manifests/{tag}"));
        assert_eq!(served.header("content-type"), Some(DOCKER_MANIFEST));
        let (_, mut blobs) = references(&served.body);
        let blob = |descriptor: &Value| {
            let digest = digest_of(descriptor);
            let blob = self.server.get(&format!("/v2/{repository}/blobs/{digest}")).body;
            assert_eq!(sha256(&blob), digest);
            blob
        };
        let config = blobs.pop().expect("an image has a configuration");
        assert!(
            blob(&config) == image.config,
            "the configuration is the one that was loaded"
        );
        let layers: Vec<_> = blobs.iter().map(|layer| gunzip(&blob(layer))).collect();
        assert!(layers == image.layers, "the layers are those that were loaded");
    }
}

/// Returns the digests of an index's manifests.
fn references_of(index: &[u8]) -> Vec<String> {
    references(index)
        .0
        .iter()
        .map(|child| digest_of(child).to_string())
        .collect()
}
