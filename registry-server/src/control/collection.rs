//! `registry garbage-collect`: removes content that nothing refers to, beside traffic.

use super::{
    holding::Holding,
    operation::{Access, BoxError, Items, Operation, Operator},
};
use registry_axum::TokioClock;
use registry_core::{
    maintenance::{Clock as _, CollectEvent, CollectOptions, CollectReport, Pin, PinCause, Stopped, collect},
    storage::{Reclaimed, StorageError, Victim},
};
use serde::{Deserialize, Serialize};
use std::{pin::pin, time::Duration};
use tokio::sync::mpsc::unbounded_channel;

/// Time after an upload request for which links stay, unless the grace period is shorter.
const UPLOADING: Duration = Duration::from_secs(60 * 60);

/// Removes content that nothing refers to, or reports it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Collect {
    pub(crate) dry_run: bool,
    /// True to remove manifests without a tag, too.
    pub(crate) untagged: bool,
    /// True to keep what was deleted and can still be restored.
    pub(crate) keep_trash: bool,
    /// True to go on although much is missing.
    pub(crate) force: bool,
}

/// Line of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CollectItem {
    /// A repository is looked at.
    Repository { name: String, manifests: u64 },
    /// Nothing refers to an item.
    Item(Collected),
    /// Something cannot be read, and keeps what it may refer to.
    Pin(String),
    /// All removals are announced to the other replicas, and begin after this number of seconds.
    Announced { seconds: u64 },
    /// Result.
    Report(Summary),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Collected {
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    pub(crate) why: String,
    pub(crate) result: Outcome,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Manifest,
    Link,
    Data,
    Repository,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It was removed, which frees this number of bytes.
    Removed(u64),
    /// A run that is not a dry run removes it.
    WouldRemove(u64),
    /// It is due after this number of seconds.
    Later(u64),
    InUse,
    Failed(String),
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Summary {
    pub(crate) dry_run: bool,
    pub(crate) manifests: u64,
    pub(crate) links: u64,
    pub(crate) data: u64,
    pub(crate) repositories: u64,
    /// Number of bytes that were freed.
    pub(crate) bytes: u64,
    pub(crate) in_use: u64,
    pub(crate) later: Due,
    /// Number of tags that can no longer be restored.
    pub(crate) forgotten_tags: u64,
    /// Content that stays because its deletion can be undone.
    #[serde(default)]
    pub(crate) restorable: Restorable,
    /// Manifests that stay only because those without a tag do.
    pub(crate) untagged: u64,
    pub(crate) untagged_bytes: u64,
    /// Items that cannot be read, and what only they may refer to.
    pub(crate) pinned: u64,
    pub(crate) pinned_bytes: u64,
    /// Reason for which the run ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<String>,
}

/// Content that stays because its deletion can be undone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Restorable {
    pub(crate) tags: u64,
    pub(crate) manifests: u64,
    pub(crate) bytes: u64,
}

/// Items that are due later.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Due {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Seconds until the last of them is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
}

impl Operation for Collect {
    const NAME: &'static str = "collect";
    type Item = CollectItem;

    /// A dry run needs the server, if there is one, which knows what was used recently.
    fn access(&self) -> Access {
        if self.dry_run {
            Access::Preview
        } else {
            Access::Own
        }
    }

    async fn run(self, operator: Operator, items: Items<CollectItem>) -> Result<(), BoxError> {
        if !self.dry_run {
            operator.require_no_hold()?;
        }
        let options = CollectOptions::new()
            .dry_run(self.dry_run)
            .untagged(self.untagged)
            .empty_trash(!self.keep_trash)
            .force(self.force);
        let options = match (operator.grace(), operator.holding()) {
            (Some(grace), Some(_)) => options.grace(grace),
            // Other replicas may have clients.
            (Some(grace), None) => options.grace(grace).uploading(grace.min(UPLOADING)),
            // Nobody pushes meanwhile.
            (None, _) => options.grace(Duration::ZERO).uploading(Duration::ZERO),
        };
        let collections = operator.holding().map(Holding::collections);
        let _paused = match collections {
            Some(collections) => Some(collections.pause().await),
            None => None,
        };
        let (queue, mut events) = unbounded_channel();
        // A receiver that is gone is noticed when its items are sent.
        let is_dry = self.dry_run;
        let told =
            move |event: &CollectEvent<'_>| _ = CollectItem::of(event, is_dry).map(|item| queue.send(item));
        let storage = operator.registry.storage();
        let mut collecting = pin!(collect(&**storage, &options, &TokioClock, &told));
        // A slow receiver stops the run until it has taken the items, so that few of them wait.
        let report = loop {
            tokio::select! {
                biased;
                Some(item) = events.recv() => items.send(item).await?,
                report = &mut collecting => break report?,
            }
        };
        while let Ok(item) = events.try_recv() {
            items.send(item).await?;
        }
        if let Some(collections) = collections.filter(|_| !self.dry_run) {
            collections.add(&report, TokioClock.now());
        }
        Ok(items.send(CollectItem::Report(Summary::of(&report))).await?)
    }
}

