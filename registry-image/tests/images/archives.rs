//! Archives that are read.

use crate::{
    fixture::{
        CONFIG, LAYER, assert_same, descriptor, digest_of, image, index, read, repository, sha256, tag,
    },
    tarball::{Tarball, records},
};
use flate2::{Compression, write::GzEncoder};
use registry_core::MediaType;
use registry_image::{ArchiveReader, CopyItem, Error, Export, ImageCopy, Layout, Names, Source as _};
use serde_json::{Value, json};
use std::io::{Cursor, Write as _};
use tar::EntryType;

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

fn open(bytes: Vec<u8>) -> Result<Layout, Error> {
    ArchiveReader::new().seekable("app.tar", Cursor::new(bytes))
}

fn blob_name(content: &str) -> String {
    format!("blobs/sha256/{}", sha256(content).hex())
}

fn config(layers: &[&str]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
}

/// Returns an archive in the old form of docker's `save`, in which one layer is a link to another.
fn saved() -> Tarball {
    let config = config(&["one", "two", "one"]);
    let name = format!("{}.json", sha256(&config).hex());
    let images = json!([{
        "Config": name, "RepoTags": ["registry.example.com/team/app:v1", "busybox:latest"],
        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"],
    }]);
    Tarball::default()
        .entry(EntryType::Directory, "a/", "", b"")
        .symlink("c/layer.tar", "../a/layer.tar")
        .file("./a/layer.tar", "one")
        .file("b/layer.tar", "two")
        .file(&name, &config)
        .file("manifest.json", images.to_string())
}

#[tokio::test]
async fn an_image_of_docker_keeps_its_config_and_layers_and_gets_a_manifest() {
    let to = repository("to");
    let config = config(&["one", "two", "one"]);
    let layers: Vec<_> = ["one", "two", "one"]
        .iter()
        .map(|layer| descriptor(LAYER, layer.as_bytes()))
        .collect();
    // Its keys are in this order, on all platforms and in all versions.
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{CONFIG}","digest":"{}","size":{}}},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        sha256(&config),
        config.len(),
        layers
            .iter()
            .map(|layer| format!(
                r#"{{"mediaType":"{LAYER}","digest":{},"size":3}}"#,
                layer["digest"]
            ))
            .collect::<Vec<_>>()
            .join(","),
    );

    let archive = open(saved().finish()).unwrap();
    let entry = &archive.entries()[0];
    let item = CopyItem::digest(entry.descriptor.digest).with_tags(entry.tags());
    ImageCopy::new(&archive, &to).run(&[item]).await.unwrap();

    for name in ["v1", "latest"] {
        assert_eq!(to.manifest(name).await.unwrap().unwrap().bytes, manifest);
    }
    assert_eq!(
        to.read_blob(&sha256(&config), 1 << 20).await.unwrap().unwrap(),
        config
    );
    let only = archive.only("registry.example.com/team/app");
    assert!(only.resolve(&(&tag("v1")).into()).await.unwrap().is_some());
}

