//! oras, the Python package: artifacts in one request or in chunks, whose `Content-Range` names no unit.

use std::{fs, process::Command};

use libtest_mimic::Trial;
use registry_conformance::tools;
use registry_core::protocol::Request;

use super::Scene;
use crate::{
    image::{digest_of, noise, references, sha256},
    program::Printed,
};

pub(super) fn trials() -> Vec<Trial> {
    where_it_is_installed(trials!(["python3"];
        pushes_and_pulls_by_tag_and_by_digest,
        uploads_nothing_when_it_pushes_again,
        pushes_in_chunks,
        pushes_although_it_is_cut_twice,
        lists_and_deletes_tags,
    ))
}

/// Returns the same tests if Python has the package, and otherwise tests that report its absence.
pub(super) fn where_it_is_installed(trials: Vec<Trial>) -> Vec<Trial> {
    let installed = Command::new("python3").args(["-c", "import oras"]).output();
    if installed.is_ok_and(|output| output.status.success()) {
        return trials;
    }
    let unavailable =
        |trial: Trial| tools::unavailable(trial.name(), "the Python package oras is not installed");
    trials.into_iter().map(unavailable).collect()
}

fn pushes_and_pulls_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let leaves = scene.file("leaves", 200_000);
    let tagged = scene.server.repository("team/artifacts:one");

    scene.oras("client.push(target=argv[0], files=['leaves'])", &[&tagged]);
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    let by_digest = format!(
        "{}@{}",
        scene.server.repository("team/artifacts"),
        sha256(&manifest)
    );
    let pull = "client.pull(target=argv[0], outdir=argv[1])";
    for (reference, directory) in [(&tagged, "by-tag"), (&by_digest, "by-digest")] {
        fs::create_dir(scene.bench.path(directory)).unwrap();
        scene.oras(pull, &[reference, directory]);
    }

    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
    for directory in ["by-tag", "by-digest"] {
        let pulled = fs::read(scene.bench.path(directory).join("leaves")).unwrap();
        assert!(pulled == leaves, "{directory}: the file is what was pushed");
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();
    let leaves = scene.file("leaves", 200_000);
    let reference = scene.tapped("team/artifacts:one");
    let push = "client.push(target=argv[0], files=['leaves'])";

    scene.oras(push, &[&reference]);
    let first = scene.traffic();
    scene.oras(push, &[&reference]);
    let later = scene.traffic();

    // The file and a configuration.
    assert_eq!(first.uploads(), 2, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

fn pushes_in_chunks() {
    let scene = Scene::new();
    let leaves = scene.file("leaves", 200_000);

    let push = "client.push(target=argv[0], files=['leaves'], do_chunked=True, chunk_size=65536)";
    scene.oras(push, &[&scene.tapped("team/artifacts:one")]);

    let traffic = scene.traffic();
    let chunks: Vec<_> = traffic
        .0
        .iter()
        .filter(|exchange| matches!(exchange.operation, Some(Request::Append { .. })))
        .map(|exchange| exchange.headers["content-range"].to_str().unwrap())
        .collect();
    assert_eq!(
        chunks,
        ["0-65535", "65536-131071", "131072-196607", "196608-199999"]
    );
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

fn pushes_although_it_is_cut_twice() {
    let scene = Scene::new();
    let leaves = scene.file("leaves", 300_000);
    scene.cut_uploads_twice();

    let reference = scene.tapped("team/artifacts:one");
    scene.oras("client.push(target=argv[0], files=['leaves'])", &[&reference]);

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 2, "{}", traffic.lines());
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    scene.assert_holds_file("team/artifacts", &manifest, &leaves);
}

fn lists_and_deletes_tags() {
    let scene = Scene::new();
    scene.file("leaves", 1_000);
    for tag in ["one", "two"] {
        let reference = scene.server.repository(&format!("team/artifacts:{tag}"));
        scene.oras("client.push(target=argv[0], files=['leaves'])", &[&reference]);
    }
    let repository = scene.server.repository("team/artifacts");
    let list = "print(*client.get_tags(argv[0]), sep='\\n')";

    let before = scene.oras(list, &[&repository]);
    scene.oras("assert client.delete_tag(argv[0], 'one')", &[&repository]);
    let after = scene.oras(list, &[&repository]);

    assert_eq!(before.lines(), ["one", "two"]);
    // It deletes the manifest, which both tags name.
    assert_eq!(after.text(), "");
    scene.assert_unknown("team/artifacts", "one");
}

impl Scene {
    /// Runs a line of Python with a client.
    fn oras(&self, line: &str, arguments: &[&str]) -> Printed {
        let script = format!(
            "import sys, oras.client\nargv = sys.argv[1:]\nclient = oras.client.OrasClient(insecure=True)\n{line}\n"
        );
        self.bench.run("python3", &[&["-c", &script], arguments].concat())
    }

    /// Writes a file for artifacts into the directory that programs run in.
    fn file(&self, name: &str, length: usize) -> Vec<u8> {
        let bytes = noise(31, length);
        fs::write(self.bench.path(name), &bytes).unwrap();
        bytes
    }

    pub(super) fn assert_holds_file(&self, repository: &str, manifest: &[u8], file: &[u8]) {
        let (_, blobs) = references(manifest);
        let digest = digest_of(&blobs[0]);
        assert_eq!(digest, sha256(file));
        let served = self.server.get(&format!("/v2/{repository}/blobs/{digest}"));
        assert!(served.body == file, "the file is served as it was pushed");
    }
}
