//! The bounds of requests and manifests, applied.

use super::{Limits, body::TooLarge};
use crate::{
    annotations::Annotations,
    error::Error,
    manifest::{self, Manifest},
    storage::UploadBounds,
};
use http::{HeaderMap, Uri};

impl Limits {
    /// How many sessions the storage may have open.
    pub(super) const fn upload_bounds(&self) -> UploadBounds {
        UploadBounds {
            in_repository: self.uploads_in_repository,
            in_all: self.uploads,
            of_uploader: self.uploads_of_user,
        }
    }

    /// Before anything of a request is read: how long it is.
    pub(super) fn admit_head(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
        if target > self.target_bytes {
            return Err(Error::TargetTooLong {
                limit: self.target_bytes,
            });
        }
        if headers.len() > self.header_lines {
            return Err(Error::HeadersTooLarge {
                limit: self.header_lines,
                unit: "lines",
            });
        }
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > self.header_bytes {
            return Err(Error::HeadersTooLarge {
                limit: self.header_bytes,
                unit: "bytes",
            });
        }
        Ok(())
    }

    /// Before a blob is received, of which `received` bytes are there: how many may still come.
    pub(super) fn admit_blob(&self, received: u64, announced: Option<u64>) -> Result<Option<u64>, Error> {
        let Some(limit) = self.blob_bytes else {
            return Ok(None);
        };
        let left = limit.checked_sub(received).ok_or(Error::BlobTooLarge { limit })?;
        match announced {
            Some(size) if size > left => Err(Error::BlobTooLarge { limit }),
            _ => Ok(Some(left)),
        }
    }

    /// What the storage made of a body that was cut off where a blob becomes too large.
    pub(super) fn too_large(&self, error: Error) -> Error {
        match (error, self.blob_bytes) {
            (Error::Body(source), Some(limit)) if source.is::<TooLarge>() => Error::BlobTooLarge { limit },
            (other, _) => other,
        }
    }

    /// Before a document is parsed: how large it is, and how deep.
    pub(super) fn admit_document(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.manifest_bytes {
            return Err(Error::ManifestTooLarge {
                limit: self.manifest_bytes,
            });
        }
        within(
            manifest::depth(bytes),
            self.manifest_depth,
            "arrays and objects in each other",
        )
    }

    /// When it is known what a document says.
    pub(super) fn admit_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let references = manifest.blobs().len() + manifest.manifests().len();
        within(
            references,
            self.manifest_references,
            "references to blobs and manifests",
        )?;
        // An address may be no longer than its quotes, and each is held apart.
        let addresses = manifest.blobs().iter().map(|blob| blob.urls.len()).sum();
        within(addresses, self.manifest_references, "addresses of layers")?;
        let annotations = manifest.annotations();
        let bytes = annotations.map_or(0, |all| all.as_json().len());
        within(bytes, self.annotation_bytes, "bytes of annotations")?;
        within(
            annotations.map_or(0, Annotations::len),
            self.annotations,
            "annotations",
        )
    }
}

fn within(count: usize, limit: usize, what: &'static str) -> Result<(), Error> {
    if count > limit {
        Err(Error::ManifestLimit { limit, what })
    } else {
        Ok(())
    }
}
