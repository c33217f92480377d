//! Failures of the replicas, the store and the network while they are loaded.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use object_stores::proxy::{Fault, Gate, Kind, Rule, on};

use super::{
    cluster::{Cluster, REPLICAS},
    counts::{Counts, Failure},
    points::{POINTS, Point},
};
use crate::soak::{Numbers, worker::Progress};

/// Time without any answer after which the next thing happens nevertheless.
const STALL: Duration = Duration::from_secs(5);

/// Pause of the store. Less than the time for which a request to it may be late.
const STORE_PAUSE: Duration = Duration::from_millis(1500);

/// Number of answers that a fault of the network falsifies.
const FALSIFIED: usize = 3;

/// Time to wait for a request that is to be held. Those of collections are rare.
const AMBUSH: Duration = Duration::from_secs(6);

/// Failures of a deck. Each deck is dealt in a new order, so that all of them happen.
const DECK: [Failure; 18] = [
    Failure::HeldKill,
    Failure::HeldPause,
    Failure::HeldAlone,
    Failure::Kill,
    Failure::LostAnswers,
    Failure::Pause,
    Failure::HeldKill,
    Failure::Kill,
    Failure::HeldPause,
    Failure::StorePause,
    Failure::HeldKill,
    Failure::Pause,
    Failure::HeldAlone,
    Failure::Restart,
    Failure::HeldPause,
    Failure::Cut,
    Failure::LostAnswers,
    Failure::StoreKill,
];

/// Failures of one round, at numbers of answers.
pub(super) struct Chaos<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) numbers: &'a mut Numbers,
    pub(super) counts: &'a mut Counts,
    pub(super) decks: &'a mut Decks,
    pub(super) progress: &'a Receiver<Progress>,
    /// Odd while the store is dead or paused. Commands reach the store directly.
    pub(super) outages: &'a AtomicU64,
    /// Ends of failures that last, which come after further answers.
    pub(super) undone: Vec<Undo>,
}

/// Cards that are left of the decks, over all rounds.
#[derive(Default)]
pub(super) struct Decks {
    failures: Vec<Failure>,
    points: Vec<Point>,
    /// Points of the last deck at which no request was held. They come once more often in the next one.
    missed: Vec<Point>,
}

/// The end of something that lasts.
pub(super) enum Undo {
    Resume(usize),
    Mend(usize),
    /// Lets the held requests go on.
    Open(Gate),
    Forget(Rule),
}

impl Undo {
    /// Returns true if one of the replicas does not work meanwhile.
    const fn disables(&self) -> bool {
        matches!(self, Self::Resume(_) | Self::Mend(_))
    }
}

/// All workers have ended.
struct Ended;

impl Chaos<'_> {
    /// Lets things happen until that time. Then nothing is dead, paused, cut or held.
    pub(super) fn work(&mut self, end: Instant) {
        let mut going_on = Ok(());
        while going_on.is_ok() && Instant::now() < end {
            let step = 4 + self.numbers.below(12);
            going_on = self.wait_for(step);
            if going_on.is_ok() && (self.undone.is_empty() || self.numbers.below(2) == 0) {
                going_on = self.happen();
            } else if !self.undone.is_empty() {
                let index = self.numbers.index(self.undone.len());
                let undo = self.undone.swap_remove(index);
                self.undo(undo);
            }
        }
        while let Some(undo) = self.undone.pop() {
            self.undo(undo);
        }
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

    /// Lets the next failure of the deck happen. At most one replica is paused or cut off at a time.
    fn happen(&mut self) -> Result<(), Ended> {
        let failure = deal(&mut self.decks.failures, &DECK, self.numbers);
        if matches!(failure, Failure::Pause | Failure::Cut | Failure::HeldPause) {
            while let Some(index) = self.undone.iter().position(Undo::disables) {
                let undo = self.undone.swap_remove(index);
                self.undo(undo);
            }
        }
        let replica = self.numbers.index(REPLICAS);
        match failure {
            Failure::Kill => self.cluster.kill(replica),
            Failure::Restart => self.cluster.restart(replica),
            Failure::Pause => {
                self.cluster.pause(replica);
                self.undone.push(Undo::Resume(replica));
            }
            Failure::Cut => {
                self.cluster.cut(replica);
                self.undone.push(Undo::Mend(replica));
            }
            Failure::LostAnswers => self.falsify(replica),
            Failure::StoreKill => self.outage(|chaos| chaos.cluster.kill_store()),
            Failure::StorePause => self.outage(Self::pause_store),
            Failure::HeldAlone | Failure::HeldKill | Failure::HeldPause => return self.ambush(failure),
            Failure::CommandKill => unreachable!("it happens at the end of a round"),
        }
        self.counts.fail(failure);
        Ok(())
    }

    /// Lets the store fail.
    fn outage(&mut self, fail: impl FnOnce(&mut Self)) {
        self.outages.fetch_add(1, Ordering::SeqCst);
        fail(self);
        self.outages.fetch_add(1, Ordering::SeqCst);
    }

    fn pause_store(&mut self) {
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

    /// Holds the next request of a replica at a named point. The replica that has sent it is killed, stopped, or waits. The
    /// request goes on later.
    fn ambush(&mut self, failure: Failure) -> Result<(), Ended> {
        let Decks { points, missed, .. } = &mut *self.decks;
        let whole = match points.is_empty() {
            true => [&POINTS[..], &std::mem::take(missed)].concat(),
            false => Vec::new(),
        };
        let point = deal(points, &whole, self.numbers);
        let gate = Gate::new();
        let rules: Vec<Rule> = (0..REPLICAS)
            .map(|replica| {
                let network = self.cluster.network(replica);
                network.fault(point.requests(), point.fault(gate.clone()))
            })
            .collect();
        let held = |rules: &[Rule]| rules.iter().position(|rule| rule.happened() > 0);
        let end = Instant::now() + AMBUSH;
        let mut going_on = Ok(());
        while held(&rules).is_none() && Instant::now() < end && going_on.is_ok() {
            going_on = self.wait_for(1);
        }
        for rule in &rules {
            rule.remove();
        }
        self.undone.push(Undo::Open(gate));
        let Some(replica) = held(&rules) else {
            let missed = &mut self.decks.missed;
            if missed.iter().all(|missed| missed.name != point.name) {
                missed.push(point);
            }
            return going_on;
        };
        match failure {
            Failure::HeldKill => self.cluster.kill(replica),
            Failure::HeldPause => {
                self.cluster.pause(replica);
                self.undone.push(Undo::Resume(replica));
            }
            _ => {}
        }
        self.counts.fail(failure);
        *self.counts.held.entry(point.name).or_default() += 1;
        going_on
    }

    /// Lets the answers to some writes be lost, or be an error.
    fn falsify(&mut self, replica: usize) {
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
            Undo::Open(gate) => gate.open(),
            Undo::Forget(rule) => rule.remove(),
        }
    }
}

/// Takes the last card of a deck, after shuffling a new one if it is empty.
fn deal<T: Copy>(deck: &mut Vec<T>, whole: &[T], numbers: &mut Numbers) -> T {
    if deck.is_empty() {
        deck.extend_from_slice(whole);
        for last in (1..deck.len()).rev() {
            deck.swap(last, numbers.index(last + 1));
        }
    }
    deck.pop().expect("a deck has cards")
}
