//! Images made at run time: the same bytes in every run, whole layers of real tar and gzip.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use registry_core::{Algorithm, Digest};
use serde_json::{Value, json};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Returns the SHA-256 of some bytes, which addresses these images unless stated otherwise.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Returns incompressible bytes, different for each seed and the same in each run.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64*, which has no zero state.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// File system layer.
pub(crate) struct Layer {
    /// Tar archive.
    pub(crate) archive: Vec<u8>,
    /// Archive compressed by gzip, which is the blob that is pushed.
    pub(crate) blob: Vec<u8>,
}

impl Layer {
    /// Makes a layer with one file of about `length` bytes and a short text.
    pub(crate) fn new(seed: u64, length: usize) -> Self {
        let text = format!("layer {seed}\n").repeat(64);
        let archive = tar([
            (format!("data/{seed}.bin"), noise(seed, length)),
            (format!("data/{seed}.txt"), text.into_bytes()),
        ]);
        // No name and no time in the gzip header: the same bytes in every run.
        let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
        encoder.write_all(&archive).expect("writing to memory succeeds");
        let blob = encoder.finish().expect("writing to memory succeeds");
        Self { archive, blob }
    }
}

/// Makes a tar archive of these files, without names or times of this machine.
fn tar(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder
            .append_data(&mut header, path, content.as_slice())
            .expect("writing to memory succeeds");
    }
    builder.into_inner().expect("writing to memory succeeds")
}

/// Decompresses gzip.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .expect("a layer is compressed whole");
    plain
}

/// Image in the format of `docker save` and `docker load`: with uncompressed layers and without a manifest.
pub(crate) struct DockerArchive {
    /// Configuration, whose digest is the id of the image.
    pub(crate) config: Vec<u8>,
    /// Archives of the layers, the lowest first.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl DockerArchive {
    pub(crate) fn new(layers: &[&Layer]) -> Self {
        Self {
            config: config_and_layers("amd64", layers).0,
            layers: layers.iter().map(|layer| layer.archive.clone()).collect(),
        }
    }

    /// Reads an archive that `docker save` wrote of one image.
    pub(crate) fn read(archive: &[u8]) -> Self {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive)
            .entries()
            .expect("the archive is in memory")
        {
            let mut entry = entry.expect("the archive is whole");
            let path = entry.path().expect("as above").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("as above");
            files.insert(path, content);
        }
        let mut take = |path: &Value| {
            let path = path.as_str().expect("the list names files");
            files.remove(path).unwrap_or_else(|| panic!("there is no {path}"))
        };
        let images: Value = serde_json::from_slice(&take(&json!("manifest.json"))).expect("the list is JSON");
        let layers = images[0]["Layers"].as_array().expect("an image has layers");
        Self {
            config: take(&images[0]["Config"]),
            layers: layers.iter().map(take).collect(),
        }
    }

    /// Returns the image's id.
    pub(crate) fn id(&self) -> Digest {
        sha256(&self.config)
    }

    /// Returns the archive to load, which gives the image this name.
    pub(crate) fn to_load(&self, name: &str) -> Vec<u8> {
        let config = format!("{}.json", self.id().hex());
        let paths: Vec<_> = (0..self.layers.len()).map(|n| format!("{n}/layer.tar")).collect();
        let images = json!([{ "Config": config, "RepoTags": [name], "Layers": paths }]);
        let mut files = vec![
            ("manifest.json".to_owned(), images.to_string().into_bytes()),
            (config, self.config.clone()),
        ];
        files.extend(paths.into_iter().zip(self.layers.iter().cloned()));
        tar(files)
    }
}

/// Image layout on disk: a directory with `oci-layout`, `index.json` and `blobs`.
pub(crate) struct Layout {
    path: PathBuf,
    entries: Vec<Value>,
}

