//! Replicas: a mixed load on three servers on one bucket, any of which may be killed, paused or cut off at any time, as the
//! store may. Nothing is lost and nothing is left over.
//!
//! Workers push, pull, move, delete and restore through nginx, each in repositories of its own, so that each has an exact
//! model of what was acknowledged, and of what may still happen because nobody has answered. Clients share tags, and the
//! histories of these are checked. Beside them run collections, verifications and rules of retention, as replicas of their
//! own. After each round everything acknowledged is pulled byte for byte; at the end, the bucket holds what its manifests
//! name, then what its tags name, and nothing else.
//!
//! `REGISTRY_TEST_REPLICAS` is the duration in seconds; without it the replicas are not started.
//! `REGISTRY_TEST_REPLICAS_SEED` repeats what happens to the replicas, at the same numbers of requests.

mod chaos;
mod cluster;
mod leavings;
mod linear;
mod shared;

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use self::{
    chaos::Chaos,
    cluster::{Cluster, DELAY},
    linear::a_history_is_explained_or_not,
    shared::{CLIENTS, Client, Histories},
};
use crate::{
    program::{Workbench, output_of},
    soak::{
        Numbers, Place,
        disk::Roots,
        worker::{Progress, Worker},
    },
};

/// Programs that are needed.
const PROGRAMS: [&str; 2] = ["weed", "nginx"];
/// Number of workers.
const WORKERS: u64 = 4;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!([]; a_history_is_explained_or_not);
    if env::var_os("REGISTRY_TEST_REPLICAS").is_some() {
        trials.extend(trials!(PROGRAMS; replicas_lose_nothing_and_leave_nothing));
    }
    trials
}

/// Counts of a run.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    restarts: u64,
    pauses: u64,
    cuts: u64,
    /// Requests that reach the store late.
    delays: u64,
    lost_answers: u64,
    store_kills: u64,
    store_pauses: u64,
    acknowledged: u64,
    unanswered: u64,
    restored: u64,
    rounds: u64,
    collections: u64,
    retentions: u64,
    verifications: u64,
    /// Requests on shared tags, with an explanation.
    explained: usize,
}

impl Counts {
    const fn count(&mut self, told: &Progress) {
        match told {
            Progress::Acknowledged => self.acknowledged += 1,
            Progress::Unanswered => self.unanswered += 1,
            Progress::Restored => self.restored += 1,
            Progress::Checked => {}
        }
    }
}

fn replicas_lose_nothing_and_leave_nothing() {
    let bench = Workbench::new();
    let duration = number("REGISTRY_TEST_REPLICAS").map(Duration::from_secs);
    let deadline = Instant::now() + duration.unwrap_or_default();
    let seed = number("REGISTRY_TEST_REPLICAS_SEED");
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    let mut run = Run::new(&bench, seed);
    run.round(150);
    while Instant::now() < deadline {
        run.round(600);
    }
    run.end();
    run.report(seed);
}

/// Returns the value of a variable that is a number.
fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

struct Run {
    cluster: Cluster,
    place: Place,
    workers: Vec<Worker>,
    histories: Histories,
    numbers: Numbers,
    counts: Counts,
    /// Number of commands so far.
    commands: usize,
}

const COMMANDS: [&[&str]; 5] = [
    &["garbage-collect", "--quiet"],
    &["retention", "run", "--force"],
    &["garbage-collect", "--keep-trash", "--quiet"],
    &["verify"],
    &["garbage-collect", "--delete-untagged", "--quiet"],
];

impl Run {
    #[expect(clippy::print_stderr, reason = "the number that repeats a run")]
    fn new(bench: &Workbench, seed: u64) -> Self {
        eprintln!("replicas: REGISTRY_TEST_REPLICAS_SEED={seed}");
        let cluster = Cluster::start(bench);
        let place = Place::new(bench, "--config", cluster.config.clone());
        Self {
            workers: (0..WORKERS)
                .map(|number| Worker::new(number, place.clone()))
                .collect(),
            place,
            cluster,
            histories: Histories::default(),
            numbers: Numbers(seed),
            counts: Counts::default(),
            commands: 0,
        }
    }

