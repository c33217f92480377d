//! [`Dropping`]: a run of retention in one repository.

use super::{
    decide::{Decision, TagState},
    failure::Failure,
    graph::{Graph, Lost, Reasons},
    manifests::read_manifests,
    retained::Retained,
    survey::{Retain, decisions, targets},
    unfinished::{Unfinished, by_retention},
    verdict::Verdict,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Tag,
    service::Registry,
    storage::{
        Census, Due, Reclaimed, Run, Seen, Storage, StorageCollect, StorageError, StorageInspect, Victim,
        Waiting,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// The run in one repository.
pub(super) struct Dropping<'a> {
    pub(super) registry: &'a Registry,
    pub(super) storage: &'a dyn Storage,
    pub(super) inspect: &'a dyn StorageInspect,
    pub(super) repository: &'a RepositoryName,
    pub(super) report: &'a mut Retained,
}

impl Dropping<'_> {
    pub(super) async fn run(
        &mut self,
        seen: &Seen<RepositoryName>,
        retain: &Retain<'_>,
    ) -> Result<(), StorageError> {
        if !retain.includes(self.repository) || !retain.rules.match_repository(self.repository) {
            return Ok(());
        }
        // A repository that cannot be read was counted by the survey.
        let Ok(preview) = decisions(self.storage, self.inspect, seen, retain).await else {
            return Ok(());
        };
        let unfinished = self.unfinished(&preview, retain).await?;
        let drops = preview.iter().any(|decision| decision.verdict.drops());
        if !drops && unfinished.is_empty() {
            return Ok(());
        }
        if retain.dry_run {
            return self.preview(&preview, &unfinished).await;
        }
        // Everything is read after the begin, so that a manifest which a push needs meanwhile is not removed.
        let collecting = match self.storage.collect() {
            Some(collect) => Some((collect, collect.begin(retain.terms).await?)),
            None => None,
        };
        let decided = decisions(self.storage, self.inspect, seen, retain).await?;
        let (graph, mut lost) = match collecting {
            Some(_) => self.read_manifests(&unfinished).await?,
            None => (Graph::default(), Lost::new()),
        };
        for decision in decided.iter().filter(|decision| decision.verdict.drops()) {
            if self.drop_tag(&graph, &decision.state).await {
                lost.insert(decision.state.digest, None);
            }
        }
        let followers: Vec<Follower> = decided.iter().filter_map(Follower::of).collect();
        match collecting {
            Some((collect, run)) => self.remove(collect, run, &graph, lost, followers).await,
            None => {
                self.report.left += self.untagged(lost).await?;
                Ok(())
            }
        }
    }

    /// Returns what earlier runs have left. A storage that removes no manifests leaves all of them to collections.
    async fn unfinished(
        &self,
        decided: &[Decision],
        retain: &Retain<'_>,
    ) -> Result<Unfinished, StorageError> {
        match (self.storage.trash(), self.storage.collect()) {
            (Some(trash), Some(_)) => {
                let tags = decided.iter().map(|decision| &decision.state.tag).collect();
                Unfinished::read(trash, self.inspect, self.repository, retain.rules, &tags).await
            }
            _ => Ok(Unfinished::default()),
        }
    }

    /// Reads all manifests of the repository, and returns those among them that earlier runs have left.
    async fn read_manifests(&self, unfinished: &Unfinished) -> Result<(Graph, Lost), StorageError> {
        let mut graph = read_manifests(self.inspect, self.repository).await?;
        let lost = match self.storage.trash() {
            Some(trash) => unfinished.add_to(&mut graph, trash, self.repository).await?,
            None => Lost::new(),
        };
        Ok((graph, lost))
    }

    /// Counts what a run would drop.
    async fn preview(&mut self, decided: &[Decision], unfinished: &Unfinished) -> Result<(), StorageError> {
        let drops = decided.iter().filter(|decision| decision.verdict.drops());
        let dropped: BTreeSet<Digest> = drops.clone().map(|decision| decision.state.digest).collect();
        let followers: Vec<Follower> = decided.iter().filter_map(Follower::of).collect();
        let stays = |decision: &&Decision| {
            !decision.verdict.drops() && !matches!(decision.verdict, Verdict::Follows(_))
        };
        let tagged = decided.iter().filter(stays);
        let tagged: BTreeSet<Digest> = tagged.map(|decision| decision.state.digest).collect();
        self.report.tags += drops.count() as u64;
        if self.storage.collect().is_none() {
            self.report.left += dropped.difference(&tagged).count() as u64;
            return Ok(());
        }
        let (graph, mut lost) = self.read_manifests(unfinished).await?;
        lost.extend(dropped.into_iter().map(|digest| (digest, None)));
        let going = going(&graph, lost, tagged, &followers);
        let follow = followers
            .iter()
            .filter(|follower| going.contains_key(&follower.subject));
        self.report.tags += follow.count() as u64;
        self.report.manifests += going.len() as u64;
        Ok(())
    }

    /// Drops a tag, unless it has moved or was put again. Returns true if it is gone.
    async fn drop_tag(&mut self, graph: &Graph, state: &TagState) -> bool {
        let (repository, TagState { tag, digest, .. }) = (self.repository, state);
        let (expect, size) = (state.unchanged(), graph.size(digest));
        match self
            .registry
            .expire_tag(repository, tag, digest, expect, size, by_retention())
            .await
        {
            Ok(true) => {
                tracing::info!(%repository, %tag, %digest, "a rule of retention has dropped a tag");
                self.report.tags += 1;
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.report
                    .failures
                    .push(Failure::of_tag(repository, tag, &error));
                false
            }
        }
    }

    /// Counts the manifests that have no tag any more.
    async fn untagged(&self, mut lost: Lost) -> Result<u64, StorageError> {
        for target in targets(self.inspect, self.repository).await? {
            lost.remove(&target.digest);
        }
        Ok(lost.len() as u64)
    }

    /// Removes the manifests that have lost their last tag, and everything that goes with them.
    ///
    /// Each one goes after all indexes that contain it, and after its subject. If one of these is in use, it stays.
    async fn remove(
        &mut self,
        collect: &dyn StorageCollect,
        run: Run,
        graph: &Graph,
        lost: Lost,
        followers: Vec<Follower>,
    ) -> Result<(), StorageError> {
        let targets = targets(self.inspect, self.repository).await?;
        let follow: BTreeSet<&Tag> = followers.iter().map(|follower| &follower.state.tag).collect();
        let tagged: BTreeSet<Digest> = targets
            .iter()
            .filter(|target| !follow.contains(&target.tag))
            .map(|target| target.digest)
            .collect();
        let mut waiting = going(graph, lost, tagged, &followers);
        let in_use = self.in_use(collect, &run, &waiting, &followers).await?;
        let mut gone = BTreeSet::new();
        loop {
            let is_ready = |(digest, reasons): &(&Digest, &Reasons)| {
                let mut subjects = followers
                    .iter()
                    .filter(|follower| follower.state.digest == **digest);
                !in_use.contains(digest)
                    && reasons.are_gone(&gone)
                    && subjects.all(|follower| gone.contains(&follower.subject))
            };
            let ready: Vec<Digest> = waiting
                .iter()
                .filter(is_ready)
                .map(|(digest, _)| *digest)
                .collect();
            if ready.is_empty() {
                break;
            }
            for digest in &ready {
                waiting.remove(digest);
            }
            let removed = self.reclaim(collect, &run, graph, &ready).await?;
            for Follower { state, .. } in followers
                .iter()
                .filter(|follower| removed.contains(&follower.subject))
            {
                self.drop_tag(graph, state).await;
            }
            gone.extend(removed);
        }
        self.report.left += waiting.len() as u64;
        let previous = run.previous.unwrap_or_default().manifests;
        let left = previous
            .saturating_sub(run.deleted)
            .saturating_sub(gone.len() as u64);
        collect.end(run, Census::new(left)).await
    }

    /// Returns the manifests that were used too recently, and all on which these depend: nobody could tell later why an
    /// entry without its index is there.
    async fn in_use(
        &self,
        collect: &dyn StorageCollect,
        run: &Run,
        going: &BTreeMap<Digest, Reasons>,
        followers: &[Follower],
    ) -> Result<BTreeSet<Digest>, StorageError> {
        // The tags of these are dropped only when their subjects are gone.
        let has_tag = |digest: &Digest| followers.iter().any(|follower| follower.state.digest == *digest);
        let digests: Vec<Digest> = going.keys().copied().filter(|digest| !has_tag(digest)).collect();
        let due = collect.due(&run.terms, &self.victims(&digests)).await?;
        let mut waiting: Vec<Digest> = digests
            .into_iter()
            .zip(due)
            .filter(|(_, due)| matches!(due, Due::InUse | Due::Later(_)))
            .map(|(digest, _)| digest)
            .collect();
        let mut in_use = BTreeSet::new();
        while let Some(digest) = waiting.pop() {
            if in_use.insert(digest) {
                waiting.extend(going.get(&digest).into_iter().flat_map(Reasons::iter));
            }
        }
        Ok(in_use)
    }

    fn victims(&self, digests: &[Digest]) -> Vec<Victim> {
        let victim = |digest: &Digest| Victim::Manifest(self.repository.clone(), *digest);
        digests.iter().map(victim).collect()
    }

    /// Removes manifests, and returns those that are gone.
    async fn reclaim(
        &mut self,
        collect: &dyn StorageCollect,
        run: &Run,
        graph: &Graph,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let repository = self.repository;
        let victims = self.victims(digests);
        if let Waiting::Until(_) = collect.condemn(run, &victims).await? {
            // Such a storage removes them in a collection of its own, which may wait.
            self.report.left += digests.len() as u64;
            return Ok(Vec::new());
        }
        let mut gone = Vec::new();
        for (digest, reclaimed) in digests.iter().zip(collect.reclaim(run, &victims).await?) {
            match reclaimed {
                Reclaimed::Removed { .. } => {
                    self.report.manifests += 1;
                    self.registry
                        .manifest_removed(repository, digest, graph.size(digest));
                    gone.push(*digest);
                }
                Reclaimed::Absent => gone.push(*digest),
                Reclaimed::InUse | Reclaimed::Later(_) => self.report.left += 1,
                Reclaimed::Failed(error) => {
                    tracing::warn!(%repository, %digest, %error, "cannot remove a manifest without a tag");
                    self.report.left += 1;
                }
            }
        }
        Ok(gone)
    }
}

