//! Runs: beginning, previewing, reclaiming and ending, on behalf of the contract.

use super::{
    collecting::{Collecting, OpenRun, lock},
    nearby::Nearby,
    removals::{Level, Removals},
    touches::Idle,
};
use crate::{FsStorage, digest_locks::Key, pauses::Point, store::Store, tag_index::Lease};
use registry_core::{
    Digest, RepositoryName,
    storage::{Census, Due, Page, Reclaimed, Result, Run, Seen, StorageError, Terms, Victim},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Number of repositories and of sessions that are listed at once.
const PAGE: usize = 1000;

/// Ends a run when it is dropped, so that the next one may begin.
struct Open {
    collecting: Arc<Collecting>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut run = lock(&self.collecting.run);
        if run.take_if(|run| run.id == self.id).is_some() {
            lock(&self.collecting.touches).end();
        }
    }
}

/// Facts by which the items of one call are examined.
pub(super) struct Examination<'a> {
    pub(super) store: &'a Store,
    pub(super) terms: Terms,
    /// Number of the last touch before the run; `None` for a preview.
    began: Option<u64>,
    committing: Arc<HashSet<Digest>>,
    tags: Tags,
    pub(super) nearby: Nearby,
}

/// Tag index of each repository with a manifest among the items, or the reason for which there is none.
type Tags = HashMap<RepositoryName, Result<Arc<Lease>, String>>;

/// State of an item, without its touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    InUse,
    /// It is in use for this time.
    Later(Duration),
    /// Its removal frees this number of bytes.
    Unused(u64),
}

impl FsStorage {
    pub(crate) async fn begin_run(&self, terms: Terms) -> Result<Run> {
        if !self.store().is_owned() {
            return Err(StorageError::ReadOnly);
        }
        let collecting = &self.store().collecting;
        let guard = collecting.open_run(&terms)?;
        self.find_uploads().await?;
        let id = guard.id;
        let (previous, deleted) = self.apart(move |store| store.begin_run(id)).await??;
        Ok(Run::new(id, terms, previous).with_deleted(deleted).holding(guard))
    }

    pub(crate) async fn preview(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        self.find_uploads().await?;
        let (terms, victims) = (*terms, victims.to_vec());
        let tags = self.tags_of_victims(&victims).await;
        self.inspecting(move |store| {
            store.release_closures()?;
            let needs_sessions = victims.iter().any(|victim| matches!(victim, Victim::Data(_)));
            let committing = match needs_sessions {
                true => store.committing()?,
                false => HashSet::new(),
            };
            let examination = Examination {
                store,
                terms,
                began: None,
                committing: Arc::new(committing),
                tags,
                nearby: Nearby::default(),
            };
            victims.iter().map(|victim| examination.due(victim)).collect()
        })
        .await
    }

    pub(crate) async fn reclaim_items(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let open = self.store().collecting.run(run.id)?;
        let (terms, victims, id) = (run.terms, victims.to_vec(), run.id);
        let tags = self.tags_of_victims(&victims).await;
        self.writing(move |store| {
            // A manifest whose tag went during the run names its closure only as long as it is there.
            if victims
                .iter()
                .any(|victim| matches!(victim, Victim::Manifest(..)))
            {
                store.release_closures()?;
            }
            if terms.permanent {
                store.account_for_victims(&victims);
            }
            let examination = Examination {
                store,
                terms,
                began: Some(open.began),
                committing: open.committing,
                tags,
                nearby: Nearby::default(),
            };
            store.pauses.reach(Point::ReclaimBegun);
            let mut removals = lock(&store.collecting.removals);
            // What was removed before may name these manifests. If it came back alone at a power loss, clients that find it
            // would not push them, and an index that contains it would be refused.
            if victims
                .iter()
                .any(|victim| matches!(victim, Victim::Manifest(..)))
            {
                removals.settle(&store.disk)?;
            }
            let reclaimed = victims.iter().map(|victim| {
                // Who has dropped the run meanwhile, for a backup, expects that nothing goes any more.
                store.collecting.run(id)?;
                removals.begin(level_of(victim), &store.disk)?;
                Ok(match examination.reclaim(victim, &mut removals) {
                    Ok(reclaimed) => reclaimed,
                    Err(error) => Reclaimed::Failed(error),
                })
            });
            reclaimed.collect()
        })
        .await
    }