impl CollectItem {
    fn of(event: &CollectEvent<'_>, is_dry: bool) -> Option<Self> {
        Some(match event {
            CollectEvent::Repository { name, manifests, .. } => Self::Repository {
                name: name.to_string(),
                manifests: *manifests,
            },
            CollectEvent::Pin(pin) => Self::Pin(with_advice(pin)),
            CollectEvent::Announced { wait, .. } => Self::Announced {
                seconds: wait.as_secs(),
            },
            CollectEvent::Item {
                victim, why, result, ..
            } => Self::Item(Collected::of(victim, why.to_string(), result, is_dry)?),
            _ => return None,
        })
    }
}

/// Describes something that cannot be read, with the command that helps.
fn with_advice(pin: &Pin) -> String {
    let repository = &pin.repository;
    let advice = match &pin.cause {
        _ if pin.is_denied() => "check its owner and its permissions".to_owned(),
        PinCause::Damage(digest) | PinCause::Bytes(digest) => {
            format!("push it again, or remove it with `registry rm {repository}@{digest}`")
        }
        PinCause::Record(digest) => format!(
            "`registry verify --repair` writes it again if its content is whole; otherwise push it again, or remove it with `registry rm {repository}@{digest}`"
        ),
        PinCause::Tag(tag) => {
            format!("push it again, or remove it with `registry rm {repository}:{tag}`")
        }
        PinCause::LostTag(tag) => format!(
            "`registry verify --repair` puts it back if its manifest is whole; otherwise push it again; `registry rm {repository}:{tag}` accepts the loss, `registry rm --lost` that of all lost tags"
        ),
        PinCause::Link(_) => "`registry verify --repair` writes it again".to_owned(),
        _ => "check the disk".to_owned(),
    };
    format!("{pin}; {advice}")
}

/// Describes why a run ended early, with what helps.
fn stopped(stopped: &Stopped) -> String {
    match stopped {
        Stopped::Failed(StorageError::Unavailable { .. }) => format!(
            "{stopped}; without a complete view nothing more is removed, in no repository. Run it again: it goes on with what this run has announced"
        ),
        Stopped::Failed(_) => format!(
            "{stopped}; without a complete view nothing more is removed, in no repository: mend that path, its owner or its permissions, or move it away. `registry verify` lists everything that cannot be read"
        ),
        _ => stopped.to_string(),
    }
}

impl Collected {
    fn of(victim: &Victim, why: String, result: &Reclaimed, is_dry: bool) -> Option<Self> {
        let (kind, repository, digest) = match victim {
            Victim::Manifest(repository, digest) => (Kind::Manifest, Some(repository), Some(digest)),
            Victim::Link(repository, digest) => (Kind::Link, Some(repository), Some(digest)),
            Victim::Data(digest) => (Kind::Data, None, Some(digest)),
            Victim::Repository(repository) => (Kind::Repository, Some(repository), None),
        };
        let result = match result {
            Reclaimed::Removed { bytes, .. } if is_dry => Outcome::WouldRemove(*bytes),
            Reclaimed::Removed { bytes, .. } => Outcome::Removed(*bytes),
            Reclaimed::Later(after) => Outcome::Later(after.as_secs()),
            Reclaimed::InUse => Outcome::InUse,
            Reclaimed::Failed(error) => Outcome::Failed(crate::causes::with_causes(error)),
            // Something else has removed it.
            _ => return None,
        };
        Some(Self {
            kind,
            repository: repository.map(ToString::to_string),
            digest: digest.map(ToString::to_string),
            why,
            result,
        })
    }
}