/// A tag that goes with a manifest: that of its referrers, or of a signature.
struct Follower {
    state: TagState,
    subject: Digest,
}

impl Follower {
    fn of(decision: &Decision) -> Option<Self> {
        let Verdict::Follows(subject) = decision.verdict else {
            return None;
        };
        Some(Self {
            state: decision.state.clone(),
            subject,
        })
    }
}

/// Returns the manifests that go when `lost` have no tag any more. `tagged` have a tag that is no follower.
fn going(
    graph: &Graph,
    mut lost: Lost,
    mut tagged: BTreeSet<Digest>,
    followers: &[Follower],
) -> BTreeMap<Digest, Reasons> {
    // A manifest that goes takes the tags along that follow it, and their targets.
    loop {
        let going = graph.going(&lost, &tagged);
        let before = lost.len();
        let follow = followers
            .iter()
            .filter(|follower| going.contains_key(&follower.subject));
        lost.extend(follow.map(|follower| (follower.state.digest, None)));
        if lost.len() == before {
            break;
        }
    }
    // All other followers keep their targets.
    loop {
        let going = graph.going(&lost, &tagged);
        let before = tagged.len();
        let stay = followers
            .iter()
            .filter(|follower| !going.contains_key(&follower.subject));
        tagged.extend(stay.map(|follower| follower.state.digest));
        if tagged.len() == before {
            return going;
        }
    }
}
