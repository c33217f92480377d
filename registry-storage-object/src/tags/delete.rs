//! The removal of a tag.

use super::{
    ATTEMPTS, Link, Pointer, admit, needs_history, pause,
    pointer::{Swapped, contended},
};
use crate::{
    bucket::{Condition, Sent, StoreTime},
    error::restart,
    gate::View,
    history::{Change, Entries},
    keys,
    links::SECTIONS,
    noted,
    scans::at_once,
    store::Store,
};
use futures_util::TryStreamExt as _;
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Deletion, Result, StorageError, TagExpect},
};

/// A removal of a tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untagging<'a> {
    pub(crate) repository: &'a RepositoryName,
    pub(crate) tag: &'a Tag,
    pub(crate) expect: TagExpect,
    pub(crate) how: &'a Deletion,
    /// False if the deletion of its manifest is recorded already, which names the tag.
    pub(crate) records: bool,
    /// The view on which the removal rests. It says until when the tag may be removed.
    pub(crate) view: &'a View,
}

/// Outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untagged {
    /// The tag is gone. It pointed at this manifest, if there was a tag.
    Gone(Option<Digest>),
    /// The time has passed until which it may be removed.
    Expired,
}

impl Store {
    /// Removes a tag that is as expected.
    pub(crate) async fn untag(&self, removal: &Untagging<'_>) -> Result<Untagged> {
        let Untagging { repository, tag, .. } = *removal;
        let (untagged, is_removed) = {
            let _turn = self.turns.take(repository, tag).await;
            self.untag_in_turn(removal).await?
        };
        if is_removed {
            self.remove_tag_index(repository, tag).await?;
        }
        Ok(untagged)
    }

