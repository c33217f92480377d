//! Layouts as tools write them, and hostile ones.

use super::{MAX_DOCUMENT, MAX_TOTAL};
use crate::{Seed, TestRegistry, artifact, image, index};
use proptest::{prelude::any, prop_assert, sample::Index, test_runner::TestRunner};
use registry_core::{Algorithm, Digest};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A layout in a directory with the name `app`.
struct Written {
    _parent: tempfile::TempDir,
    path: PathBuf,
    entries: Vec<Value>,
}

impl Written {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("app");
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            _parent: parent,
            path,
            entries: Vec::new(),
        }
    }

    /// Adds a seed with these annotations; returns its digest.
    fn add(&mut self, seed: impl Into<Seed>, annotations: &Value) -> Digest {
        let registry = TestRegistry::start();
        let digest = registry.seed("app@sha256", seed);
        let manifest = registry.manifest(&format!("app@{digest}")).unwrap();
        self.copy(&registry, &manifest);
        self.add_document(&manifest, annotations)
    }

    fn add_document(&mut self, document: &[u8], annotations: &Value) -> Digest {
        let digest = self.blob(document);
        let parsed: Value = serde_json::from_slice(document).unwrap();
        self.entries.push(json!({
            "mediaType": parsed["mediaType"],
            "digest": digest.to_string(),
            "size": document.len(),
            "annotations": annotations,
        }));
        self.index(&json!({"schemaVersion": 2, "manifests": self.entries}));
        digest
    }

    /// Writes all that a manifest names.
    fn copy(&self, registry: &TestRegistry, manifest: &[u8]) {
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        for child in list("manifests") {
            let child = registry
                .manifest(&format!("app@{}", child["digest"].as_str().unwrap()))
                .unwrap();
            self.blob(&child);
            self.copy(registry, &child);
        }
        for blob in list("layers").iter().chain(manifest.get("config")) {
            let digest = Digest::parse(blob["digest"].as_str().unwrap()).unwrap();
            self.blob(&registry.blob("app", &digest).unwrap());
        }
    }

    fn blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        fs::write(self.blob_path(&digest), content).unwrap();
        digest
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    fn index(&self, index: &Value) {
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

#[test]
fn images_of_a_layout_keep_their_names_and_digests() {
    let mut written = Written::new();
    let both = index(["linux/amd64", "linux/arm64"].map(|platform| image().platform(platform)));
    let reference = "org.opencontainers.image.ref.name";
    let digests = [
        written.add(image(), &json!({reference: "v1"})),
        written.add(both.clone(), &json!({reference: "example.com/team/web:v2"})),
        written.add(
            both,
            &json!({reference: "v3", "io.containerd.image.name": "docker.io/library/web:v3"}),
        ),
        written.add(artifact("application/vnd.a").file("a", "1"), &json!({})),
    ];
    let registry = TestRegistry::start();

    let names = registry.seed_layout(&written.path);

    let untagged = format!("app@{}", digests[3]);
    assert_eq!(names, ["app:v1", "team/web:v2", "library/web:v3", &untagged]);
    let stored: Vec<_> = names.iter().map(|name| registry.digest(name).unwrap()).collect();
    assert_eq!(stored, digests);
    for name in &names {
        registry.assert_pushed(name);
    }
}

#[test]
fn a_directory_that_is_no_repository_has_the_default_one() {
    let mut written = Written::new();
    written.add(image(), &json!({"org.opencontainers.image.ref.name": "v1"}));
    let odd = written.path.with_file_name("My App");
    fs::rename(&written.path, &odd).unwrap();
    assert_eq!(TestRegistry::start().seed_layout(&odd), ["layout:v1"]);
}

#[test]
fn a_digest_of_another_algorithm_is_kept() {
    let mut written = Written::new();
    let document =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
    let document = document.to_string();
    let digest = Digest::of(Algorithm::Sha512, document.as_bytes());
    fs::create_dir(written.path.join("blobs/sha512")).unwrap();
    fs::write(written.path.join("blobs/sha512").join(digest.hex()), &document).unwrap();
    written.entries.push(json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.to_string(), "size": document.len(),
        "annotations": {"org.opencontainers.image.ref.name": "v1"},
    }));
    written.index(&json!({"schemaVersion": 2, "manifests": written.entries}));
    let registry = TestRegistry::start();

    assert_eq!(registry.seed_layout(&written.path), ["app:v1"]);
    assert_eq!(registry.digest("app:v1"), Some(digest));
}