    /// Loads the replicas while things happen to them, and checks everything.
    fn round(&mut self, answers: u64) {
        self.counts.rounds += 1;
        let is_over = AtomicBool::new(false);
        let (told, progress) = mpsc::channel();
        let addresses = self.cluster.addresses();
        let address = self.cluster.address;
        self.place.set_killed(true);
        let (place, histories, numbers) = (&self.place, &self.histories, &mut self.numbers);
        let (workers, counts, cluster) = (&mut self.workers, &mut self.counts, &mut self.cluster);
        let commands = &mut self.commands;
        let is_over = &is_over;
        thread::scope(|scope| {
            for worker in workers {
                let told = told.clone();
                scope.spawn(move || worker.work_on(address, &told, true, is_over));
            }
            for _ in 0..CLIENTS {
                let told = told.clone();
                let mut client = Client {
                    histories,
                    numbers: Numbers(numbers.below(u64::MAX)),
                    addresses: [&addresses[..], &[address]].concat(),
                };
                scope.spawn(move || client.work(&told, is_over));
            }
            drop(told);
            let operating = scope.spawn(move || operate(place, commands, is_over));
            Chaos {
                cluster,
                numbers,
                counts,
                progress: &progress,
                undone: Vec::new(),
            }
            .work(answers);
            is_over.store(true, Ordering::SeqCst);
            for told in &progress {
                counts.count(&told);
            }
            for command in operating.join().expect("the operator has not failed") {
                match command {
                    "garbage-collect" => counts.collections += 1,
                    "retention" => counts.retentions += 1,
                    _ => counts.verifications += 1,
                }
            }
        });
        self.cluster.restart_all();
        self.place.set_killed(false);
        self.check();
    }

    /// Asserts that everything acknowledged is there.
    fn check(&mut self) {
        self.histories.settled();
        let mut client = Client {
            histories: &self.histories,
            numbers: Numbers(0),
            addresses: self.cluster.addresses(),
        };
        client.read_all();
        self.counts.explained = self.histories.check();
        for worker in &mut self.workers {
            worker.check(self.cluster.address).expect("nobody kills it");
        }
    }

    /// Removes everything that nothing refers to, and compares the bucket with what is reachable.
    fn end(&mut self) {
        self.cluster.stop_collecting();
        for line in self.place.run(&["uploads", "--json"]).lines() {
            let session: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let id = session["id"].as_str().expect("a session has an id");
            self.place.run(&["uploads", "--end", id]);
        }
        self.place.run(&["garbage-collect", "--dry-run"]);
        // The first one may go on with a run that was killed, in which items stay that clients have used since.
        for _ in 0..2 {
            self.collect(&["garbage-collect", "--quiet"]);
        }
        leavings::assert_exact(&self.cluster, Roots::Manifests);
        self.collect(&["garbage-collect", "--delete-untagged", "--quiet"]);
        leavings::assert_exact(&self.cluster, Roots::Tags);
        self.place.run(&["verify"]);
        for address in self.cluster.addresses() {
            for worker in &mut self.workers {
                worker.check_tags(address).expect("nobody kills it");
            }
        }
    }

    /// Runs a collection. That of a replica that was killed counts as alive for some time.
    fn collect(&self, arguments: &[&str]) {
        let deadline = Instant::now() + 2 * DELAY;
        loop {
            match output_of(self.place.command(arguments)) {
                Ok(_) => return,
                Err(said) if said.contains("another collection is running") && Instant::now() < deadline => {}
                Err(said) => panic!("{arguments:?}: {said}"),
            }
        }
    }

    #[expect(clippy::print_stdout, reason = "the figures of a long run")]
    fn report(&self, seed: u64) {
        println!("replicas: seed {seed}, {:?}; 0 lost, 0 left over", self.counts);
    }
}

/// Runs commands until the round is over. Returns the names of those that have succeeded.
fn operate(place: &Place, commands: &mut usize, is_over: &AtomicBool) -> Vec<&'static str> {
    let mut done = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let arguments = COMMANDS[*commands % COMMANDS.len()];
        *commands += 1;
        // A command may fail as the store does.
        if output_of(place.command(arguments)).is_ok() {
            done.push(arguments[0]);
        }
    }
    done
}
