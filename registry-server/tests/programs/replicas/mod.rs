//! Replicas: a mixed load on three servers on one bucket, any of which may be killed, paused or cut off at any time, as the
//! store may. Nothing is lost and nothing is left over.
//!
//! Workers push, pull, move, delete and restore through nginx, each in repositories of its own, so that each has an exact
//! model of what was acknowledged, and of what may still happen because nobody has answered. Clients share tags, and the
//! histories of these are checked. Beside them run collections, verifications and rules of retention, as replicas of their
//! own. After each round everything acknowledged is pulled byte for byte; at the end, the bucket holds what its manifests
//! name, then what its tags name, and nothing else.
//!
//! A run in which too little has happened fails: [`Counts::missing`] says what is required.
//!
//! `REGISTRY_TEST_REPLICAS` is the duration of the load in seconds; without it the replicas are not started.
//! `REGISTRY_TEST_REPLICAS_SEED` repeats the order of what happens to the replicas.

mod chaos;
mod chunks;
mod cluster;
mod counts;
mod leavings;
mod linear;
mod operator;
mod points;
mod shared;

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use self::{
    chaos::{Chaos, Decks},
    chunks::Uploader,
    cluster::{Cluster, QUIET_DELAY},
    counts::Counts,
    linear::a_history_is_explained_or_not,
    operator::Operator,
    shared::{CLIENTS, Client, Histories},
};
use crate::{
    http,
    program::{Workbench, output_of},
    soak::{Numbers, Place, disk::Roots, worker::Worker},
};

/// Programs that are needed.
const PROGRAMS: [&str; 2] = ["weed", "nginx"];
/// Number of workers.
const WORKERS: u64 = 4;

/// Duration of the load of a round, or a part of a long load.
const ROUND: Duration = Duration::from_secs(150);
/// Number of rounds of a long load.
const ROUNDS: u32 = 3;
/// Duration of the load that is added if something is missing.
const MORE: Duration = Duration::from_secs(100);

/// Time from the announcement of a removal to the removal under load. A store is late for a sixth of it at most.
const DELAY: Duration = Duration::from_secs(24);

/// Time after which a request that only reads has to be answered when nothing is killed. A store may be slow meanwhile, and a
/// server that has just started reads the manifests of a large repository for its first list of referrers.
const LATE: Duration = Duration::from_secs(180);

/// Number of collections after which no record of a committed upload is left. Each takes 10 seconds or more. It is twice what it
/// should be.
const COLLECTIONS: usize = 12;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!([]; a_history_is_explained_or_not);
    if env::var_os("REGISTRY_TEST_REPLICAS").is_some() {
        trials.extend(trials!(PROGRAMS; replicas_lose_nothing_and_leave_nothing));
    }
    trials
}

fn replicas_lose_nothing_and_leave_nothing() {
    let bench = Workbench::new();
    let load = Duration::from_secs(number("REGISTRY_TEST_REPLICAS").unwrap_or_default());
    let seed = number("REGISTRY_TEST_REPLICAS_SEED");
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    let mut run = Run::new(&bench, seed);
    while run.counts.load < load {
        run.round(ROUND.max(load / ROUNDS).min(load.saturating_sub(run.counts.load)));
    }
    while !run.counts.missing(load).is_empty() && run.counts.load < 2 * load {
        run.tell_missing(load);
        run.round(MORE);
    }
    run.end();
    run.report(seed);
    assert_eq!(
        run.counts.missing(load),
        [] as [String; 0],
        "too little has happened"
    );
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
    decks: Decks,
    operator: Operator,
}

impl Run {
    #[expect(clippy::print_stderr, reason = "the number that repeats a run")]
    fn new(bench: &Workbench, seed: u64) -> Self {
        eprintln!("replicas: REGISTRY_TEST_REPLICAS_SEED={seed}");
        let cluster = Cluster::start(bench, DELAY);
        let mut place = Place::new(bench, "--config", cluster.config.clone());
        place.patience = LATE;
        Self {
            workers: (0..WORKERS)
                .map(|number| Worker::new(number, place.clone()))
                .collect(),
            place,
            cluster,
            histories: Histories::default(),
            numbers: Numbers(seed),
            counts: Counts::default(),
            decks: Decks::default(),
            operator: Operator::default(),
        }
    }