#[test]
fn a_long_chain_of_indexes_is_no_recursion() {
    let mut written = Written::new();
    let index = |entries: Value| json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    let mut document = index(json!([])).to_string();
    for _ in 0..2000 {
        let digest = written.blob(document.as_bytes()).to_string();
        let media_type = "application/vnd.oci.image.index.v1+json";
        document =
            index(json!([{"mediaType": media_type, "digest": digest, "size": document.len()}])).to_string();
    }
    written.add_document(document.as_bytes(), &json!({}));
    let layout = super::Layout::read(&written.path).unwrap();
    assert_eq!(layout.entries[0].manifests.len(), 2001);
}

/// Returns the message about a layout with an image that `break_it` has changed. It leaves nothing in the registry.
fn message(break_it: impl FnOnce(&mut Written, &Path)) -> String {
    let mut written = Written::new();
    written.add(image(), &json!({"org.opencontainers.image.ref.name": "good"}));
    let files = image().files([("a", "1")]);
    let digest = written.add(files, &json!({"org.opencontainers.image.ref.name": "v1"}));
    let manifest = written.blob_path(&digest);
    break_it(&mut written, &manifest);
    let registry = TestRegistry::start();
    let refused = registry.try_seed_layout(&written.path).unwrap_err().to_string();
    assert_eq!(registry.tags("app"), [""; 0], "nothing is stored");
    let start = format!("cannot seed the OCI layout: {}/", written.path.display());
    match refused.strip_prefix(&start) {
        Some(rest) => rest.replace(manifest.file_name().unwrap().to_str().unwrap(), "MANIFEST"),
        None => refused,
    }
}

fn enlarge(path: &Path, size: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(size)
        .unwrap();
}

#[test]
fn a_layout_that_is_damaged_or_incomplete_is_refused() {
    let manifest = "blobs/sha256/MANIFEST";
    let size = |path: &Path| fs::metadata(path).unwrap().len();

    let missing = message(|_, manifest| fs::remove_file(manifest).unwrap());
    assert!(
        missing.starts_with(&format!("{manifest}: No such file")),
        "{missing}"
    );
    let marker = message(|written, _| fs::write(written.path.join("oci-layout"), "[]").unwrap());
    assert_eq!(marker, "oci-layout: it is no file of an OCI layout");
    let changed = message(|_, manifest| {
        let length = usize::try_from(size(manifest)).unwrap();
        fs::write(manifest, " ".repeat(length)).unwrap();
    });
    assert!(
        changed.starts_with(&format!("{manifest}: its content has the digest sha256:")),
        "{changed}"
    );
    let sized = message(|written, _| {
        written.entries[1]["size"] = json!(7);
        written.index(&json!({"schemaVersion": 2, "manifests": written.entries}));
    });
    assert!(sized.ends_with("bytes; its descriptor says 7"), "{sized}");
    let algorithm = message(|written, _| {
        written.entries[1]["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e");
        written.index(&json!({"schemaVersion": 2, "manifests": written.entries}));
    });
    assert!(
        algorithm.starts_with("index.json: it refers to md5:"),
        "{algorithm}"
    );
    let index = message(|written, _| written.index(&json!({"schemaVersion": 2})));
    assert!(index.starts_with("index.json: "), "{index}");
    let unnamed = message(|written, _| {
        written.entries[1]["annotations"] = json!({"org.opencontainers.image.ref.name": "no tag"});
        written.index(&json!({"schemaVersion": 2, "manifests": written.entries}));
    });
    assert!(
        unnamed.starts_with("cannot parse the image \"app:no tag\""),
        "{unnamed}"
    );
    let lists_a_blob = message(|written, _| {
        written.entries[1]["mediaType"] = json!("text/plain");
        written.index(&json!({"schemaVersion": 2, "manifests": written.entries}));
    });
    assert_eq!(lists_a_blob, "index.json: it is no list of manifests");
}

#[test]
fn a_file_of_an_absurd_size_is_not_read() {
    let document = message(|_, manifest| enlarge(manifest, MAX_DOCUMENT + 1));
    assert_eq!(
        document,
        "blobs/sha256/MANIFEST: it has 4194305 bytes; at most 4194304 are read"
    );
    let index = message(|written, _| enlarge(&written.path.join("index.json"), 1 << 40));
    assert!(
        index.starts_with("index.json: it has 1099511627776 bytes"),
        "{index}"
    );
    let layer = message(|written, manifest| {
        let document: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        let layer = Digest::parse(document["layers"][0]["digest"].as_str().unwrap()).unwrap();
        enlarge(&written.blob_path(&layer), MAX_TOTAL);
    });
    assert!(
        layer.contains("with it the layout has") && layer.contains("at most 1073741824 are read"),
        "{layer}"
    );
}

