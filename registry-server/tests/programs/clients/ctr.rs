//! ctr, with containerd behind it: no ping, blobs in one request, trust in `Docker-Content-Digest`, and downloads that
//! resume.

use std::{
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;
use registry_conformance::tools::Process;
use registry_core::{Digest, protocol::Request};

use super::Scene;
use crate::{
    docker::where_engines_start,
    image::{Layout, digest_of, references},
    program::{Printed, Workbench, argument},
};

pub(super) fn trials() -> Vec<Trial> {
    where_engines_start(trials!(["containerd", "ctr"];
        pushes_and_pulls_by_tag_and_by_digest,
        pushes_and_pulls_every_platform,
        uploads_nothing_when_it_pushes_again,
        mounts_into_a_second_repository,
        pushes_again_after_cuts,
        resumes_a_layer_that_is_cut_twice,
        says_what_is_missing,
    ))
}

fn pushes_and_pulls_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let digest = scene.layout.digest("one");
    let tagged = scene.server.repository("team/app:one");
    let by_digest = format!("{}@{digest}", scene.server.repository("team/app"));

    let pushing = Containerd::start(&scene.bench, "first");
    pushing.import(&scene.layout, &scene.server.repository("team/app"));
    pushing.push(&tagged);

    scene.assert_served("team/app", "one", &digest);
    for (directory, reference) in [("second", &tagged), ("third", &by_digest)] {
        let pulling = Containerd::start(&scene.bench, directory);
        pulling.pull(reference, &[]);
        pulling.assert_has(&scene.layout, &digest);
    }
}

fn pushes_and_pulls_every_platform() {
    let scene = Scene::new();
    let digest = scene.layout.digest("multi");
    let reference = scene.server.repository("team/app:multi");

    let pushing = Containerd::start(&scene.bench, "first");
    pushing.import(&scene.layout, &scene.server.repository("team/app"));
    pushing.push(&reference);
    let pulling = Containerd::start(&scene.bench, "second");
    pulling.pull(&reference, &["--all-platforms"]);

    scene.assert_served("team/app", "multi", &digest);
    pulling.assert_has(&scene.layout, &digest);
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    let containerd = Containerd::start(&scene.bench, "first");
    let (one, again) = (scene.tapped("team/app:one"), scene.tapped("team/app:again"));
    containerd.import(&scene.layout, &scene.tapped("team/app"));

    containerd.push(&one);
    let first = scene.traffic();
    containerd.push(&one);
    containerd.run(&["images", "tag", &one, &again]);
    containerd.push(&again);
    let later = scene.traffic();

    assert_eq!(first.uploads(), 3, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    scene.assert_served("team/app", "again", &scene.layout.digest("one"));
}

fn mounts_into_a_second_repository() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let containerd = Containerd::start(&scene.bench, "first");
    let (here, there) = (scene.tapped("team/app:one"), scene.tapped("other/app:one"));
    // What it has pulled, it knows the source of.
    containerd.pull(&here, &[]);
    scene.traffic();

    containerd.run(&["images", "tag", &here, &there]);
    containerd.push(&there);

    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (3, 0),
        "{}",
        traffic.lines()
    );
    scene.assert_served("other/app", "one", &scene.layout.digest("one"));
}

fn pushes_again_after_cuts() {
    let scene = Scene::new();
    let containerd = Containerd::start(&scene.bench, "first");
    let reference = scene.tapped("team/app:one");
    containerd.import(&scene.layout, &scene.tapped("team/app"));
    let push = ["images", "push", "--plain-http", &reference];

    scene.push_until_it_is_not_cut(250_000, || containerd.attempt(&push).map(drop));

    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn resumes_a_layer_that_is_cut_twice() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    let containerd = Containerd::start(&scene.bench, "first");
    scene.cut_downloads(2);

    containerd.pull(&scene.tapped("team/app:one"), &[]);

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 2, "{}", traffic.lines());
    assert!(!traffic.ranges().is_empty(), "{}", traffic.lines());
    containerd.assert_has(&scene.layout, &scene.layout.digest("one"));
}

fn says_what_is_missing() {
    let scene = Scene::new();
    let containerd = Containerd::start(&scene.bench, "first");

    let reference = scene.tapped("team/app:none");
    let refused = containerd.attempt(&["images", "pull", "--plain-http", &reference]);

    let Err(refused) = refused else {
        panic!("there is no such tag");
    };

    assert!(refused.contains("not found"), "{refused}");
    let asked = scene.traffic();
    assert!(matches!(
        asked.0[0].operation,
        Some(Request::Manifest { head: true, .. })
    ));
}

