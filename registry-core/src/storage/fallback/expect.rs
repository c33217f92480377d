//! [`Below`]: conditions on a tag that readers see in one of two storages.

use crate::{
    digest::Digest,
    reference::Tag,
    storage::{error::StorageError, put::TagExpect},
};

/// Target that a tag has in the lower storage. It counts while the upper storage does not have the tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below(pub(super) Option<Digest>);

impl Below {
    /// Converts a condition on what readers see into one on the upper storage, which compares and moves in one step.
    /// Returns `None` if it cannot be satisfied.
    pub(super) fn expect(self, expect: TagExpect) -> Option<TagExpect> {
        let Self(Some(below)) = self else {
            return Some(expect);
        };
        match expect {
            TagExpect::Absent => None,
            TagExpect::Is(digest) | TagExpect::AbsentOrIs(digest) if digest == below => {
                Some(TagExpect::AbsentOrIs(digest))
            }
            TagExpect::AbsentOrIs(digest) => Some(TagExpect::Is(digest)),
            // Versions are those of the upper storage.
            TagExpect::Any | TagExpect::Is(_) | TagExpect::Unchanged(..) => Some(expect),
        }
    }

    /// Returns the target that readers see.
    pub(super) fn seen(self, upper: Option<Digest>) -> Option<Digest> {
        upper.or(self.0)
    }

    /// Describes a conflict with the target that readers see, rather than with that of the upper storage.
    pub(super) fn conflict(self, error: StorageError) -> StorageError {
        match error {
            StorageError::TagConflict { tag, current } => StorageError::tag_conflict(tag, self.seen(current)),
            other => other,
        }
    }

    /// Describes the conflict of a condition that cannot be satisfied.
    pub(super) fn never(self, tag: Tag, upper: Option<Digest>) -> StorageError {
        StorageError::tag_conflict(tag, self.seen(upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_condition_admits_of_the_upper_storage_what_it_admits_of_both() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
        let targets = [None, Some(a), Some(b), Some(c)];
        let conditions = [TagExpect::Any, TagExpect::Absent]
            .into_iter()
            .chain([a, b].map(TagExpect::Is))
            .chain([a, b].map(TagExpect::AbsentOrIs));

        for expect in conditions {
            for (lower, upper) in targets
                .iter()
                .flat_map(|lower| targets.map(|upper| (*lower, upper)))
            {
                let below = Below(lower);
                let admits = |expect: TagExpect, target: Option<Digest>| expect.admits(target.as_ref(), None);
                assert_eq!(
                    below.expect(expect).is_some_and(|expect| admits(expect, upper)),
                    admits(expect, below.seen(upper)),
                    "{expect:?} with {upper:?} above {lower:?}"
                );
            }
        }
    }
}
