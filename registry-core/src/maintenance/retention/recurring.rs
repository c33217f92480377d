//! [`Recurring`]: rules of retention that are applied periodically.

use super::{
    decide::Decision,
    failure::Failure,
    retained::Retained,
    rule::Rules,
    survey::{Retain, survey},
};
use crate::{
    digest::{Algorithm, Digest},
    maintenance::{clock::Clock, clock_note::NotedClock, clock_watch::Distrust, notes::Notes},
    name::RepositoryName,
    reference::Tag,
    service::Registry,
    storage::{StorageError, Terms},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

/// Name of the note.
const NOTE: &str = "retention";
/// Interval at which the rules are compared with those of the last run.
const TICK: Duration = Duration::from_secs(60 * 60);
/// Time after which a run is tried again that a collection prevented.
const RETRY: Duration = Duration::from_secs(10 * 60);
/// Maximum number of tags that a dry run logs. `registry retention explain` has them all.
const LOGGED: u64 = 100;

/// Function that returns the rules in force.
type RulesNow = dyn Fn() -> Arc<Rules> + Send + Sync;
/// Function that returns true if nobody may overwrite a tag.
type IsImmutable = dyn Fn(&RepositoryName, &Tag) -> bool + Send + Sync;

/// Rules of retention that are applied periodically.
///
/// - The first run of changed rules is a dry run: it writes to the log which tags the next run drops. That run follows
///   after the interval.
/// - A run that would drop more than half of the tags of a rule drops none, and says so.
/// - A run that a collection prevents is tried again soon.
/// - No tag is too old while the clock of the host is not [trusted](crate::maintenance::ClockWatch).
pub struct Recurring<'a> {
    registry: &'a Registry,
    rules: &'a RulesNow,
    is_immutable: &'a IsImmutable,
    notes: &'a dyn Notes,
    interval: Duration,
    grace: Duration,
}

/// Content of the note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    /// Digest of the rules that had their dry run.
    tried: Option<String>,
}

impl Note {
    /// Reads a note. What it lacks, or has in another form, counts as absent.
    fn parse(note: &[u8]) -> serde_json::Result<Self> {
        let note: Value = serde_json::from_slice(note)?;
        Ok(Self {
            tried: note.get("tried").and_then(Value::as_str).map(str::to_owned),
        })
    }

    fn to_bytes(&self) -> Bytes {
        json!({"tried": self.tried}).to_string().into()
    }
}

impl<'a> Recurring<'a> {
    /// Applies the rules that `rules` returns, once a day.
    #[must_use]
    pub fn new(registry: &'a Registry, rules: &'a RulesNow, notes: &'a dyn Notes) -> Self {
        Self {
            registry,
            rules,
            is_immutable: &|_, _| false,
            notes,
            interval: Duration::from_secs(24 * 60 * 60),
            grace: Duration::ZERO,
        }
    }

    /// Sets which tags nobody may overwrite. By default everybody may overwrite every tag.
    #[must_use]
    pub fn immutable(self, is_immutable: &'a IsImmutable) -> Self {
        Self { is_immutable, ..self }
    }