    pub(crate) async fn end_run(&self, run: Run, seen: Census) -> Result<()> {
        let open = self.store().collecting.run(run.id)?;
        self.writing(move |store| {
            lock(&store.collecting.removals).settle(&store.disk)?;
            store.remove_leftovers(open.began);
            lock(&store.collecting.removals).settle(&store.disk)?;
            store.pauses.reach(Point::EndRunSettled);
            store.take_census(&run.terms, &seen)?;
            store.shorten_accounts(&run.terms, &open, &seen);
            drop(run);
            store.reserve.fill();
            Ok(())
        })
        .await
    }

    pub(crate) fn is_own_directory(&self) -> bool {
        let state = *lock(&self.store().collecting.state);
        state.is_some_and(|state| state.own)
    }

    /// Fails if a run has ended.
    pub(crate) fn require_run(&self, run: &Run) -> Result<()> {
        self.store().collecting.run(run.id).map(drop)
    }

    /// Returns the tag index of each repository with a manifest among the items. Waiting for them holds no thread.
    async fn tags_of_victims(&self, victims: &[Victim]) -> Tags {
        let mut tags = Tags::new();
        for victim in victims {
            if let Victim::Manifest(repository, _) = victim
                && !tags.contains_key(repository)
            {
                let index = self.tag_index(repository).await;
                tags.insert(repository.clone(), index.map_err(|error| error.to_string()));
            }
        }
        tags
    }
}

impl Collecting {
    /// Opens a run. Nothing is removed before it has begun.
    fn open_run(self: &Arc<Self>, terms: &Terms) -> Result<Open> {
        let mut run = lock(&self.run);
        if let Some(open) = &*run {
            return Err(StorageError::busy(format!("run {} of this process", open.id)));
        }
        let id = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let began = lock(&self.touches).begin(terms.grace);
        *run = Some(OpenRun {
            id,
            began,
            deleted: 0,
            committing: Arc::default(),
        });
        Ok(Open {
            collecting: Arc::clone(self),
            id,
        })
    }

    /// Returns the run of this number, if it is still open.
    fn run(&self, id: u64) -> Result<OpenRun> {
        let open = lock(&self.run).clone().filter(|open| open.id == id);
        open.ok_or_else(|| StorageError::internal(format!("run {id} has ended")))
    }
}

impl Store {
    /// Waits until all promises that were being made when a run was opened are made. Returns the census of the previous
    /// run, and the number of manifests that have gone since.
    fn begin_run(&self, id: u64) -> Result<(Option<Census>, u64)> {
        self.disk.require_owned()?;
        // An earlier run may have been dropped.
        lock(&self.collecting.removals).settle(&self.disk)?;
        // Before the wait: what is counted by then has gone after it, so that the census does not contain it.
        let (previous, deleted) = self.deletions_so_far()?;
        self.digest_locks.wait_for_holders();
        self.end_spent_sessions();
        let committing = self.committing()?;
        self.release_closures()?;
        // Otherwise no session was found in a directory that is away.
        self.disk.require_owned()?;
        if let Some(open) = lock(&self.collecting.run).as_mut().filter(|open| open.id == id) {
            open.committing = Arc::new(committing);
            open.deleted = deleted;
        }
        self.pauses.reach(Point::RunBegun);
        Ok((previous, deleted))
    }

    /// Ends the sessions that cannot continue, such as those of which registry:2 has left a part. What fails is tried again
    /// by the next run.
    fn end_spent_sessions(&self) {
        let mut after = None;
        while let Ok(found) = self.uploading(&Page::first(PAGE).after(after.as_ref())) {
            for repository in found.items.iter().map(Seen::key) {
                let ids = self.upload_ids(repository, None).into_iter().flatten();
                for id in ids {
                    if let Err(error) = self.end_if_spent(repository, id) {
                        tracing::warn!(%repository, %id, %error, "cannot end an upload session of which a part is gone");
                    }
                }
            }
            after = found.items.last().map(|last| last.key().clone());
            if !found.more {
                return;
            }
        }
    }

    /// Returns the blobs that sessions are being committed to.
    fn committing(&self) -> Result<HashSet<Digest>> {
        let mut committing = HashSet::new();
        let mut after = None;
        loop {
            let found = self.uploading(&Page::first(PAGE).after(after.as_ref()))?;
            for seen in found.items {
                let repository = read(seen)?;
                self.committing_in(&repository, &mut committing)?;
                after = Some(repository);
            }
            if !found.more {
                return Ok(committing);
            }
        }
    }

