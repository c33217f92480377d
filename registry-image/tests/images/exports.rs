//! Archives that are written.

use crate::fixture::{CONFIG, LAYER, artifact, digest_of, image, index, repository, sha256, tag};
use registry_core::{Digest, Repository, service::ManifestPush};
use registry_image::{
    ArchiveReader, BlobList, CopyItem, Event, Export, ImageCopy, LayoutWriter, Names, Platform,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    sync::{Arc, Mutex},
};

/// An archive as its names in their order, and its files.
struct Read {
    names: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Read {
    fn of(bytes: &[u8]) -> Self {
        let (mut names, mut files) = (Vec::new(), BTreeMap::new());
        for entry in tar::Archive::new(bytes).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(
                (
                    header.mtime().unwrap(),
                    header.uid().unwrap(),
                    header.mode().unwrap()
                ),
                (0, 0, 0o644)
            );
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            names.push(name.clone());
            files.insert(name, content);
        }
        Self { names, files }
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.files[name]).unwrap()
    }
}

async fn app(from: &Repository) -> (Digest, Vec<Value>) {
    let entries = vec![
        image(from, "amd64", &["base", "amd64"]).await,
        image(from, "arm64", &["base", "arm64"]).await,
    ];
    (
        digest_of(&index(from, &entries, &["v1", "latest"]).await),
        entries,
    )
}

fn names() -> Names {
    Names::of_repository("registry.example.com/team/app")
}

async fn written(export: &Export<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    export.write(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn documents_come_before_blobs_and_each_group_is_ordered_by_digest() {
    let from = repository("from");
    let (root, entries) = app(&from).await;
    let items = [CopyItem::tag(tag("v1"))];

    let archive = Read::of(&written(&Export::new().add(&from, &items, names())).await);

    let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let mut manifests = vec![path(root)];
    manifests.extend(entries.iter().map(|entry| path(digest_of(entry))));
    let mut configs: Vec<_> = entries
        .iter()
        .map(|entry| {
            let manifest: Value = serde_json::from_slice(&archive.files[&path(digest_of(entry))]).unwrap();
            assert_eq!(manifest["config"]["mediaType"], CONFIG);
            path(digest_of(&manifest["config"]))
        })
        .collect();
    let mut layers = ["base", "amd64", "arm64"].map(|layer| path(sha256(layer)));
    manifests.sort();
    configs.sort();
    layers.sort();
    let mut expected = ["oci-layout", "index.json", "manifest.json"]
        .map(ToOwned::to_owned)
        .to_vec();
    expected.extend(manifests);
    expected.extend(configs);
    expected.extend(layers);
    assert_eq!(archive.names, expected);
}

#[tokio::test]
async fn names_are_as_each_reader_wants_them() {
    let from = repository("from");
    let (root, entries) = app(&from).await;
    let items = [CopyItem::tag(tag("v1")).with_tags([tag("v1"), tag("latest")])];
    let named = |full: bool| {
        let reference = |tag: &str| {
            if full {
                format!("registry.example.com/team/app:{tag}")
            } else {
                tag.to_owned()
            }
        };
        ["v1", "latest"].map(|tag| {
            json!({
                "io.containerd.image.name": format!("registry.example.com/team/app:{tag}"),
                "org.opencontainers.image.ref.name": reference(tag),
            })
        })
    };
    for full in [false, true] {
        let names = if full { names().full() } else { names() };
        let arm = Platform::parse("linux/arm64").unwrap();
        let export = Export::new().add(&from, &items, names).docker_platform(arm);
        let archive = Read::of(&written(&export).await);

        let index = archive.json("index.json");
        let listed = index["manifests"].as_array().unwrap();
        assert!(listed.iter().all(|entry| digest_of(entry) == root));
        let annotations: Vec<_> = listed.iter().map(|entry| entry["annotations"].clone()).collect();
        assert_eq!(annotations, named(full));

        let manifest = archive.json(&format!("blobs/sha256/{}", digest_of(&entries[1]).hex()));
        let path = |descriptor: &Value| format!("blobs/sha256/{}", digest_of(descriptor).hex());
        let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(path).collect();
        let expected = json!([{
            "Config": path(&manifest["config"]),
            "RepoTags": ["registry.example.com/team/app:v1", "registry.example.com/team/app:latest"],
            "Layers": layers,
        }]);
        assert_eq!(archive.json("manifest.json"), expected);
    }
}

/// Returns a repository with an image whose documents are fixed texts.
async fn fixed() -> Repository {
    let from = repository("from");
    let layer = sha256("layer");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"{CONFIG}","digest":"{}","size":{}}},"layers":[{{"mediaType":"{LAYER}","digest":"{layer}","size":5}}]}}"#,
        sha256(&config),
        config.len(),
    );
    for blob in [config, "layer".into()] {
        from.push_blob(blob, None).await.unwrap();
    }
    from.put_manifest(ManifestPush::new(tag("v1"), manifest))
        .await
        .unwrap();
    from
}

