//! `registry retention run`: drops the tags that rules of retention drop, beside traffic.

use super::{
    holding::Holding,
    operation::{Access, BoxError, Interrupted, Items, Operation, Operator},
};
use crate::{config::retention_rules, printable};
use registry_core::{
    RepositoryName, Tag,
    maintenance::{
        Distrust,
        retention::{Decision, Failure, Retain, Retained, Rules, survey},
    },
    storage::Terms,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    future::Future,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Applies rules of retention, or reports what they would drop.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ApplyRules {
    /// Contents of the file of rules. A server may not be able to read the file, and may have other rules.
    pub(crate) rules: String,
    /// Path of the file, for messages.
    pub(crate) file: String,
    pub(crate) dry_run: bool,
    /// True to drop tags even if they are more than half of the tags of a rule.
    pub(crate) force: bool,
}

/// Line of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RetentionItem {
    /// A tag that a run would drop.
    Tag(DecisionItem),
    /// A repository or a tag that stays because of a failure.
    Failure(FailureItem),
    /// Result.
    Report(RetentionSummary),
}

/// A tag, with the rule that keeps or drops it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct DecisionItem {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
    /// Time at which the tag was moved, in seconds since 1970.
    pub(crate) moved: Option<u64>,
    pub(crate) action: TagAction,
    /// Number of the rule, counted from 1.
    pub(crate) rule: Option<usize>,
    /// Place where the rule is written.
    pub(crate) origin: Option<String>,
    pub(crate) reason: String,
}

/// A repository in which nothing is dropped, or a tag that stays, because of a failure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct FailureItem {
    pub(crate) repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Reason of the failure.
    pub(crate) error: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TagAction {
    Keep,
    Drop,
}

/// Counts of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct RetentionSummary {
    pub(crate) dry_run: bool,
    /// Number of tags that were dropped.
    pub(crate) tags: u64,
    /// Number of manifests that went with their last tags.
    pub(crate) manifests: u64,
    /// Number of manifests that have lost their last tag, and stay.
    pub(crate) left: u64,
    /// Number of tags and repositories that could not be dropped or read.
    pub(crate) failed: u64,
    /// Rule that would drop too much, so that nothing is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) excessive: Option<Excess>,
    /// Reason for which no tag was too old, although rules depend on ages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ages_ignored: Option<String>,
}

/// Rule that would drop more than half of its tags.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Excess {
    pub(crate) rule: String,
    pub(crate) drops: u64,
    pub(crate) keeps: u64,
}

impl Operation for ApplyRules {
    const NAME: &'static str = "retain";
    type Item = RetentionItem;

    /// A dry run needs a storage that collects, which tells how many manifests go.
    fn access(&self) -> Access {
        if self.dry_run {
            Access::Preview
        } else {
            Access::Own
        }
    }

    async fn run(self, operator: Operator, items: Items<RetentionItem>) -> Result<(), BoxError> {
        if !self.dry_run {
            operator.require_no_hold()?;
        }
        let rules = retention_rules(&self.rules, Path::new(&self.file)).map_err(|error| error.to_string())?;
        let is_immutable = |repository: &RepositoryName, _: &Tag| operator.immutable().contains(repository);
        let now = operator.clock().now();
        let retain = Retain::new(&rules, now.ok())
            .immutable(&is_immutable)
            .force(self.force)
            .dry_run(self.dry_run)
            .terms(terms(&operator));
        if self.dry_run {
            for tag in until_closed(&items, dropped(&operator, &retain, &rules)).await?? {
                items.send(RetentionItem::Tag(tag)).await?;
            }
        }
        // A collection that nobody has asked for ends for this run.
        let collections = operator.holding().map(Holding::collections);
        let _paused = match collections.filter(|_| !self.dry_run) {
            Some(collections) => Some(collections.pause().await),
            None => None,
        };
        let report = until_closed(&items, operator.registry.retain(&retain)).await??;
        for failure in report.all_failures() {
            items
                .send(RetentionItem::Failure(FailureItem::of(failure)))
                .await?;
        }
        let summary = RetentionSummary {
            dry_run: self.dry_run,
            ages_ignored: ages_ignored(&rules, now),
            ..RetentionSummary::of(&report, &rules)
        };
        Ok(items.send(RetentionItem::Report(summary)).await?)
    }
}

