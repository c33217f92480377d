//! [`Registry::retain`]: drops the tags that rules drop, and the manifests that go with their last tags.

use super::{
    decide::{Decision, TagState},
    graph::{Graph, Reasons},
    survey::{Retain, Survey, decisions, inspection, manifests, survey, targets, warn_of},
    verdict::Verdict,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Tag,
    service::Registry,
    storage::{
        Census, Document, Page, Reclaimed, Run, Seen, Storage, StorageCollect, StorageError, StorageInspect,
        Terms, Victim, Waiting,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Number of repositories that are listed at once.
const PAGE: usize = 1000;

/// Result of a run of [`Registry::retain`](crate::Registry::retain). After a [dry run](Retain::dry_run), the numbers are those
/// of what a run would drop if clients used nothing meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// Decisions before the run.
    pub survey: Survey,
    /// Index of a rule that would have dropped more than half of its tags. Then nothing was dropped.
    pub excessive: Option<usize>,
    /// Number of tags that were dropped, including those that belonged to a dropped manifest.
    pub tags: u64,
    /// Number of manifests that were removed with their last tags.
    pub manifests: u64,
    /// Number of manifests that have lost their last tag and are still there: they were used during the run, or the
    /// storage collects nothing.
    pub left: u64,
    /// Number of tags that a hook or a failure kept, and of repositories in which the run failed. The log has the reasons.
    pub failed: u64,
}

impl Registry {
    /// Drops the tags that rules of retention drop, and the manifests that lose their last tag in this way.
    ///
    /// - Hooks are asked about each tag, and receive the events of the deletions. Clients need not be able to delete.
    /// - The entries of an index and the referrers of a manifest go with it. A manifest stays if another tag, an index or
    ///   a client uses it.
    /// - A run that would drop more than half of the tags of a rule drops none, unless it is
    ///   [forced](Retain::force).
    /// - In a repository with a damaged manifest, or an unreadable tag, nothing is dropped.
    ///
    /// Removal of manifests needs a storage that [collects](Storage::collect). Otherwise they stay, without a tag.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`] if the repositories cannot be listed. [`Unsupported`](StorageError::Unsupported) if the
    /// storage cannot be inspected.
    pub async fn retain(&self, rules: &Retain<'_>) -> Result<Retained, StorageError> {
        retain(self, rules).await
    }
}

async fn retain(registry: &Registry, retain: &Retain<'_>) -> Result<Retained, StorageError> {
    let storage = &**registry.storage();
    let inspect = inspection(storage)?;
    let survey = survey(storage, retain, &mut |_, _| {}).await?;
    let excessive = survey.excessive().filter(|_| !retain.force);
    let mut report = Retained {
        excessive,
        survey,
        ..Retained::default()
    };
    if excessive.is_some() || report.survey.dropped() == 0 {
        return Ok(report);
    }
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = inspect.all_repositories(page).await?;
        for seen in &listed.items {
            let mut dropping = Dropping {
                registry,
                storage,
                inspect,
                repository: seen.key(),
                report: &mut report,
            };
            match dropping.run(seen, retain).await {
                Ok(()) => {}
                // A collection is running, or held: no repository would fare better.
                Err(error @ StorageError::Busy { .. }) => return Err(error),
                Err(error) => {
                    warn_of(seen.key(), &error);
                    report.failed += 1;
                }
            }
        }
        after = listed.items.last().map(|last| last.key().clone());
        if !listed.more {
            return Ok(report);
        }
    }
}

/// The run in one repository.
struct Dropping<'a> {
    registry: &'a Registry,
    storage: &'a dyn Storage,
    inspect: &'a dyn StorageInspect,
    repository: &'a RepositoryName,
    report: &'a mut Retained,
}