impl Layout {
    /// Creates a layout at `path`, which must not exist yet.
    pub(crate) fn create(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).expect("the test's directory is writable");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("as above");
        Self {
            path,
            entries: Vec::new(),
        }
    }

    /// Makes two images for two platforms under `one` and `two`, and the index of both under `multi`.
    pub(crate) fn sample(path: PathBuf) -> Self {
        let mut layout = Self::create(path);
        let base = Layer::new(1, 300_000);
        let one = layout.image("amd64", &[&base, &Layer::new(2, 200_000)]);
        let two = layout.image("arm64", &[&base, &Layer::new(3, 100_000)]);
        layout.tag("one", &one);
        layout.tag("two", &two);
        let multi = layout.index(&[&one, &two]);
        layout.tag("multi", &multi);
        layout
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the whole layout as a tar archive.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut paths = vec!["oci-layout".to_owned(), "index.json".to_owned()];
        let blobs = fs::read_dir(self.path.join("blobs/sha256")).expect("the layout is there");
        paths.extend(blobs.map(|blob| {
            let name = blob.expect("the layout is readable").file_name();
            format!("blobs/sha256/{}", name.to_string_lossy())
        }));
        tar(paths.into_iter().map(|path| {
            let content = fs::read(self.path.join(&path)).expect("the layout is readable");
            (path, content)
        }))
    }

    /// Returns the name of an image of this layout for skopeo, podman and buildah.
    pub(crate) fn oci(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path.display())
    }

    /// Returns the digest of the manifest with this tag.
    pub(crate) fn digest(&self, tag: &str) -> Digest {
        digest_of(self.entry(tag))
    }

    fn entry(&self, tag: &str) -> &Value {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry["annotations"][REF_NAME] == tag);
        entry.unwrap_or_else(|| panic!("the layout has no {tag}"))
    }

    /// Returns the bytes of a blob, which may be a manifest.
    pub(crate) fn blob(&self, digest: &Digest) -> Vec<u8> {
        read_blob(&self.path, digest)
    }

    /// Adds a blob and returns its descriptor.
    pub(crate) fn add(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.path.join("blobs/sha256").join(digest.hex()), bytes).expect("the layout is writable");
        descriptor(media_type, bytes)
    }

    /// Adds an image of these layers, with its configuration, and returns the descriptor of its manifest.
    pub(crate) fn image(&mut self, architecture: &str, layers: &[&Layer]) -> Value {
        let (config, blobs) = config_and_layers(architecture, layers);
        for layer in layers {
            self.add(OCI_LAYER, &layer.blob);
        }
        let config = self.add(OCI_CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": blobs,
        });
        let mut descriptor = self.add(OCI_MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptor
    }

    /// Adds an index of these manifests and returns its descriptor.
    pub(crate) fn index(&mut self, manifests: &[&Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        self.add(OCI_INDEX, index.to_string().as_bytes())
    }

    /// Imports the manifest with this tag from another layout, with everything that it refers to.
    pub(crate) fn import(&mut self, other: &Self, tag: &str) {
        let descriptor = other.entry(tag);
        self.import_manifest(other, &other.digest(tag));
        self.tag(tag, descriptor);
    }

    fn import_manifest(&mut self, other: &Self, digest: &Digest) {
        let bytes = other.blob(digest);
        let (children, blobs) = references(&bytes);
        for child in children {
            self.import_manifest(other, &digest_of(&child));
        }
        for blob in blobs {
            self.add("", &other.blob(&digest_of(&blob)));
        }
        self.add("", &bytes);
    }

    /// Adds a manifest to `index.json` under a tag.
    pub(crate) fn tag(&mut self, tag: &str, descriptor: &Value) {
        let mut entry = descriptor.clone();
        entry["annotations"] = json!({ REF_NAME: tag });
        self.entries.push(entry);
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.entries });
        fs::write(self.path.join("index.json"), index.to_string()).expect("the layout is writable");
    }
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Returns the descriptor of some bytes, addressed by SHA-256.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    descriptor_as(Algorithm::Sha256, media_type, bytes)
}

/// Returns the descriptor of some bytes, addressed by this algorithm.
pub(crate) fn descriptor_as(algorithm: Algorithm, media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(algorithm, bytes).to_string(),
        "size": bytes.len(),
    })
}

/// Returns the configuration of an image and the descriptors of its layers.
fn config_and_layers(architecture: &str, layers: &[&Layer]) -> (Vec<u8>, Vec<Value>) {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| sha256(&layer.archive).to_string())
        .collect();
    let config = json!({
        "created": "2000-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["/data/run"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": diff_ids.iter().map(|_| json!({ "created": "2000-01-01T00:00:00Z" })).collect::<Vec<_>>(),
    });
    let blobs = layers
        .iter()
        .map(|layer| descriptor(OCI_LAYER, &layer.blob))
        .collect();
    (config.to_string().into_bytes(), blobs)
}

/// Returns the digest that a descriptor names.
pub(crate) fn digest_of(descriptor: &Value) -> Digest {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    Digest::parse(digest).expect("the tests use digests that can be computed")
}

/// Returns the bytes of a blob in the image layout at `path`.
pub(crate) fn read_blob(path: &Path, digest: &Digest) -> Vec<u8> {
    let file = path
        .join("blobs")
        .join(digest.algorithm().as_str())
        .join(digest.hex());
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns the descriptors in a manifest or index: of other manifests, and of blobs.
pub(crate) fn references(manifest: &[u8]) -> (Vec<Value>, Vec<Value>) {
    let manifest: Value = serde_json::from_slice(manifest).expect("a manifest is JSON");
    let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    let mut blobs = list("layers");
    blobs.extend(manifest.get("config").cloned());
    (list("manifests"), blobs)
}
