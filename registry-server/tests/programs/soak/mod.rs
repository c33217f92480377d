//! The soak: a mixed load on a server that is killed again and again, until nothing is lost and nothing is left over.
//!
//! Workers push, pull, move, delete and restore, each in repositories of its own, so that each has an exact model of
//! what was acknowledged. Beside them run collections, verifications and rules of retention, and the server collects by
//! itself. After each kill everything acknowledged is pulled byte for byte. At the end, a server that nobody asks leaves
//! what its manifests name, a command leaves what its tags name, and neither leaves anything else.
//!
//! `REGISTRY_TEST_SOAK` is the duration in seconds. Without it the test ends after a few kills. The moments of the kills
//! are numbers of requests.

mod acting;
pub(crate) mod disk;
pub(crate) mod model;
mod operator;
mod others;
pub(crate) mod worker;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use self::{
    disk::Roots,
    operator::Operator,
    worker::{Operation, Progress, Worker},
};
use crate::{
    program::{Workbench, argument, output_of},
    server::{Server, program},
};

/// Number of workers.
const WORKERS: u64 = 4;
/// Number of the newest builds that the rules of retention keep.
const BUILDS: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!([]; nothing_is_lost_and_nothing_is_left_over);
    trials.extend(others::trials());
    trials
}

/// The server has died before it answered, or may have.
#[derive(Debug)]
pub(crate) struct Killed;

/// An arbitrary sequence of numbers, the same in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) % limit
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }
}

/// The images of the servers, the rules of retention, and if a server was killed.
#[derive(Clone)]
pub(crate) struct Place {
    /// Option of commands that names the images, and its value.
    images: (&'static str, PathBuf),
    rules: PathBuf,
    is_killed: Arc<AtomicBool>,
    /// Time for which clients ask again if nobody can answer now.
    pub(crate) patience: Duration,
    late: Arc<AtomicU64>,
}

impl Place {
    /// Writes the rules of retention, which keep some builds.
    pub(crate) fn new(bench: &Workbench, option: &'static str, images: PathBuf) -> Self {
        let rules = bench.path("retention.yml");
        let text = format!("rules:\n- repository: \"**\"\n  tags: build-*\n  keep: {{newest: {BUILDS}}}\n");
        fs::write(&rules, text).expect("the test's directory is writable");
        Self {
            images: (option, images),
            rules,
            is_killed: Arc::default(),
            patience: Duration::ZERO,
            late: Arc::default(),
        }
    }

    /// Returns a command on the images, beside the server or without one.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let (option, images) = &self.images;
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command.args(arguments).args([option, argument(images)]);
        if arguments.first() == Some(&"retention") {
            command.args(["--rules", argument(&self.rules)]);
        }
        command
    }

    /// Runs a command that must succeed, since no server is killed meanwhile.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let printed = output_of(self.command(arguments));
        let printed = printed.unwrap_or_else(|failed| panic!("{arguments:?}: {failed}"));
        printed.text().to_owned()
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::SeqCst)
    }

    /// Says if a server may be killed from now on, so that requests and commands may fail.
    pub(crate) fn set_killed(&self, is_killed: bool) {
        self.is_killed.store(is_killed, Ordering::SeqCst);
    }

    /// Counts a request that was answered when it was sent again.
    #[expect(clippy::print_stderr, reason = "what happened in a long run, and when")]
    pub(crate) fn note_late(&self, target: &str, answer: &str, began: Instant) {
        self.late.fetch_add(1, Ordering::SeqCst);
        let seconds = began.elapsed().as_secs_f32();
        let answer = answer.lines().next().unwrap_or_default();
        eprintln!("{target}: {answer}; answered {seconds:.1} s after the first request");
    }

    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::SeqCst)
    }

    fn root(&self) -> &Path {
        &self.images.1
    }

    fn top(&self) -> PathBuf {
        self.root().join("docker/registry/v2")
    }
}

/// Counts of a soak.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    acknowledged: u64,
    checks: u64,
    restored: u64,
    /// Collections that somebody asked for.
    collections: u64,
    /// Collections that removed what has no tag, too.
    untagged: u64,
    /// Collections of a server by itself that removed something.
    automatic: u64,
    verifications: u64,
    retentions: u64,
}

fn nothing_is_lost_and_nothing_is_left_over() {
    let bench = Workbench::new();
    let (duration, kills) = match env::var("REGISTRY_TEST_SOAK") {
        Ok(seconds) => {
            let seconds = seconds
                .parse()
                .expect("REGISTRY_TEST_SOAK is a number of seconds");
            (Duration::from_secs(seconds), 20)
        }
        Err(_) => (Duration::ZERO, 3),
    };
    let deadline = Instant::now() + duration;
    let mut soak = Soak::new(&bench);
    while soak.counts.kills < kills || Instant::now() < deadline {
        soak.round();
        soak.without_a_server();
    }
    soak.end();
    soak.report();
    assert!(
        soak.counts.automatic > 0 || duration.is_zero(),
        "no server has collected by itself under load: {:?}",
        soak.counts
    );
}

struct Soak {
    place: Place,
    workers: Vec<Worker>,
    operator: Operator,
    numbers: Numbers,
    counts: Counts,
}