#[tokio::test]
async fn layers_keep_their_compression() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"one").unwrap();
    let layer = encoder.finish().unwrap();
    let config = config(&["one"]);
    let images = json!([{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"]}]).to_string();
    let archive = Tarball::default()
        .file("manifest.json", images)
        .file("config.json", config);
    let archive = open(archive.file("layer.tar", &layer).finish()).unwrap();

    let manifest = archive
        .manifest(&archive.entries()[0].descriptor.digest)
        .await
        .unwrap()
        .unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();

    assert_eq!(
        manifest["layers"],
        json!([descriptor(&format!("{LAYER}+gzip"), &layer)])
    );
}

#[tokio::test]
async fn damage_of_an_image_of_docker_is_found() {
    let config = config(&["one"]);
    let named = format!("{}.json", sha256(&config).hex());
    let images = |config: &str, layers: &[&str]| json!([{"Config": config, "Layers": layers}]).to_string();
    for (config_name, config, layers, message) in [
        (&*named, "{}", &["layer.tar"][..], "the content of sha256:"),
        (
            "c.json",
            &*config,
            &[],
            "c.json: the config has 1 diff_ids, but manifest.json has 0 layers",
        ),
        (
            "c.json",
            &config,
            &["absent.tar"],
            "absent.tar: missing, but manifest.json refers to it",
        ),
        ("c.json", &config, &["other.tar"], "other.tar: it is damaged"),
        ("c.json", "no JSON", &["layer.tar"], "c.json: "),
        ("../c.json", &config, &["layer.tar"], "../c.json: missing"),
    ] {
        let archive = Tarball::default()
            .file("manifest.json", images(config_name, layers))
            .file(config_name.trim_start_matches("../"), config)
            .file("layer.tar", "one")
            .file("other.tar", "other");
        let refused = open(archive.finish()).unwrap_err().to_string();
        assert!(
            refused.contains(message) && refused.contains("app.tar"),
            "{message}: {refused}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_no_tool_writes_is_refused_with_file_and_entry() {
    let layout = || {
        Tarball::default()
            .file("oci-layout", MARKER)
            .file("index.json", r#"{"manifests":[]}"#)
    };
    let size = |size: &str| layout().pax(&[("size", size)]);
    for (archive, message) in [
        (layout().file("/etc/passwd", ""), "/etc/passwd: an absolute path"),
        (layout().file("a/../../b", ""), "a/../../b: a path with `..`"),
        (
            layout().symlink("a", "/etc/passwd"),
            "a: a link to the absolute path",
        ),
        (
            layout().symlink("a/b", "../../c"),
            "a/b: a link to \"../../c\", outside of the archive",
        ),
        (
            layout().symlink("a", "b"),
            "a: a link to \"b\", which is not a regular file",
        ),
        (
            layout().symlink("a", "b").symlink("b", "oci-layout"),
            "a: a link to \"b\", which is not a regular file",
        ),
        (
            layout().symlink("index.json", "oci-layout"),
            "index.json: a second entry",
        ),
        (
            layout().entry(EntryType::Link, "a", "oci-layout", b""),
            "a: a hard link",
        ),
        (layout().entry(EntryType::Char, "a", "", b""), "a: a device"),
        (layout().entry(EntryType::Block, "a", "", b""), "a: a device"),
        (layout().entry(EntryType::Fifo, "a", "", b""), "a: a pipe"),
        (
            layout().entry(EntryType::GNUSparse, "a", "", b""),
            "a: a sparse file",
        ),
        (
            layout().entry(EntryType::Continuous, "a", "", b""),
            "a: an entry of the type '7'",
        ),
        (
            layout().entry(EntryType::Directory, "a", "", b"x"),
            "a: a directory with content",
        ),
        (
            layout().pax(&[("GNU.sparse.major", "1")]).file("a", ""),
            "a sparse file",
        ),
        (layout().file("index.json", "{}"), "index.json: a second entry"),
        (layout().file("./index.json", "{}"), "index.json: a second entry"),
        (
            layout().file("blobs/sha256/a", "1").file("blobs/sha256/a", "2"),
            "blobs/sha256/a: a second entry",
        ),
        (
            size("3").file("a", "four"),
            "a: its header gives 4 bytes, and its extension 3",
        ),
        (
            size("9999").sized(EntryType::Regular, "a", "", b"", 0),
            "a: it has 9999 bytes, but the archive ends",
        ),
        (size("many").file("a", ""), "the size is not a number"),
        // Other readers see the high bits, a sign, or the digits before a byte of zero.
        (
            layout().with_size(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"),
            "the size is not a number",
        ),
        (layout().with_size(b"\x81\0\0\0\0\0\0\0\0\0\0\0"), "the size is not a number"),
        (layout().with_size(b"+0000000000\0"), "the size is not a number"),
        (layout().with_size(b"0000\x000000000"), "the size is not a number"),
        (layout().file("a\x1b[2J/../b", ""), "a\\u{1b}[2J/../b: a path with `..`"),
        (
            Tarball::default().file("oci-layout", MARKER).file(
                "index.json",
                format!(
                    r#"{{"manifests":[{{"mediaType":"a/b","digest":"{}","size":1,"annotations":{{"org.opencontainers.image.ref.name":"v1\u001b[2J"}}}}]}}"#,
                    sha256("x")
                ),
            ),
            r"has control characters",
        ),
        (
            Tarball::default().file("manifest.json", r#"[{"Config":"\u001b[2J","Layers":[]}]"#),
            r"app.tar: \u{1b}[2J: missing",
        ),
        (
            layout().sized(EntryType::Regular, "a", "", b"", 1 << 40),
            "a: it has 1099511627776 bytes, but the archive ends",
        ),
        (
            layout().pax(&[("path", "/etc/passwd")]).file("a", ""),
            "/etc/passwd: an absolute path",
        ),
        (
            layout().pax(&[("path", "a"), ("path", "b")]).file("c", ""),
            "the extension appears twice",
        ),
        (
            layout()
                .entry(EntryType::XHeader, "pax", "", b"99 path=a\n")
                .file("a", ""),
            "the extension is malformed",
        ),
        (
            layout().entry(EntryType::XGlobalHeader, "g", "", &records(&[("path", "a")])),
            "a global extension sets \"path\"",
        ),
        (
            layout()
                .entry(EntryType::XHeader, "pax", "", &[b'x'; 70_000])
                .file("a", ""),
            "may have at most 65536",
        ),
        (
            layout()
                .entry(EntryType::GNULongName, "././@LongLink", "", b"\xff\xfe\0")
                .file("a", ""),
            "the name is not UTF-8",
        ),
        (
            Tarball::default().file("notes", "no image"),
            "neither index.json nor manifest.json",
        ),
        (Tarball::default().file("index.json", "{}"), "oci-layout: missing"),
    ] {
        let refused = open(archive.finish()).unwrap_err().to_string();
        assert!(
            refused.starts_with("app.tar: ") && refused.contains(message),
            "{message}: {refused}"
        );
    }
}

#[test]
fn what_is_no_archive_or_half_of_one_is_refused() {
    let whole = saved().finish();
    let end = whole.len() - 1024;
    for cut in [100, 512, 700, end - 512, end - 400] {
        let refused = open(whole[..cut].to_vec()).unwrap_err().to_string();
        assert!(refused.starts_with("app.tar: "), "{cut}: {refused}");
    }
    // Some writers leave out the end, which has no content.
    assert!(open(whole[..end].to_vec()).is_ok());
    let refused = open(vec![b'x'; 4096]).unwrap_err().to_string();
    assert!(refused.contains("is this file an archive?"), "{refused}");
    let mut flipped = whole;
    flipped[513] ^= 1;
    assert!(open(flipped).is_err());
}

#[tokio::test]
async fn a_layout_counts_unless_docker_left_out_its_layers() {
    let config = config(&["one"]);
    let images =
        json!([{"Config": blob_name(&config), "RepoTags": ["app:v1"], "Layers": [blob_name("one")]}])
            .to_string();
    for (layers, docker_counts) in [(json!([descriptor(LAYER, b"one")]), false), (json!([]), true)] {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "annotations": {"kept": "yes"},
            "config": descriptor(CONFIG, config.as_bytes()), "layers": layers,
        })
        .to_string();
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(MediaType::OCI_MANIFEST, manifest.as_bytes())]});
        let archive = Tarball::default()
            .file(&blob_name(&config), &config)
            .file(&blob_name("one"), "one")
            // A repeated blob is skipped.
            .file(&blob_name("one"), "one")
            .file(&blob_name(&manifest), &manifest)
            .file("index.json", index.to_string())
            .file("manifest.json", &images)
            .file("oci-layout", MARKER);
        let archive = open(archive.finish()).unwrap();

        let digest = archive.entries()[0].descriptor.digest;
        assert_eq!(digest == sha256(&manifest), !docker_counts);
        let to = repository("to");
        ImageCopy::new(&archive, &to)
            .run(&[CopyItem::digest(digest)])
            .await
            .unwrap();
        assert!(to.blob(&sha256("one")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn blobs_are_verified_when_they_are_read() {
    let name = blob_name("expected");
    let archive = Tarball::default()
        .file("oci-layout", MARKER)
        .file("index.json", r#"{"manifests":[]}"#);
    let archive = open(archive.file(&name, "EXPECTED").finish()).unwrap();

    let blob = archive.blob(&sha256("expected"), 0).await.unwrap().unwrap();
    let refused = read(blob.stream).await.unwrap_err();

    assert!(matches!(refused, Error::Digest { .. }), "{refused}");
}

#[tokio::test]
async fn pipes_and_compressed_archives_are_spooled() {
    let plain = saved().finish();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).unwrap();
    let compressed = encoder.finish().unwrap();
    let expected = open(plain.clone()).unwrap().entries()[0].descriptor.digest;
    let spool = tempfile::tempdir().unwrap();
    let reader = ArchiveReader::new().spool_in(spool.path());
    let file = spool.path().join("app.tgz");
    std::fs::write(&file, &compressed).unwrap();

    for archive in [
        reader.read("pipe", &*plain),
        reader.read("pipe", &*compressed),
        reader.open(&file),
    ] {
        assert_eq!(archive.unwrap().entries()[0].descriptor.digest, expected);
    }
    let refused = reader
        .max_bytes(1024)
        .read("pipe", &*plain)
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "pipe: archive: more than 1024 bytes without compression; raise the limit if you trust it"
    );
    // The spooled content has no name that would stay.
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_archive_and_back_keeps_every_digest() {
    let (from, to) = (repository("from"), repository("to"));
    let entries = [
        image(&from, "amd64", &["base", "amd64"]).await,
        image(&from, "arm64", &["arm64"]).await,
    ];
    let root = digest_of(&index(&from, &entries, &["v1"]).await);
    let items = [CopyItem::tag(tag("v1"))];
    let mut bytes = Vec::new();
    Export::new()
        .add(&from, &items, Names::tags())
        .write(&mut bytes)
        .await
        .unwrap();

    let archive = open(bytes).unwrap();
    ImageCopy::new(&archive, &to).run(&items).await.unwrap();

    assert_same(&from, &to, &root).await;
    assert_eq!(to.manifest("v1").await.unwrap().unwrap().digest, root);
}
