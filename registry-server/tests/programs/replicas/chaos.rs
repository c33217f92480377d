//! Failures of the replicas, the store and the network while they are loaded.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use http::StatusCode;
use object_stores::proxy::{Fault, Gate, Kind, Rule, on};

use super::{
    Counts,
    cluster::{Cluster, REPLICAS},
};
use crate::soak::{Numbers, worker::Progress};

/// Time without any answer after which the next thing happens nevertheless.
const STALL: Duration = Duration::from_secs(5);

/// Pause of the store. Less than the time for which a request to it may be late.
const STORE_PAUSE: Duration = Duration::from_millis(1500);

/// Number of answers that a fault of the network falsifies.
const FALSIFIED: usize = 3;

/// Failures of one round, at numbers of answers.
pub(super) struct Chaos<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) numbers: &'a mut Numbers,
    pub(super) counts: &'a mut Counts,
    pub(super) progress: &'a Receiver<Progress>,
    /// Ends of failures that last, which come after further answers.
    pub(super) undone: Vec<Undo>,
}

/// The end of something that lasts.
pub(super) enum Undo {
    Resume(usize),
    Mend(usize),
    /// Lets the delayed requests reach the store.
    Open(Gate, Rule),
    Forget(Rule),
}

/// All workers have ended.
struct Ended;

impl Chaos<'_> {
    /// Lets things happen until there were as many answers. Then nothing is dead, paused or cut.
    pub(super) fn work(&mut self, answers: u64) {
        let end = self.answers() + answers;
        let mut going_on = Ok(());
        while going_on.is_ok() && self.answers() < end {
            let step = 10 + self.numbers.below(60);
            going_on = self.wait_for(step.min(end - self.answers()));
            if self.undone.is_empty() || self.numbers.below(2) == 0 {
                self.happen();
            } else {
                let index = self.numbers.index(self.undone.len());
                let undo = self.undone.swap_remove(index);
                self.undo(undo);
            }
        }
        while let Some(undo) = self.undone.pop() {
            self.undo(undo);
        }
    }

    fn answers(&self) -> u64 {
        self.counts.acknowledged + self.counts.unanswered + self.counts.restored
    }

    /// Waits for a number of answers, or for a stall.
    fn wait_for(&mut self, answers: u64) -> Result<(), Ended> {
        for _ in 0..answers {
            match self.progress.recv_timeout(STALL) {
                Ok(told) => self.counts.count(&told),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            }
        }
        Ok(())
    }

    /// Lets one thing happen. At most one replica is paused or cut off at a time.
    fn happen(&mut self) {
        let replica = self.numbers.index(REPLICAS);
        let is_whole = self.undone.is_empty();
        match self.numbers.below(12) {
            0..3 => {
                self.counts.kills += 1;
                self.cluster.kill(replica);
            }
            3 => {
                self.counts.restarts += 1;
                self.cluster.restart(replica);
            }
            4..7 if is_whole => {
                self.counts.pauses += 1;
                self.cluster.pause(replica);
                self.undone.push(Undo::Resume(replica));
            }
            7 => self.pause_store(),
            8 => {
                self.counts.store_kills += 1;
                self.cluster.kill_store();
            }
            9 if is_whole => {
                self.counts.cuts += 1;
                self.cluster.cut(replica);
                self.undone.push(Undo::Mend(replica));
            }
            10 => self.delay(replica),
            _ => self.falsify(replica),
        }
    }

    fn pause_store(&mut self) {
        self.counts.store_pauses += 1;
        self.cluster.store.pause().expect("the store runs");
        let end = Instant::now() + STORE_PAUSE;
        while let Ok(told) = self
            .progress
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.counts.count(&told);
        }
        self.cluster.store.resume().expect("the store was paused");
    }

    /// Holds writes to records of manifests and tags until later.
    fn delay(&mut self, replica: usize) {
        self.counts.delays += 1;
        let gate = Gate::new();
        let late = on(Kind::ConditionalPut).or(Kind::ConditionalDelete);
        let late = late.key("/_manifests/").first(1);
        let fault = Fault::Delay(gate.clone());
        let rule = self.cluster.network(replica).fault(late, fault);
        self.undone.push(Undo::Open(gate, rule));
    }

    /// Lets the answers to some writes be lost, or be an error.
    fn falsify(&mut self, replica: usize) {
        self.counts.lost_answers += 1;
        let fault = match self.numbers.below(2) {
            0 => Fault::CutAfterEffect,
            _ => Fault::AnswerAfterEffect(StatusCode::SERVICE_UNAVAILABLE),
        };
        let writes = on(Kind::ConditionalPut)
            .or(Kind::Put)
            .or(Kind::ConditionalDelete)
            .or(Kind::CompleteMultipart);
        let rule = self
            .cluster
            .network(replica)
            .fault(writes.first(FALSIFIED), fault);
        self.undone.push(Undo::Forget(rule));
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Resume(replica) => self.cluster.resume(replica),
            Undo::Mend(replica) => self.cluster.mend(replica),
            Undo::Open(gate, rule) => {
                rule.remove();
                gate.open();
            }
            Undo::Forget(rule) => rule.remove(),
        }
    }
}
