//! Commands beside the replicas: collections, verifications and rules of retention, as processes of their own.

use std::{
    io::Read as _,
    process::{Child, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::soak::Place;

/// Time after which a command is looked at again.
const STEP: Duration = Duration::from_millis(100);

/// Commands in their order. The first ones read everything, while there is little: later, the store is away in each of them. A
/// collection goes on with one that has failed or was killed before.
const COMMANDS: [&[&str]; 6] = [
    &["verify"],
    &["retention", "run", "--force"],
    &["garbage-collect", "--json", "--quiet"],
    &["garbage-collect", "--keep-trash", "--json", "--quiet"],
    &["garbage-collect", "--json", "--quiet"],
    &["garbage-collect", "--delete-untagged", "--json", "--quiet"],
];

/// Runs commands, one after the other.
#[derive(Default)]
pub(super) struct Operator {
    turn: usize,
    /// Commands that were begun.
    pub(super) begun: u64,
    /// Collections that removed something.
    pub(super) collections: u64,
    pub(super) retentions: u64,
    pub(super) verifications: u64,
    pub(super) refused: u64,
    pub(super) kills: u64,
}

/// End of a command.
enum Ended {
    Done(String),
    Failed(String),
    Killed,
}

impl Operator {
    /// Runs commands until the round is over, and kills the last one.
    pub(super) fn work(&mut self, place: &Place, outages: &AtomicU64, round: &Receiver<()>) {
        loop {
            let arguments = COMMANDS[self.turn % COMMANDS.len()];
            let before = outages.load(Ordering::SeqCst);
            let began = Instant::now();
            self.begun += 1;
            let ended = self.run(place, arguments, round);
            tell(arguments, &ended, began);
            match ended {
                Ended::Killed => {
                    self.kills += 1;
                    self.turn += 1;
                    return;
                }
                Ended::Done(printed) => self.count(arguments[0], &printed),
                Ended::Failed(said) => {
                    let was_out = before % 2 == 1 || outages.load(Ordering::SeqCst) != before;
                    let is_busy =
                        said.contains("another collection is running") || said.contains("taken over");
                    assert!(is_busy || was_out, "{arguments:?}: {said}");
                    self.refused += 1;
                    if !is_busy {
                        // It is run again: its opening waits for nothing.
                        continue;
                    }
                }
            }
            self.turn += 1;
        }
    }

    fn run(&self, place: &Place, arguments: &[&str], round: &Receiver<()>) -> Ended {
        let mut command = place.command(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary was built");
        let mut printed = process.stdout.take().expect("stdout is piped");
        let mut said = process.stderr.take().expect("stderr is piped");
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut text = String::new();
                printed.read_to_string(&mut text).expect("it prints text");
                text
            });
            let listening = scope.spawn(move || {
                let mut text = String::new();
                said.read_to_string(&mut text).expect("it prints text");
                text
            });
            let succeeded = wait(&mut process, round);
            let printed = reading.join().expect("it was read");
            let said = listening.join().expect("it was read");
            match succeeded {
                None => Ended::Killed,
                Some(true) => Ended::Done(printed),
                Some(false) => Ended::Failed(said + &printed),
            }
        })
    }

    fn count(&mut self, command: &str, printed: &str) {
        match command {
            "retention" => self.retentions += 1,
            "verify" => self.verifications += 1,
            _ => self.collections += u64::from(has_removed(printed)),
        }
    }
}

#[expect(clippy::print_stderr, reason = "the progress of a long run")]
fn tell(arguments: &[&str], ended: &Ended, began: Instant) {
    let what = match ended {
        Ended::Done(_) => "done",
        // After the warnings.
        Ended::Failed(said) => said
            .lines()
            .rfind(|line| line.starts_with("registry: "))
            .unwrap_or_default(),
        Ended::Killed => "killed",
    };
    let seconds = began.elapsed().as_secs_f32();
    eprintln!("replicas: {}: {seconds:.1} s: {what}", arguments.join(" "));
}

/// Waits for a process. Returns if it has succeeded, or `None` if the round was over before.
fn wait(process: &mut Child, round: &Receiver<()>) -> Option<bool> {
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status.success());
        }
        if round.recv_timeout(STEP) != Err(RecvTimeoutError::Timeout) {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child can be waited for");
            return None;
        }
    }
}

/// Returns true if a collection reports that it has removed something.
fn has_removed(printed: &str) -> bool {
    let report = printed.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        line.get("report").cloned()
    });
    let report = report.expect("a collection ends with a report");
    ["manifests", "links", "data"]
        .iter()
        .any(|kind| report[kind].as_u64().expect("a number") > 0)
}