/// Returns the reason for which no tag is too old, if some rule depends on ages.
pub(crate) fn ages_ignored(rules: &Rules, now: Result<SystemTime, Distrust>) -> Option<String> {
    let distrust = now.err().filter(|_| rules.depend_on_age())?;
    Some(distrust.to_string())
}

/// Returns the terms of a collection that somebody asks for.
fn terms(operator: &Operator) -> Terms {
    let terms = Terms::new().with_released(true);
    match operator.grace() {
        Some(grace) => terms.with_grace(grace),
        None => terms,
    }
}

/// Returns the tags that the rules drop.
async fn dropped(
    operator: &Operator,
    retain: &Retain<'_>,
    rules: &Rules,
) -> Result<Vec<DecisionItem>, BoxError> {
    let mut tags = Vec::new();
    let mut tell = |repository: &RepositoryName, decision: &Decision| {
        if decision.verdict.drops() {
            tags.push(DecisionItem::of(rules, repository, decision));
        }
    };
    survey(&**operator.registry.storage(), retain, &mut tell).await?;
    Ok(tags)
}

/// Waits for work that sends no items, unless nobody receives items any more.
async fn until_closed<T, R>(items: &Items<T>, work: impl Future<Output = R>) -> Result<R, Interrupted> {
    tokio::select! {
        result = work => Ok(result),
        interrupted = items.closed() => Err(interrupted),
    }
}

impl DecisionItem {
    pub(crate) fn of(rules: &Rules, repository: &RepositoryName, decision: &Decision) -> Self {
        let Decision {
            state, rule, verdict, ..
        } = decision;
        let moved = state.moved;
        let moved = moved.and_then(|moved| moved.duration_since(UNIX_EPOCH).ok());
        let origin = rule.and_then(|rule| rules.rules().get(rule)?.origin());
        Self {
            repository: repository.to_string(),
            tag: state.tag.to_string(),
            digest: state.digest.to_string(),
            moved: moved.map(|moved| moved.as_secs()),
            action: match verdict.drops() {
                true => TagAction::Drop,
                false => TagAction::Keep,
            },
            rule: rule.map(|rule| rule + 1),
            origin: origin.map(str::to_owned),
            reason: verdict.to_string(),
        }
    }
}

impl FailureItem {
    pub(crate) fn of(failure: &Failure) -> Self {
        Self {
            repository: failure.repository.to_string(),
            tag: failure.tag.as_ref().map(ToString::to_string),
            error: failure.reason.clone(),
        }
    }
}

/// Shows the failure as in `team/app:v1: REASON; it stays`.
impl fmt::Display for FailureItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            repository,
            tag,
            error,
        } = self;
        match tag {
            Some(tag) => write!(f, "{repository}:{tag}: {}; the tag stays", printable::Line(error)),
            None => write!(f, "{repository}: {}; its tags stay", printable::Line(error)),
        }
    }
}

impl RetentionSummary {
    fn of(report: &Retained, rules: &Rules) -> Self {
        let excessive = report.excessive.map(|index| {
            let counts = report.survey.rules.get(index).copied().unwrap_or_default();
            Excess {
                rule: rules.describe(index),
                drops: counts.dropped,
                keeps: counts.kept,
            }
        });
        Self {
            dry_run: false,
            tags: report.tags,
            manifests: report.manifests,
            left: report.left,
            failed: report.all_failures().count() as u64,
            excessive,
            ages_ignored: None,
        }
    }
}