/// Error of `ctr` if the stream ends by which it reads content from containerd.
const LOST_CONTENT: &str = "rpc error: code = Internal desc = unexpected EOF";

/// A containerd of the test's own, started by hand, that keeps layers in plain directories.
pub(super) struct Containerd<'a> {
    bench: &'a Workbench,
    directory: PathBuf,
    process: Process,
}

impl<'a> Containerd<'a> {
    pub(super) fn start(bench: &'a Workbench, name: &str) -> Self {
        let directory = bench.path(name);
        fs::create_dir(&directory).unwrap();
        let config = directory.join("config.toml");
        fs::write(&config, configuration(&directory)).unwrap();
        // Mounts in a name space of its own end with it, however that ends.
        let mut command = bench.command("unshare");
        command.args(["--mount", "--propagation", "private", "containerd", "--config"]);
        let process = Process::start(command.arg(config)).unwrap();
        process.wait_for_output("containerd successfully booted").unwrap();
        Self {
            bench,
            directory,
            process,
        }
    }

    pub(super) fn attempt(&self, arguments: &[&str]) -> Result<Printed, String> {
        let socket = self.directory.join("socket");
        let arguments = [&["--address", argument(&socket)], arguments].concat();
        self.bench.attempt("ctr", &arguments)
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Printed {
        self.attempt(arguments)
            .unwrap_or_else(|failed| panic!("ctr {}: {failed}", arguments.join(" ")))
    }

    /// Imports the images of the layout, named for this repository.
    pub(super) fn import(&self, layout: &Layout, repository: &str) {
        let archive = self.directory.join("layout.tar");
        fs::write(&archive, layout.archive()).unwrap();
        self.run(&[
            "images",
            "import",
            // Else the collector takes what belongs to other platforms.
            "--all-platforms",
            "--no-unpack",
            "--base-name",
            repository,
            argument(&archive),
        ]);
    }

    fn push(&self, reference: &str) {
        let push = ["images", "push", "--plain-http", reference];
        // `ctr` reads the content from containerd, whose stream sometimes ends too early. The registry has no part in it:
        // its failures are no errors of an RPC.
        for _ in 0..3 {
            match self.attempt(&push) {
                Err(failed) if failed.contains(LOST_CONTENT) => {}
                Err(failed) => panic!("ctr {}: {failed}", push.join(" ")),
                Ok(_) => return,
            }
        }
        self.run(&push);
    }

    fn pull(&self, reference: &str, options: &[&str]) {
        let pull = ["images", "pull", "--plain-http", "--snapshotter", "native"];
        self.run(&[&pull[..], options, &[reference]].concat());
    }

    /// Compares a manifest that was pulled, and everything that it refers to, with the layout that was pushed.
    pub(super) fn assert_has(&self, layout: &Layout, digest: &Digest) {
        let bytes = layout.blob(digest);
        assert!(self.content(digest) == bytes, "{digest} is what was pushed");
        let (children, blobs) = references(&bytes);
        for child in &children {
            self.assert_has(layout, &digest_of(child));
        }
        for blob in &blobs {
            let digest = digest_of(blob);
            assert!(
                self.content(&digest) == layout.blob(&digest),
                "{digest} is what was pushed"
            );
        }
    }

    fn content(&self, digest: &Digest) -> Vec<u8> {
        self.run(&["content", "get", &digest.to_string()]).out
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        // It ends by itself within milliseconds; that it had to be killed is nothing that the test is about.
        _ = self.process.stop();
    }
}

/// Returns a configuration without a container runtime, with only the snapshotter that works everywhere.
fn configuration(directory: &Path) -> String {
    let disabled = [
        "grpc.v1.cri",
        "internal.v1.opt",
        "internal.v1.restart",
        "snapshotter.v1.aufs",
        "snapshotter.v1.btrfs",
        "snapshotter.v1.devmapper",
        "snapshotter.v1.overlayfs",
        "snapshotter.v1.zfs",
    ]
    .map(|plugin| format!("io.containerd.{plugin}"));
    let at = |name: &str| format!("{:?}", directory.join(name));
    format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = {disabled:?}\n\
         [grpc]\naddress = {}\n[ttrpc]\naddress = {}\n",
        at("root"),
        at("state"),
        at("socket"),
        at("socket.ttrpc"),
    )
}