    fn committing_in(&self, repository: &RepositoryName, committing: &mut HashSet<Digest>) -> Result<()> {
        let mut after = None;
        loop {
            let found = self.uploads(repository, &Page::first(PAGE).after(after.as_ref()))?;
            for seen in found.items {
                after = Some(match seen {
                    Seen::Whole(session) => {
                        committing.extend(session.committing);
                        session.id
                    }
                    // Whoever decides what goes keeps everything in its repository.
                    Seen::Unreadable { key, .. } => key,
                    _ => return Err(StorageError::internal("the open upload sessions are not known")),
                });
            }
            if !found.more {
                return Ok(());
            }
        }
    }
}

/// Returns a repository that was read. Sessions in one that cannot be read may be committing to anything.
fn read(seen: Seen<RepositoryName>) -> Result<RepositoryName> {
    match seen {
        Seen::Whole(item) => Ok(item),
        Seen::Unreadable { reason, .. } => Err(StorageError::internal(format!(
            "the open upload sessions are not known: {reason}"
        ))),
        _ => Err(StorageError::internal("the open upload sessions are not known")),
    }
}

const fn level_of(victim: &Victim) -> Level {
    match victim {
        Victim::Manifest(..) => Level::Manifests,
        Victim::Link(..) => Level::Links,
        Victim::Data(_) => Level::Data,
        Victim::Repository(_) => Level::Repositories,
    }
}

impl Examination<'_> {
    fn due(&self, victim: &Victim) -> Result<Due> {
        let (keys, state) = match victim {
            Victim::Manifest(repository, digest) => self.manifest(repository, digest)?,
            Victim::Link(repository, digest) => self.link(repository, digest)?,
            Victim::Data(digest) => self.data(digest)?,
            Victim::Repository(repository) => self.emptied_repository(repository)?,
        };
        Ok(match (state, self.is_idle(&keys)) {
            (State::Absent, _) => Due::Absent,
            (State::InUse, _) | (_, Idle::No) => Due::InUse,
            (State::Later(least), Idle::In(rest)) => Due::Later(rest.max(least)),
            (State::Later(rest), Idle::Yes) | (_, Idle::In(rest)) => Due::Later(rest),
            (State::Unused(bytes), Idle::Yes) => Due::now(bytes),
        })
    }

    fn reclaim(&self, victim: &Victim, removals: &mut Removals) -> Result<Reclaimed> {
        match victim {
            Victim::Manifest(repository, digest) => self.reclaim_manifest(repository, digest, removals),
            Victim::Link(repository, digest) => self.reclaim_link(repository, digest, removals),
            Victim::Data(digest) => self.reclaim_data(digest, removals),
            Victim::Repository(repository) => self.reclaim_repository(repository, removals),
        }
    }

    /// Removes an item, unless it is in use or not idle. The caller holds its locks exclusively.
    pub(super) fn remove_if_idle(
        &self,
        keys: &[Key],
        state: State,
        remove: impl FnOnce() -> Result<()>,
    ) -> Result<Reclaimed> {
        self.store.pauses.reach(Point::ReclaimLocked);
        Ok(match (state, self.is_idle(keys)) {
            (State::Absent, _) => Reclaimed::Absent,
            (State::InUse, _) | (_, Idle::No) => Reclaimed::InUse,
            (State::Later(least), Idle::In(rest)) => Reclaimed::Later(rest.max(least)),
            (State::Later(rest), Idle::Yes) | (_, Idle::In(rest)) => Reclaimed::Later(rest),
            (State::Unused(bytes), Idle::Yes) => {
                let removed = remove();
                // A part may be gone even after a failure.
                self.store.known_closures.removed(keys.iter().copied());
                removed?;
                self.store.pauses.reach(Point::ReclaimRemoved);
                Reclaimed::removed(bytes)
            }
        })
    }

    fn is_idle(&self, keys: &[Key]) -> Idle {
        self.store.collecting.is_idle(keys, &self.terms, self.began)
    }

    pub(super) fn pushing(&self, repository: Key, keys: &[Key]) -> Option<Duration> {
        self.store.collecting.pushing(repository, keys, &self.terms)
    }

    pub(super) fn is_committing(&self, digest: &Digest) -> bool {
        self.committing.contains(digest)
    }

    /// Returns true if a tag points at a manifest. The caller holds the manifest's lock exclusively, or wants a preview.
    pub(super) fn is_tagged(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        let tags = match self.tags.get(repository) {
            Some(Ok(tags)) => tags,
            Some(Err(reason)) => return Err(StorageError::internal(reason.clone())),
            None => {
                return Err(StorageError::internal(format!(
                    "the tags of {repository} are not known"
                )));
            }
        };
        for tag in tags.candidates(digest) {
            let current = self.store.layout.tag(repository, &tag).current();
            if crate::links::read(&current)? == Some(*digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