#[tokio::test]
async fn the_same_images_make_the_same_bytes_on_every_machine() {
    let from = fixed().await;
    let items = [CopyItem::tag(tag("v1")).with_tags([tag("v1"), tag("latest")])];

    let archive = written(&Export::new().add(&from, &items, names())).await;

    // Users compare archives by their digests. A change is a breaking one, and has a line in the list of changes.
    assert_eq!(
        sha256(&archive).to_string(),
        "sha256:8af7975c57311751e503254a4c4262dd14302a359fb8365a7c37c6808b0e9aa0"
    );
}

#[tokio::test]
async fn artifacts_and_referrers_have_no_manifest_json_and_are_found_again() {
    let from = repository("from");
    let (root, entries) = app(&from).await;
    let report = artifact(&from, "report", &entries[0]).await;
    let items = [CopyItem::digest(digest_of(&report))];

    let archive = written(&Export::new().add(&from, &items, Names::tags())).await;
    assert!(!Read::of(&archive).files.contains_key("manifest.json"));

    let items = [CopyItem::digest(root)];
    let archive = written(&Export::new().add(&from, &items, Names::tags()).referrers(true)).await;
    let layout = ArchiveReader::new().read("archive", &*archive).unwrap();
    let to = repository("to");
    ImageCopy::new(&layout, &to)
        .referrers(true)
        .run(&items)
        .await
        .unwrap();
    assert!(to.manifest(digest_of(&report)).await.unwrap().is_some());
}

#[tokio::test]
async fn two_images_do_not_get_one_name() {
    let (from, other) = (repository("from"), repository("other"));
    let (root, entries) = app(&from).await;
    let image = index(&other, &[image(&other, "s390x", &["other"]).await], &["v1"]).await;
    let v1 = [CopyItem::tag(tag("v1"))];
    let of = |name: &str| Names::of_repository(format!("registry.example.com/{name}"));
    let export = |names: [Names; 2]| {
        let [first, second] = names;
        Export::new().add(&from, &v1, first).add(&other, &v1, second)
    };

    let refused = export([of("a"), of("b")])
        .write(&mut Vec::new())
        .await
        .unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("the name v1") && message.contains(&digest_of(&image).to_string()),
        "{message}"
    );
    let two = [
        v1[0].clone(),
        CopyItem::digest(digest_of(&entries[0])).with_tags([tag("v1")]),
    ];
    let refused = Export::new()
        .add(&from, &two, names())
        .write(&mut Vec::new())
        .await;
    assert!(refused.is_err());

    // The same image twice, and full names, are fine.
    let twice = [v1[0].clone(), CopyItem::digest(root).with_tags([tag("v1")])];
    let archive = written(&Export::new().add(&from, &twice, names())).await;
    let index = Read::of(&archive).json("index.json");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    written(&export([of("a").full(), of("b").full()])).await;
}

#[tokio::test]
async fn platforms_narrow_an_archive() {
    let from = repository("from");
    let (_, entries) = app(&from).await;
    let items = [CopyItem::tag(tag("v1"))];
    let arm = Platform::parse("linux/arm64").unwrap();

    let export = Export::new().add(&from, &items, names()).platforms([arm]);
    let mut bytes = Vec::new();
    let exported = export.write(&mut bytes).await.unwrap();

    assert_eq!(exported.copied[0].target, digest_of(&entries[1]));
    assert_eq!(
        digest_of(&Read::of(&bytes).json("index.json")["manifests"][0]),
        digest_of(&entries[1])
    );
    assert_eq!(exported.blobs, 3);
}

