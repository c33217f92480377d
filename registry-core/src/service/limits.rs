//! Checks of requests and manifests against [`Limits`].

use super::{Limits, body::TooLarge};
use crate::{
    annotations::Annotations,
    error::Error,
    manifest::{self, Manifest},
    storage::UploadBounds,
};
use http::{HeaderMap, Uri};

impl Limits {
    /// Returns the maximum numbers of open upload sessions, for the storage.
    pub(super) const fn upload_bounds(&self) -> UploadBounds {
        UploadBounds {
            in_repository: self.uploads_in_repository,
            in_all: self.uploads,
            of_uploader: self.uploads_of_user,
        }
    }

    /// Checks the length of a request's target and headers, before anything of it is parsed.
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

    /// Returns the number of bytes that a blob may still grow, before more of it is received. `received`
    /// bytes are already stored. `None` means any number.
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

    /// Converts the storage's error about a body that was cut off at the maximum size of a blob.
    pub(super) fn too_large(&self, error: Error) -> Error {
        match (error, self.blob_bytes) {
            (Error::Body(source), Some(limit)) if source.is::<TooLarge>() => Error::BlobTooLarge { limit },
            (other, _) => other,
        }
    }

    /// Checks the size and the depth of a document, before it is parsed.
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

    /// Checks the numbers of references, URLs and annotations of a parsed document.
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
