//! regctl: artifacts, referrers, single blobs and tags, and copies that include everything.

use std::{collections::BTreeSet, fs};

use libtest_mimic::Trial;
use registry_core::protocol::Request;
use serde_json::Value;

use super::{Scene, digests};
use crate::{
    image::{noise, read_blob, references, sha256},
    program::{Printed, argument},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!(["regctl"];
        copies_a_layout_and_back_by_tag_and_by_digest,
        uploads_nothing_when_it_pushes_again,
        mounts_into_a_second_repository,
        puts_gets_and_deletes_a_blob,
        puts_and_gets_an_artifact,
        lists_referrers_and_copies_them_along,
        deletes_a_tag_and_only_that,
        deletes_a_manifest,
        lists_tags_and_repositories,
        pushes_although_it_is_cut_twice,
        resumes_a_layer_that_is_cut,
    )
}

fn copies_a_layout_and_back_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let digest = scene.layout.digest("multi");
    let tagged = scene.server.repository("team/app:multi");
    let by_digest = format!("{}@{digest}", scene.server.repository("team/app"));

    scene.regctl(&["image", "copy", &scene.ocidir("multi"), &tagged]);
    for (directory, reference) in [("by-tag", &tagged), ("by-digest", &by_digest)] {
        let to = format!("ocidir://{}:pulled", scene.bench.path(directory).display());
        scene.regctl(&["image", "copy", reference, &to]);
    }

    scene.assert_served("team/app", "multi", &digest);
    for directory in ["by-tag", "by-digest"] {
        for tag in ["multi", "one", "two"] {
            let digest = scene.layout.digest(tag);
            let manifest = read_blob(&scene.bench.path(directory), &digest);
            assert_eq!(manifest, scene.layout.blob(&digest));
            for digest in digests(&references(&manifest).1) {
                let pulled = read_blob(&scene.bench.path(directory), &digest);
                assert!(
                    pulled == scene.layout.blob(&digest),
                    "{digest} is what was pushed"
                );
            }
        }
    }
}

fn uploads_nothing_when_it_pushes_again() {
    let scene = Scene::new();

    scene.regctl(&[
        "image",
        "copy",
        &scene.ocidir("one"),
        &scene.tapped("team/app:one"),
    ]);
    let first = scene.traffic();
    for tag in ["one", "again"] {
        let to = scene.tapped(&format!("team/app:{tag}"));
        scene.regctl(&["image", "copy", &scene.ocidir("one"), &to]);
    }
    let later = scene.traffic();

    assert_eq!(first.uploads(), 3, "{}", first.lines());
    assert_eq!(later.uploads(), 0, "{}", later.lines());
    scene.assert_served("team/app", "again", &scene.layout.digest("one"));
}

fn mounts_into_a_second_repository() {
    let scene = Scene::new();
    let (here, there) = (scene.tapped("team/app:multi"), scene.tapped("other/app:multi"));
    scene.regctl(&["image", "copy", &scene.ocidir("multi"), &here]);
    scene.traffic();

    scene.regctl(&["image", "copy", &here, &there]);

    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (5, 0),
        "{}",
        traffic.lines()
    );
    scene.assert_served("other/app", "multi", &scene.layout.digest("multi"));
}

fn puts_gets_and_deletes_a_blob() {
    let scene = Scene::new();
    let blob = noise(21, 3_000_000);
    let file = scene.bench.path("blob");
    fs::write(&file, &blob).unwrap();
    let repository = scene.server.repository("team/blobs");
    let digest = sha256(&blob).to_string();

    let put = scene.regctl_reading(&file, &["blob", "put", &repository]);
    let got = scene.regctl(&["blob", "get", &repository, &digest]);
    let served = scene.server.get(&format!("/v2/team/blobs/blobs/{digest}"));
    let head = scene.regctl(&["blob", "head", &repository, &digest]);
    scene.regctl(&["blob", "delete", &repository, &digest]);

    assert_eq!(put.text(), digest);
    assert!(got.out == blob && served.body == blob, "the blob is what was put");
    assert!(head.text().contains("3000000"), "{}", head.text());
    let target = format!("/v2/team/blobs/blobs/{digest}");
    scene.server.request("GET", &target, &[], b"").expect_status(404);
}

