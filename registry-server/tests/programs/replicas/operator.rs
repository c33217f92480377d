//! Commands beside the replicas: collections, verifications and rules of retention, as processes of their own.

use std::{
    io::Read as _,
    process::{Child, ExitStatus, Stdio},
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

/// Time between two tries to begin a collection while another one runs. Replicas begin one as soon as they are started, and most
/// are killed before it has removed anything.
const PAUSE: Duration = Duration::from_secs(1);

/// Commands in their order. The first ones read everything, while there is little: later, the store is away in each of them. A
/// collection goes on with one that has failed or was killed before.
const COMMANDS: [&[&str]; 6] = [
    &["verify", "--json"],
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
    /// With what it said, and what it printed.
    Failed(String, String),
    Killed,
}

impl Operator {
    /// Runs commands until the round is over, and kills the last one.
    pub(super) fn work(&mut self, place: &Place, outages: &AtomicU64, round: &Receiver<()>) {
        let mut was_busy = false;
        loop {
            let arguments = COMMANDS[self.turn % COMMANDS.len()];
            let before = outages.load(Ordering::SeqCst);
            let began = Instant::now();
            let ended = self.run(place, arguments, round);
            let is_busy = matches!(&ended, Ended::Failed(said, _) if is_refused(said));
            // Once, however often it is tried.
            if !(is_busy && was_busy) {
                self.begun += 1;
                self.refused += u64::from(matches!(ended, Ended::Failed(..)));
                tell(arguments, &ended, began);
            }
            was_busy = is_busy;
            match ended {
                Ended::Killed => {
                    self.kills += 1;
                    self.turn += 1;
                    return;
                }
                Ended::Done(printed) => {
                    self.count(arguments[0], &printed);
                    self.turn += 1;
                }
                // A replica that is killed holds its turn a little longer. The end of the round kills the next try.
                Ended::Failed(..) if is_busy => _ = round.recv_timeout(PAUSE),
                Ended::Failed(said, printed) => {
                    // What it found before the store was away is damage all the same.
                    let is_damaged = arguments[0] == "verify" && printed.lines().any(is_damage);
                    let was_out = before % 2 == 1 || outages.load(Ordering::SeqCst) != before;
                    assert!(was_out && !is_damaged, "{arguments:?}: {said}{printed}");
                    // It is run again: its opening waits for nothing.
                }
            }
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
            let status = wait(&mut process, round);
            let printed = reading.join().expect("it was read");
            let said = listening.join().expect("it was read");
            match status {
                None => Ended::Killed,
                Some(status) if status.success() => Ended::Done(printed),
                Some(_) => Ended::Failed(said, printed),
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
        Ended::Failed(said, _) => said
            .lines()
            .rfind(|line| line.starts_with("registry: "))
            .unwrap_or_default(),
        Ended::Killed => "killed",
    };
    let seconds = began.elapsed().as_secs_f32();
    eprintln!("replicas: {}: {seconds:.1} s: {what}", arguments.join(" "));
}

/// Returns true if a command ended because of another collection.
fn is_refused(said: &str) -> bool {
    said.contains("another collection is running") || said.contains("taken over")
}

/// Returns true if a line of a verification reports damage. A line that is cut off cannot be read.
fn is_damage(line: &str) -> bool {
    let item: Value = serde_json::from_str(line).unwrap_or_default();
    item["type"] == "finding" && item["harmless"] != true
}

/// Waits for a process. Returns how it has ended, or `None` if the round was over before.
fn wait(process: &mut Child, round: &Receiver<()>) -> Option<ExitStatus> {
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status);
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