impl Soak {
    fn new(bench: &Workbench) -> Self {
        let place = Place::new(bench, "--root", bench.path("data"));
        Self {
            workers: (0..WORKERS)
                .map(|number| Worker::new(number, place.clone()))
                .collect(),
            operator: Operator::new(place.clone()),
            numbers: Numbers(1),
            counts: Counts::default(),
            place,
        }
    }

    /// Starts a server that frees at once what nothing refers to, and gives way to requests meanwhile.
    fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server whose collections do not give way, so that they end before it is killed.
    fn serve_collecting(&self) -> Server {
        self.serve_with(&[("REGISTRY_STORAGE_MAINTENANCE_COLLECT_RATE", "0")])
    }

    fn serve_with(&self, settings: &[(&str, &str)]) -> Server {
        self.place.set_killed(false);
        let mut command = Server::ours_command(self.place.root());
        command
            .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE", "0s")
            .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_RATE", "10000")
            .envs(settings.iter().copied());
        Server::start(command, "http://")
    }

    /// Checks everything, loads the server, and kills it.
    fn round(&mut self) {
        let server = if self.numbers.below(2) == 0 {
            self.serve()
        } else {
            self.serve_collecting()
        };
        let requests = 20 + self.numbers.below(400);
        let untagged = self.numbers.below(3) == 0;
        let (told, progress) = mpsc::channel();
        let workers = std::mem::take(&mut self.workers);
        let mut operator = Some(&mut self.operator);
        let (place, counts) = (&self.place, &mut self.counts);
        self.workers = thread::scope(|scope| {
            let working: Vec<_> = workers
                .into_iter()
                .map(|mut worker| {
                    let (address, told) = (server.address(), told.clone());
                    scope.spawn(move || {
                        let Killed = worker.work(address, &told, untagged);
                        worker
                    })
                })
                .collect();
            drop(told);
            let mut waiting = WORKERS;
            let mut seen = 0;
            let mut operating = None;
            for told in &progress {
                match told {
                    Progress::Checked => {
                        counts.checks += 1;
                        waiting -= 1;
                    }
                    Progress::Acknowledged(Operation::Restore) => counts.restored += 1,
                    Progress::Acknowledged(_) => {
                        counts.acknowledged += 1;
                        seen += u64::from(waiting == 0);
                    }
                    Progress::Unanswered => unreachable!("the server is killed, and then the round ends"),
                }
                if waiting == 0
                    && let Some(operator) = operator.take()
                {
                    operating = Some(scope.spawn(move || operator.work(untagged)));
                }
                let has_failed = working.iter().any(ScopedJoinHandle::is_finished);
                if seen >= requests || has_failed {
                    break;
                }
            }
            place.set_killed(true);
            let said = server.kill_and_listen();
            counts.kills += 1;
            counts.automatic += said.matches("a collection has ended").count() as u64;
            if let Some(operating) = operating {
                operating.join().expect("no command fails");
            }
            let working = working.into_iter();
            working
                .map(|worker| worker.join().expect("nothing is lost"))
                .collect()
        });
    }

    /// Does what operators do while no server runs, and kills some of it.
    fn without_a_server(&mut self) {
        match self.numbers.below(5) {
            0 => {
                self.place.run(&["garbage-collect", "--quiet"]);
            }
            1 => {
                let lines = self.numbers.below(20);
                self.operator.kill_a_collection(lines);
                self.counts.kills += 1;
            }
            2 => {
                self.place.run(&["verify", "--repair"]);
            }
            3 => {
                self.place.run(&["retention", "run", "--force"]);
            }
            _ => {}
        }
    }

    /// Asserts that everything acknowledged is there.
    fn check(&mut self, server: &Server) {
        for worker in &mut self.workers {
            worker.check(server.address()).expect("nobody kills it");
        }
    }

    /// Removes everything that nothing refers to, and compares the directory with what is reachable: first a server by
    /// itself, then a command.
    fn end(&mut self) {
        let server = self.serve();
        self.check(&server);
        assert_eq!(server.stop().code(), Some(0));
        for line in self.place.run(&["uploads", "--json"]).lines() {
            let session: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let id = session["id"].as_str().expect("a session has an id");
            self.place.run(&["uploads", "--end", id]);
        }
        let server = self.serve_with(&[
            ("REGISTRY_STORAGE_MAINTENANCE_TRASH_KEEP", "0s"),
            ("REGISTRY_LOG_LEVEL", "debug"),
        ]);
        // Whether it has removed anything or not.
        server.says("a collection has ");
        assert_eq!(server.stop().code(), Some(0));
        disk::assert_exact(&self.place.top(), Roots::Manifests);
        self.place
            .run(&["garbage-collect", "--delete-untagged", "--quiet"]);
        disk::assert_exact(&self.place.top(), Roots::Tags);
        self.place.run(&["verify"]);

        let server = self.serve();
        for worker in &mut self.workers {
            worker.check_tags(server.address()).expect("nobody kills it");
        }
        assert_eq!(server.stop().code(), Some(0));
    }

    #[expect(clippy::print_stdout, reason = "the figures of a long run")]
    fn report(&mut self) {
        let Operator {
            collections,
            untagged,
            verifications,
            retentions,
            ..
        } = self.operator;
        let counts = &mut self.counts;
        (counts.collections, counts.untagged) = (collections, untagged);
        (counts.verifications, counts.retentions) = (verifications, retentions);
        println!("soak: {counts:?}; 0 lost, 0 left over");
    }
}

/// Returns the directories and files in a directory, if there is one.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect()
}
