//! [`Run`]: one verification.

use super::{
    affected::Affected,
    contents::Contents,
    finding::{Finding, FindingKind, Repaired},
    options::{PAGE, VerifyOptions},
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError, StorageInspect, StorageRepair},
};
use std::{collections::BTreeMap, error::Error, fmt::Write as _, future::Future};

/// Number of corrupt items up to which repairs go on, if they are also at most 1 % of all.
const MAX_CORRUPT: u64 = 10;

/// Event of a verification.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum VerifyEvent<'a> {
    /// Some progress, with the counts so far.
    Progress(&'a VerifyReport),
    /// Damage was found.
    Finding(&'a Finding),
}

/// Report of [`verify`](super::verify).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Number of blobs whose content was read.
    pub blobs: u64,
    /// Number of bytes that were read of them.
    pub bytes: u64,
    /// Number of repositories.
    pub repositories: u64,
    /// Number of manifests of all repositories.
    pub manifests: u64,
    /// Number of tags of all repositories.
    pub tags: u64,
    /// Number of findings that are [not harmless](Finding::is_harmless), repaired or not.
    pub wrong: u64,
    /// Number of harmless findings.
    pub harmless: u64,
    /// Number of findings that were repaired.
    pub repaired: u64,
    /// True if too much was corrupt for repairs.
    pub stopped: bool,
    /// Number of findings of each kind that was found.
    pub kinds: BTreeMap<FindingKind, u64>,
}

impl VerifyReport {
    /// Returns the number of findings that are neither harmless nor repaired.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.wrong - self.repaired
    }
}

/// One verification.
pub(super) struct Run<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) inspect: &'a dyn StorageInspect,
    pub(super) repair: &'a dyn StorageRepair,
    pub(super) options: VerifyOptions<'a>,
    pub(super) contents: Contents,
    pub(super) report: VerifyReport,
    told: &'a mut (dyn FnMut(VerifyEvent<'_>) + Send),
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        storage: &'a dyn Storage,
        options: VerifyOptions<'a>,
        told: &'a mut (dyn FnMut(VerifyEvent<'_>) + Send),
    ) -> Result<Self, StorageError> {
        let (Some(inspect), Some(repair)) = (storage.inspect(), storage.repair()) else {
            return Err(StorageError::Unsupported("be verified"));
        };
        if options.repair && storage.write().is_none() {
            return Err(StorageError::ReadOnly);
        }
        Ok(Self {
            storage,
            inspect,
            repair,
            options,
            contents: Contents::default(),
            report: VerifyReport::default(),
            told,
        })
    }

    /// Returns what a walk through a repository may change.
    pub(super) fn position(&self) -> Position {
        Position {
            report: self.report.clone(),
            affected: self.contents.all_affected(),
        }
    }

    /// Forgets what has been counted since.
    pub(super) fn return_to(&mut self, position: Position) {
        self.report = position.report;
        self.contents.set_affected(position.affected);
    }

    /// Stops repairs if so much is corrupt that something else is at fault.
    fn stop_if_much_is_corrupt(&mut self) {
        let corrupt = self.contents.corrupt();
        let all = self.report.blobs.max(self.report.manifests);
        let is_much = corrupt > MAX_CORRUPT || corrupt > (all / 100).max(1);
        self.report.stopped |= self.options.repair && is_much && !self.options.force;
    }

    /// Compares all content with its digests, if that is wanted.
    pub(super) async fn read_contents(&mut self) -> Result<(), StorageError> {
        if !self.options.contents {
            for digest in self.options.suspects {
                let checked = self.repair.check(digest).await?;
                self.contents.add(*digest, checked);
            }
            return Ok(());
        }
        let mut pacer = self.options.pacer();
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.inspect.blobs(page).await?;
            for seen in &listed.items {
                let digest = match seen {
                    Seen::Whole(blob) => blob.digest,
                    Seen::Unreadable { key, .. } => *key,
                };
                let checked = self.repair.check(&digest).await?;
                self.report.blobs += 1;
                if let Some(size) = self.contents.add(digest, checked) {
                    self.report.bytes += size;
                    pacer.read(size).await;
                }
                self.progress();
                after = Some(digest);
            }
            if !listed.more {
                break;
            }
        }
        self.stop_if_much_is_corrupt();
        Ok(())
    }

    /// Reports the damage of content, and repairs it.
    pub(super) async fn report_contents(&mut self) {
        // Manifests may be found corrupt when they are read for what they name.
        self.stop_if_much_is_corrupt();
        for (mut finding, evidence) in std::mem::take(&mut self.contents).into_findings() {
            if let Some(evidence) = evidence {
                finding.repaired = self.repairs().attempt(self.repair.quarantine(evidence)).await;
            }
            self.found(&finding);
        }
    }

    /// Compares the number of manifests with the one that the last collection has left, as a collection does.
    pub(super) async fn compare_with_census(&mut self) -> Result<(), StorageError> {
        let Some(collect) = self.storage.collect() else {
            return Ok(());
        };
        let found = self.report.manifests;
        let expected = collect.expected_manifests().await?.unwrap_or(0);
        if found < expected.div_ceil(2) {
            let reason = format!("only {found} of {expected} expected manifests found");
            self.found(&Finding::new(FindingKind::Census, "all repositories", reason));
        }
        Ok(())
    }

    pub(super) const fn repairs(&self) -> Repairs {
        Repairs {
            wanted: self.options.repair,
            stopped: self.report.stopped,
        }
    }

    pub(super) fn unreadable_repository(&mut self, name: &RepositoryName, reason: String) {
        let finding = Finding {
            repository: Some(name.clone()),
            ..Finding::new(FindingKind::Unreadable, name.to_string(), reason)
        };
        self.found(&finding);
    }

    pub(super) fn found(&mut self, finding: &Finding) {
        let count = if finding.is_harmless() {
            &mut self.report.harmless
        } else {
            &mut self.report.wrong
        };
        *count += 1;
        if finding.repaired == Repaired::Done {
            self.report.repaired += 1;
        }
        *self.report.kinds.entry(finding.kind).or_default() += 1;
        (self.told)(VerifyEvent::Finding(finding));
    }

    pub(super) fn progress(&mut self) {
        (self.told)(VerifyEvent::Progress(&self.report));
    }
}

/// Counts from before a walk through a repository.
pub(super) struct Position {
    report: VerifyReport,
    affected: BTreeMap<Digest, Affected>,
}

/// Decision about repairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repairs {
    wanted: bool,
    stopped: bool,
}

impl Repairs {
    /// Runs a repair if it is wanted.
    pub(super) async fn attempt(self, repair: impl Future<Output = Result<bool, StorageError>>) -> Repaired {
        match self {
            Self { wanted: false, .. } => Repaired::NotTried,
            Self { stopped: true, .. } => Repaired::Stopped,
            _ => match repair.await {
                Ok(true) => Repaired::Done,
                Ok(false) => Repaired::TooLate,
                Err(error) => Repaired::Failed(with_causes(&error)),
            },
        }
    }
}

/// Returns the text of an error with those of its causes.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
