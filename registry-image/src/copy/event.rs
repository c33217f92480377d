//! [`Event`]: progress of a copy.

use registry_core::{Digest, Tag};

/// Step of a copy, for a progress display or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The target has the blob already.
    #[non_exhaustive]
    BlobSkipped {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The target took over the blob from another repository.
    #[non_exhaustive]
    BlobMounted {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The transfer of a blob begins. In a dry run, it would begin.
    #[non_exhaustive]
    BlobStarted {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// Bytes of a blob were read.
    #[non_exhaustive]
    BlobBytes {
        /// The blob.
        digest: Digest,
        /// Number of bytes since the last event of this kind.
        bytes: u64,
    },
    /// The blob was put.
    #[non_exhaustive]
    BlobCopied {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The source does not have a blob that a manifest may lack: it has a URL elsewhere, or may not be distributed.
    #[non_exhaustive]
    BlobAbsent {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The manifest and its tags were put. In a dry run, they would be put.
    #[non_exhaustive]
    ManifestCopied {
        /// The manifest.
        digest: Digest,
        /// Its tags in the target.
        tags: Vec<Tag>,
    },
    /// The source does not have an image that an index lists.
    #[non_exhaustive]
    ImageAbsent {
        /// The index.
        index: Digest,
        /// The absent image.
        digest: Digest,
    },
    /// A layer has another compression now.
    #[non_exhaustive]
    BlobConverted {
        /// The layer in the source.
        digest: Digest,
        /// The layer that is copied.
        converted: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A referrer, such as a signature, is not copied, because another manifest is copied in place of its subject.
    #[non_exhaustive]
    ReferrerNotCopied {
        /// The subject in the source.
        subject: Digest,
        /// The referrer.
        digest: Digest,
    },
}
