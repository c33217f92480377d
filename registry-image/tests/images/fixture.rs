//! Content to copy, and a look at what arrived.

use futures_util::TryStreamExt as _;
use registry_core::{
    Algorithm, Digest, MediaType, Registry, Repository, Tag, manifest::Manifest, service::ManifestPush,
    storage::MemoryStorage,
};
use registry_image::{BlobStream, Error};
use serde_json::{Value, json};

pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(crate) fn repository(name: &str) -> Repository {
    let registry = Registry::builder(MemoryStorage::new()).build();
    registry.repository(name).unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    Tag::parse(tag).unwrap()
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> Digest {
    Digest::of(Algorithm::Sha256, bytes.as_ref())
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes).to_string(), "size": bytes.len()})
}

/// Puts an image with a layer for each text, and returns its descriptor.
pub(crate) async fn image(to: &Repository, architecture: &str, layers: &[&str]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string();
    for blob in layers.iter().map(ToString::to_string).chain([config.clone()]) {
        to.push_blob(blob, None).await.unwrap();
    }
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(LAYER, layer.as_bytes()))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()), "layers": layers,
    });
    let mut put = put(to, &manifest, &[]).await;
    put["platform"] = json!({"os": "linux", "architecture": architecture});
    put
}

/// Puts an index of these entries.
pub(crate) async fn index(to: &Repository, entries: &[Value], tags: &[&str]) -> Value {
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    put(to, &index, tags).await
}

/// Puts an artifact that refers to another manifest.
pub(crate) async fn artifact(to: &Repository, content: &str, subject: &Value) -> Value {
    for blob in ["{}", content] {
        to.push_blob(blob.to_owned(), None).await.unwrap();
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "artifactType": "application/vnd.example",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("text/plain", content.as_bytes())],
        "subject": {"mediaType": subject["mediaType"], "digest": subject["digest"], "size": subject["size"]},
    });
    put(to, &manifest, &[]).await
}

/// Puts a manifest, and returns its descriptor.
pub(crate) async fn put(to: &Repository, manifest: &Value, tags: &[&str]) -> Value {
    let bytes = manifest.to_string();
    let mut push = ManifestPush::new(sha256(&bytes), bytes.clone());
    push.tags = tags.iter().map(|name| tag(name)).collect();
    to.put_manifest(push).await.unwrap();
    descriptor(manifest["mediaType"].as_str().unwrap(), bytes.as_bytes())
}

/// Reads a manifest.
pub(crate) async fn document(from: &Repository, descriptor: &Value) -> Value {
    let found = from.manifest(digest_of(descriptor)).await.unwrap().unwrap();
    serde_json::from_slice(&found.bytes).unwrap()
}

pub(crate) fn digest_of(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

/// Checks that a manifest, and everything that it refers to, is as in the original.
pub(crate) async fn assert_same(original: &Repository, copy: &Repository, digest: &Digest) {
    let mut manifests = vec![*digest];
    while let Some(digest) = manifests.pop() {
        let expected = original.manifest(digest).await.unwrap().unwrap();
        let copied = copy.manifest(digest).await.unwrap();
        let copied = copied.unwrap_or_else(|| panic!("{digest} was not copied"));
        assert_eq!(
            (&copied.bytes, &copied.media_type),
            (&expected.bytes, &expected.media_type)
        );
        let parsed = Manifest::parse(&expected.bytes, Some(&expected.media_type)).unwrap();
        manifests.extend(parsed.manifests().iter().filter_map(|child| child.digest.known()));
        for blob in parsed.blobs() {
            let blob = blob.digest.known().unwrap();
            let expected = original.read_blob(blob, 1 << 20).await.unwrap();
            assert_eq!(copy.read_blob(blob, 1 << 20).await.unwrap(), expected, "{blob}");
        }
    }
}

pub(crate) async fn read(mut stream: BlobStream) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    while let Some(bytes) = stream.try_next().await? {
        read.extend_from_slice(&bytes);
    }
    Ok(read)
}
