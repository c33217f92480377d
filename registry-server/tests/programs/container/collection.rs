//! The commands of the guide, `docs/freeing-space.md`, and those that operators of `registry:2` use, in containers.

use std::path::PathBuf;

use libtest_mimic::Trial;
use registry_core::Digest;
use serde_json::{Value, json};

use super::Yard;
use crate::{
    guide::block,
    image::{Layer, Layout, OCI_CONFIG, OCI_MANIFEST, digest_of, read_blob, references},
    program::{Workbench, argument, output_of},
};

const PROGRAMS: [&str; 9] = [
    "busybox",
    "crane",
    "curl",
    "docker",
    "docker-registry",
    "dockerd",
    "ip",
    "ldd",
    "nsenter",
];

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        deleted_images_are_freed_beside_the_server,
        deleted_tags_and_untagged_images_are_freed_beside_the_server,
        a_container_without_a_server_collects,
    )
}

/// Repository of all images, on the machine of the engine.
const REPOSITORY: &str = "localhost:5000/team/app";

const GUIDE: &str = include_str!("../../../../docs/freeing-space.md");

const CONFIGURATION: &str = "/etc/docker/registry/config.yml";

/// A registry in a container, with images that stay, and some that can be deleted.
struct Depot<'a> {
    yard: Yard<'a>,
    bench: &'a Workbench,
    layout: Layout,
    data: PathBuf,
    /// References of everything that stays, and what they point at.
    kept: Vec<(String, Digest)>,
}

impl<'a> Depot<'a> {
    /// Starts a registry and pushes a multi-platform image, an image with a signature of each kind, and two images that
    /// can be deleted, `old` and `older`.
    fn open(bench: &'a Workbench) -> Self {
        let mut layout = Layout::sample(bench.path("layout"));
        let signature = Self::sign(&mut layout);
        for (tag, seed) in [("old", 11), ("older", 12)] {
            let image = layout.image("amd64", &[&Layer::new(seed, 50_000)]);
            layout.tag(tag, &image);
        }
        let depot = Self {
            yard: Yard::new(bench),
            bench,
            kept: vec![
                (":one".to_owned(), layout.digest("one")),
                (":multi".to_owned(), layout.digest("multi")),
                (format!(":{signature}"), layout.digest(&signature)),
                (
                    format!("@{}", layout.digest("referrer")),
                    layout.digest("referrer"),
                ),
            ],
            layout,
            data: bench.path("data"),
        };
        depot.serve();
        for tag in ["one", "multi", &signature, "old", "older"] {
            depot.push(tag, &format!(":{tag}"));
        }
        // A referrer has no tag, and neither has the part of the image for two platforms that is not `one`.
        let referrer = depot.layout.digest("referrer");
        depot.push("referrer", &format!("@{referrer}"));
        depot
    }

    /// Adds signatures of the image `one`: under a tag, as cosign pushes it, and with a subject. Returns the tag.
    fn sign(layout: &mut Layout) -> String {
        let image = layout.digest("one");
        let signature = layout.image("amd64", &[&Layer::new(21, 500)]);
        let tag = format!("{}-{}.sig", image.algorithm().as_str(), image.hex());
        layout.tag(&tag, &signature);

        let subject = layout.blob(&image);
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": layout.add(OCI_CONFIG, b"{}"),
            "layers": [layout.add("application/vnd.example.signature", b"signed")],
            "subject": {"mediaType": OCI_MANIFEST, "digest": image.to_string(), "size": subject.len()},
        });
        let referrer = layout.add(OCI_MANIFEST, referrer.to_string().as_bytes());
        layout.tag("referrer", &referrer);
        tag
    }

    fn serve(&self) {
        let volume = format!("{}:/var/lib/registry", argument(&self.data));
        self.yard.docker.run(&[
            "run",
            "-d",
            "-p",
            "5000:5000",
            "-v",
            &volume,
            "-e",
            "REGISTRY_STORAGE_DELETE_ENABLED=true",
            "--name",
            "registry",
            "registry:2",
        ]);
        assert_eq!(self.yard.answer("http://localhost:5000/v2/"), "{}");
    }

    fn push(&self, tag: &str, reference: &str) {
        let mut alone = Layout::create(self.bench.path(&format!("{tag}-alone")));
        alone.import(&self.layout, tag);
        self.crane(&[
            "push",
            argument(alone.path()),
            &format!("{REPOSITORY}{reference}"),
        ]);
    }

    /// Runs crane on the machine of the engine.
    fn crane(&self, arguments: &[&str]) -> String {
        let mut command = self.yard.docker.inside("crane");
        command.args(arguments);
        let printed = output_of(command).unwrap_or_else(|failed| panic!("crane {arguments:?}: {failed}"));
        printed.text().to_owned()
    }

    /// Deletes an image with the requests of a web user interface: it looks first what the tag points at.
    fn delete_as_a_page(&self, repository: &str, tag: &str) {
        let digest = self.layout.digest(tag);
        let manifests = format!("http://localhost:5000/v2/{repository}/manifests");
        let accept = format!("Accept: {OCI_MANIFEST}");
        for options in [
            format!("--head {manifests}/{tag}"),
            // A promise to a client that may push what needs the image.
            format!("--head {manifests}/{digest}"),
            format!("--request DELETE {manifests}/{digest}"),
        ] {
            self.runs(
                &format!("curl --fail --silent --show-error --header '{accept}' {options}"),
                &[],
            );
        }
    }

    /// Runs commands of the guide on the machine of the engine.
    fn follows(&self, name: &str) -> String {
        self.runs(&block(GUIDE, name), &[])
    }

    fn runs(&self, commands: &str, variables: &[(&str, String)]) -> String {
        let mut command = self.yard.docker.inside("sh");
        command
            .args(["-ec", commands])
            .envs(variables.iter().map(|(name, value)| (*name, value)));
        let printed = output_of(command).unwrap_or_else(|failed| panic!("{commands}: {failed}"));
        printed.text().to_owned()
    }

    /// Returns everything that an image consists of: its manifest, configuration and layers.
    fn content(&self, tag: &str) -> Vec<Digest> {
        let manifest = self.layout.digest(tag);
        let (_, blobs) = references(&self.layout.blob(&manifest));
        let mut content = vec![manifest];
        content.extend(blobs.iter().map(digest_of));
        content
    }

    fn is_stored(&self, digest: &Digest) -> bool {
        let blobs = self.data.join("docker/registry/v2/blobs");
        let hex = digest.hex();
        blobs
            .join(digest.algorithm().as_str())
            .join(&hex[..2])
            .join(hex)
            .join("data")
            .exists()
    }

    fn assert_freed(&self, tag: &str, report: &str) {
        for digest in self.content(tag) {
            assert!(!self.is_stored(&digest), "{tag}: {digest}\n{report}");
        }
    }

    /// Pulls everything that stays, and compares it with what was pushed.
    fn assert_kept(&self) {
        for (number, (reference, digest)) in self.kept.iter().enumerate() {
            let pulled = self.bench.path(&format!("pulled-{number}"));
            let from = format!("{REPOSITORY}{reference}");
            self.crane(&["pull", "--format", "oci", &from, argument(&pulled)]);
            let mut manifests = vec![*digest];
            while let Some(manifest) = manifests.pop() {
                let bytes = read_blob(&pulled, &manifest);
                assert_eq!(bytes, self.layout.blob(&manifest), "{reference}: {manifest}");
                let (children, blobs) = references(&bytes);
                manifests.extend(children.iter().map(digest_of));
                for blob in blobs.iter().map(digest_of) {
                    assert!(
                        read_blob(&pulled, &blob) == self.layout.blob(&blob),
                        "{reference}: {blob}"
                    );
                }
            }
            std::fs::remove_dir_all(pulled).unwrap();
        }
        let url = format!("http://localhost:5000/v2/team/app/referrers/{}", self.kept[0].1);
        let referrers: Value = serde_json::from_str(&self.yard.answer(&url)).unwrap();
        assert_eq!(referrers["manifests"][0]["digest"], self.kept[3].1.to_string());
    }
}

