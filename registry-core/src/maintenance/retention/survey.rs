//! [`survey`]: the decisions about all tags of a storage, without a change.

use super::{
    decide::{Decision, TagState},
    failure::Failure,
    manifests::{manifests, read_manifests},
    rule::Rules,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Tag,
    storage::{Page, Seen, Storage, StorageError, StorageInspect, TagEvent, TagTarget, Terms},
};
use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

/// Number of items that are listed at once.
const PAGE: usize = 1000;

/// Time for which no rule drops a tag that was restored.
const RESTORED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Rules of retention, and the facts that only the host knows.
#[derive(Clone, Copy)]
pub struct Retain<'a> {
    pub(super) rules: &'a Rules,
    pub(super) now: Option<SystemTime>,
    pub(super) is_immutable: &'a (dyn Fn(&RepositoryName, &Tag) -> bool + Send + Sync),
    pub(super) force: bool,
    pub(super) dry_run: bool,
    pub(super) terms: Terms,
    only: Option<&'a RepositoryName>,
}

impl<'a> Retain<'a> {
    /// Applies these rules at the current time. Without `now`, no tag is too old: a host passes `None` while it does not
    /// trust its clock, as a [`ClockWatch`](crate::maintenance::ClockWatch) tells.
    #[must_use]
    pub fn new(rules: &'a Rules, now: Option<SystemTime>) -> Self {
        Self {
            rules,
            now,
            is_immutable: &|_, _| false,
            force: false,
            dry_run: false,
            terms: Terms::new().with_released(true),
            only: None,
        }
    }

    /// Limits the rules to one repository. `None` stands for all.
    #[must_use]
    pub fn only(self, repository: Option<&'a RepositoryName>) -> Self {
        Self {
            only: repository,
            ..self
        }
    }

    /// Returns true if the rules are applied to the repository.
    pub(super) fn includes(&self, repository: &RepositoryName) -> bool {
        self.only.is_none_or(|only| only == repository)
    }

    /// Sets which tags nobody may overwrite. By default everybody may overwrite every tag.
    #[must_use]
    pub fn immutable(self, is_immutable: &'a (dyn Fn(&RepositoryName, &Tag) -> bool + Send + Sync)) -> Self {
        Self { is_immutable, ..self }
    }

    /// Sets if a run may drop more than half of the tags that a rule decides about.
    #[must_use]
    pub fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Sets the terms under which manifests go with their last tags. By default there is no grace period: what nobody has
    /// used since the run began goes at once.
    ///
    /// With a grace period, a manifest stays if it, an entry of it or a referrer of it was used recently. A later run
    /// removes it: the records of deletions and the histories of tags tell which manifests are left.
    #[must_use]
    pub fn terms(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// Sets if a run only counts what it would drop. It then changes nothing.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

impl fmt::Debug for Retain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            now,
            is_immutable: _,
            force,
            dry_run,
            terms,
            only,
        } = self;
        f.debug_struct("Retain")
            .field("rules", rules)
            .field("now", now)
            .field("force", force)
            .field("dry_run", dry_run)
            .field("terms", terms)
            .field("only", only)
            .finish_non_exhaustive()
    }
}

/// Numbers of tags, over all repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Numbers of each rule, in the order of the rules.
    pub rules: Vec<Decided>,
    /// Number of tags that no rule decides about.
    pub undecided: u64,
    /// Repositories that could not be read. Nothing is dropped in them.
    pub failures: Vec<Failure>,
}

/// Numbers of tags about which a rule decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// Number of tags that the rule keeps.
    pub kept: u64,
    /// Number of tags that the rule drops.
    pub dropped: u64,
}

impl Survey {
    /// Returns the number of tags that are dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.rules.iter().map(|rule| rule.dropped).sum()
    }

    /// Returns the index of the first rule that drops more than half of its tags.
    #[must_use]
    pub fn excessive(&self) -> Option<usize> {
        self.rules.iter().position(|rule| rule.dropped > rule.kept)
    }

    fn count(&mut self, decision: &Decision) {
        let counted = decision.rule.and_then(|index| self.rules.get_mut(index));
        match counted {
            Some(rule) if decision.verdict.drops() => rule.dropped += 1,
            Some(rule) => rule.kept += 1,
            None => self.undecided += 1,
        }
    }
}

