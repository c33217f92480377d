//! Announcement of the items that a run is going to remove.

use super::begin::taken_over;
use crate::{
    gate::Mark,
    keys,
    run::{OpenRun, Work},
    scans::at_once,
    store::Store,
};
use futures_util::FutureExt as _;
use registry_core::{
    digest::AnyDigest,
    manifest::Manifest,
    storage::{Result, Victim, Waiting},
};
use tokio::time::Instant;

impl Store {
    pub(crate) async fn condemn(&self, run: &OpenRun, victims: &[Victim]) -> Result<Waiting> {
        let mut work = run.work.lock().await;
        let mut marks: Vec<Mark> = victims.iter().map(Mark::of).collect();
        let subjects = victims.iter().map(|victim| self.subject_of(victim).boxed());
        for (mark, subject) in at_once(subjects).await?.into_iter().flatten() {
            work.subjects.insert(mark, subject);
            // A manifest whose subject comes into use stays: so the subject is watched as well.
            marks.extend(subject);
        }
        marks.retain(|mark| !work.condemned.contains(*mark));
        if !marks.is_empty() && !work.is_closed {
            self.publish_list(run, &mut work, marks).await?;
        }
        Ok(Waiting::Until(work.left()))
    }

    async fn publish_list(&self, run: &OpenRun, work: &mut Work, marks: Vec<Mark>) -> Result<()> {
        let state = &work.stored.state;
        let holder = state.holder.as_deref().unwrap_or_default();
        work.lists += 1;
        let name = format!("{}-{holder}-{}", state.epoch, work.lists);
        let content = work.condemned.add(&name, marks);
        self.bucket.put(&keys::condemned(&name), content).await?;
        let changed = work.stored.change(&self.bucket, self.rung, |state| {
            state.lists.push(name);
            state.listed = None;
        });
        work.stored = changed.await?.ok_or_else(taken_over)?;
        // Sections of this process that do not know the list end before the call does. Those of others have ended when the
        // time has passed.
        self.gate.process.forget().await;
        self.gate.process.drain().await;
        work.ripe = Instant::now() + run.delay;
        Ok(())
    }

    /// Returns the mark of a manifest, with that of its subject.
    async fn subject_of(&self, victim: &Victim) -> Result<Option<(Mark, Option<Mark>)>> {
        let Victim::Manifest(repository, digest) = victim else {
            return Ok(None);
        };
        let manifest = self.parsed(repository, digest).await?;
        let subject = manifest.as_ref().and_then(Manifest::subject);
        let subject = subject.and_then(AnyDigest::known);
        let subject = subject.map(|subject| Mark::manifest(repository, subject));
        Ok(Some((Mark::of(victim), subject)))
    }
}
