//! Descriptors whose size is not that of their content.

use crate::fixture::{CONFIG, LAYER, descriptor, digest_of, repository, sha256};
use registry_core::MediaType;
use registry_image::{CopyItem, Error, Export, ImageCopy, Layout, Names, Target};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tempfile::TempDir;

/// Writes a blob of a layout, and returns its descriptor.
fn blob(layout: &Path, media_type: &str, content: &str) -> Value {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(sha256(content).hex()), content).unwrap();
    descriptor(media_type, content.as_bytes())
}

fn manifest(layout: &Path, layers: &[Value]) -> Value {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": blob(layout, CONFIG, "{}"), "layers": layers,
    });
    blob(layout, MediaType::OCI_MANIFEST, &manifest.to_string())
}

fn index(layout: &Path, entry: &Value) -> Value {
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry]});
    blob(layout, MediaType::OCI_INDEX, &index.to_string())
}

fn with_size(descriptor: &Value, size: u64) -> Value {
    let mut other = descriptor.clone();
    other["size"] = size.into();
    other
}

/// Writes `index.json`.
fn open(directory: &TempDir, entry: &Value) -> Layout {
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    Layout::open(directory.path()).unwrap()
}

/// Copies and exports an entry, which fails because of the size of `wrong`.
async fn assert_refused(directory: &TempDir, entry: &Value, wrong: &Value) {
    let layout = open(directory, entry);
    let items = [CopyItem::digest(digest_of(entry))];
    let to = repository("to");
    let copied = ImageCopy::new(&layout, &to).run(&items).await.map(drop);
    let export = Export::new().add(&layout, &items, Names::tags());
    let exported = export.write(&mut Vec::new()).await.map(drop);
    for refused in [copied, exported] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Size { digest, .. } if digest == digest_of(wrong)),
            "{refused}"
        );
    }
    assert!(to.manifest(digest_of(entry)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_image_is_as_large_as_its_index_says() {
    let directory = tempfile::tempdir().unwrap();
    let image = manifest(directory.path(), &[]);
    let entry = index(directory.path(), &with_size(&image, 7));

    assert_refused(&directory, &entry, &image).await;
}

#[tokio::test]
async fn an_image_is_as_large_as_its_layout_says() {
    let directory = tempfile::tempdir().unwrap();
    let image = manifest(directory.path(), &[]);

    assert_refused(&directory, &with_size(&image, 7), &image).await;
}

#[tokio::test]
async fn a_blob_with_two_sizes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let layer = blob(directory.path(), LAYER, "layer");
    let image = manifest(directory.path(), &[layer.clone(), with_size(&layer, 500)]);

    assert_refused(&directory, &image, &layer).await;
}

#[tokio::test]
async fn a_repository_takes_no_blob_of_another_size() {
    let to = repository("to");
    let digest = sha256("the content");
    for size in [5, 500] {
        let stream = futures_util::stream::iter([Ok("the ".into()), Ok("content".into())]);

        let refused = to.put_blob(&digest, size, Box::pin(stream)).await.unwrap_err();

        assert!(matches!(refused, Error::Size { .. }), "{refused}");
        assert!(to.blob(&digest).await.unwrap().is_none());
    }
}
