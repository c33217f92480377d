//! Archives of docker's `save`: `manifest.json` lists configs and layers, and there are no manifests.

use super::spool::Compression;
use crate::{
    document::{self, ImageManifest},
    error::Error,
    layout::{Entry, Files, Layout, Made, OpenFile, PIECE, fill, read_document},
};
use registry_core::{
    Algorithm, AnyDigest, Descriptor, Digest, MediaType, hash::Hasher, manifest::Manifest,
    storage::StoredManifest,
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const MANIFEST: &str = "manifest.json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Config {
    rootfs: Option<RootFs>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// Returns true if the layout has an image without its layers, and `manifest.json` has them. docker 25.0 wrote such
/// archives.
pub(super) fn replaces(layout: &Layout, files: &dyn Files) -> Result<bool, Error> {
    let mut bare = Vec::new();
    for entry in layout
        .entries()
        .iter()
        .filter(|entry| !entry.descriptor.media_type.is_index())
    {
        // Such an entry was written by docker itself; others may be absent, damaged or of another kind.
        let Some(found) = layout.read_manifest(&entry.descriptor.digest)? else {
            continue;
        };
        let parsed = Manifest::parse_stored(&found.bytes, &found.media_type);
        if let Some([config]) = parsed.as_ref().ok().map(Manifest::blobs) {
            bare.push(config.digest.clone());
        }
    }
    if bare.is_empty() {
        return Ok(false);
    }
    for image in images(files)? {
        let config = required(files, &image.config)?;
        let digest = AnyDigest::from(Digest::of(Algorithm::Sha256, &config));
        if image.layers.is_some_and(|layers| !layers.is_empty()) && bare.contains(&digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the images of `manifest.json` as a layout.
pub(super) fn layout(files: Arc<dyn Files>) -> Result<Layout, Error> {
    let mut entries = Vec::new();
    let mut made = BTreeMap::new();
    let mut layers = BTreeMap::new();
    for image in images(&*files)? {
        let manifest = manifest(&*files, &image, &mut layers, &mut made)?;
        let size = manifest.bytes.len() as u64;
        let descriptor = Descriptor::new(manifest.media_type.clone(), manifest.digest, size);
        entries.push(Entry::new(descriptor, image.repo_tags.unwrap_or_default(), None));
        made.insert(manifest.digest, Made::Manifest(manifest));
    }
    Ok(Layout::with(files, entries, made))
}

fn images(files: &dyn Files) -> Result<Vec<Image>, Error> {
    let bytes = required(files, MANIFEST)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::layout(files.place(), MANIFEST, error.to_string()))
}

fn required(files: &dyn Files, path: &str) -> Result<bytes::Bytes, Error> {
    let found = read_document(files, path)?;
    found.ok_or_else(|| absent(files, path))
}

fn absent(files: &dyn Files, path: &str) -> Error {
    Error::layout(
        files.place(),
        path,
        format!("missing, but {MANIFEST} refers to it"),
    )
}

/// Makes the manifest of an image.
fn manifest(
    files: &dyn Files,
    image: &Image,
    known: &mut BTreeMap<String, Descriptor>,
    made: &mut BTreeMap<Digest, Made>,
) -> Result<StoredManifest, Error> {
    let place = files.place();
    let bytes = required(files, &image.config)?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    // docker names a config by its digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default();
    let named = Digest::from_hex(Algorithm::Sha256, stem.trim_end_matches(".json"));
    if let Some(named) = named.ok().filter(|named| *named != digest) {
        return Err(Error::Digest {
            place: format!("{} in {place}", image.config),
            digest: named,
            actual: digest,
        });
    }
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|error| Error::layout(place, &image.config, error.to_string()))?;
    let diff_ids = config.rootfs.unwrap_or_default().diff_ids;
    let paths = image.layers.as_deref().unwrap_or_default();
    if diff_ids.len() != paths.len() {
        let reason = format!(
            "the config has {} diff_ids, but {MANIFEST} has {} layers",
            diff_ids.len(),
            paths.len()
        );
        return Err(Error::layout(place, &image.config, reason));
    }
    made.insert(digest, Made::File(image.config.clone()));
    let mut layers = Vec::new();
    for (path, diff_id) in paths.iter().zip(&diff_ids) {
        let layer = match known.get(path) {
            Some(layer) => layer.clone(),
            None => described(files, path)?,
        };
        let is_plain = layer.media_type.as_str() == LAYER;
        if is_plain && layer.digest.to_string() != *diff_id {
            let reason = format!(
                "it is damaged: it has the digest {}, but the config gives {diff_id}",
                layer.digest
            );
            return Err(Error::layout(place, path, reason));
        }
        made.insert(layer.digest, Made::File(path.clone()));
        known.insert(path.clone(), layer.clone());
        layers.push(layer);
    }
    let config = Descriptor::new(known_type(document::CONFIG), digest, bytes.len() as u64);
    let bytes = ImageManifest::new(&config, &layers).to_bytes();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    Ok(StoredManifest::new(
        digest,
        known_type(MediaType::OCI_MANIFEST),
        bytes,
    ))
}

/// Reads a layer for its digest, and its compression for the media type.
fn described(files: &dyn Files, path: &str) -> Result<Descriptor, Error> {
    let OpenFile { size, mut reader } = files.open(path)?.ok_or_else(|| absent(files, path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut piece = vec![0; PIECE];
    let mut media_type = LAYER.to_owned();
    loop {
        let read = fill(&mut *reader, &mut piece);
        let read = read.map_err(Error::io("read", format_args!("{path} in {}", files.place())))?;
        let bytes = piece.get(..read).unwrap_or_default();
        if hasher.offset() == 0 {
            media_type.push_str(match Compression::of(bytes) {
                Compression::Gzip => "+gzip",
                Compression::Zstd => "+zstd",
                Compression::None | Compression::Unsupported(_) => "",
            });
        }
        hasher.update(bytes);
        if bytes.is_empty() {
            break;
        }
    }
    let digest = hasher
        .digest()
        .expect("a hasher that began with `new` has its state");
    Ok(Descriptor::new(known_type(&media_type), digest, size))
}

fn known_type(text: &str) -> MediaType {
    MediaType::parse(text).expect("a constant is well-formed")
}
