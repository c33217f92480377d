//! Archives of docker's `save`: `manifest.json` lists configs and layers, and there are no manifests.

use super::{file::ArchiveFile, members::Member};
use crate::{
    document::{self, ImageManifest},
    error::Error,
    layout::{Entry, Files, Layout, Made, OpenFile, PIECE, check_name, fill, read_document},
    plain::Detected,
    printable,
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, hash::Hasher, manifest::Manifest, storage::StoredManifest,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) const MANIFEST: &str = "manifest.json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Maximum number of images in `manifest.json`.
const IMAGES: usize = 10_000;
/// Maximum number of bytes in all configs.
const CONFIGS: u64 = 256 << 20;
/// Maximum number of bytes in all manifests that are made, which are in memory.
const MADE: usize = 32 << 20;

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Config of an image.
#[derive(Clone)]
struct Config {
    digest: Digest,
    size: u64,
    diff_ids: Arc<[String]>,
}

impl Config {
    fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        Ok(Self {
            digest: Digest::of(Algorithm::Sha256, bytes),
            size: bytes.len() as u64,
            diff_ids: document::diff_ids(bytes)?.into(),
        })
    }
}

/// Returns true if the layout has an image without its layers, and `manifest.json` has them. docker 25.0 wrote such
/// archives.
pub(super) fn replaces(layout: &Layout, archive: &ArchiveFile) -> Result<bool, Error> {
    let images_of_docker = [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST];
    let entries = layout.entries().iter().map(|entry| &entry.descriptor);
    let entries = entries.filter(|entry| images_of_docker.contains(&entry.media_type.as_str()));
    let digests: BTreeSet<_> = entries.map(|entry| entry.digest).collect();
    let mut bare = BTreeSet::new();
    for digest in digests {
        // Others may be absent, or of another kind.
        let Some(found) = layout.read_manifest(&digest)? else {
            continue;
        };
        let parsed = Manifest::parse_stored(&found.bytes, &found.media_type);
        if let Some([config]) = parsed.as_ref().ok().map(Manifest::blobs) {
            bare.extend(config.digest.known().copied());
        }
    }
    if bare.is_empty() {
        return Ok(false);
    }
    let mut contents = Contents::of(archive);
    let mut known = BTreeSet::new();
    for image in images(archive)? {
        if image.layers.is_none_or(|layers| layers.is_empty())
            || !known.insert(contents.member(&image.config)?)
        {
            continue;
        }
        let config = contents.read_config(&image.config)?;
        if bare.contains(&Digest::of(Algorithm::Sha256, &config)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the images of `manifest.json` as a layout.
pub(super) fn layout(archive: Arc<ArchiveFile>) -> Result<Layout, Error> {
    let mut entries = Vec::new();
    let mut made = BTreeMap::new();
    let mut contents = Contents::of(&archive);
    let mut bytes = 0;
    for image in images(&archive)? {
        let manifest = manifest(&mut contents, &image, &mut made)?;
        bytes += manifest.bytes.len();
        if bytes > MADE {
            let reason = format!("its images need manifests of more than {MADE} bytes; save fewer at once");
            return Err(Error::layout(archive.place(), MANIFEST, reason));
        }
        let size = manifest.bytes.len() as u64;
        let descriptor = Descriptor::new(manifest.media_type.clone(), manifest.digest, size);
        let names = image.repo_tags.unwrap_or_default();
        for name in &names {
            check_name(name).map_err(|reason| Error::layout(archive.place(), MANIFEST, reason))?;
        }
        entries.push(Entry::new(descriptor, names, None));
        made.insert(manifest.digest, Made::Manifest(manifest));
    }
    Ok(Layout::with(archive, entries, made))
}

fn images(archive: &ArchiveFile) -> Result<Vec<Image>, Error> {
    let refused = |reason| Error::layout(archive.place(), MANIFEST, reason);
    let bytes = read_document(archive, MANIFEST)?.ok_or_else(|| absent(archive, MANIFEST))?;
    let images: Vec<Image> = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if images.len() > IMAGES {
        let reason = format!("it has {} images, and may have at most {IMAGES}", images.len());
        return Err(refused(reason));
    }
    Ok(images)
}

fn absent(files: &dyn Files, path: &str) -> Error {
    Error::layout(
        files.place(),
        path,
        format!("missing, but {MANIFEST} refers to it"),
    )
}

/// Configs and layers of an archive. Each is read once, under however many names.
struct Contents<'a> {
    archive: &'a ArchiveFile,
    configs: BTreeMap<Member, Config>,
    layers: BTreeMap<Member, Descriptor>,
    /// Number of bytes of the configs that were read.
    read: u64,
}

impl<'a> Contents<'a> {
    const fn of(archive: &'a ArchiveFile) -> Self {
        Self {
            archive,
            configs: BTreeMap::new(),
            layers: BTreeMap::new(),
            read: 0,
        }
    }

    fn member(&self, path: &str) -> Result<Member, Error> {
        let found = self.archive.member(path);
        found.ok_or_else(|| absent(self.archive, path))
    }

    fn read_config(&mut self, path: &str) -> Result<Bytes, Error> {
        let bytes = read_document(self.archive, path)?.ok_or_else(|| absent(self.archive, path))?;
        self.read += bytes.len() as u64;
        if self.read > CONFIGS {
            let reason = format!("the configs have more than {CONFIGS} bytes; save fewer images at once");
            return Err(Error::layout(self.archive.place(), path, reason));
        }
        Ok(bytes)
    }

    fn config(&mut self, path: &str) -> Result<Config, Error> {
        let member = self.member(path)?;
        if let Some(known) = self.configs.get(&member) {
            return Ok(known.clone());
        }
        let config = Config::parse(&self.read_config(path)?)
            .map_err(|error| Error::layout(self.archive.place(), path, error.to_string()))?;
        self.configs.insert(member, config.clone());
        Ok(config)
    }

    fn layer(&mut self, path: &str) -> Result<Descriptor, Error> {
        let member = self.member(path)?;
        if let Some(known) = self.layers.get(&member) {
            return Ok(known.clone());
        }
        let layer = described(self.archive, path)?;
        self.layers.insert(member, layer.clone());
        Ok(layer)
    }
}

/// Makes the manifest of an image.
fn manifest(
    contents: &mut Contents<'_>,
    image: &Image,
    made: &mut BTreeMap<Digest, Made>,
) -> Result<StoredManifest, Error> {
    let place = contents.archive.place();
    let paths = image.layers.as_deref().unwrap_or_default();
    let Config {
        digest,
        size,
        diff_ids,
    } = contents.config(&image.config)?;
    // docker names a config by its digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default();
    let named = Digest::from_hex(Algorithm::Sha256, stem.trim_end_matches(".json"));
    if let Some(named) = named.ok().filter(|named| *named != digest) {
        return Err(Error::Digest {
            place: format!("{} in {place}", printable::name(&image.config)),
            digest: named,
            actual: digest,
        });
    }
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
    for (path, diff_id) in paths.iter().zip(&*diff_ids) {
        let layer = contents.layer(path)?;
        let is_plain = layer.media_type.as_str() == LAYER;
        if is_plain && layer.digest.to_string() != *diff_id {
            let reason = format!(
                "it is damaged: it has the digest {}, but the config gives {diff_id}",
                layer.digest
            );
            return Err(Error::layout(place, path, reason));
        }
        made.insert(layer.digest, Made::File(path.clone()));
        layers.push(layer);
    }
    let config = Descriptor::new(known_type(document::CONFIG), digest, size);
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
            media_type.push_str(match Detected::of(bytes) {
                Detected::Gzip => "+gzip",
                Detected::Zstd => "+zstd",
                Detected::None | Detected::Unsupported(_) => "",
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