    /// Does the same, except for registry:2's list of past targets. Returns true as well if there was a tag.
    async fn untag_in_turn(&self, removal: &Untagging<'_>) -> Result<(Untagged, bool)> {
        let Untagging { repository, tag, .. } = *removal;
        let mut recorded = None;
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let (pointer, entries) = self.tag_state(repository, tag).await?;
            if pointer.link == Link::None {
                return self.untag_lost(removal, &entries).await;
            }
            admit(tag, pointer.link.target(), Some(&entries), removal.expect)?;
            let fence = removal.view.fence();
            let held = match needs_history(removal.expect) {
                false => self.mark(repository, tag, &pointer, fence).await?,
                true => {
                    self.hold(repository, tag, &pointer, &entries, removal.view)
                        .await?
                }
            };
            let Some(held) = held else { continue };
            let removed = self.remove_held(removal, &held, &entries, &mut recorded).await;
            if !matches!(removed, Ok((Swapped::Done, _))) {
                self.take_mark_off(repository, tag, &held).await;
            }
            match removed? {
                (Swapped::Done, target) => return Ok((Untagged::Gone(target), true)),
                // The history of a new tag may not be there yet, and would tell.
                (Swapped::Replaced, target) if needs_history(removal.expect) => {
                    return Err(StorageError::tag_conflict(tag.clone(), target));
                }
                // As if it was put right after the removal. To remove it again would undo what others were told.
                (Swapped::Replaced, target) if self.was_moved(removal, &held).await? => {
                    return Ok((Untagged::Gone(target), false));
                }
                (Swapped::Refused | Swapped::Replaced, _) => {}
                (Swapped::Expired, _) => return Ok((Untagged::Expired, false)),
            }
        }
        Err(contended(repository, tag))
    }

    /// Returns true if a tag that may be removed whatever it points at points elsewhere now.
    async fn was_moved(&self, removal: &Untagging<'_>, held: &Pointer) -> Result<bool> {
        if !matches!(removal.expect, TagExpect::Any) {
            return Ok(false);
        }
        let now = self.pointer(removal.repository, removal.tag).await?.link.target();
        Ok(now.is_some() && now != held.link.target())
    }

    /// Records the deletion of a tag, unless that is `recorded` already, and removes the tag. Returns its target, too.
    async fn remove_held(
        &self,
        removal: &Untagging<'_>,
        held: &Pointer,
        entries: &Entries,
        recorded: &mut Option<Digest>,
    ) -> Result<(Swapped, Option<Digest>)> {
        let target = self.known_target(removal.repository, held, entries).await?;
        if let Some(target) = target.filter(|_| removal.records && *recorded != target) {
            if !self.record_tag(removal, &target).await? {
                return Ok((Swapped::Expired, None));
            }
            *recorded = Some(target);
        }
        let swapped = self.unlink_with_entry(removal, held, target, entries).await?;
        Ok((swapped, target))
    }

    /// Returns the target of a tag, or the last one of its history if the link contains no digest, or one at which the tag was
    /// never moved and that nothing has: then the link is damaged.
    async fn known_target(
        &self,
        repository: &RepositoryName,
        held: &Pointer,
        entries: &Entries,
    ) -> Result<Option<Digest>> {
        let last = entries.last_target();
        Ok(match held.link.target() {
            Some(target) if last.is_some() && !entries.name(&target) => {
                let is_there = self.revision(repository, &target).await?.is_some()
                    || self.unrecorded(repository, &target).await?.is_some();
                if is_there { Some(target) } else { last }
            }
            target => target.or(last),
        })
    }

    async fn unlink_with_entry(
        &self,
        removal: &Untagging<'_>,
        held: &Pointer,
        target: Option<Digest>,
        entries: &Entries,
    ) -> Result<Swapped> {
        let Untagging {
            repository,
            tag,
            how,
            view,
            ..
        } = *removal;
        let change = Change::Deleted(target);
        // Before the removal: otherwise the tag could be taken for lost.
        let written = self
            .write_entry(repository, tag, change, how.by.as_deref(), Some(entries))
            .await?;
        self.note_tag(repository, tag, noted::Change::Goes, view).await?;
        let swapped = self.unlink(repository, tag, held, view.fence()).await?;
        match swapped {
            Swapped::Done => {
                self.trim(repository, tag, entries).await;
            }
            Swapped::Refused | Swapped::Replaced | Swapped::Expired => self.take_back(written).await,
        }
        Ok(swapped)
    }

    /// Ends the history of a tag that does not exist, if it was lost.
    async fn untag_lost(&self, removal: &Untagging<'_>, entries: &Entries) -> Result<(Untagged, bool)> {
        let Untagging {
            repository, tag, how, ..
        } = *removal;
        let lost = self.lost_target(repository, tag, entries).await?;
        admit(tag, lost, Some(entries), removal.expect)?;
        if let Some(target) = lost {
            if removal.records && !self.record_tag(removal, &target).await? {
                return Ok((Untagged::Expired, false));
            }
            let change = Change::Deleted(lost);
            self.write_entry(repository, tag, change, how.by.as_deref(), Some(entries))
                .await?;
        }
        Ok((Untagged::Gone(lost), lost.is_some()))
    }

    /// Removes registry:2's list of the past targets of a tag that is gone: registry:2 would list the tag. Other writers of
    /// the tag do not wait while a removal without an answer may take effect.
    async fn remove_tag_index(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let mut targets = self.past_targets(repository, tag).await?;
        for _ in 0..SECTIONS {
            let (left, until) = {
                let _turn = self.turns.take(repository, tag).await;
                self.try_remove_past_targets(repository, tag, targets).await?
            };
            let Some(first) = left.first() else {
                return Ok(());
            };
            if let Some(until) = until {
                let key = keys::tag_index(repository, tag, first);
                self.outlast(until, &key).await?;
            }
            targets = left;
        }
        Err(restart("remove the past targets of a tag"))
    }

    /// Removes targets from registry:2's list, each with one request, and puts the present one back. Returns those that are
    /// left, and the time of the store's clock after which no request without an answer takes effect.
    async fn try_remove_past_targets(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        targets: Vec<Digest>,
    ) -> Result<(Vec<Digest>, Option<StoreTime>)> {
        let removals = targets.into_iter().map(|target| async move {
            let (key, fence) = (
                keys::tag_index(repository, tag, &target),
                self.fence_of(self.moving),
            );
            let sent = self.bucket.delete_once(&key, &Condition::Any, fence).await?;
            Ok(match sent {
                Sent::Done(_) | Sent::Refused => None,
                Sent::Expired => Some((target, None)),
                Sent::Unclear => Some((target, fence.map(|fence| self.over(fence)))),
            })
        });
        let left = at_once(removals).await?.into_iter().flatten();
        let (left, until): (Vec<_>, Vec<_>) = left.unzip();
        self.put_target_back(repository, tag).await?;
        Ok((left, until.into_iter().flatten().max()))
    }

    /// Removes a target from registry:2's list, at which the tag was not moved after all.
    pub(super) async fn remove_past_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        target: &Digest,
    ) -> Result<()> {
        let key = keys::tag_index(repository, tag, target);
        self.remove_tag_entries(repository, tag, vec![key]).await
    }

    /// Removes entries of registry:2's list. Another replica may move the tag there meanwhile. Then its entry, by which
    /// [`tag_of_page`](Self::tag_of_page) finds it, is put back. So the removal must not take effect later.
    pub(crate) async fn remove_tag_entries(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        keys: Vec<String>,
    ) -> Result<()> {
        at_once(keys.iter().map(|key| self.remove_link(key))).await?;
        self.put_target_back(repository, tag).await
    }

    async fn put_target_back(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        if let Some(target) = self.pointer(repository, tag).await?.link.target() {
            let key = keys::tag_index(repository, tag, &target);
            self.bucket.put(&key, target.to_string()).await?;
        }
        Ok(())
    }

    /// Returns the targets in registry:2's list of the past targets of a tag.
    pub(crate) async fn past_targets(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<Digest>> {
        let directory = keys::tag_targets(repository, tag);
        let mut targets = Vec::new();
        let mut listed = self.bucket.list(&directory);
        while let Some(meta) = listed.try_next().await? {
            let mut parts = meta.key.rsplit('/').skip(1);
            let (Some(hex), Some(name)) = (parts.next(), parts.next()) else {
                continue;
            };
            let algorithm = Algorithm::ALL.into_iter().find(|known| known.as_str() == name);
            targets.extend(algorithm.and_then(|algorithm| Digest::from_hex(algorithm, hex).ok()));
        }
        targets.sort_unstable();
        Ok(targets)
    }
}
