//! The move of a tag to a manifest.

use super::{
    ATTEMPTS, Link, Pointer, admit, needs_history, pause,
    pointer::{Swapped, contended},
};
use crate::{
    gate::View,
    history::{Change, Entries, Written},
    keys, noted,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Moved, PutManifest, Result, StorageError, TagExpect},
};
use std::time::SystemTime;

/// Facts about a put that are in the history of its tags.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin<'a> {
    by: Option<&'a str>,
    restores: bool,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(put: &'a PutManifest) -> Self {
        Self {
            by: put.by.as_deref(),
            restores: put.restores,
        }
    }

    /// Describes a put that undoes the loss of a tag.
    pub(crate) const fn restored_by(by: &'a str) -> Self {
        Self {
            by: Some(by),
            restores: true,
        }
    }

    /// Returns the change of a tag that was like this.
    fn change(self, previous: Link, to: Digest) -> Change {
        match (previous, self.restores) {
            (Link::None, false) => Change::Created(to),
            (Link::To(previous), false) if previous == to => Change::PutAgain(to),
            (Link::To(previous), true) if previous == to => Change::RestoredAgain(to),
            (Link::To(_) | Link::Garbled, false) => Change::Moved(to),
            (_, true) => Change::Restored(to),
        }
    }
}

/// A move of a tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moving<'a> {
    pub(crate) repository: &'a RepositoryName,
    pub(crate) tag: &'a Tag,
    pub(crate) to: &'a Digest,
    pub(crate) expect: TagExpect,
    pub(crate) origin: Origin<'a>,
    /// The view on which the put rests. It says until when the tag may be moved.
    pub(crate) view: &'a View,
}

impl Store {
    /// Moves a tag. Returns `None` if the time has passed until which that is allowed.
    pub(crate) async fn move_tag(&self, moving: &Moving<'_>) -> Result<Option<Moved>> {
        let Moving { repository, tag, .. } = *moving;
        let _turn = self.turns.take(repository, tag).await;
        let mut was_announced = false;
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            // Before the tag is read. A deletion of what is read then sorts after what is written.
            let began = self.stamp();
            let pointer = match needs_history(moving.expect) {
                false => {
                    let pointer = self.pointer(repository, tag).await?;
                    let admitted = admit(tag, pointer.link.target(), None, moving.expect);
                    if admitted.is_err() && was_announced {
                        self.remove_past_target(repository, tag, moving.to).await?;
                    }
                    admitted?;
                    pointer
                }
                true => {
                    let (pointer, entries) = self.tag_state(repository, tag).await?;
                    admit(tag, pointer.link.target(), Some(&entries), moving.expect)?;
                    match self
                        .hold(repository, tag, &pointer, &entries, moving.view)
                        .await?
                    {
                        Some(held) => held,
                        None => continue,
                    }
                }
            };
            let written = match self.announce(moving, &pointer, began).await {
                Ok(written) => written,
                Err(error) => {
                    self.take_mark_off(repository, tag, &pointer).await;
                    return Err(error);
                }
            };
            was_announced = true;
            let swapped = self
                .repoint(repository, tag, &pointer, moving.to, moving.view.fence())
                .await;
            let swapped = match (swapped, moving.expect) {
                // Both are as if it was moved on right after this move. To move it again would undo what others were told.
                (Ok(Swapped::Replaced), TagExpect::Any) => Ok(Swapped::Done),
                (swapped, _) => swapped,
            };
            if !matches!(swapped, Ok(Swapped::Done)) {
                self.take_mark_off(repository, tag, &pointer).await;
            }
            match (swapped, written) {
                (Ok(Swapped::Done), written) => {
                    let written = match pointer.link {
                        Link::None => {
                            let written = self.write_event(moving, Link::None, began).await;
                            written.inspect_err(|error| warn_of_missing(moving, error)).ok()
                        }
                        Link::Garbled | Link::To(_) => written,
                    };
                    if let Some(written) = &written {
                        self.trim_sometimes(repository, tag, written).await;
                    }
                    return Ok(Some(Moved::new(tag.clone(), pointer.link.target())));
                }
                (Ok(Swapped::Refused | Swapped::Replaced), written) => self.take_back_if(written).await,
                (Ok(Swapped::Expired), written) => {
                    self.take_back_if(written).await;
                    return Ok(None);
                }
                // The tag may have moved.
                (Err(error), _) => return Err(error),
            }
        }
        Err(contended(repository, tag))
    }

    /// Writes what has to be there before a tag points at a manifest: the entry of registry:2's index, that of the history
    /// of a tag that exists, and a note of a new one.
    async fn announce(
        &self,
        moving: &Moving<'_>,
        pointer: &Pointer,
        began: SystemTime,
    ) -> Result<Option<Written>> {
        let Moving {
            repository, tag, to, ..
        } = *moving;
        let index = async {
            match pointer.link {
                Link::To(target) if target == *to => Ok(()),
                _ => {
                    let key = keys::tag_index(repository, tag, to);
                    self.bucket.put(&key, to.to_string()).await
                }
            }
        };
        let note = async {
            match pointer.link {
                // A garbled link may be no tag for listings.
                Link::None | Link::Garbled => {
                    self.note_tag(repository, tag, noted::Change::Comes, moving.view)
                        .await
                }
                Link::To(_) => Ok(()),
            }
        };
        let entry = async {
            match pointer.link {
                Link::None => Ok(None),
                Link::Garbled | Link::To(_) => {
                    let written = self.write_event(moving, pointer.link, began).await;
                    written.map(Some)
                }
            }
        };
        let (index, note, entry) = tokio::join!(index, note, entry);
        if let Err(error) = index.and(note) {
            self.take_back_if(entry.ok().flatten()).await;
            return Err(error);
        }
        match entry {
            // The link does not show a put of the same manifest.
            Err(error) if pointer.link.target() == Some(*to) => Err(error),
            Err(error) => {
                warn_of_missing(moving, &error);
                Ok(None)
            }
            Ok(written) => Ok(written),
        }
    }

    /// Writes the event into the history of a tag that was like this, at a time before it was read.
    async fn write_event(&self, moving: &Moving<'_>, previous: Link, began: SystemTime) -> Result<Written> {
        let Moving {
            repository,
            tag,
            to,
            origin,
            ..
        } = *moving;
        let change = origin.change(previous, *to);
        self.write_entry_of(repository, tag, change, origin.by, (began, 0))
            .await
    }

    pub(super) async fn take_back_if(&self, written: Option<Written>) {
        if let Some(written) = written {
            self.take_back(written).await;
        }
    }

    /// Marks a tag that is not to be put meanwhile, and looks again if it was put since its history was read. Returns
    /// `None` if the tag has changed: the caller begins again.
    pub(super) async fn hold(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        pointer: &Pointer,
        seen: &Entries,
        view: &View,
    ) -> Result<Option<Pointer>> {
        let Some(held) = self.mark(repository, tag, pointer, view.fence()).await? else {
            return Ok(None);
        };
        let was_put = self.was_put_since(repository, tag, seen).await;
        if matches!(was_put, Ok(false)) {
            return Ok(Some(held));
        }
        // Whoever put it meanwhile has put the plain link back already if this is refused.
        self.take_mark_off(repository, tag, &held).await;
        was_put.map(|_| None)
    }
}

fn warn_of_missing(moving: &Moving<'_>, error: &StorageError) {
    tracing::warn!(
        repository = %moving.repository, tag = %moving.tag, error = error as &dyn std::error::Error,
        "the history of a tag lacks an event; the tag itself is changed"
    );
}
