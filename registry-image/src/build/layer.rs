//! [`Layer`]: an archive of files. [`LayerBuilder`] makes one.

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use registry_core::{Algorithm, Descriptor, Digest, MediaType};
use std::{collections::BTreeMap, io::Write as _};
use tar::{EntryType, Header};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer of an image, with the digest of its uncompressed bytes.
#[derive(Clone, Debug)]
pub struct Layer {
    descriptor: Descriptor,
    diff_id: Digest,
    bytes: Bytes,
}

impl Layer {
    /// Takes an uncompressed tar file as it is.
    #[must_use]
    pub fn from_tar(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Self::new(TAR, digest, bytes)
    }

    /// Takes a tar file that is compressed with gzip as it is. `diff_id` is the digest of the uncompressed bytes.
    #[must_use]
    pub fn from_gzip(bytes: impl Into<Bytes>, diff_id: Digest) -> Self {
        Self::new(TAR_GZIP, diff_id, bytes.into())
    }

    /// Compresses an uncompressed layer. The bytes can differ between versions of this crate.
    #[must_use]
    pub fn gzip(self) -> Self {
        if self.descriptor.media_type.as_str() == TAR_GZIP {
            return self;
        }
        let mut encoder = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::default());
        let written = encoder.write_all(&self.bytes).and_then(|()| encoder.finish());
        let bytes = written.expect("a vector takes everything");
        Self::new(TAR_GZIP, self.diff_id, bytes.into())
    }

    fn new(media_type: &str, diff_id: Digest, bytes: Bytes) -> Self {
        let media_type = MediaType::parse(media_type).expect("a constant is well-formed");
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Self {
            descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
            diff_id,
            bytes,
        }
    }

    /// Returns media type, digest and size.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the digest of the uncompressed bytes.
    #[must_use]
    pub const fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Error for a path that no file of a layer can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no layer can have a file with the path {path:?}: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

/// Builds a layer of files. They belong to root, have the time 0 and are ordered by their paths.
///
/// ```
/// use registry_image::build::LayerBuilder;
///
/// let layer = LayerBuilder::new()
///     .file("etc/motd", "hello\n")
///     .executable("bin/app", "#!/bin/sh\n")
///     .symlink("bin/alias", "app")
///     .build()?;
/// assert_eq!(layer.descriptor().digest, layer.diff_id());
/// assert!(LayerBuilder::new().file("/etc/../motd", "").build().is_err());
/// # Ok::<(), registry_image::build::InvalidPath>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LayerBuilder {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    File { content: Bytes, mode: u32 },
    Directory,
    Symlink(String),
}

impl LayerBuilder {
    /// Begins a layer without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file with the mode 0644. Paths are relative to the root of the image.
    pub fn file(self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.with(
            path,
            Entry::File {
                content: content.into(),
                mode: 0o644,
            },
        )
    }

    /// Adds a file with the mode 0755.
    pub fn executable(self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.with(
            path,
            Entry::File {
                content: content.into(),
                mode: 0o755,
            },
        )
    }

    /// Adds a directory with the mode 0755.
    pub fn directory(self, path: impl Into<String>) -> Self {
        self.with(path, Entry::Directory)
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: impl Into<String>, target: impl Into<String>) -> Self {
        self.with(path, Entry::Symlink(target.into()))
    }

    fn with(mut self, path: impl Into<String>, entry: Entry) -> Self {
        self.entries.insert(path.into(), entry);
        self
    }

    /// Builds the layer, uncompressed.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if a path is absolute, has `..` or an empty part, or is too long for an archive.
    pub fn build(&self) -> Result<Layer, InvalidPath> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let invalid = |reason| InvalidPath {
                path: path.clone(),
                reason,
            };
            if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
                return Err(invalid("a part of it is empty, `.` or `..`, or it is absolute"));
            }
            let mut header = Header::new_gnu();
            let content: &[u8] = match entry {
                Entry::File { content, mode } => {
                    header.set_mode(*mode);
                    content
                }
                Entry::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(0o755);
                    &[]
                }
                Entry::Symlink(_) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    &[]
                }
            };
            header.set_size(content.len() as u64);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            let added = match entry {
                Entry::Symlink(target) => archive.append_link(&mut header, path, target),
                Entry::File { .. } | Entry::Directory => archive.append_data(&mut header, path, content),
            };
            if added.is_err() {
                return Err(invalid("an archive cannot have it"));
            }
        }
        let bytes = archive.into_inner().expect("a vector takes everything");
        Ok(Layer::from_tar(bytes))
    }
}
