//! Tags: where they point, and how they move.
//!
//! A tag is one record, which is compared and swapped. The [rung](crate::rung::Rung) of the store says by which means:
//!
//! - With conditions: `tags/<tag>/current/link`, registry:2's own object. Where its version is made of its content, a
//!   tag that moves from A to B and back to A cannot be told from one that stayed. No promise depends on that:
//!   expectations are about the target, and versions of tags are made of their [histories](crate::history).
//! - With the creation of absent objects only: [a numbered log](log), from which the link is derived.
//! - Without conditions: the link, and a lock of the only process.
//!
//! # A move
//!
//! Read the link; write registry:2's entry in `index/` and the entry of the history, both before the move; swap. The
//! history of a new tag is written after the swap. An answer that was lost is decided only when the request can no longer
//! take effect. A move costs four requests to the store, five if the tag is new, and three if it points there already.

mod delete;
mod link;
mod log;
mod moves;
mod pointer;
mod swap;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    delete::{Untagged, Untagging},
    link::Link,
    moves::{Moving, Origin},
    pointer::{Pointer, VALID},
};

use crate::{history::Entries, store::Store};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Result, StorageError, TagExpect},
};
use std::time::Duration;

/// Number of attempts to move a tag that other replicas move meanwhile.
const ATTEMPTS: u32 = 20;

/// Pause before such an attempt, which grows by this up to a limit. Some stores refuse a move while another one is under way.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

impl Store {
    /// Returns the manifest that a tag points at.
    pub(crate) async fn tag_target(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        let pointer = self.pointer(repository, tag).await?;
        if pointer.link == Link::Garbled {
            tracing::warn!(%repository, %tag, "the link of a tag contains no digest; the tag counts as absent");
        }
        Ok(pointer.link.target())
    }

    /// Returns a tag with its history.
    pub(crate) async fn tag_state(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(Pointer, Entries)> {
        // The history first: a put that is in the link, and not in the history, would be overlooked.
        let entries = self.entries(repository, tag).await?;
        Ok((self.pointer(repository, tag).await?, entries))
    }
}

/// Waits before an attempt to move a tag, except the first one.
async fn pause(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep((PAUSE * attempt).min(LONGEST_PAUSE)).await;
    }
}

/// Checks that a tag may be moved or deleted that now points at `current`, and has this history.
pub(crate) fn admit(
    tag: &Tag,
    current: Option<Digest>,
    entries: Option<&Entries>,
    expect: TagExpect,
) -> Result<()> {
    if expect.admits(current.as_ref(), entries.map(Entries::version)) {
        return Ok(());
    }
    Err(StorageError::tag_conflict(tag.clone(), current))
}

/// Returns true if the expectation is about the version of a tag, which is in its history.
pub(crate) const fn needs_history(expect: TagExpect) -> bool {
    matches!(expect, TagExpect::Unchanged(..))
}
