//! Users that are reloaded when their file changes and has settled.
//!
//! [`Followed`] has the rules for this: it finds a file that is rewritten in place, as by Apache's `htpasswd`, replaced
//! by a rename, or exchanged by a symbolic link that points elsewhere (mounted secrets of Kubernetes).

use crate::{
    clock::millis,
    formats::Formats,
    load::{LoadError, load},
    table::{Table, WeakUsers},
};
use registry_reload::{Change, Files, Followed, Loaded};
use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Time for which a file must be unchanged before it is loaded: a program may still be writing it.
const SETTLED: Duration = Duration::from_millis(200);

/// Maximum size of the file, enough for 500,000 users.
const MAX_BYTES: u64 = 64 << 20;

/// Exclusive right to check the file.
pub(crate) type CheckTurn = OwnedMutexGuard<()>;

/// The file, and the users read from it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    formats: Formats,
    /// Interval between two checks of the file.
    every: Duration,
    /// Time of the next check, in milliseconds.
    due: AtomicU64,
    /// Allows one check at a time: if the file system hangs, one thread hangs with it, not one every second.
    turn: Arc<Mutex<()>>,
    followed: Followed<Table>,
    opened: Instant,
}

impl Source {
    /// Reads the file for the first time.
    pub(crate) fn open(path: PathBuf, formats: Formats, every: Duration) -> Result<Self, LoadError> {
        let followed = Followed::open(Files::new([&path], MAX_BYTES), |reading| {
            Ok(Table::new(load(&path, reading, &formats)?, &Table::default()))
        })?;
        let source = Self {
            path,
            formats,
            every,
            due: AtomicU64::new(0),
            turn: Arc::default(),
            followed: followed.settling(SETTLED),
            opened: Instant::now(),
        };
        source.warn(&source.table());
        Ok(source)
    }

    /// Returns the users as last read.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.followed.current()
    }

    /// Returns a turn if a check is due and no other one is under way.
    pub(crate) fn due_turn(&self, now: Duration) -> Option<CheckTurn> {
        let next = millis(now.saturating_add(self.every));
        let passed = |due: u64| (due <= millis(now)).then_some(next);
        let due = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, passed);
        due.ok()?;
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Waits for the turn to check the file.
    pub(crate) async fn turn(&self) -> CheckTurn {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Checks the file, and loads the users if it has changed and settled. This blocks for as long as the file system
    /// does.
    pub(crate) fn check(&self, _turn: &CheckTurn, now: Duration) {
        let load = |reading, before: &Arc<Table>| {
            let after = Table::new(load(&self.path, reading, &self.formats)?, before);
            // Unchanged users keep their table, so that their snapshots are of the same reading.
            Ok(match after.is_same(before) {
                true => Arc::clone(before),
                false => Arc::new(after),
            })
        };
        match self.followed.check(self.opened + now, load) {
            Change::Settling => {
                let soon = millis(now.saturating_add(SETTLED));
                self.due.fetch_min(soon, Ordering::Relaxed);
            }
            Change::Loaded(loaded) => self.report(&loaded),
            Change::Failed(error) => self.complain(&told(&error)),
            Change::Panicked(message) => self.complain(&format!(
                "the check of the htpasswd file {} panicked: {message}",
                self.path.display()
            )),
            _ => {}
        }
    }

    fn report(&self, loaded: &Loaded<Table>) {
        let users = &loaded.value;
        if Arc::ptr_eq(users, &loaded.previous) && !loaded.after_failure {
            return;
        }
        self.warn(users);
        tracing::info!(path = %self.path.display(), users = users.len(), "the htpasswd file has changed and was read");
    }

    fn complain(&self, problem: &str) {
        tracing::error!(
            users = self.table().len(),
            "{problem}; the users of the last valid file stay in use"
        );
    }

    /// Logs warnings about the users for the operator.
    fn warn(&self, table: &Table) {
        let path = self.path.display();
        if let users @ 1.. = table.weak().len() {
            tracing::warn!(
                %path, users,
                "weak password formats: {}; most of these passwords can be recovered from the file; set new ones \
                 with `htpasswd -B`",
                WeakUsers(table)
            );
        }
        for (why, lines) in &table.set_aside {
            tracing::warn!(%path, %lines, "users on these lines of the htpasswd file cannot log in: {why}");
        }
        if table.len() == 0 {
            tracing::warn!(%path, "the htpasswd file has no user who can log in");
        }
    }
}

#[cfg(test)]
impl Source {
    /// Makes checks hang until `end` has a message, as a file system can. Sends a message when they do.
    pub(crate) fn hang(&self, hangs: &std::sync::mpsc::Sender<()>, end: &std::sync::mpsc::Receiver<()>) {
        self.followed.load_again();
        let load = |_, before: &Arc<Table>| {
            hangs.send(()).unwrap();
            end.recv().unwrap();
            Ok::<_, std::convert::Infallible>(Arc::clone(before))
        };
        for now in [Duration::ZERO, SETTLED] {
            self.followed.check(self.opened + now, load);
        }
    }
}

/// Returns the message of an error with its cause.
fn told(error: &LoadError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_check_that_hangs_holds_up_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path().to_owned(), Formats::default(), SETTLED).unwrap();
        let hangs = source.due_turn(at(0));

        assert!(hangs.is_some());
        assert!(source.due_turn(at(9000)).is_none(), "another would hang with it");
        drop(hangs);
        assert!(source.due_turn(at(18_000)).is_some());
    }

    #[tokio::test]
    async fn a_change_that_settles_is_checked_again_soon() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path().to_owned(), Formats::default(), at(1000)).unwrap();
        let turn = source.due_turn(at(0)).unwrap();
        fs::write(file.path(), "a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
        source.check(&turn, at(0));
        drop(turn);

        assert!(source.due_turn(at(199)).is_none());
        let turn = source.due_turn(at(200)).unwrap();
        source.check(&turn, at(200));

        assert_eq!(source.table().len(), 1);
    }

    #[tokio::test]
    async fn lines_that_change_nothing_keep_the_table() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path().to_owned(), Formats::default(), SETTLED).unwrap();
        let turn = source.turn().await;
        let before = source.table();
        for text in ["# one\n", "# one\n# two\n"] {
            fs::write(file.path(), text).unwrap();
            source.check(&turn, at(0));
            source.check(&turn, at(200));

            assert!(Arc::ptr_eq(&before, &source.table()));
        }
    }
}