#[test]
fn a_few_files_that_repeat_each_other_are_refused() {
    let mut written = Written::new();
    let digest = written.add(image(), &json!({}));
    let mut entries = written.entries.clone();
    let index = |entries: &[Value]| json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    for _ in 0..2 {
        // Each of 400 entries has all 400 entries of the document before.
        let document = index(&vec![entries[0].clone(); 400]).to_string();
        written.entries.clear();
        written.add_document(document.as_bytes(), &json!({}));
        entries.clone_from(&written.entries);
    }
    written.index(&index(&vec![entries[0].clone(); 400]));
    let registry = TestRegistry::start();

    let refused = registry.try_seed_layout(&written.path).unwrap_err().to_string();

    assert!(
        refused.ends_with("more than 100000 descriptors, counted in each image"),
        "{refused}"
    );
    assert_eq!(registry.digest(&format!("app@{digest}")), None);
}

#[test]
fn large_manifests_that_many_images_name_are_refused() {
    let mut written = Written::new();
    let blank = " ".repeat(4_000_000);
    let large = format!(
        r#"{{"schemaVersion": 2,{blank}"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}}"#
    );
    for _ in 0..17 {
        written.add_document(large.as_bytes(), &json!({}));
    }

    let refused = super::Layout::read(&written.path).unwrap_err().to_string();

    assert!(
        refused.ends_with("more than 67108864 bytes of manifests, counted in each image"),
        "{refused}"
    );
}

#[test]
fn images_of_several_repositories_share_a_blob() {
    let mut written = Written::new();
    for name in ["a.example/one:v1", "a.example/one:v2", "a.example/two:v1"] {
        written.add(
            image().files([("a", "1")]),
            &json!({"org.opencontainers.image.ref.name": name}),
        );
    }
    let registry = TestRegistry::start();

    for name in registry.seed_layout(&written.path) {
        registry.assert_pushed(&name);
    }
}

#[test]
fn a_wrong_digest_in_the_last_name_leaves_nothing() {
    let mut written = Written::new();
    written.add(image(), &json!({"org.opencontainers.image.ref.name": "v1"}));
    let name = format!("a.example/app@sha256:{}", "0".repeat(64));
    written.add(
        image().files([("a", "1")]),
        &json!({"org.opencontainers.image.ref.name": name}),
    );
    let registry = TestRegistry::start();

    let refused = registry.try_seed_layout(&written.path).unwrap_err().to_string();

    assert!(refused.contains("the content has the digest"), "{refused}");
    assert_eq!(registry.tags("app"), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_file_outside_of_the_layout_is_not_read() {
    use std::os::unix::fs::symlink;

    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    let link = message(|_, manifest| {
        fs::rename(manifest, &secret).unwrap();
        symlink(&secret, manifest).unwrap();
    });
    let secret = secret.canonicalize().unwrap();
    let expected = format!(
        "blobs/sha256/MANIFEST: it is a link to {}, outside of the layout",
        secret.display()
    );
    assert_eq!(link, expected);
    let directory = message(|written, _| {
        let blobs = outside.path().join("blobs");
        fs::rename(written.path.join("blobs"), &blobs).unwrap();
        symlink(&blobs, written.path.join("blobs")).unwrap();
    });
    assert!(directory.ends_with("outside of the layout"), "{directory}");
    let device = message(|_, manifest| {
        fs::remove_file(manifest).unwrap();
        fs::create_dir(manifest).unwrap();
    });
    assert_eq!(device, "blobs/sha256/MANIFEST: it is no regular file");
}

#[test]
fn a_changed_byte_is_never_content() {
    let mut written = Written::new();
    let image = image().files([("a", "1")]);
    written.add(image, &json!({"org.opencontainers.image.ref.name": "v1"}));
    let blobs = fs::read_dir(written.path.join("blobs/sha256")).unwrap();
    let mut files: Vec<_> = blobs.map(|entry| (true, entry.unwrap().path())).collect();
    files.sort();
    files.extend(["index.json", "oci-layout"].map(|name| (false, written.path.join(name))));
    let change = (0..files.len(), any::<Index>(), any::<u8>());

    let held = TestRunner::default().run(&change, |(file, position, byte)| {
        let (is_blob, path) = &files[file];
        let before = fs::read(path).unwrap();
        let mut after = before.clone();
        after[position.index(before.len())] = byte;
        fs::write(path, &after).unwrap();

        let read = super::Layout::read(&written.path);

        fs::write(path, &before).unwrap();
        // Another byte of a document may mean the same, or be in an unknown field.
        prop_assert!(read.is_err() || !is_blob || before == after);
        Ok(())
    });

    held.unwrap();
}
