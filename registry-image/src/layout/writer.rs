//! [`LayoutWriter`]: an OCI layout in a directory, as a target.
//!
//! Content is written to `blobs/ALGORITHM/HEX.partial`, verified, synced and renamed. `index.json`, which makes images
//! visible, is replaced last. A lock on the directory excludes other writers, so a leftover of a killed one can be removed.

use super::{
    directory::Directory,
    entries::{INDEX, MARKER},
    files::{blob_path, read_document},
    listing::Listing,
    names::Names,
};
use crate::{
    document::{self, Index},
    durable::{self, Lock, PARTIAL, partial},
    error::Error,
    manifests::parsed,
    source::BlobStream,
    target::{Kind, Target},
};
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use registry_core::{Algorithm, Digest, Tag, hash::Hasher, manifest::Manifest, storage::StoredManifest};
use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// An OCI layout in a directory, as a target.
///
/// Images are added to those of an existing layout, and replace those with the same tag. Nothing is visible in
/// `index.json` before [`finish`](Target::finish). Content that has the right size counts as present: it was verified when
/// it was written.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
    names: Names,
    _lock: Lock,
    put: Mutex<Listing>,
    /// Number of blobs that were begun.
    begun: AtomicU64,
}

impl LayoutWriter {
    /// Opens a layout for writing, or creates it in a directory that is empty or does not exist.
    ///
    /// # Errors
    ///
    /// [`Error`] if the directory has other content, another process writes to it, or it cannot be written.
    pub fn create(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let root = directory.as_ref().to_owned();
        fs::create_dir_all(&root).map_err(Error::io("create", root.display()))?;
        // Before anything is written: two writers that create the marker at the same time would lock two files.
        let directory = File::open(&root).map_err(Error::io("open", root.display()))?;
        let lock = Lock::take(directory).map_err(|error| match error {
            TryLockError::Error(error) => Error::io("lock", root.display())(error),
            TryLockError::WouldBlock => {
                let reason = "another process writes to this layout; wait for its end";
                Error::other(root.display().to_string(), true, reason)
            }
        })?;
        let marker = root.join(MARKER);
        if !fs::exists(&marker).map_err(Error::io("read", marker.display()))? {
            let mut others = fs::read_dir(&root).map_err(Error::io("read", root.display()))?;
            let is_other =
                |found: io::Result<fs::DirEntry>| !found.is_ok_and(|found| found.path() == partial(&marker));
            if others.any(is_other) {
                let reason = "the directory has other content, but no layout; choose another one";
                return Err(Error::layout(root.display().to_string(), MARKER, reason));
            }
            publish(&marker, document::MARKER)?;
        }
        let writer = Self {
            root,
            names: Names::tags(),
            _lock: lock,
            put: Mutex::default(),
            begun: AtomicU64::new(0),
        };
        writer.prepare()?;
        Ok(writer)
    }

