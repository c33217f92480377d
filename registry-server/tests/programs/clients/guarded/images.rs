//! Images, with the programs that build, run and copy them.

use std::fs;

use libtest_mimic::Trial;
use registry_core::Digest;

use super::{super::ctr::Containerd, Guarded, PASSWORD, USER};
use crate::{
    docker::{self, Engine, where_engines_start},
    image::{DockerArchive, Layer, Layout},
    program::argument,
};

pub(super) fn trials() -> Vec<Trial> {
    [
        trials!(["openssl", "buildah"]; buildah_pushes_and_pulls),
        trials!(["openssl", "crane"]; crane_pushes_and_pulls),
        where_engines_start(trials!(["openssl", "containerd", "ctr"]; ctr_pushes_and_pulls)),
        where_engines_start(
            trials!(["openssl", docker::PROGRAMS[0], docker::PROGRAMS[1]]; docker_pushes_and_pulls),
        ),
        trials!(["openssl", "podman"]; podman_pushes_and_pulls),
        trials!(["openssl", "regctl"]; regctl_pushes_and_pulls),
        trials!(["openssl", "skopeo"]; skopeo_pushes_and_pulls),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn buildah_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let buildah = |storage: &str, arguments: &[&str]| {
        let at = |part: &str| place.bench.path(storage).join(part).display().to_string();
        let (root, run) = (at("root"), at("run"));
        let storage = ["--storage-driver", "vfs", "--root", &root, "--runroot", &run];
        place.bench.run("buildah", &[&storage, arguments].concat())
    };
    buildah(
        "first",
        &[
            "login",
            "--cert-dir",
            &trust,
            "-u",
            USER,
            "-p",
            PASSWORD,
            place.name(),
        ],
    );
    buildah("first", &["manifest", "create", "both"]);
    for tag in ["one", "two"] {
        buildah("first", &["manifest", "add", "both", &place.layout.oci(tag)]);
    }

    let tagged = format!("docker://{}", place.repository("team/app:both"));
    for _ in 0..2 {
        buildah(
            "first",
            &["manifest", "push", "--cert-dir", &trust, "--all", "both", &tagged],
        );
    }
    let digest = place.layout.digest("one");
    let by_digest = format!("docker://{}@{digest}", place.repository("team/app"));
    for reference in [&tagged, &by_digest] {
        buildah("second", &["pull", "--quiet", "--cert-dir", &trust, reference]);
    }

    // Three layers, one of them in both images, and two configurations.
    let scene = place.opened(5, "HTTP/1.1");
    for digest in ["one", "two"].map(|tag| scene.layout.digest(tag)) {
        scene.assert_served("team/app", &digest.to_string(), &digest);
    }
}

fn crane_pushes_and_pulls() {
    let place = Guarded::new();
    let mut alone = Layout::create(place.bench.path("alone"));
    alone.import(&place.layout, "one");
    let tagged = place.repository("team/app:one");
    let refused = place
        .trusting("crane", &["push", argument(alone.path()), &tagged])
        .unwrap_err();
    assert!(refused.contains("401 Unauthorized"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("crane", arguments).unwrap();
    run(&[
        "auth",
        "login",
        "--username",
        USER,
        "--password",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        run(&["push", argument(alone.path()), &tagged]);
    }
    let digest = place.layout.digest("one");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    for (reference, directory) in [(&tagged, "by-tag"), (&by_digest, "by-digest")] {
        run(&["pull", "--format", "oci", reference, directory]);
    }
    run(&["tag", &tagged, "two"]);
    run(&["delete", &place.repository("team/app:two")]);

    let scene = place.opened(3, "HTTP/2.0");
    scene.assert_served("team/app", "one", &digest);
    scene.assert_unknown("team/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("one", &scene.bench.path(directory));
    }
}

fn ctr_pushes_and_pulls() {
    let place = Guarded::new();
    // What a node is told of a registry with an authority of its own; without it, ctr would not verify loopback.
    let hosts = place.bench.path("hosts");
    let about = hosts.join(place.name());
    fs::create_dir_all(&about).unwrap();
    let text = format!(
        "server = \"https://{0}\"\n[host.\"https://{0}\"]\nca = {1:?}\n",
        place.name(),
        place.certificate()
    );
    fs::write(about.join("hosts.toml"), text).unwrap();
    let user = format!("{USER}:{PASSWORD}");
    let options = ["--hosts-dir", argument(&hosts), "--user", &user];
    let tagged = place.repository("team/app:one");
    let digest = place.layout.digest("one");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));

    let pushing = Containerd::start(&place.bench, "first");
    pushing.import(&place.layout, &place.repository("team/app"));
    let refused = pushing.attempt(&["images", "push", "--hosts-dir", argument(&hosts), &tagged]);
    assert!(refused.is_err_and(|said| said.contains("401 Unauthorized") || said.contains("no basic auth")));
    for _ in 0..2 {
        pushing.run(&[&["images", "push"], &options[..], &[&tagged]].concat());
    }
    for (directory, reference) in [("second", &tagged), ("third", &by_digest)] {
        let pulling = Containerd::start(&place.bench, directory);
        let pull = ["images", "pull", "--snapshotter", "native"];
        pulling.run(&[&pull, &options[..], &[reference]].concat());
        pulling.assert_has(&place.layout, &digest);
    }

    drop(pushing);
    let scene = place.opened(3, "HTTP/");
    scene.assert_served("team/app", "one", &digest);
}

fn docker_pushes_and_pulls() {
    let place = Guarded::new();
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let reference = place.repository("team/app:one");
    let docker = Engine::start(&place.bench, "first");
    docker.load(&image.to_load(&reference));
    let refused = docker.refused(&["push", &reference]);
    assert!(refused.contains("no basic auth credentials"), "{refused}");

    docker.run(&["login", "-u", USER, "-p", PASSWORD, place.name()]);
    docker.run(&["push", &reference]);
    let digest = docker.push(&image, &reference);
    let pulling = Engine::start(&place.bench, "second");
    for reference in [&reference, &format!("{}@{digest}", place.repository("team/app"))] {
        pulling.run(&["pull", "--quiet", reference]);
        pulling.assert_has(reference, &image);
    }

    drop((docker, pulling));
    let scene = place.opened(3, "HTTP/1.1");
    scene.assert_holds("team/app", "one", &image);
}

fn podman_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let reference = place.repository("team/app:one");
    let image = place
        .bench
        .podman("first", &["pull", "--quiet", "oci:layout:one"]);
    let podman = |storage, command: &[&str], arguments: &[&str]| {
        let options = ["--cert-dir", &trust];
        place
            .bench
            .podman(storage, &[command, &options, arguments].concat())
    };

    podman("first", &["login"], &["-u", USER, "-p", PASSWORD, place.name()]);
    let digest_file = place.bench.path("digest");
    for _ in 0..2 {
        podman(
            "first",
            &["push", "--digestfile", argument(&digest_file)],
            &[image.text(), &reference],
        );
    }
    let digest = Digest::parse(&fs::read_to_string(&digest_file).unwrap()).unwrap();
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    for (storage, reference) in [("second", &reference), ("third", &by_digest)] {
        let pulled = podman(storage, &["pull", "--quiet"], &[reference]);
        assert_eq!(
            pulled.text(),
            image.text(),
            "the id is the digest of the configuration"
        );
    }
    // `search` has no option for it: this is where the engine looks by itself.
    let trusted = place
        .bench
        .path("home/.config/containers/certs.d")
        .join(place.name());
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(place.certificate(), trusted.join("ca.crt")).unwrap();
    let search = |arguments: &[&str]| place.bench.podman("first", &[&["search"], arguments].concat());
    let found = search(&[&format!("{}/app", place.name())]);
    assert!(found.text().contains("team/app"), "{}", found.text());
    let tags = search(&["--list-tags", &place.repository("team/app")]);
    assert!(tags.text().ends_with("one"), "{}", tags.text());

    place
        .bench
        .podman("first", &["push", image.text(), "oci:written:one"]);
    let scene = place.opened(3, "HTTP/1.1");
    scene.assert_served_from(&scene.bench.path("written"), "team/app", "one", &digest);
}

fn regctl_pushes_and_pulls() {
    let place = Guarded::new();
    let digest = place.layout.digest("multi");
    let from = format!("ocidir://{}:multi", place.layout.path().display());
    let tagged = place.repository("team/app:multi");
    let by_digest = format!("{}@{digest}", place.repository("team/app"));
    let refused = place
        .trusting("regctl", &["image", "copy", &from, &tagged])
        .unwrap_err();
    assert!(refused.contains("unauthorized"), "{refused}");

    let run = |arguments: &[&str]| place.trusting("regctl", arguments).unwrap();
    run(&["registry", "login", "-u", USER, "-p", PASSWORD, place.name()]);
    for _ in 0..2 {
        run(&["image", "copy", &from, &tagged]);
    }
    for (reference, directory) in [(&tagged, "by-tag"), (&by_digest, "by-digest")] {
        let to = format!("ocidir://{}:pulled", place.bench.path(directory).display());
        run(&["image", "copy", reference, &to]);
    }
    run(&["image", "copy", &tagged, &place.repository("team/app:two")]);
    run(&["tag", "delete", &place.repository("team/app:two")]);

    let scene = place.opened(5, "HTTP/2.0");
    scene.assert_served("team/app", "multi", &digest);
    scene.assert_unknown("team/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("multi", &scene.bench.path(directory));
    }
}

fn skopeo_pushes_and_pulls() {
    let place = Guarded::new();
    let trust = place.authority();
    let digest = place.layout.digest("multi");
    let there = |name: &str| format!("docker://{}", place.repository(name));
    let copy = |to: &str| {
        let from = place.layout.oci("multi");
        place
            .bench
            .skopeo(&["copy", "--all", "--dest-cert-dir", &trust, &from, to]);
    };

    place.bench.skopeo(&[
        "login",
        "--cert-dir",
        &trust,
        "-u",
        USER,
        "-p",
        PASSWORD,
        place.name(),
    ]);
    for _ in 0..2 {
        copy(&there("team/app:multi"));
    }
    let by_digest = format!("docker://{}@{digest}", place.repository("team/app"));
    for (from, directory) in [(&there("team/app:multi"), "by-tag"), (&by_digest, "by-digest")] {
        let to = format!("oci:{directory}:pulled");
        place
            .bench
            .skopeo(&["copy", "--all", "--src-cert-dir", &trust, from, &to]);
    }
    let from = place.layout.oci("two");
    place
        .bench
        .skopeo(&["copy", "--dest-cert-dir", &trust, &from, &there("other/app:two")]);
    place
        .bench
        .skopeo(&["delete", "--cert-dir", &trust, &there("other/app:two")]);

    // Of `two`, the layers are mounted; its configuration is sent again.
    let scene = place.opened(6, "HTTP/1.1");
    scene.assert_served("team/app", "multi", &digest);
    scene.assert_unknown("other/app", "two");
    for directory in ["by-tag", "by-digest"] {
        scene.assert_copied("multi", &scene.bench.path(directory));
    }
}
