//! Small archives that ask for much work.

use crate::{
    fixture::{CONFIG, descriptor, sha256},
    tarball::Tarball,
};
use registry_core::MediaType;
use registry_image::{ArchiveReader, Error, Layout};
use serde_json::json;
use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

const CONTENT: usize = 1 << 18;

/// A file that counts the bytes that are read.
struct Counted {
    file: Cursor<Vec<u8>>,
    read: Arc<AtomicUsize>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read, SeqCst);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Opens an archive. Returns the number of bytes that were read, too.
fn open(archive: Tarball) -> (Result<Layout, Error>, usize) {
    let read: Arc<AtomicUsize> = Arc::default();
    let file = Counted {
        file: Cursor::new(archive.finish()),
        read: Arc::clone(&read),
    };
    let opened = ArchiveReader::new().seekable("app.tar", file);
    (opened, read.load(SeqCst))
}

/// Returns a large config of an image with this layer.
fn config(layer: &str) -> String {
    let padding = "x".repeat(CONTENT);
    json!({"rootfs": {"diff_ids": [sha256(layer).to_string()]}, "padding": padding}).to_string()
}

#[test]
fn content_with_many_names_is_read_once() {
    let layer = "x".repeat(CONTENT);
    let mut archive = Tarball::default()
        .file("config", config(&layer))
        .file("layer", &layer);
    let mut images = Vec::new();
    for number in 0..100 {
        let (config, layer) = (format!("config{number}"), format!("layer{number}"));
        archive = archive.symlink(&config, "config").symlink(&layer, "layer");
        images.push(json!({"Config": config, "Layers": [layer]}));
    }

    let (opened, read) = open(archive.file("manifest.json", json!(images).to_string()));

    assert_eq!(opened.unwrap().entries().len(), 100);
    assert!(read < 4 * CONTENT, "{read} bytes were read");
}

#[test]
fn a_manifest_with_many_entries_is_read_once() {
    let config = config("layer");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(CONFIG, b"another config"), "layers": [],
    })
    .to_string();
    let blob = |content: &str| format!("blobs/sha256/{}", sha256(content).hex());
    let entries = vec![descriptor(MediaType::OCI_MANIFEST, manifest.as_bytes()); 10_000];
    let images = vec![json!({"Config": blob(&config), "Layers": ["layer"]}); 1000];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let archive = Tarball::default()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", &index)
        .file("manifest.json", json!(images).to_string())
        .file(&blob(&manifest), &manifest)
        .file(&blob(&config), &config);

    let (opened, read) = open(archive);

    assert_eq!(opened.unwrap().entries().len(), 10_000);
    let most = index.len() + 3 * CONTENT;
    assert!(read < most, "{read} bytes were read");
}

#[test]
fn the_number_of_images_is_limited() {
    let images = vec![json!({"Config": "config"}); 10_001];
    let archive = Tarball::default().file("config", "{}");
    let (opened, _) = open(archive.file("manifest.json", json!(images).to_string()));

    let refused = opened.unwrap_err().to_string();
    assert_eq!(
        refused,
        "app.tar: manifest.json: it has 10001 images, and may have at most 10000"
    );
}

#[test]
fn the_size_of_the_manifests_that_are_made_is_limited() {
    let layers = vec!["l"; 50_000];
    let diff_ids = vec![sha256("").to_string(); layers.len()];
    let images = vec![json!({"Config": "config", "Layers": layers}); 10];
    let archive = Tarball::default()
        .file("config", json!({"rootfs": {"diff_ids": diff_ids}}).to_string())
        .file("l", "");

    let (opened, _) = open(archive.file("manifest.json", json!(images).to_string()));

    let refused = opened.unwrap_err().to_string();
    assert!(
        refused.contains("manifests of more than 33554432 bytes"),
        "{refused}"
    );
}
