//! [`Lost`]: what the lost tags of a repository keep.

use super::pin::{Pin, PinCause, text_of};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{Page, Seen, StorageTrash},
};

/// Number of tags that are listed at once.
const PAGE: usize = 1000;

/// Lost tags of a repository, which need not exist.
#[derive(Default)]
pub(super) struct Lost {
    /// The manifests that they pointed at.
    pub(super) targets: Vec<Digest>,
    /// True if a target is not known.
    pub(super) is_incomplete: bool,
    pub(super) pins: Vec<Pin>,
}

impl Lost {
    /// Returns those of a repository. A history that cannot be read is a pin.
    pub(super) async fn of(trash: &dyn StorageTrash, name: &RepositoryName) -> Self {
        let (mut lost, mut after) = (Self::default(), None);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = match trash.lost_tags(name, page).await {
                Ok(listing) => listing,
                Err(error) => {
                    lost.unknown(name, PinCause::Histories, text_of(&error));
                    return lost;
                }
            };
            for item in listing.items {
                after = Some(match item {
                    Seen::Whole(found) => {
                        let reason = format!(
                            "it pointed at {}, and nobody is known to have deleted it",
                            found.digest
                        );
                        let cause = PinCause::LostTag(found.tag.clone());
                        lost.pins.push(Pin::new(name, cause, reason));
                        lost.targets.push(found.digest);
                        found.tag
                    }
                    Seen::Unreadable { key, reason } => {
                        lost.unknown(name, PinCause::History(key.clone()), reason);
                        key
                    }
                });
            }
            if !listing.more {
                return lost;
            }
        }
    }

    fn unknown(&mut self, name: &RepositoryName, cause: PinCause, reason: String) {
        self.is_incomplete = true;
        self.pins.push(Pin::new(name, cause, reason));
    }
}
