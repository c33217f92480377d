//! [`Source`]: the reading side of a copy.

use crate::{blob_list::BlobList, error::Error};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt as _, stream};
use registry_core::{Descriptor, Digest, Reference, RepositoryName, Tag, storage::StoredManifest};
use std::{fmt, pin::Pin};

/// Bytes of a blob.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Place from which content is read: one repository, an OCI layout, an archive.
///
/// # Contract
///
/// - Absent content is `None`. An outage is an error, never `None`.
/// - Retries are the source's own. An error ends the copy of an image.
/// - A manifest is returned byte for byte.
/// - Pages are in the order of their keys.
///
/// # Cancel safety
///
/// Reading changes nothing: each future can be dropped at any point.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns the name of the source for messages, such as the path of a file.
    fn describe(&self) -> String;

    /// Returns the repository from which a target in the same registry can mount blobs. By default there is
    /// none.
    fn origin(&self) -> Option<Origin> {
        None
    }

    /// Returns the blobs that an incremental archive leaves out, because its target has them. By default there are none.
    fn left_out(&self) -> Option<&LeftOut> {
        None
    }

    /// Returns media type, digest and size of the manifest with this tag or digest.
    ///
    /// # Errors
    ///
    /// [`Error`] if the source cannot be read.
    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error>;

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`Error`] if the source cannot be read.
    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error>;

    /// Opens a blob for reading, from an offset to its end.
    ///
    /// # Errors
    ///
    /// [`Error`] if the source cannot be read, or the blob has less than `from` bytes.
    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error>;

    /// Returns tags in byte order, only those after `after`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the source cannot be read.
    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error>;

    /// Returns the manifests whose subject is `subject`, in the order of their digests, only those after
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the source cannot be read.
    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error>;
}

/// A blob, open for reading.
#[non_exhaustive]
pub struct Blob {
    /// Size of the whole blob, in bytes.
    pub size: u64,
    /// Bytes from the requested offset to the end.
    pub stream: BlobStream,
}

impl Blob {
    /// Combines a stream with the size of the whole blob.
    #[must_use]
    pub const fn new(size: u64, stream: BlobStream) -> Self {
        Self { size, stream }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Returns the same bytes, and fails unless there are as many as the descriptor gives.
pub(crate) fn sized(place: String, digest: Digest, size: u64, stream: BlobStream) -> BlobStream {
    let next = move |(mut stream, read, place): (BlobStream, u64, String)| async move {
        let bytes = stream.try_next().await?;
        let read = read + bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if read > size || (bytes.is_none() && read != size) {
            return Err(Error::Size {
                place,
                digest,
                expected: size,
                actual: read,
            });
        }
        Ok(bytes.map(|bytes| (bytes, (stream, read, place))))
    };
    Box::pin(stream::try_unfold((stream, 0, place), next))
}

/// Blobs that a source does not have, because its target has them from an earlier export: the base.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// [Digest](BlobList::digest) of the list of the base.
    pub base: Digest,
    /// The blobs.
    pub blobs: BlobList,
}

impl LeftOut {
    /// Combines blobs with the list that has them.
    #[must_use]
    pub const fn new(base: Digest, blobs: BlobList) -> Self {
        Self { base, blobs }
    }

    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        self.blobs.size_of(digest) == Some(size)
    }
}

/// Returns the error for a blob that is neither in the source nor in the target.
pub(crate) fn absent(source: &dyn Source, target: &str, digest: Digest, size: u64) -> Error {
    let place = source.describe();
    match source.left_out() {
        Some(left_out) if left_out.has(&digest, size) => Error::Base {
            place,
            target: target.to_owned(),
            base: left_out.base,
            missing: vec![digest],
        },
        Some(_) | None => Error::NoBlob { place, digest },
    }
}

/// Part of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T, K> {
    /// Items of this page. It may be empty although others follow.
    pub items: Vec<T>,
    /// Key after which the next page begins; `None` on the last page.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Creates a page.
    #[must_use]
    pub const fn new(items: Vec<T>, next: Option<K>) -> Self {
        Self { items, next }
    }
}

/// Repository that has the content of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Host and port of the registry; `None` for a registry in the same process.
    pub host: Option<String>,
    /// The repository.
    pub repository: RepositoryName,
}

impl Origin {
    /// Describes a repository of a registry in the same process.
    #[must_use]
    pub const fn in_process(repository: RepositoryName) -> Self {
        Self {
            host: None,
            repository,
        }
    }

    /// Describes a repository of the registry at `host`, such as `registry.example.com:5000`.
    pub fn at(host: impl Into<String>, repository: RepositoryName) -> Self {
        Self {
            host: Some(host.into()),
            repository,
        }
    }
}