    /// Sets the interval between two runs, which is at least a second.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        let interval = interval.max(Duration::from_secs(1));
        Self { interval, ..self }
    }

    /// Sets the grace period of manifests that have lost their last tag. By default there is none.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Works at once and then periodically, as long as it is polled. Failures are logged, and tried again.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future stops between two steps. The next one goes on from the notes.
    pub async fn run(&self, clock: &dyn Clock) -> Infallible {
        let mut note = self.note().await;
        let mut watch = NotedClock::start(clock, self.notes).await;
        let mut told = None;
        let mut left = Duration::ZERO;
        loop {
            let now = watch.now(clock).await;
            warn_of_clock(&mut told, now.err());
            let rules = (self.rules)();
            let fingerprint = fingerprint(&rules);
            let retain = Retain::new(&rules, now.ok())
                .immutable(self.is_immutable)
                .terms(Terms::new().with_grace(self.grace));
            if note.tried.as_ref() != Some(&fingerprint) {
                if self.try_out(&retain, &rules).await {
                    note.tried = Some(fingerprint);
                }
                left = self.interval;
            } else if left.is_zero() {
                let retained = self.registry.retain(&retain).await;
                log(&retained, &rules);
                left = match retained {
                    Err(StorageError::Busy { .. }) => self.interval.min(RETRY),
                    _ => self.interval,
                };
            }
            self.keep(&note).await;
            let wait = left.min(TICK);
            clock.sleep(wait).await;
            left -= wait;
        }
    }

    async fn note(&self) -> Note {
        match self.notes.note(NOTE).await {
            Ok(Some(note)) => Note::parse(&note).unwrap_or_else(|error| {
                tracing::warn!(%error, "the note about the last run of retention is malformed; the next run is a dry run");
                Note::default()
            }),
            Ok(None) => Note::default(),
            Err(error) => {
                tracing::warn!(%error, "cannot read the note about the last run of retention; the next run is a dry run");
                Note::default()
            }
        }
    }

    async fn keep(&self, note: &Note) {
        if let Err(error) = self.notes.set_note(NOTE, note.to_bytes()).await {
            tracing::warn!(%error, "cannot write the note about the last run of retention; after a restart, the next run is a dry run");
        }
    }

    /// Logs which tags a run would drop. Returns false if that is not known.
    async fn try_out(&self, retain: &Retain<'_>, rules: &Rules) -> bool {
        let mut shown = 0;
        let mut told = |repository: &RepositoryName, decision: &Decision| {
            if decision.verdict.drops() && shown < LOGGED {
                shown += 1;
                let (tag, verdict) = (&decision.state.tag, &decision.verdict);
                let rule = decision.rule.map(|rule| rule + 1);
                tracing::info!(%repository, %tag, rule, reason = %verdict, "the next run of retention drops a tag");
            }
        };
        match survey(&**self.registry.storage(), retain, &mut told).await {
            Ok(survey) => {
                survey.failures.iter().for_each(Failure::log);
                let (tags, failed) = (survey.dropped(), survey.failures.len());
                let wait = self.interval;
                tracing::info!(
                    tags,
                    failed,
                    ?wait,
                    "the rules of retention are new or changed: this was a dry run, and nothing was dropped"
                );
                if let Some(rule) = survey.excessive() {
                    tracing::warn!(
                        rule = rules.describe(rule),
                        "the rule drops more than half of its tags, so the next run will drop none"
                    );
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot apply the rules of retention");
                false
            }
        }
    }
}

impl fmt::Debug for Recurring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recurring")
            .field("registry", &self.registry)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Logs a change of the trust in the clock.
fn warn_of_clock(told: &mut Option<Distrust>, now: Option<Distrust>) {
    if *told == now {
        return;
    }
    match now {
        Some(why) => tracing::warn!("rules of retention drop no tag because of its age: {why}"),
        None => tracing::info!("rules of retention drop tags because of their age again"),
    }
    *told = now;
}

fn log(retained: &Result<Retained, StorageError>, rules: &Rules) {
    if let Ok(report) = retained {
        report.all_failures().for_each(Failure::log);
    }
    match retained {
        Ok(Retained {
            excessive: Some(rule),
            survey,
            ..
        }) => {
            let counts = survey.rules.get(*rule).copied().unwrap_or_default();
            let (drops, keeps) = (counts.dropped, counts.kept);
            tracing::warn!(
                rule = rules.describe(*rule),
                drops,
                keeps,
                "retention has dropped nothing: the rule would drop more than half of its tags; look at `registry retention explain`, and run `registry retention run --force` if that is intended, for example because all its tags have expired"
            );
        }
        Ok(report) => {
            let (tags, manifests) = (report.tags, report.manifests);
            let (left, failed) = (report.left, report.all_failures().count());
            tracing::info!(
                tags,
                manifests,
                left,
                failed,
                "the rules of retention were applied"
            );
        }
        Err(error @ StorageError::Busy { .. }) => {
            tracing::info!(%error, "the rules of retention are applied once no collection runs and none is held");
        }
        Err(error) => tracing::warn!(%error, "cannot apply the rules of retention"),
    }
}

/// Identifies rules by what they decide, wherever they are written.
fn fingerprint(rules: &Rules) -> String {
    let texts: Vec<String> = rules.rules().iter().map(ToString::to_string).collect();
    Digest::of(Algorithm::Sha256, texts.join("\n").as_bytes()).to_string()
}