fn puts_and_gets_an_artifact() {
    let scene = Scene::new();
    let data = noise(22, 50_000);
    let file = scene.bench.path("artifact");
    fs::write(&file, &data).unwrap();
    let reference = scene.server.repository("team/artifacts:one");

    scene.regctl(&[
        "artifact",
        "put",
        "--artifact-type",
        "application/vnd.example.test",
        "--file",
        argument(&file),
        &reference,
    ]);
    let got = scene.regctl(&["artifact", "get", &reference]);

    assert!(got.out == data, "the artifact is what was put");
    let manifest = scene.server.get("/v2/team/artifacts/manifests/one").body;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.example.test");
    assert_eq!(manifest["layers"][0]["digest"], sha256(&data).to_string());
}

fn lists_referrers_and_copies_them_along() {
    let scene = Scene::new();
    scene.regctl(&[
        "image",
        "copy",
        &scene.ocidir("one"),
        &scene.tapped("team/app:one"),
    ]);
    for (name, kind) in [
        ("signature", "application/vnd.example.signature"),
        ("sbom", "application/spdx+json"),
    ] {
        let file = scene.bench.path(name);
        fs::write(&file, name).unwrap();
        let subject = scene.tapped("team/app:one");
        let put = ["artifact", "put", "--artifact-type", kind, "--subject", &subject];
        scene.regctl_reading(&file, &put);
    }

    let listed = scene.referrers(&scene.tapped("team/app:one"), &[]);
    let filter = ["--filter-artifact-type", "application/spdx+json"];
    let filtered = scene.referrers(&scene.tapped("team/app:one"), &filter);
    let copy = ["image", "copy", "--referrers"];
    let ends = [scene.tapped("team/app:one"), scene.tapped("other/app:one")];
    scene.regctl(&[&copy[..], &[&ends[0], &ends[1]]].concat());

    assert_eq!(listed.len(), 2);
    assert_eq!(filtered.len(), 1);
    let copied = scene.referrers(&scene.server.repository("other/app:one"), &[]);
    assert_eq!(digests(&copied), digests(&listed));
    for referrer in &listed {
        let target = |repository| {
            format!(
                "/v2/{repository}/manifests/{}",
                referrer["digest"].as_str().unwrap()
            )
        };
        assert_eq!(
            scene.server.get(&target("other/app")).body,
            scene.server.get(&target("team/app")).body
        );
    }
    // The registry lists referrers by itself: no tag stands in for that.
    let traffic = scene.traffic();
    let fallback = traffic.0.iter().any(|exchange| {
        matches!(&exchange.operation, Some(Request::PutManifest { reference, .. })
            if reference.to_string().starts_with("sha256-"))
    });
    assert!(!fallback, "{}", traffic.lines());
}

fn deletes_a_tag_and_only_that() {
    let scene = Scene::new();
    let digest = scene.layout.digest("one");
    for tag in ["one", "stable"] {
        let to = scene.tapped(&format!("team/app:{tag}"));
        scene.regctl(&["image", "copy", &scene.ocidir("one"), &to]);
    }
    scene.traffic();

    scene.regctl(&["tag", "delete", &scene.tapped("team/app:stable")]);

    scene.assert_unknown("team/app", "stable");
    scene.assert_served("team/app", "one", &digest);
    scene.assert_served("team/app", &digest.to_string(), &digest);
    // Where a registry cannot delete a tag, regctl overwrites it with something to delete.
    let traffic = scene.traffic();
    assert!(
        traffic.0.iter().all(|exchange| exchange.method != "PUT"),
        "{}",
        traffic.lines()
    );
}