    /// Loads the replicas for this time while things happen to them, and checks everything.
    fn round(&mut self, load: Duration) {
        self.counts.rounds += 1;
        let began = Instant::now();
        let is_over = AtomicBool::new(false);
        let outages = AtomicU64::new(0);
        let (told, progress) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        let addresses = self.cluster.addresses();
        let address = self.cluster.address;
        self.place.set_killed(true);
        let (place, histories, numbers) = (&self.place, &self.histories, &mut self.numbers);
        let (is_over, outages, operator) = (&is_over, &outages, &mut self.operator);
        thread::scope(|scope| {
            for worker in &mut self.workers {
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
            let mut uploader = Uploader {
                numbers: Numbers(numbers.below(u64::MAX)),
                addresses: [&addresses[..], &[address]].concat(),
            };
            scope.spawn(move || uploader.work(&told, is_over));
            scope.spawn(move || operator.work(place, outages, &end));
            Chaos {
                cluster: &mut self.cluster,
                numbers,
                counts: &mut self.counts,
                decks: &mut self.decks,
                progress: &progress,
                outages,
                undone: Vec::new(),
            }
            .work(began + load);
            drop(ends);
            is_over.store(true, Ordering::SeqCst);
            self.counts.load += began.elapsed();
            for told in &progress {
                self.counts.count(&told);
            }
        });
        self.tell("load", began);
        let began = Instant::now();
        self.cluster.restart_all();
        self.counts.take(&self.operator, self.cluster.collections);
        self.tell("restart", began);
        let began = Instant::now();
        self.place.set_killed(false);
        self.check();
        self.counts.late = self.place.late();
        self.tell("check", began);
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
        self.counts.falsified += self.histories.check_the_check();
        // The first request for referrers reads what was pushed since the last start, for longer than the balancer waits.
        thread::scope(|scope| {
            for address in self.cluster.addresses() {
                let workers = &self.workers;
                scope.spawn(move || workers.iter().for_each(|worker| worker.list_referrers(address)));
            }
        });
        let address = self.cluster.address;
        thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(move || worker.check(address).expect("nobody kills it"));
            }
        });
    }

    /// Removes everything that nothing refers to, and compares the bucket with what is reachable.
    fn end(&mut self) {
        let began = Instant::now();
        self.cluster.stop_collecting();
        self.end_uploads();
        self.place.run(&["garbage-collect", "--dry-run"]);
        self.tell("end of uploads", began);
        let began = Instant::now();
        // The first one may go on with a run that was killed, in which items stay that clients have used since.
        for _ in 0..2 {
            self.collect(&["garbage-collect", "--quiet"]);
        }
        leavings::assert_exact(&self.cluster, Roots::Manifests, self.counts.orphans());
        self.tell("collections", began);
        let began = Instant::now();
        self.collect(&["garbage-collect", "--delete-untagged", "--quiet"]);
        leavings::assert_exact(&self.cluster, Roots::Tags, self.counts.orphans());
        self.place.run(&["verify"]);
        for address in self.cluster.addresses() {
            for worker in &mut self.workers {
                worker.check_tags(address).expect("nobody kills it");
            }
        }
        self.cluster.stop();
        self.tell("removal of what has no tag", began);
    }

    /// Ends the uploads, until the records are gone that killed servers have left of committed ones. A collection lists the
    /// uploads, and removes those that are a minute old. One whose blob has gone before is open again.
    fn end_uploads(&self) {
        let mut left = Vec::new();
        for _ in 0..COLLECTIONS {
            for line in self.place.run(&["uploads", "--json"]).lines() {
                let session: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
                let [id, repository] =
                    ["id", "repository"].map(|name| session[name].as_str().expect("a session has it"));
                let target = format!("/v2/{repository}/blobs/uploads/{id}");
                http::request(self.cluster.address, "DELETE", &target, &[], b"").expect_status(204);
            }
            left = leavings::sessions(&self.cluster);
            if left.is_empty() {
                return;
            }
            self.collect(&["garbage-collect", "--quiet"]);
        }
        panic!("uploads are left: {left:?}");
    }

    /// Runs a collection. That of a command that was killed counts as alive for some time.
    fn collect(&self, arguments: &[&str]) {
        let deadline = Instant::now() + 2 * QUIET_DELAY;
        loop {
            match output_of(self.place.command(arguments)) {
                Ok(_) => return,
                Err(said) if said.contains("another collection is running") && Instant::now() < deadline => {}
                Err(said) => panic!("{arguments:?}: {said}"),
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "the progress of a long run")]
    fn tell(&self, what: &str, began: Instant) {
        let seconds = began.elapsed().as_secs_f32();
        eprintln!("replicas: round {}: {what}: {seconds:.1} s", self.counts.rounds);
    }

    #[expect(clippy::print_stderr, reason = "the progress of a long run")]
    fn tell_missing(&self, load: Duration) {
        eprintln!("replicas: missing so far: {:?}", self.counts.missing(load));
    }

    #[expect(clippy::print_stdout, reason = "the figures of a long run")]
    fn report(&self, seed: u64) {
        println!("replicas: seed {seed}, {:?}; 0 lost, 0 left over", self.counts);
    }
}
