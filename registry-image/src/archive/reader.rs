//! [`ArchiveReader`]: opens archives.

use super::{docker, file::ArchiveFile, spool::spool};
use crate::{
    error::Error,
    layout::{Files, INDEX, Layout, MARKER, fill},
    part::Seekable,
    plain::{Bounds, Detected},
};
use std::{
    env,
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Opens an archive as a [`Layout`].
///
/// An archive is an OCI layout in a tar file, or what docker's `save` writes (`manifest.json`). One that is both counts as
/// a layout. Its digests are kept. An image of docker's has no manifest: it gets one, which depends only on its config and
/// layers, and these keep their bytes.
///
/// An archive is refused if it has:
///
/// - hard links, devices, pipes or sparse files,
/// - absolute paths, or paths with `..`,
/// - two entries with one name, except for blobs, or an entry with two sizes,
/// - symbolic links to anything but a regular file of the archive.
///
/// Every error names the file and the entry.
///
/// ```no_run
/// use registry_core::{Registry, storage::MemoryStorage};
/// use registry_image::{ArchiveReader, ImageCopy, CopyItem};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
///
/// let archive = ArchiveReader::new().open("app.tar.gz")?;
/// for entry in archive.entries() {
///     let item = CopyItem::digest(entry.descriptor.digest).with_tags(entry.tags());
///     ImageCopy::new(&archive, &repository).run(&[item]).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ArchiveReader {
    spool: Option<PathBuf>,
    bounds: Bounds,
}

impl ArchiveReader {
    /// Accepts archives of at most 256 GiB, which compression makes at most 200 times smaller.
    pub const fn new() -> Self {
        Self {
            spool: None,
            bounds: Bounds {
                bytes: 256 << 30,
                ratio: 200,
                free: 64 << 20,
            },
        }
    }

    /// Sets the directory for the content of pipes and compressed archives. The default is that for temporary files.
    pub fn spool_in(self, directory: impl Into<PathBuf>) -> Self {
        Self {
            spool: Some(directory.into()),
            ..self
        }
    }

    /// Sets the maximum size of a pipe or of a compressed archive, in bytes without compression.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// Sets the maximum ratio of the sizes without and with compression. The first 64 MiB do not count.
    pub const fn max_ratio(mut self, ratio: u64) -> Self {
        self.bounds.ratio = ratio;
        self
    }

    /// Opens an archive in a file. One that is compressed by gzip or zstd is spooled.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be read or is refused.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Layout, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::io("open", path.display()))?;
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let place = path.display().to_string();
        if is_regular {
            self.seekable(place, file)
        } else {
            self.read(place, file)
        }
    }

    /// Reads an archive from a pipe. It is spooled. `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be read or is refused.
    pub fn read(&self, name: impl Into<String>, reader: impl Read) -> Result<Layout, Error> {
        let name = name.into();
        let directory = self.spool.clone().unwrap_or_else(env::temp_dir);
        let file = spool(&name, reader, &directory, self.bounds)?;
        layout(name, Box::new(file))
    }

    /// Opens an archive in anything that can seek. `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be read or is refused.
    pub fn seekable(
        &self,
        name: impl Into<String>,
        mut file: impl Read + Seek + Send + 'static,
    ) -> Result<Layout, Error> {
        let name = name.into();
        let mut begin = [0; 4];
        let read = fill(&mut file, &mut begin).and_then(|read| file.rewind().map(|()| read));
        let read = read.map_err(Error::io("read", &name))?;
        match Detected::of(begin.get(..read).unwrap_or_default()) {
            Detected::None => layout(name, Box::new(file)),
            Detected::Gzip | Detected::Zstd | Detected::Unsupported(_) => self.read(name, file),
        }
    }
}

impl Default for ArchiveReader {
    fn default() -> Self {
        Self::new()
    }
}

fn layout(place: String, file: Box<dyn Seekable>) -> Result<Layout, Error> {
    let archive = ArchiveFile::index(place.clone(), file)?;
    let has_layout = archive.has(MARKER) || archive.has(INDEX);
    let has_images = archive.has(docker::MANIFEST);
    let archive = Arc::new(archive);
    if has_layout {
        let files: Arc<dyn Files> = Arc::<ArchiveFile>::clone(&archive);
        let layout = Layout::of(files)?;
        if has_images && docker::replaces(&layout, &archive)? {
            return docker::layout(archive);
        }
        return Ok(layout);
    }
    if has_images {
        return docker::layout(archive);
    }
    let reason = format!(
        "neither {INDEX} nor {} is in it, so it has no images",
        docker::MANIFEST
    );
    Err(Error::layout(place, "archive", reason))
}
