//! [`Limits`], and the checks of requests and manifests against them.

use super::body::TooLarge;
use crate::{
    annotations::Annotations,
    error::Error,
    ledger::UploadBounds,
    manifest::{self, Manifest},
};
use http::{HeaderMap, Uri};

/// Limits for everything that clients can make grow. By default, blobs have no limit: a layer may have any
/// size.
///
/// Each default is far beyond what clients send. Each field names the response to a request that exceeds it.
/// One table in `docs/limits.md` lists all limits, including those of the grammars and of listeners.
///
/// ```
/// use registry_core::{Limits, Registry, storage::MemoryStorage};
///
/// let mut limits = Limits::default();
/// limits.manifest_bytes = 16 << 20;
/// let registry = Registry::builder(MemoryStorage::new()).limits(limits).build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum length of path and query together, in bytes. 414 `UNSUPPORTED`. Default: 16 KiB, enough for a
    /// hundred tags.
    pub target_bytes: usize,
    /// Maximum number of components in the name of a repository that a push would create, such as 2 in
    /// `library/alpine`. Existing repositories with deeper names are served, and accept pushes. 400
    /// `NAME_INVALID`. Default: 32.
    pub name_components: usize,
    /// Maximum number of header lines in a request. 431 `UNSUPPORTED`. Default: 256.
    pub header_lines: usize,
    /// Maximum size of the names and values of a request's headers together, in bytes. 431 `UNSUPPORTED`.
    /// Default: 64 KiB, most of which may be a token.
    pub header_bytes: usize,
    /// Maximum size of a blob, in bytes. 413 `SIZE_INVALID`, before the body is read if it announces its
    /// size. Default: `None`, any size.
    pub blob_bytes: Option<u64>,
    /// Maximum size of a manifest, in bytes, and approximate maximum size of a page of referrers. 413
    /// `SIZE_INVALID`. Default: 4 MiB, the minimum that the specification recommends.
    pub manifest_bytes: usize,
    /// Maximum number of blobs and manifests that a manifest refers to, and of URLs of its layers. 400
    /// `MANIFEST_INVALID`. Default: 10 000.
    pub manifest_references: usize,
    /// Maximum depth of nested arrays and objects in a manifest. 400 `MANIFEST_INVALID`. Default: 64. The
    /// documents of the specification have a depth of five.
    pub manifest_depth: usize,
    /// Maximum number of a manifest's own `annotations`, which lists of referrers repeat. 400
    /// `MANIFEST_INVALID`. Default: 10 000.
    pub annotations: usize,
    /// Maximum size of these `annotations` together, in bytes of the document. 400 `MANIFEST_INVALID`.
    /// Default: 4 MiB, as large as a manifest, because the specification's conformance suite pads manifests
    /// with annotations.
    pub annotation_bytes: usize,
    /// Maximum number of `tag` parameters when a manifest is put. 414 `UNSUPPORTED`. Default: 64.
    pub tags_per_put: usize,
    /// Maximum number of open upload sessions in one repository, as an [`UploadLedger`](crate::UploadLedger)
    /// counts them. Abandoned sessions count until they expire (see [`maintenance`](crate::maintenance)). 429
    /// `TOOMANYREQUESTS`. Default: 10 000.
    pub uploads_in_repository: usize,
    /// Maximum number of open upload sessions in all repositories. 429 `TOOMANYREQUESTS`. Default: 100 000.
    pub uploads: usize,
    /// Maximum number of open upload sessions of one user in all repositories. The anonymous clients of one
    /// network (an IPv4 address, or 64 bits of an IPv6 address) count together, if the listener reports
    /// addresses. 429 `TOOMANYREQUESTS`. Default: 2 500, a quarter of a repository's maximum, so that one user
    /// cannot use all of it.
    pub uploads_of_user: usize,
    /// Maximum number of manifests in an index that a client stores under the tag of a subject's referrers. A
    /// larger index is left out of the list of referrers. Default: 1000.
    pub referrers_in_tag: usize,
    /// Maximum number of bytes read from the manifests of such an index for one page of referrers. The page
    /// ends with the manifest that exceeds it, and a `Link` continues after it, even if the page is empty.
    /// Default: 16 MiB.
    pub referrers_bytes: usize,
    /// Maximum number of source repositories that a mount without `from` tries. If none of them is suitable,
    /// an upload session is opened. Default: 64.
    pub mount_candidates: usize,
    /// Maximum memory for manifests while they are received, in bytes, and for manifests and lists while they
    /// are sent. One user, or the anonymous clients of one network, may use a quarter of each. Documents of
    /// up to 128 KiB do not count, and neither do blobs, which are streamed. 429 `TOOMANYREQUESTS`. Default:
    /// 256 MiB.
    pub document_bytes: usize,
    /// Number of items on a page if the request does not set `n`. Default: 1000. Tags are listed up to
    /// `page_max`, because some clients do not support pagination.
    pub page_default: usize,
    /// Maximum number of items on a page, including the catalog unless `catalog_n` is set. A larger `n` is
    /// answered with this number of items and a `Link`. Default: 10 000.
    pub page_max: usize,
    /// Default and maximum number of repositories on a page of the catalog. A larger `n` is refused, as
    /// registry:2 does. 400 `PAGINATION_NUMBER_INVALID`. Default: `None`: `page_default` and `page_max` apply
    /// to the catalog, too.
    pub catalog_n: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 16 << 10,
            name_components: 32,
            header_lines: 256,
            header_bytes: 64 << 10,
            blob_bytes: None,
            manifest_bytes: 4 << 20,
            manifest_references: 10_000,
            manifest_depth: 64,
            annotations: 10_000,
            annotation_bytes: 4 << 20,
            tags_per_put: 64,
            uploads_in_repository: 10_000,
            uploads: 100_000,
            uploads_of_user: 2_500,
            referrers_in_tag: 1000,
            referrers_bytes: 16 << 20,
            mount_candidates: 64,
            document_bytes: 256 << 20,
            page_default: 1000,
            page_max: 10_000,
            catalog_n: None,
        }
    }
}

impl Limits {
    /// Returns the maximum numbers of open upload sessions.
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
            "levels of nested arrays and objects",
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
        // URLs may be empty: a document can have millions, and each is an allocation of its own.
        let urls = manifest.blobs().iter().map(|blob| blob.urls.len()).sum();
        within(urls, self.manifest_references, "URLs of layers")?;
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