fn deleted_images_are_freed_beside_the_server() {
    let bench = Workbench::new();
    let depot = Depot::open(&bench);
    let older = depot.layout.digest("older");
    depot.crane(&[
        "copy",
        &format!("{REPOSITORY}:older"),
        "localhost:5000/team/gone:older",
    ]);
    depot.crane(&["delete", &format!("localhost:5000/team/gone@{older}")]);
    depot.delete_as_a_page("team/app", "older");
    let digest = depot.layout.digest("old").to_string();
    depot.runs(&block(GUIDE, "delete"), &[("DIGEST", digest)]);

    let preview = depot.follows("preview");
    assert!(
        depot.is_stored(&older) && preview.contains("would be removed"),
        "{preview}"
    );
    let report = depot.follows("collect");

    depot.assert_freed("old", &report);
    depot.assert_freed("older", &report);
    assert_eq!(depot.crane(&["catalog", "localhost:5000"]), "team/app");
    depot.assert_kept();
}

fn deleted_tags_and_untagged_images_are_freed_beside_the_server() {
    let bench = Workbench::new();
    let depot = Depot::open(&bench);

    let report = depot.follows("untagged");

    depot.assert_freed("old", &report);
    assert_eq!(depot.crane(&["catalog", "localhost:5000"]), "team/app");
    depot.assert_kept();

    // What the nightly collection keeps can be restored.
    let older = format!("team/app@{}", depot.layout.digest("older"));
    depot.crane(&["delete", &format!("localhost:5000/{older}")]);
    let line = block(GUIDE, "cron");
    let (_, nightly) = line.split_once("* * * ").expect("the line has a time");
    let report = depot.runs(nightly, &[]);
    for digest in depot.content("older") {
        assert!(depot.is_stored(&digest), "{digest}\n{report}");
    }
    depot
        .yard
        .docker
        .run(&["exec", "registry", "registry", "restore", &older]);
    depot.crane(&["validate", "--remote", &format!("{REPOSITORY}:older")]);
}

/// The other habit: the container of the server is stopped, and another one collects.
fn a_container_without_a_server_collects() {
    let bench = Workbench::new();
    let depot = Depot::open(&bench);
    depot.crane(&["delete", &format!("{REPOSITORY}@{}", depot.layout.digest("old"))]);

    let report = depot.follows("offline");

    depot.assert_freed("old", &report);
    depot.yard.answer("http://localhost:5000/v2/");
    depot.assert_kept();
    let volumes = ["run", "--rm", "--volumes-from", "registry", "registry:2"];
    let run = |command: &[&str]| {
        let arguments = [&volumes[..], command].concat();
        depot.yard.docker.run(&arguments).text().to_owned()
    };
    let verified = run(&["verify", CONFIGURATION]);
    assert!(verified.ends_with("nothing is wrong"), "{verified}");
    // The image's own programs are what they are in the image of registry:2.
    assert_eq!(run(&["ls", "/var/lib/registry"]), "docker");
}
