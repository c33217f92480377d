//! [`Report`]: outcome of a copy.

use crate::error::Error;
use registry_core::{Digest, Reference, Tag};

/// Outcome of a copy.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Items that were copied, in their order.
    pub copied: Vec<Copied>,
    /// Items that failed, if the copy [keeps going](super::ImageCopy::keep_going).
    pub failed: Vec<NotCopied>,
    /// Number of blobs that were transferred.
    pub blobs: u64,
    /// Number of bytes of these blobs.
    pub bytes: u64,
    /// Number of blobs that the target had.
    pub skipped: u64,
    /// Number of blobs that the target took over from another repository.
    pub mounted: u64,
    /// Number of referrers that were not copied, see [`Event::ReferrerNotCopied`](super::Event::ReferrerNotCopied).
    pub referrers_not_copied: u64,
}

/// Item that was copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// Tag or digest in the source.
    pub from: Reference,
    /// Digest in the source.
    pub source: Digest,
    /// Digest in the target. It differs only if the item was narrowed to some platforms, or converted.
    pub target: Digest,
    /// Tags in the target.
    pub tags: Vec<Tag>,
}

/// Item that was not copied.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotCopied {
    /// Tag or digest in the source.
    pub from: Reference,
    /// Reason.
    pub error: Error,
}
