//! Writing of an archive by its plan.

use super::{
    docker,
    options::Export,
    plan::{Plan, PlannedBlob},
    tape::Tape,
};
use crate::{
    archive::docker::MANIFEST,
    blob_list::BlobList,
    convert::Converted,
    copy::{Copied, Event},
    document::{self, Annotated, Index},
    durable,
    error::Error,
    layout::{DOCUMENT, INDEX, MARKER, blob_path},
    platform::Platform,
    source::{Source as _, absent},
};
use futures_util::TryStreamExt as _;
use registry_core::{Algorithm, Digest, hash::Hasher};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
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
    /// Number of blobs that the archive leaves out, see [`Export::since`].
    pub left_out: u64,
    /// Blobs of the images, in the archive or left out. [`Export::since`] takes them for the next export.
    pub contents: BlobList,
}

impl Export<'_> {
    /// Writes the archive to a file. It has the name `PATH.partial` until it is complete and synced, and is locked.
    ///
    /// # Cancel safety
    ///
    /// A dropped export leaves the partial file, which the next one replaces.
    ///
    /// # Errors
    ///
    /// [`Error`] of a source, or if the file cannot be written. The partial file is removed. While another export writes to
    /// this path, the error is [transient](Error::is_transient), and the other one is not disturbed.
    pub async fn write_file(&self, path: impl AsRef<Path> + Send) -> Result<Exported, Error> {
        let path = path.as_ref().to_owned();
        let partial = durable::partial(&path);
        let file = durable::create(&partial).map_err(Error::io("create", partial.display()))?;
        let written = self.write_to(&file, &partial).await;
        let published = written.and_then(|exported| {
            durable::publish(&partial, &path).map_err(Error::io("write", path.display()))?;
            Ok(exported)
        });
        if published.is_err() {
            // The first error says more.
            let _ = fs::remove_file(&partial);
        }
        published
    }

    async fn write_to(&self, file: &File, partial: &Path) -> Result<Exported, Error> {
        let mut file = BufWriter::new(file);
        let exported = self.write(&mut file).await?;
        let synced = file.into_inner().map_err(io::IntoInnerError::into_error);
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
        let sources = self
            .groups
            .iter()
            .map(|group| Converted::new(group.source, &self.options));
        let sources: Vec<_> = sources.collect();
        let plan = Plan::of(self, &sources).await?;
        let mut tape = Tape::new(out);
        self.documents(&plan, &mut tape)?;
        let mut exported = Exported {
            left_out: plan.left_out.len() as u64,
            ..Exported::default()
        };
        let (configs, layers): (Vec<_>, Vec<_>) = plan
            .blobs
            .iter()
            .partition(|(digest, _)| plan.configs.contains(digest));
        for (digest, blob) in configs.into_iter().chain(layers) {
            if self
                .blob(&sources, &mut tape, digest, *blob, plan.foreign.contains(digest))
                .await?
            {
                exported.blobs += 1;
                exported.bytes += blob.size;
                exported.contents.extend([(*digest, blob.size)]);
            }
        }
        tape.finish().map_err(failed)?;
        exported.contents.extend(plan.left_out);
        exported.copied = plan.items.into_iter().map(|(copied, _)| copied).collect();
        Ok(exported)
    }

    /// Writes everything that comes before the blobs.
    fn documents(&self, plan: &Plan, tape: &mut Tape<'_>) -> Result<(), Error> {
        let left_out = plan.left_out.to_string();
        let list = Digest::of(Algorithm::Sha256, left_out.as_bytes());
        let base = self.base.as_ref().filter(|_| !plan.left_out.is_empty());
        let mut annotations = Annotated::new();
        if let Some(base) = base {
            annotations.insert(document::BASE.into(), base.digest().to_string());
            annotations.insert(document::LEFT_OUT.into(), list.to_string());
        }
        let mut index = Index::new().annotated(&annotations);
        index.manifests = plan.listing.entries();
        let index = serde_json::to_vec(&index).expect("raw values are JSON");
        let default = || Platform::parse("linux/amd64").expect("a constant is well-formed");
        let platform = self.docker_platform.clone().unwrap_or_else(default);
        let images = docker::manifest(plan, &platform);
        tape.file(MARKER, document::MARKER).map_err(failed)?;
        document(tape, INDEX, &index)?;
        if let Some(images) = images {
            document(tape, MANIFEST, &images)?;
        }
        if base.is_some() {
            document(tape, &blob_path(&list), left_out.as_bytes())?;
        }
        for (digest, manifest) in &plan.manifests {
            document(tape, &blob_path(digest), &manifest.bytes)?;
        }
        Ok(())
    }

    /// Writes a blob. Returns false if it is absent, and may be.
    async fn blob(
        &self,
        sources: &[Converted<'_>],
        tape: &mut Tape<'_>,
        digest: &Digest,
        planned: PlannedBlob,
        is_foreign: bool,
    ) -> Result<bool, Error> {
        let source = sources.get(planned.group).expect("the plan is of these groups");
        let (place, size) = (source.describe(), planned.size);
        let Some(mut blob) = source.blob(digest, 0).await? else {
            if is_foreign {
                self.options.tell(|| Event::BlobAbsent {
                    digest: *digest,
                    size,
                });
                return Ok(false);
            }
            return Err(absent(source, ARCHIVE, *digest, size));
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
        self.options.tell(|| Event::BlobStarted {
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
            self.options.tell(|| Event::BlobBytes {
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
        self.options.tell(|| Event::BlobCopied {
            digest: *digest,
            size,
        });
        Ok(true)
    }
}

/// Name of the archive in messages.
const ARCHIVE: &str = "the archive";

fn failed(error: io::Error) -> Error {
    Error::io("write", ARCHIVE)(error)
}

/// Writes a document, unless it has more bytes than a reader accepts.
fn document(tape: &mut Tape<'_>, path: &str, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() as u64 > DOCUMENT {
        let reason = format!(
            "it would have {} bytes, and a document may have {DOCUMENT}; export fewer images at once",
            bytes.len()
        );
        return Err(Error::layout(ARCHIVE, path, reason));
    }
    tape.file(path, bytes).map_err(failed)
}