fn deletes_a_manifest() {
    let scene = Scene::new();
    let digest = scene.layout.digest("one");
    scene.regctl(&[
        "image",
        "copy",
        &scene.ocidir("one"),
        &scene.server.repository("team/app:one"),
    ]);

    let by_digest = format!("{}@{digest}", scene.server.repository("team/app"));
    scene.regctl(&["manifest", "delete", &by_digest]);

    scene.assert_unknown("team/app", "one");
    scene.assert_unknown("team/app", &digest.to_string());
}

fn lists_tags_and_repositories() {
    let scene = Scene::new();
    for name in ["team/app:one", "team/app:two", "team/tool:one"] {
        scene.regctl(&[
            "image",
            "copy",
            &scene.ocidir("one"),
            &scene.server.repository(name),
        ]);
    }

    let tags = scene.regctl(&["tag", "ls", &scene.server.repository("team/app")]);
    let repositories = scene.regctl(&["repo", "ls", &scene.server.address().to_string()]);

    assert_eq!(tags.lines(), ["one", "two"]);
    assert_eq!(repositories.lines(), ["team/app", "team/tool"]);
}

fn pushes_although_it_is_cut_twice() {
    let scene = Scene::new();
    scene.cut_uploads_twice();

    let (from, to) = (scene.ocidir("one"), scene.tapped("team/app:one"));
    let hosts = scene.regctl_hosts();
    let copy = ["image", "copy", &from, &to];
    let pushed = scene.bench.attempt(
        "regctl",
        &[&hosts.each_ref().map(String::as_str)[..], &copy].concat(),
    );

    let traffic = scene.traffic();
    assert!(pushed.is_ok(), "{:?}\n{}", pushed.err(), traffic.lines());
    assert_eq!(traffic.cut().len(), 2, "{}", traffic.lines());
    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
}

fn resumes_a_layer_that_is_cut() {
    let scene = Scene::new();
    scene.publish("one", "team/app:one");
    scene.cut_downloads(1);
    let to = format!("ocidir://{}:pulled", scene.bench.path("pulled").display());

    scene.regctl(&["image", "copy", &scene.tapped("team/app:one"), &to]);

    let traffic = scene.traffic();
    assert_eq!(traffic.cut().len(), 1, "{}", traffic.lines());
    assert_eq!(traffic.ranges().len(), 1, "{}", traffic.lines());
    let manifest = scene.layout.blob(&scene.layout.digest("one"));
    let expected: BTreeSet<_> = digests(&references(&manifest).1);
    for digest in expected {
        let pulled = read_blob(&scene.bench.path("pulled"), &digest);
        assert!(
            pulled == scene.layout.blob(&digest),
            "{digest} is what was pushed"
        );
    }
}

impl Scene {
    /// Returns regctl's name for an image of the layout.
    fn ocidir(&self, tag: &str) -> String {
        format!("ocidir://{}:{tag}", self.layout.path().display())
    }

    fn regctl(&self, arguments: &[&str]) -> Printed {
        let hosts = self.regctl_hosts();
        self.bench.run(
            "regctl",
            &[&hosts.each_ref().map(String::as_str)[..], arguments].concat(),
        )
    }

    /// Runs [`Self::regctl`] with a file as its input.
    fn regctl_reading(&self, file: &std::path::Path, arguments: &[&str]) -> Printed {
        let mut command = self.bench.command("regctl");
        command.args(self.regctl_hosts()).args(arguments);
        command.stdin(fs::File::open(file).unwrap());
        crate::program::output_of(command).unwrap()
    }

    fn regctl_hosts(&self) -> [String; 2] {
        [self.server.address(), self.tap.address()]
            .map(|address| format!("--host=reg={address},tls=disabled"))
    }

    /// Returns the descriptors of a manifest's referrers, as regctl lists them.
    fn referrers(&self, reference: &str, options: &[&str]) -> Vec<Value> {
        let list = ["artifact", "list", "--format", "{{ jsonPretty .Descriptors }}"];
        let listed = self.regctl(&[&list[..], options, &[reference]].concat());
        serde_json::from_slice(&listed.out).unwrap()
    }
}
