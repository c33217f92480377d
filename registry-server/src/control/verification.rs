//! `registry verify`: verifies everything stored, and repairs it if asked to.

use super::operation::{Access, BoxError, Items, Operation, Operator};
use registry_core::maintenance::{Finding, VerifyEvent, VerifyOptions, VerifyReport};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Interval at which the progress is told.
const TOLD: Duration = Duration::from_millis(200);

/// Verifies everything stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Verify {
    /// True to repair what can be repaired.
    pub(crate) repair: bool,
    /// True to repair however much is corrupt.
    pub(crate) force: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum VerifyItem {
    /// The counts so far.
    Progress(VerifySummary),
    Finding(FindingItem),
    /// The counts at the end.
    Summary(VerifySummary),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct FindingItem {
    pub(crate) kind: String,
    /// True if nothing is wrong.
    pub(crate) harmless: bool,
    pub(crate) place: String,
    pub(crate) reason: String,
    pub(crate) repository: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) affected: AffectedImages,
    pub(crate) remedy: String,
    pub(crate) repair: String,
    /// All of this for people.
    pub(crate) text: String,
}

/// Images that cannot be pulled because of a finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct AffectedImages {
    /// Some of the tags.
    pub(crate) tags: Vec<String>,
    pub(crate) tag_count: u64,
    pub(crate) manifest_count: u64,
}

/// Counts of a verification.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct VerifySummary {
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) repositories: u64,
    pub(crate) manifests: u64,
    pub(crate) tags: u64,
    pub(crate) wrong: u64,
    pub(crate) harmless: u64,
    pub(crate) repaired: u64,
    /// True if too much was corrupt for a repair.
    pub(crate) stopped: bool,
    /// Number of findings of each kind.
    pub(crate) kinds: BTreeMap<String, u64>,
}

impl Operation for Verify {
    const NAME: &'static str = "verify";
    type Item = VerifyItem;

    fn access(&self) -> Access {
        if self.repair { Access::Own } else { Access::Read }
    }

    async fn run(self, operator: Operator, items: Items<VerifyItem>) -> Result<(), BoxError> {
        let (queue, mut queued) = unbounded_channel();
        let mut told = Teller {
            queue,
            last: Instant::now(),
        };
        let mut tell = |event: VerifyEvent<'_>| told.tell(event);
        let options = VerifyOptions::new().repair(self.repair).force(self.force);
        let mut verifying = pin!(operator.registry.verify(options, &mut tell));
        let report = loop {
            tokio::select! {
                // Nothing more is verified while items wait for a slow receiver.
                biased;
                Some(item) = queued.recv() => items.send(item).await?,
                report = &mut verifying => break report?,
            }
        };
        while let Ok(item) = queued.try_recv() {
            items.send(item).await?;
        }
        Ok(items
            .send(VerifyItem::Summary(VerifySummary::of(&report)))
            .await?)
    }
}

/// Turns events into items.
struct Teller {
    queue: UnboundedSender<VerifyItem>,
    /// Time at which the progress was told.
    last: Instant,
}

impl Teller {
    fn tell(&mut self, event: VerifyEvent<'_>) {
        let item = match event {
            VerifyEvent::Finding(finding) => VerifyItem::Finding(FindingItem::of(finding)),
            VerifyEvent::Progress(report) if self.last.elapsed() >= TOLD => {
                self.last = Instant::now();
                VerifyItem::Progress(VerifySummary::of(report))
            }
            _ => return,
        };
        // The receiver lives as long as the verification.
        _ = self.queue.send(item);
    }
}

impl FindingItem {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind.name().to_owned(),
            harmless: finding.is_harmless(),
            place: finding.place.clone(),
            reason: finding.reason.clone(),
            repository: finding.repository.as_ref().map(ToString::to_string),
            digest: finding.digest.map(|digest| digest.to_string()),
            tag: finding.tag.as_ref().map(ToString::to_string),
            affected: AffectedImages {
                tags: finding.affected.tags.clone(),
                tag_count: finding.affected.tag_count,
                manifest_count: finding.affected.manifest_count,
            },
            remedy: finding.remedy.name().to_owned(),
            repair: finding.repaired.name().to_owned(),
            text: finding.to_string(),
        }
    }
}

impl VerifySummary {
    fn of(report: &VerifyReport) -> Self {
        let kinds = report.kinds.iter();
        Self {
            blobs: report.blobs,
            bytes: report.bytes,
            repositories: report.repositories,
            manifests: report.manifests,
            tags: report.tags,
            wrong: report.wrong,
            harmless: report.harmless,
            repaired: report.repaired,
            stopped: report.stopped,
            kinds: kinds
                .map(|(kind, count)| (kind.name().to_owned(), *count))
                .collect(),
        }
    }
}
