//! Writing of an archive by its plan.

use super::{
    docker,
    options::Export,
    plan::{Plan, PlannedBlob},
    tape::Tape,
};
use crate::{
    archive::docker::MANIFEST,
    copy::{Copied, Event},
    document::{self, Index},
    error::Error,
    layout::{INDEX, MARKER, blob_path},
    platform::Platform,
};
use futures_util::TryStreamExt as _;
use registry_core::{Digest, hash::Hasher};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Outcome of an export.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Exported {
    /// Images in the archive, in their order.
    pub copied: Vec<Copied>,
    /// Number of blobs in the archive.
    pub blobs: u64,
    /// Number of bytes of these blobs.
    pub bytes: u64,
}

impl Export<'_> {
    /// Writes the archive to a file. It has the name `PATH.partial` until it is complete and synced.
    ///
    /// # Cancel safety
    ///
    /// A dropped export leaves the partial file, which the next one replaces.
    ///
    /// # Errors
    ///
    /// [`Error`] of a source, or if the file cannot be written. The partial file is removed.
    pub async fn write_file(&self, path: impl AsRef<Path> + Send) -> Result<Exported, Error> {
        let path = path.as_ref().to_owned();
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(Error::io("create", partial.display()))?;
        let written = self.write_to(file, &partial).await;
        let published = written.and_then(|exported| {
            publish(&partial, &path).map_err(Error::io("write", path.display()))?;
            Ok(exported)
        });
        if published.is_err() {
            // The first error says more.
            let _ = fs::remove_file(&partial);
        }
        published
    }

    async fn write_to(&self, file: File, partial: &Path) -> Result<Exported, Error> {
        let mut file = BufWriter::new(file);
        let exported = self.write(&mut file).await?;
        let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        let synced = synced.and_then(|file| file.sync_all());
        synced.map_err(Error::io("write", partial.display()))?;
        Ok(exported)
    }

    /// Writes the archive, such as to a pipe. After an error, the archive is incomplete.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves an incomplete archive, as an error does.
    ///
    /// # Errors
    ///
    /// [`Error`] of a source, or if the archive cannot be written.
    pub async fn write(&self, out: &mut (dyn Write + Send)) -> Result<Exported, Error> {
        let plan = Plan::of(self).await?;
        let failed = |error| Error::io("write", "the archive")(error);
        let mut tape = Tape::new(out);
        let default = || Platform::parse("linux/amd64").expect("a constant is well-formed");
        let platform = self.docker_platform.clone().unwrap_or_else(default);
        let mut index = Index::new();
        index.manifests = plan.listing.entries();
        let index = serde_json::to_vec(&index).expect("raw values are JSON");
        tape.file(MARKER, document::MARKER).map_err(failed)?;
        tape.file(INDEX, &index).map_err(failed)?;
        if let Some(images) = docker::manifest(&plan, &platform) {
            tape.file(MANIFEST, &images).map_err(failed)?;
        }
        for (digest, manifest) in &plan.manifests {
            tape.file(&blob_path(digest), &manifest.bytes).map_err(failed)?;
        }
        let mut exported = Exported::default();
        let (configs, layers): (Vec<_>, Vec<_>) = plan
            .blobs
            .iter()
            // Some indexes list manifests as if they were blobs.
            .filter(|(digest, _)| !plan.manifests.contains_key(digest))
            .partition(|(digest, _)| plan.configs.contains(digest));
        for (digest, blob) in configs.into_iter().chain(layers) {
            if self
                .blob(&mut tape, digest, *blob, plan.foreign.contains(digest))
                .await?
            {
                exported.blobs += 1;
                exported.bytes += blob.size;
            }
        }
        tape.finish().map_err(failed)?;
        exported.copied = plan.items.into_iter().map(|(copied, _)| copied).collect();
        Ok(exported)
    }

    /// Writes a blob. Returns false if it is absent, and may be.
    async fn blob(
        &self,
        tape: &mut Tape<'_>,
        digest: &Digest,
        planned: PlannedBlob,
        is_foreign: bool,
    ) -> Result<bool, Error> {
        let failed = |error| Error::io("write", "the archive")(error);
        let group = self
            .groups
            .get(planned.group)
            .expect("the plan is of these groups");
        let (place, size) = (group.source.describe(), planned.size);
        let Some(mut blob) = group.source.blob(digest, 0).await? else {
            if is_foreign {
                self.tell(|| Event::BlobAbsent {
                    digest: *digest,
                    size,
                });
                return Ok(false);
            }
            return Err(Error::NoBlob {
                place,
                digest: *digest,
            });
        };
        let wrong_size = |actual| Error::Size {
            place: place.clone(),
            digest: *digest,
            expected: size,
            actual,
        };
        if blob.size != size {
            return Err(wrong_size(blob.size));
        }
        self.tell(|| Event::BlobStarted {
            digest: *digest,
            size,
        });
        tape.begin(&blob_path(digest), size).map_err(failed)?;
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(bytes) = blob.stream.try_next().await? {
            hasher.update(&bytes);
            if hasher.offset() > size {
                break;
            }
            tape.data(&bytes).map_err(failed)?;
            self.tell(|| Event::BlobBytes {
                digest: *digest,
                bytes: bytes.len() as u64,
            });
        }
        if hasher.offset() != size {
            return Err(wrong_size(hasher.offset()));
        }
        let actual = hasher
            .digest()
            .expect("a hasher that began with `new` has its state");
        if actual != *digest {
            return Err(Error::Digest {
                place,
                digest: *digest,
                actual,
            });
        }
        tape.end(size).map_err(failed)?;
        self.tell(|| Event::BlobCopied {
            digest: *digest,
            size,
        });
        Ok(true)
    }
}

/// Gives a complete file its name.
fn publish(partial: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(partial, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
