//! Kills a process at every point of its work, while others push: everything acknowledged survives, and nothing else stays.
//!
//! This binary is its own victim: started with [`ROOT`] set, it performs a script in that directory and dies by SIGKILL
//! at the given point. The parent opens the directory again.

mod checks;
mod content;
mod errors;
mod journal;
mod script;
mod victim;

use self::{
    checks::Survivor,
    journal::{Entry, Journal},
    script::{SCRIPTS, Script},
    victim::Victim,
};
use crate::pauses::Point;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    os::unix::process::ExitStatusExt as _,
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Directory of the victim, and of its journal.
const ROOT: &str = "REGISTRY_KILLS_ROOT";
/// Name of its script.
const SCRIPT: &str = "REGISTRY_KILLS_SCRIPT";
/// Point at which it dies, and how often it passes there before.
const DEATH: &str = "REGISTRY_KILLS_DEATH";

/// Number of victims at the same time.
const AT_ONCE: usize = 2;

/// Content of a damaged blob.
const DAMAGED: &[u8] = b"damaged";

/// Does the work of a victim, in its own process. Without one, this test has nothing to do.
#[test]
fn victim() {
    let Some(root) = env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    // A failure of any thread is one of the process.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let name = env::var(SCRIPT).unwrap();
    let script = SCRIPTS.iter().find(|script| script.name == name).unwrap();
    let death = env::var(DEATH).ok().map(|death| {
        let (point, passes) = death.split_once(' ').unwrap();
        (journal::point(point), passes.parse().unwrap())
    });
    let runtime = Runtime::new().unwrap();
    let victim = Victim::open(&root, Journal::create(&journal_of(&root)));
    runtime.block_on(victim.perform(script, death));
}

fn journal_of(root: &Path) -> PathBuf {
    root.join("journal")
}

/// Creates a directory in memory if possible: a kill loses nothing that was written.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Runs a victim and checks what it leaves. Returns its journal.
fn run(script: &Script, death: Option<(Point, usize)>) -> Vec<Entry> {
    let root = scratch();
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["kills::victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROOT, root.path())
        .env(SCRIPT, script.name)
        .stdin(Stdio::null());
    if let Some((point, passes)) = death {
        command.env(DEATH, format!("{point:?} {passes}"));
    }
    let output = command.output().unwrap();
    let journal = Journal::read(&journal_of(root.path()));
    let was_killed = output.status.signal() == Some(9);
    let when = format!("after the death at {death:?} of {}", script.name);
    assert!(
        output.status.success() || was_killed && journal.contains(&Entry::Killed),
        "{when}: {:?} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Runtime::new()
        .unwrap()
        .block_on(Survivor::open(root.path(), script, &journal, &when).check());
    journal
}

/// Returns the deaths of a script: at each point that it comes to, early, in the middle and late.
fn deaths(journal: &[Entry]) -> BTreeSet<(Point, usize)> {
    let passed = journal.iter().filter_map(|entry| match entry {
        Entry::Passed(point, passes) => Some((*point, *passes)),
        _ => None,
    });
    let deaths = passed.flat_map(|(point, passes)| [0, passes / 2, passes - 1].map(|passes| (point, passes)));
    deaths.collect()
}

/// Prints the number of kills at each point.
#[test]
fn everything_acknowledged_survives_a_kill_at_every_point() {
    let mut waiting: Vec<(&Script, (Point, usize))> = Vec::new();
    for script in &SCRIPTS {
        let journal = run(script, None);
        waiting.extend(deaths(&journal).into_iter().map(|death| (script, death)));
    }
    let waiting = Mutex::new(waiting);
    let kills = Mutex::new(BTreeMap::<Point, usize>::new());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((script, death)) = next(&waiting) {
                    match catch_unwind(|| run(script, Some(death))) {
                        Ok(journal) => {
                            let killed = usize::from(journal.contains(&Entry::Killed));
                            *kills.lock().unwrap().entry(death.0).or_default() += killed;
                        }
                        Err(_) => failed.lock().unwrap().push((script.name, death)),
                    }
                }
            });
        }
    });
    let kills = kills.into_inner().unwrap();
    for (point, kills) in &kills {
        println!("{kills:4} kills at {point:?}");
    }
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} deaths have lost or left something: {failed:?}",
        failed.len()
    );
    let is_missed = |point: &&Point| kills.get(point).is_none_or(|kills| *kills == 0);
    let missed: Vec<_> = Point::ALL.iter().filter(is_missed).collect();
    assert!(missed.is_empty(), "nothing was killed at {missed:?}");
}

fn next<T>(waiting: &Mutex<Vec<T>>) -> Option<T> {
    waiting.lock().unwrap().pop()
}