#[tokio::test]
async fn a_file_appears_when_it_is_complete() {
    let (from, directory) = (repository("from"), tempfile::tempdir().unwrap());
    app(&from).await;
    let layout = directory.path().join("layout");
    let items = [CopyItem::tag(tag("v1"))];
    let writer = LayoutWriter::create(&layout).unwrap();
    ImageCopy::new(&from, &writer).run(&items).await.unwrap();
    let layout = registry_image::Layout::open(&layout).unwrap();
    let damaged = directory
        .path()
        .join("layout/blobs/sha256")
        .join(sha256("arm64").hex());
    let target = directory.path().join("app.tar");
    let list = || {
        let found = fs::read_dir(directory.path())
            .unwrap()
            .map(|found| found.unwrap().file_name());
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    };

    for (content, message) in [(&b"ARM64"[..], "has the digest"), (b"arm", "has 3 bytes")] {
        fs::write(&damaged, content).unwrap();
        let failed = Export::new()
            .add(&layout, &items, names())
            .write_file(&target)
            .await
            .unwrap_err();
        assert!(failed.to_string().contains(message), "{failed}");
        assert_eq!(list(), ["layout"]);
    }
    fs::write(&damaged, b"arm64").unwrap();
    let partial = Arc::new(Mutex::new(false));
    let (seen, path) = (Arc::clone(&partial), target.clone());
    let export = Export::new()
        .add(&layout, &items, names())
        .on_event(move |event| {
            if matches!(event, Event::BlobStarted { .. }) {
                *seen.lock().unwrap() |= path.with_extension("tar.partial").exists() && !path.exists();
            }
        });
    export.write_file(&target).await.unwrap();
    assert!(*partial.lock().unwrap());
    assert_eq!(list(), ["app.tar", "layout"]);
    assert!(ArchiveReader::new().open(&target).is_ok());
}

#[tokio::test]
async fn two_writers_of_one_file_do_not_publish_half_of_it() {
    let (from, directory) = (repository("from"), tempfile::tempdir().unwrap());
    app(&from).await;
    let target = directory.path().join("app.tar");
    // What a killed export leaves is in nobody's way.
    fs::write(target.with_extension("tar.partial"), b"half").unwrap();
    let (seen, source, path) = (Arc::new(Mutex::new(Vec::new())), from.clone(), target.clone());
    let errors = Arc::clone(&seen);
    let items = [CopyItem::tag(tag("v1"))];
    let first = Export::new().add(&from, &items, names()).on_event(move |event| {
        if matches!(event, Event::BlobStarted { .. }) {
            let items = [CopyItem::tag(tag("v1"))];
            let second = Export::new().add(&source, &items, names());
            let mut errors = errors.lock().unwrap();
            errors.extend(pollster::block_on(second.write_file(&path)).err());
            errors.extend(BlobList::default().write_file(&path).err());
        }
    });

    let exported = first.write_file(&target).await.unwrap();

    assert_eq!(
        fs::read(&target).unwrap(),
        written(&Export::new().add(&from, &items, names())).await
    );
    let errors = seen.lock().unwrap();
    assert_eq!(errors.len() as u64, 2 * exported.blobs);
    for error in &*errors {
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("app.tar"), "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn names_too_long_for_a_header_are_read_again() {
    let from = repository("from");
    let layer = Digest::of(registry_core::Algorithm::Sha512, b"layer");
    from.push_blob("layer", Some(layer)).await.unwrap();
    from.push_blob("{}", None).await.unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256("{}").to_string(), "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": layer.to_string(), "size": 5}],
    });
    let root = digest_of(&crate::fixture::put(&from, &manifest, &["v1"]).await);
    let items = [CopyItem::tag(tag("v1"))];
    let bytes = written(&Export::new().add(&from, &items, names())).await;
    assert_eq!(
        Read::of(&bytes).files[&format!("blobs/sha512/{}", layer.hex())],
        b"layer"
    );

    let to = repository("to");
    let archive = ArchiveReader::new().read("archive", &*bytes).unwrap();
    ImageCopy::new(&archive, &to).run(&items).await.unwrap();
    crate::fixture::assert_same(&from, &to, &root).await;
}
