//! [`Pointer`]: the record of a tag as it was read.

use super::Link;
use crate::bucket::Version;
use registry_core::{RepositoryName, Tag, storage::StorageError};
use std::time::{Duration, SystemTime};

/// Validity of a request that moves a tag, or removes a record. A lost answer is decided after one and a half times that: the store may have
/// accepted the request at the last moment.
pub(crate) const VALID: Duration = Duration::from_secs(20);

/// A tag as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    pub(crate) link: Link,
    /// Time of the last write of the link.
    pub(crate) modified: Option<SystemTime>,
    /// True if the link has a [mark](crate::store::Store::mark), which registry:2 cannot read.
    pub(crate) is_marked: bool,
    pub(super) at: Place,
}

/// State with which a swap compares the tag.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The version of the link; `None` if there is no link.
    Object(Option<Version>),
    /// The last entry of the log.
    Log(Head),
}

/// The last entry of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// 0 without an entry: the link is the tag.
    pub(super) number: u64,
    pub(super) link: Link,
}

/// Outcome of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    Done,
    /// The tag had changed.
    Refused,
    /// The answer was lost, and somebody has changed the tag, after this change or instead of it.
    Replaced,
    /// The time has passed until which this may be published.
    Expired,
}

/// Describes a tag that others move again and again.
pub(super) fn contended(repository: &RepositoryName, tag: &Tag) -> StorageError {
    StorageError::unavailable(
        format!("the tag {tag} of {repository} is moved by many replicas at once"),
        Some(Duration::from_secs(1)),
        None,
    )
}