    /// Sets the names of the images. By default, they are their tags.
    #[must_use]
    pub fn named(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Creates the directories, and removes what a killed process has left.
    fn prepare(&self) -> Result<(), Error> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let blobs = self.root.join("blobs").join(algorithm.as_str());
            if algorithm == Algorithm::Sha256 {
                fs::create_dir_all(&blobs).map_err(Error::io("create", blobs.display()))?;
            }
            let listed = match fs::read_dir(&blobs) {
                Ok(listed) => listed,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", blobs.display())(error)),
            };
            for found in listed {
                let path = found.map_err(Error::io("read", blobs.display()))?.path();
                if path.to_string_lossy().ends_with(PARTIAL) {
                    fs::remove_file(&path).map_err(Error::io("remove", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns true if a file of this size is there.
    fn holds(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let path = self.root.join(blob_path(digest));
        match fs::symlink_metadata(&path) {
            Ok(found) => Ok(found.is_file() && found.len() == size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", path.display())(error)),
        }
    }

    /// Returns a name that no other blob has until it is complete. Two may be written at once under one digest, if a source
    /// gives it two sizes.
    fn partial(&self, path: &Path) -> PathBuf {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        partial(Path::new(&name))
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    /// Writes a blob to its partial file. Returns its digest and size.
    async fn receive(
        &self,
        partial: &Path,
        algorithm: Algorithm,
        size: u64,
        mut stream: BlobStream,
    ) -> Result<(Digest, u64), Error> {
        let failed = |error| Error::io("write", partial.display())(error);
        let mut file = durable::create(partial).map_err(failed)?;
        let mut hasher = Hasher::new(algorithm);
        while let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
            // A source that does not end must not fill the disk.
            if hasher.offset() > size {
                break;
            }
            file.write_all(&bytes).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        let written = hasher.offset();
        let digest = hasher
            .digest()
            .expect("a hasher that began with `new` has its state");
        Ok((digest, written))
    }

    /// Writes a manifest, unless it is there.
    async fn document(&self, manifest: &StoredManifest) -> Result<Manifest, Error> {
        let (digest, size) = (manifest.digest, manifest.bytes.len() as u64);
        let parsed = parsed(&self.place(), manifest)?;
        if !self.holds(&digest, size)? {
            let bytes = manifest.bytes.clone();
            let stream = futures_util::stream::once(async move { Ok(bytes) });
            self.put_blob(&digest, size, Box::pin(stream)).await?;
        }
        Ok(parsed)
    }

    /// Returns `index.json` with the new entries.
    fn index(&self, put: &Listing) -> Result<Vec<u8>, Error> {
        let place = self.place();
        let old = read_document(&Directory::new(&self.root), INDEX)?;
        let malformed = |error: serde_json::Error| Error::layout(&place, INDEX, error.to_string());
        let mut index = match old {
            Some(old) => serde_json::from_slice::<Index>(&old)
                .map_err(malformed)?
                .with_version(),
            None => Index::new(),
        };
        let added = put.entries();
        let replaced: BTreeSet<_> = added.iter().map(|entry| document::identity(entry)).collect();
        index
            .manifests
            .retain(|entry| !replaced.contains(&document::identity(entry)));
        index.manifests.extend(added);
        serde_json::to_vec(&index).map_err(malformed)
    }
}

#[async_trait]
impl Target for LayoutWriter {
    fn describe(&self) -> String {
        self.place()
    }

    async fn has(&self, kind: Kind, digest: &Digest, size: u64) -> Result<bool, Error> {
        match kind {
            Kind::Blob => self.holds(digest, size),
            // A killed copy leaves the file of a manifest without its entry, so a repeated one has to put it again.
            Kind::Manifest => Ok(false),
        }
    }

    async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), Error> {
        let path = self.root.join(blob_path(digest));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent.display()))?;
        }
        let partial = self.partial(&path);
        let result = match self.receive(&partial, digest.algorithm(), size, stream).await {
            Ok((_, actual)) if actual != size => Err(Error::Size {
                place: self.place(),
                digest: *digest,
                expected: size,
                actual,
            }),
            Ok((actual, _)) if actual != *digest => Err(Error::Digest {
                place: self.place(),
                digest: *digest,
                actual,
            }),
            Ok(_) => fs::rename(&partial, &path).map_err(Error::io("rename", partial.display())),
            Err(error) => Err(error),
        };
        if result.is_err() {
            // The first error says more.
            let _ = fs::remove_file(&partial);
        }
        result
    }

    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        self.document(manifest).await?;
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        put.add(manifest, tags, &self.names);
        Ok(())
    }

    async fn put_child(&self, manifest: &StoredManifest) -> Result<(), Error> {
        let parsed = self.document(manifest).await?;
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        put.add_child(manifest, &parsed, &self.names);
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.index(&put)?;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let blobs = self.root.join("blobs").join(algorithm.as_str());
            if fs::exists(&blobs).unwrap_or_default() {
                sync(&blobs)?;
            }
        }
        sync(&self.root.join("blobs"))?;
        publish(&self.root.join(INDEX), &index)?;
        *put = Listing::default();
        Ok(())
    }
}

/// Writes a file whole or not at all.
fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    durable::write(path, bytes).map_err(Error::io("write", path.display()))
}

fn sync(directory: &Path) -> Result<(), Error> {
    durable::sync(directory).map_err(Error::io("sync", directory.display()))
}