impl Summary {
    fn of(report: &CollectReport) -> Self {
        Self {
            dry_run: report.dry_run,
            manifests: report.removed.manifests,
            links: report.removed.links,
            data: report.removed.data,
            repositories: report.removed.repositories,
            bytes: report.removed.bytes,
            in_use: report.in_use,
            later: Due {
                items: report.later.items,
                bytes: report.later.bytes,
                seconds: report.later.last.map(|last| last.as_secs()),
            },
            forgotten_tags: report.forgotten_tags,
            restorable: Restorable {
                tags: report.restorable.tags,
                manifests: report.restorable.manifests,
                bytes: report.restorable.bytes,
            },
            untagged: report.untagged,
            untagged_bytes: report.untagged_bytes,
            pinned: report.pinned,
            pinned_bytes: report.pinned_bytes,
            stopped: report.stopped.as_ref().map(stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::TrustedClock,
        control::{
            hold::{Hold, HoldItem},
            holding::Holding,
            operation::collected,
        },
    };
    use registry_core::{
        Registry,
        maintenance::{Collections, MemoryNotes},
        storage::{MemoryStorage, Terms},
    };
    use tokio::time::sleep;

    const GRACE: Duration = Duration::from_secs(48 * 60 * 60);
    const ALL: Collect = Collect {
        dry_run: false,
        untagged: false,
        keep_trash: false,
        force: false,
    };

    /// Returns the operator of a storage with a blob that no manifest names.
    async fn alone(storage: &MemoryStorage) -> Operator {
        let registry = Registry::builder(storage.clone()).build();
        let repository = registry.repository("team/app").unwrap();
        repository.push_blob("content", None).await.unwrap();
        let clock = TrustedClock::start(&MemoryNotes::default()).await;
        Operator::new(registry, 0, clock)
    }

    fn on_server(operator: Operator) -> Operator {
        operator.on_server(None, Holding::of(Collections::default(), GRACE))
    }

    fn summary(items: &[CollectItem]) -> &Summary {
        match items.last() {
            Some(CollectItem::Report(summary)) => summary,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_run_tells_its_items_and_its_result() {
        let operator = alone(&MemoryStorage::new()).await;

        let preview = collected(Collect { dry_run: true, ..ALL }, &operator)
            .await
            .unwrap();
        let items = collected(ALL, &operator).await.unwrap();
        let again = collected(ALL, &operator).await.unwrap();

        let data = |items: &[CollectItem]| {
            let mut data = items.iter().filter_map(|item| match item {
                CollectItem::Item(item) if item.kind == Kind::Data => Some(item.clone()),
                _ => None,
            });
            data.next()
        };
        for (items, dry_run) in [(&preview, true), (&items, false)] {
            assert_eq!((summary(items).bytes, summary(items).dry_run), (7, dry_run));
            let data = data(items).unwrap();
            let expected = match dry_run {
                true => Outcome::WouldRemove(7),
                false => Outcome::Removed(7),
            };
            assert_eq!(data.result, expected);
            assert!(!data.why.is_empty());
        }
        assert_eq!(summary(&again).bytes, 0);
    }

    #[tokio::test]
    async fn beside_a_server_content_that_was_just_pushed_is_due_later() {
        let operator = on_server(alone(&MemoryStorage::new()).await);

        let items = collected(ALL, &operator).await.unwrap();

        let summary = summary(&items);
        assert_eq!((summary.bytes, summary.data), (0, 0));
        assert!(
            summary.later.seconds.is_some_and(|seconds| seconds > 47 * 3600),
            "{summary:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_prevents_every_run_until_it_ends() {
        let storage = MemoryStorage::new();
        let operator = on_server(alone(&storage).await);
        let begin = async || {
            let collect = registry_core::Storage::collect(&storage).unwrap();
            collect.begin(Terms::new()).await.map(drop)
        };

        let held = collected(Hold { seconds: 3600 }, &operator).await.unwrap();

        assert!(matches!(held.first(), Some(HoldItem::Held { .. })), "{held:?}");
        let refused = collected(ALL, &operator).await.unwrap_err();
        assert!(refused.contains("--hold 0"), "{refused}");
        assert!(matches!(begin().await, Err(StorageError::Busy { .. })));
        sleep(Duration::from_secs(3601)).await;
        begin().await.unwrap();
        collected(ALL, &operator).await.unwrap();

        // A second one takes the place of the first, and 0 ends it.
        collected(Hold { seconds: 3600 }, &operator).await.unwrap();
        collected(Hold { seconds: 7200 }, &operator).await.unwrap();
        collected(Hold { seconds: 0 }, &operator).await.unwrap();
        begin().await.unwrap();
    }

    #[test]
    fn a_run_that_ended_early_says_what_helps() {
        let away = StorageError::unavailable("the store is away", None, None);
        let broken = StorageError::internal("broken");
        for (error, advice) in [(away, "Run it again"), (broken, "mend that path")] {
            let said = stopped(&Stopped::Failed(error));
            assert!(said.contains(advice), "{said}");
        }
    }
}