/// Decides about the tags of all repositories, and calls `told` with each decision. Changes nothing.
///
/// ```
/// use registry_core::{
///     Registry, Tag,
///     maintenance::retention::{Keep, RepositoryPattern, Retain, Rule, Rules, survey},
///     service::ManifestPush,
///     storage::MemoryStorage,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let repository = Registry::builder(storage.clone()).build().repository("team/app")?;
/// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
///
/// let rules = Rules::new([Rule::new([RepositoryPattern::parse("**")?], Keep::Always)]);
/// let survey = survey(&storage, &Retain::new(&rules, None), &mut |repository, decision| {
///     println!("{repository}:{} {}", decision.state.tag, decision.verdict);
/// })
/// .await?;
/// assert_eq!((survey.rules[0].kept, survey.dropped()), (1, 0));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Safe: nothing is changed.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage cannot be inspected.
/// - Any other error if the repositories cannot be listed.
pub async fn survey(
    storage: &dyn Storage,
    retain: &Retain<'_>,
    told: &mut (dyn FnMut(&RepositoryName, &Decision) + Send),
) -> Result<Survey, StorageError> {
    look(storage, retain, true, told).await
}

/// Does the same. Reads the manifests of repositories in which tags are dropped only if `thoroughly`.
pub(super) async fn look(
    storage: &dyn Storage,
    retain: &Retain<'_>,
    thoroughly: bool,
    told: &mut (dyn FnMut(&RepositoryName, &Decision) + Send),
) -> Result<Survey, StorageError> {
    let inspect = inspection(storage)?;
    let mut survey = Survey {
        rules: vec![Decided::default(); retain.rules.rules().len()],
        ..Survey::default()
    };
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = inspect.all_repositories(page).await?;
        for seen in listed.items.iter().filter(|seen| retain.includes(seen.key())) {
            let decided = match decisions(storage, inspect, seen, retain).await {
                Ok(decisions) if thoroughly && decisions.iter().any(|decision| decision.verdict.drops()) => {
                    let read = read_manifests(inspect, seen.key()).await;
                    read.map(|_| decisions)
                }
                decided => decided,
            };
            match decided {
                Ok(decisions) => {
                    for decision in &decisions {
                        survey.count(decision);
                        told(seen.key(), decision);
                    }
                }
                Err(error) => {
                    let failure = Failure::of_repository(seen.key(), &error);
                    survey.failures.push(failure);
                }
            }
        }
        after = listed.items.last().map(|last| last.key().clone());
        if !listed.more {
            return Ok(survey);
        }
    }
}

pub(super) fn inspection(storage: &dyn Storage) -> Result<&dyn StorageInspect, StorageError> {
    storage
        .inspect()
        .ok_or(StorageError::Unsupported("inspect content"))
}

/// Decides about the tags of a repository. An item that cannot be read fails it.
pub(super) async fn decisions(
    storage: &dyn Storage,
    inspect: &dyn StorageInspect,
    repository: &Seen<RepositoryName>,
    retain: &Retain<'_>,
) -> Result<Vec<Decision>, StorageError> {
    let repository = match repository {
        Seen::Whole(repository) => repository,
        Seen::Unreadable { reason, .. } => return Err(StorageError::internal(reason.clone())),
    };
    let targets = targets(inspect, repository).await?;
    let subjects = if targets.iter().any(|target| subject_part(&target.tag).is_some()) {
        subjects(inspect, repository).await?
    } else {
        BTreeMap::new()
    };
    let mut states = Vec::with_capacity(targets.len());
    for target in targets {
        let times = times(storage, repository, &target).await?;
        let restored = times.is_restored_recently(retain.now);
        let TagTarget {
            tag, digest, version, ..
        } = target;
        let follows = subject_part(&tag).and_then(|subject| subjects.get(&subject).copied());
        let immutable = (retain.is_immutable)(repository, &tag);
        let state = TagState::new(tag, digest)
            .moved(times.pushed)
            .restored(restored)
            .immutable(immutable);
        states.push(state.follows(follows).version(version));
    }
    Ok(retain.rules.decide(repository, states, retain.now))
}

