//! Counts of a run, and what it has to reach: a run in which nothing happened proves nothing.

use std::{collections::BTreeMap, time::Duration};

use super::{operator::Operator, points::POINTS};
use crate::soak::worker::{Operation, Progress};

/// A failure that the test causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// A replica is killed.
    Kill,
    /// A replica is ended as operators do.
    Restart,
    /// A replica is stopped where it is, and continues later.
    Pause,
    /// The network between a replica and the store is cut.
    Cut,
    /// Some answers of the store to a replica are lost, or are errors.
    LostAnswers,
    StoreKill,
    StorePause,
    /// A request is held at a named point, and its replica goes on.
    HeldAlone,
    /// A request is held at a named point, and its replica is killed.
    HeldKill,
    /// A request is held at a named point, and its replica is stopped.
    HeldPause,
    /// A collection, verification or run of retention is killed.
    CommandKill,
}

const FAILURES: [Failure; 11] = [
    Failure::Kill,
    Failure::Restart,
    Failure::Pause,
    Failure::Cut,
    Failure::LostAnswers,
    Failure::StoreKill,
    Failure::StorePause,
    Failure::HeldAlone,
    Failure::HeldKill,
    Failure::HeldPause,
    Failure::CommandKill,
];

const OPERATIONS: [Operation; 15] = [
    Operation::PushImage,
    Operation::MountImage,
    Operation::PushBuild,
    Operation::PushIndex,
    Operation::PushReferrer,
    Operation::MoveTag,
    Operation::DeleteTag,
    Operation::DeleteManifest,
    Operation::DeleteBlob,
    Operation::Restore,
    Operation::Pull,
    Operation::PutShared,
    Operation::ReadShared,
    Operation::DeleteShared,
    Operation::PushChunks,
];

/// Load from which on everything has to happen, and most of the named points have to be reached.
const LONG: Duration = Duration::from_secs(240);

/// Load from which on each kind of command has to end, and not only to begin.
const ENDS: Duration = Duration::from_secs(1800);

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Time for which there was a load.
    pub(super) load: Duration,
    pub(super) rounds: u64,
    pub(super) failures: BTreeMap<Failure, u64>,
    /// Requests that were held, by the names of the points.
    pub(super) held: BTreeMap<&'static str, u64>,
    /// Operations that were acknowledged.
    pub(super) operations: BTreeMap<Operation, u64>,
    pub(super) unanswered: u64,
    /// Collections under load that removed something: those of replicas by themselves.
    pub(super) automatic: u64,
    /// The same: those of commands.
    pub(super) collections: u64,
    /// Commands that were begun.
    pub(super) commands: u64,
    pub(super) retentions: u64,
    pub(super) verifications: u64,
    /// Commands that were refused because another one ran, or that failed as the store did.
    pub(super) refused: u64,
    /// Requests of checks that were sent again, since the store was slow.
    pub(super) late: u64,
    /// Requests on shared tags, with an explanation.
    pub(super) explained: usize,
    /// Histories with a stale answer put in, all of which were found.
    pub(super) falsified: usize,
}

impl Counts {
    pub(super) fn count(&mut self, told: &Progress) {
        match told {
            Progress::Acknowledged(operation) => *self.operations.entry(*operation).or_default() += 1,
            Progress::Unanswered => self.unanswered += 1,
            Progress::Checked => {}
        }
    }

    /// Takes the counts of commands, and of the collections of replicas.
    pub(super) fn take(&mut self, operator: &Operator, automatic: u64) {
        self.automatic = automatic;
        self.collections = operator.collections;
        self.commands = operator.begun;
        self.retentions = operator.retentions;
        self.verifications = operator.verifications;
        self.refused = operator.refused;
        self.failures.insert(Failure::CommandKill, operator.kills);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Returns the number of replicas that may have been killed between a request for a multipart upload and its record.
    pub(super) fn orphans(&self) -> usize {
        let kills = [Failure::Kill, Failure::HeldKill].map(|kill| self.failures.get(&kill).copied());
        let kills: u64 = kills.into_iter().flatten().sum();
        2 + usize::try_from(kills / 20).expect("there are few kills")
    }

    /// Returns what is missing for a load of this duration.
    pub(super) fn missing(&self, load: Duration) -> Vec<String> {
        let seconds = load.as_secs();
        let mut missing = Vec::new();
        let mut require = |what: String, count: u64, least: u64| {
            if count < least {
                missing.push(format!("{what}: {count} of {least}"));
            }
        };
        let is_long = load >= LONG;
        for failure in FAILURES {
            let count = self.failures.get(&failure).copied().unwrap_or_default();
            let least = match failure {
                _ if !is_long => 0,
                // Once in a round.
                Failure::CommandKill => 1,
                _ => 1 + seconds / 300,
            };
            require(format!("{failure:?}"), count, least);
        }
        require(
            "failures".to_owned(),
            self.failures.values().sum(),
            1 + seconds / 10,
        );
        for operation in OPERATIONS {
            let count = self.operations.get(&operation).copied().unwrap_or_default();
            // Few are restores, and deletions of blobs.
            require(
                format!("{operation:?}"),
                count,
                if is_long { 1 + seconds / 300 } else { 0 },
            );
        }
        let moves = self.operations.get(&Operation::PutShared).copied();
        require(
            "moves of shared tags".to_owned(),
            moves.unwrap_or_default(),
            seconds / 4,
        );
        let all: u64 = self.operations.values().sum();
        require("acknowledged operations".to_owned(), all, 100 + 3 * seconds);
        require("falsified histories".to_owned(), self.falsified as u64, 1);
        if is_long {
            let points = self.held.len() as u64;
            require(
                "points at which requests were held".to_owned(),
                points,
                POINTS.len() as u64 * 3 / 5,
            );
            require("commands".to_owned(), self.commands, 4);
        }
        // A collection takes some minutes beside the load, and rounds of less end it.
        if load >= ENDS {
            for (what, count) in [
                (
                    "collections that removed something",
                    self.collections + self.automatic,
                ),
                ("runs of retention", self.retentions),
                ("verifications", self.verifications),
            ] {
                require(what.to_owned(), count, 1 + seconds / 7200);
            }
        }
        missing
    }
}
