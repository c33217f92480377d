//! [`Target`]: the writing side of a copy.

use crate::{
    error::Error,
    source::{BlobStream, Origin},
};
use async_trait::async_trait;
use registry_core::{Digest, Tag, storage::StoredManifest};
use std::fmt;

/// Kind of content that a target can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A blob, such as a config or a layer.
    Blob,
    /// A manifest or an index.
    Manifest,
}

/// Place to which content is written: one repository, an OCI layout.
///
/// # Contract
///
/// - Content is published whole or not at all, and only if its bytes have the given digest and size.
/// - Everything that a manifest refers to is put before the manifest.
/// - A copy that fails can be repeated.
/// - Retries are the target's own. A stream of a blob can be read once.
///
/// # Cancel safety
///
/// A future is dropped with its copy. The call finishes, or publishes nothing, and the copy can be repeated. Of
/// several tags, some may have moved.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync {
    /// Returns the name of the target for messages, such as the path of a directory.
    fn describe(&self) -> String;

    /// Returns true if the target has this content of `size` bytes. False is always allowed: the content is put again.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target cannot be read.
    async fn has(&self, kind: Kind, digest: &Digest, size: u64) -> Result<bool, Error>;

    /// Takes over a blob without a transfer. `origin` is the repository that is copied from. Returns false if
    /// the blob has to be put, as it does by default.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target cannot be written.
    async fn mount(&self, digest: &Digest, size: u64, origin: Option<&Origin>) -> Result<bool, Error> {
        let _ = (digest, size, origin);
        Ok(false)
    }

    /// Puts a blob of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Digest`] or [`Error::Size`] if the bytes differ, the error of the stream if it fails, and
    /// [`Error`] if the target cannot be written. In all of these cases, nothing is published.
    async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), Error>;

    /// Puts a manifest, and moves the tags to it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses it, or cannot be written.
    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error>;

    /// Puts a manifest that an index lists, before the index. A target with a list of its images leaves it out there.
    /// By default, it is put as any other manifest.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses it, or cannot be written.
    async fn put_child(&self, manifest: &StoredManifest) -> Result<(), Error> {
        self.put_manifest(manifest, &[]).await
    }

    /// Ends the copy. Everything that was put is durable and visible afterwards.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target cannot be written.
    async fn finish(&self) -> Result<(), Error>;
}