impl Dropping<'_> {
    async fn run(&mut self, seen: &Seen<RepositoryName>, retain: &Retain<'_>) -> Result<(), StorageError> {
        if !retain.includes(self.repository) || !retain.rules.match_repository(self.repository) {
            return Ok(());
        }
        // A repository that cannot be read was counted by the survey.
        let Ok(preview) = decisions(self.storage, self.inspect, seen, retain).await else {
            return Ok(());
        };
        if !preview.iter().any(|decision| decision.verdict.drops()) {
            return Ok(());
        }
        if retain.dry_run {
            return self.preview(&preview).await;
        }
        // Everything is read after the begin, so that a manifest which a push needs meanwhile is not removed.
        let collecting = match self.storage.collect() {
            Some(collect) => Some((collect, collect.begin(Terms::new()).await?)),
            None => None,
        };
        let decided = decisions(self.storage, self.inspect, seen, retain).await?;
        let graph = match collecting {
            Some(_) => self.read_manifests().await?,
            None => Graph::default(),
        };
        let mut lost = BTreeSet::new();
        for decision in decided.iter().filter(|decision| decision.verdict.drops()) {
            if self.drop_tag(&graph, &decision.state).await {
                lost.insert(decision.state.digest);
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

    /// Counts what a run would drop.
    async fn preview(&mut self, decided: &[Decision]) -> Result<(), StorageError> {
        let drops = decided.iter().filter(|decision| decision.verdict.drops());
        let lost: BTreeSet<Digest> = drops.clone().map(|decision| decision.state.digest).collect();
        let followers: Vec<Follower> = decided.iter().filter_map(Follower::of).collect();
        let stays = |decision: &&Decision| {
            !decision.verdict.drops() && !matches!(decision.verdict, Verdict::Follows(_))
        };
        let tagged = decided.iter().filter(stays);
        let tagged: BTreeSet<Digest> = tagged.map(|decision| decision.state.digest).collect();
        self.report.tags += drops.count() as u64;
        if self.storage.collect().is_none() {
            self.report.left += lost.difference(&tagged).count() as u64;
            return Ok(());
        }
        let going = going(&self.read_manifests().await?, lost, tagged, &followers);
        let follow = followers
            .iter()
            .filter(|follower| going.contains_key(&follower.subject));
        self.report.tags += follow.count() as u64;
        self.report.manifests += going.len() as u64;
        Ok(())
    }

    /// Reads all manifests of the repository. One that cannot be read may refer to any other, so it is an error.
    async fn read_manifests(&self) -> Result<Graph, StorageError> {
        let mut graph = Graph::default();
        for digest in manifests(self.inspect, self.repository).await? {
            let whole = match self.inspect.document(self.repository, &digest).await? {
                Document::Whole(stored) => graph.add(&stored),
                Document::Damaged(_) | Document::Lost => false,
            };
            if !whole {
                // A client may have deleted it since it was listed.
                if !manifests(self.inspect, self.repository).await?.contains(&digest) {
                    continue;
                }
                return Err(StorageError::internal(format!(
                    "the manifest {digest} is damaged, and may refer to any other one; delete it, or push it again"
                )));
            }
        }
        Ok(graph)
    }

    /// Drops a tag, unless it has moved or was put again. Returns true if it is gone.
    async fn drop_tag(&mut self, graph: &Graph, state: &TagState) -> bool {
        let (repository, TagState { tag, digest, .. }) = (self.repository, state);
        let (expect, size) = (state.unchanged(), graph.size(digest));
        match self
            .registry
            .expire_tag(repository, tag, digest, expect, size)
            .await
        {
            Ok(true) => {
                tracing::info!(%repository, %tag, %digest, "a rule of retention has dropped a tag");
                self.report.tags += 1;
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(%repository, %tag, %error, "a tag that a rule of retention drops stays");
                self.report.failed += 1;
                false
            }
        }
    }

    /// Counts the manifests that have no tag any more.
    async fn untagged(&self, mut lost: BTreeSet<Digest>) -> Result<u64, StorageError> {
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
        lost: BTreeSet<Digest>,
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
        let mut gone = BTreeSet::new();
        loop {
            let is_ready = |(digest, reasons): &(&Digest, &Reasons)| {
                let mut subjects = followers
                    .iter()
                    .filter(|follower| follower.state.digest == **digest);
                reasons.are_gone(&gone) && subjects.all(|follower| gone.contains(&follower.subject))
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

    /// Removes manifests, and returns those that are gone.
    async fn reclaim(
        &mut self,
        collect: &dyn StorageCollect,
        run: &Run,
        graph: &Graph,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, StorageError> {
        let repository = self.repository;
        let victims: Vec<Victim> = digests
            .iter()
            .map(|digest| Victim::Manifest(repository.clone(), *digest))
            .collect();
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
    mut lost: BTreeSet<Digest>,
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
        lost.extend(follow.map(|follower| follower.state.digest));
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
