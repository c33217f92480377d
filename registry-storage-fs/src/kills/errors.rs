//! The scripts on a disk of which one call fails: with EIO, and with ENOSPC if it may need space.
//!
//! The step that notices it fails, and succeeds when it is tried again. It never says that something is not there. All that
//! is acknowledged in the end is there, and nothing else stays. Of the calls of a step that have the same action and the
//! same kind of path, the first one fails.

use super::{
    checks::Survivor,
    journal::{Entry, Journal},
    script::{SCRIPTS, Script, Step},
    victim::{StepError, Victim},
};
use crate::{faults::Calls, support};
use registry_core::UploadId;
use rustix::io::Errno;
use std::{
    collections::BTreeMap,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};
use tokio::runtime::Runtime;

/// Number of directories that are worked on at the same time.
const AT_ONCE: usize = 2;

/// A call by its step, its action and the kind of its path.
type Kind = (usize, &'static str, String);

/// A script with the call that fails, by its number.
#[derive(Clone, Copy, Debug)]
struct Failure {
    script: &'static Script,
    errno: Errno,
    number: usize,
}

/// Calls of a script, and the path of the one that has failed.
struct Worked {
    calls: Vec<Kind>,
    failed: Option<PathBuf>,
}

impl Failure {
    /// Performs the script, and checks what it leaves.
    async fn work(self) -> Worked {
        let Self {
            script,
            errno,
            number,
        } = self;
        let root = super::scratch();
        let top = support::top(root.path());
        let path = super::journal_of(root.path());
        let journal = Journal::create(&path);
        let victim = Victim::open(root.path(), journal.clone());
        let mut upload = None;
        let (mut counted, mut calls) = (None, Vec::new());
        for (position, step) in script.steps().enumerate() {
            if position == script.before.len() {
                counted = Some(Calls::below(&top, number, errno));
            }
            journal.write(Entry::Begun(position));
            if let Err(error) = victim.step(step, &mut upload).await {
                let failed = counted.as_ref().and_then(Calls::failed);
                let when = format!("{step:?} of {}, {errno} at {failed:?}: {error}", script.name);
                assert!(
                    failed.is_some() && !matches!(error, StepError::Absent(_)),
                    "{when}"
                );
                try_again(&victim, step, &mut upload, &when).await;
            }
            journal.write(Entry::Done(position));
            let seen = counted.as_ref().map_or_else(Vec::new, Calls::seen);
            let kinds = seen.into_iter().skip(calls.len());
            let kinds: Vec<_> = kinds
                .map(|(action, path)| (position, action, kind_of(&top, &path)))
                .collect();
            calls.extend(kinds);
        }
        let failed = counted.as_ref().and_then(Calls::failed);
        drop(counted);
        victim.close().await;
        let when = format!("with {errno} at call {number} of {}, {failed:?}", script.name);
        let journal = Journal::read(&path);
        Survivor::open(root.path(), script, &journal, &when).check().await;
        Worked { calls, failed }
    }
}

async fn try_again(victim: &Victim, step: Step, upload: &mut Option<UploadId>, when: &str) {
    match victim.step(step, upload).await {
        // The first attempt failed after its effect.
        Ok(()) | Err(StepError::Absent(_)) => {}
        Err(again) => panic!("{when}, and again: {again}"),
    }
}

/// Returns the kind of a path, which differs from others of its kind in digests, numbers and times only.
fn kind_of(top: &Path, path: &Path) -> String {
    let path = path.strip_prefix(top).unwrap_or(path).to_str().unwrap();
    let parts = path.split('/').map(|part| {
        let is_plain = part.bytes().all(|byte| !byte.is_ascii_digit());
        let is_name = is_plain || ["sha256", "sha512", "old1", "old2", "v1", "v2"].contains(&part);
        if is_name { part } else { "*" }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns the failures of a script.
fn failures_of(script: &'static Script, errno: Errno) -> Vec<Failure> {
    let none = Failure {
        script,
        errno,
        number: usize::MAX,
    };
    let recorded = Runtime::new().unwrap().block_on(none.work());
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for (number, kind) in recorded.calls.into_iter().enumerate() {
        kinds.entry(kind).or_insert(number);
    }
    let failures = kinds.into_values().map(|number| Failure { number, ..none });
    failures.collect()
}

/// Prints the number of failures.
#[test]
fn every_kind_of_call_of_the_disk_may_fail() {
    let mut waiting = Vec::new();
    for script in &SCRIPTS {
        for errno in [Errno::IO, Errno::NOSPC] {
            let failures = failures_of(script, errno);
            println!("{:4} calls of {} fail with {errno}", failures.len(), script.name);
            waiting.extend(failures);
        }
    }
    let waiting = Mutex::new(waiting);
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(failure) = super::next(&waiting) {
                    let worked = catch_unwind(|| Runtime::new().unwrap().block_on(failure.work()));
                    if !worked.is_ok_and(|worked| worked.failed.is_some()) {
                        lost.lock()
                            .unwrap()
                            .push((failure.script.name, failure.errno, failure.number));
                    }
                }
            });
        }
    });
    let lost = lost.into_inner().unwrap();
    assert!(
        lost.is_empty(),
        "{} failures did not come, or were not survived: {lost:?}",
        lost.len()
    );
}