/// Times of a tag, with the manifest that it points at.
struct Times {
    /// Time of the last push, if it is known.
    pushed: Option<SystemTime>,
    /// Time of the restore, if the tag was restored and not pushed since.
    restored: Option<SystemTime>,
}

impl Times {
    /// Reads the times in the history of a tag, or returns those of the listing if the history ends with something else.
    fn of(target: &TagTarget, history: &[TagEvent]) -> Self {
        let of_target = |event: &&TagEvent| event.target == Some(target.digest);
        let listed = Self {
            pushed: target.moved,
            restored: None,
        };
        let Some(last) = history.last().filter(of_target) else {
            return listed;
        };
        match (last.put_again, last.restored) {
            (None, true) => Self {
                // A tag of registry:2, or one that was restored under another name, has no earlier push.
                pushed: history.iter().rev().filter(of_target).find_map(pushed),
                restored: last.at,
            },
            _ => Self {
                pushed: pushed(last).or(target.moved),
                restored: None,
            },
        }
    }

    fn is_restored_recently(&self, now: Option<SystemTime>) -> bool {
        let is_recent = |restored: SystemTime| {
            // Without a time, or with one before the restore, it is not known how long ago that was.
            let since = now.and_then(|now| now.duration_since(restored).ok());
            since.is_none_or(|since| since < RESTORED)
        };
        self.restored.is_some_and(is_recent)
    }
}

/// Returns the time of the last push in an event.
fn pushed(event: &TagEvent) -> Option<SystemTime> {
    match event.restored {
        true => event.put_again,
        false => event.put_again.or(event.at),
    }
}

async fn times(
    storage: &dyn Storage,
    repository: &RepositoryName,
    target: &TagTarget,
) -> Result<Times, StorageError> {
    let history = match storage.trash() {
        Some(trash) => trash.history(repository, &target.tag).await?,
        None => Vec::new(),
    };
    Ok(Times::of(target, &history))
}

/// Lists all tags of a repository.
pub(super) async fn targets(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
) -> Result<Vec<TagTarget>, StorageError> {
    let mut targets: Vec<TagTarget> = Vec::new();
    loop {
        let after = targets.last().map(|last| last.tag.clone());
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = inspect.tag_targets(repository, page).await?;
        for seen in listed.items {
            match seen {
                Seen::Whole(target) => targets.push(target),
                Seen::Unreadable { key, reason } => {
                    return Err(StorageError::internal(format!(
                        "cannot read the tag {key}: {reason}"
                    )));
                }
            }
        }
        if !listed.more {
            return Ok(targets);
        }
    }
}

/// Returns the manifests of a repository by the tags under which clients keep their referrers.
async fn subjects(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
) -> Result<BTreeMap<Tag, Digest>, StorageError> {
    let manifests = manifests(inspect, repository).await?;
    let digests = manifests.into_iter().map(|manifest| manifest.digest);
    Ok(digests
        .map(|digest| (Tag::of_referrers(&digest), digest))
        .collect())
}

/// Returns the part of a tag that names a subject: `sha256-<hex>` of `sha256-<hex>.sig`. Cosign keeps signatures,
/// attestations and SBOMs under such tags; an index of referrers has the tag without a suffix.
pub(super) fn subject_part(tag: &Tag) -> Option<Tag> {
    let part = tag
        .as_str()
        .split_once('.')
        .map_or(tag.as_str(), |(part, _)| part);
    let part = Tag::parse(part).ok()?;
    part.is_of_referrers().then_some(part)
}
