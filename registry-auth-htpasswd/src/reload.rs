//! Reading the file again after it has changed and settled.
//!
//! Only its metadata is checked, at intervals and through all links. This finds a file that is rewritten in place, as
//! by Apache's `htpasswd`, replaced by a rename, or exchanged by a symbolic link that points elsewhere (mounted secrets
//! of Kubernetes). It also works on file systems without change notifications.

use crate::{
    clock::millis,
    file::PasswordFile,
    load::{LoadError, Stamp, load},
    table::Table,
};
use std::{
    error::Error,
    fs, io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Time for which a file must be unchanged before it is read: a program may still be writing it.
const SETTLED: Duration = Duration::from_millis(200);

/// Exclusive right to check the file, with its state as seen so far.
pub(crate) type LookTurn = OwnedMutexGuard<Watch>;

/// The file, and the users read from it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    strict: bool,
    /// Interval between two checks of the file.
    every: Duration,
    /// Time of the next check, in milliseconds.
    due: AtomicU64,
    /// Allows one check at a time: if the file system hangs, one thread hangs with it, not one every second.
    watch: Arc<Mutex<Watch>>,
    table: RwLock<Arc<Table>>,
}

impl Source {
    /// Reads the file for the first time.
    pub(crate) fn open(path: PathBuf, strict: bool, every: Duration) -> Result<Self, LoadError> {
        // The first look reads it once more: it may be changing right now.
        let (file, _) = load(&path, strict)?;
        let table = Table::new(file, &Table::default());
        let source = Self {
            path,
            strict,
            every,
            due: AtomicU64::new(0),
            watch: Arc::default(),
            table: RwLock::new(Arc::new(table)),
        };
        source.tell(&source.table());
        Ok(source)
    }

    /// Returns the users as last read.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a turn if a check is due and no other one is under way.
    pub(crate) fn due_turn(&self, now: Duration) -> Option<LookTurn> {
        let next = millis(now.saturating_add(self.every));
        let passed = |due: u64| (due <= millis(now)).then_some(next);
        let due = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, passed);
        due.ok()?;
        Arc::clone(&self.watch).try_lock_owned().ok()
    }

    /// Waits for the turn to check the file.
    pub(crate) async fn turn(&self) -> LookTurn {
        Arc::clone(&self.watch).lock_owned().await
    }

    /// Checks the file, and reads it if it has changed and settled. This blocks for as long as the file system does.
    pub(crate) fn look(&self, watch: &mut Watch, now: Duration) {
        let seen = match fs::metadata(&self.path) {
            Ok(metadata) => Seen::File(Stamp::of(&metadata)),
            Err(error) => Seen::Gone(error.kind()),
        };
        let settled = match watch.step(seen, seen.age(), now) {
            Step::Nothing => true,
            Step::Wait => false,
            Step::Read => match load(&self.path, self.strict) {
                Ok((file, stamp)) if stamp.map(Seen::File) == Some(seen) => {
                    self.replace(watch, file);
                    true
                }
                Ok(_) => {
                    watch.known = None;
                    false
                }
                Err(error) => {
                    self.complain(watch, &error);
                    true
                }
            },
        };
        if !settled {
            let soon = millis(now.saturating_add(SETTLED));
            self.due.fetch_min(soon, Ordering::Relaxed);
        }
    }

    fn replace(&self, watch: &mut Watch, file: PasswordFile) {
        let before = self.table();
        let after = Table::new(file, &before);
        let was_broken = std::mem::take(&mut watch.broken);
        if after.is_same(&before) && !was_broken {
            return;
        }
        let after = Arc::new(after);
        // In force before it is told: whoever reads the log may count on it.
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        self.tell(&after);
        tracing::info!(path = %self.path.display(), users = after.len(), "the htpasswd file has changed and was read");
    }

    fn complain(&self, watch: &mut Watch, error: &LoadError) {
        watch.broken = true;
        let cause = error
            .source()
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        tracing::error!(
            users = self.table().len(),
            "{error}{cause}; the users that were read before stay as they are"
        );
    }

    /// Logs warnings about the users for the operator.
    fn tell(&self, table: &Table) {
        let path = self.path.display();
        for (kind, users) in table.kinds() {
            if kind.is_weak() {
                tracing::warn!(
                    %path, users,
                    "passwords are kept as {kind}, which is soon guessed where the file leaks; `htpasswd -B` replaces them"
                );
            }
        }
        for (why, lines) in &table.set_aside {
            tracing::warn!(%path, %lines, "lines of the htpasswd file let nobody in: {why}");
        }
        if table.len() == 0 {
            tracing::warn!(%path, "the htpasswd file has no user who can log in");
        }
    }
}

/// State of the file as one check finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    File(Stamp),
    Gone(io::ErrorKind),
}

/// Action after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The file is as it was when it was last read: do nothing.
    Nothing,
    /// The file may be changing right now: wait.
    Wait,
    /// The file has changed and settled: read it.
    Read,
}

/// State of the file as seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// True if the file was ever checked.
    looked: bool,
    /// State when the file was last read, or was last found to be unreadable.
    known: Option<Seen>,
    /// State that differs from `known`, and the time at which it was first seen.
    changing: Option<(Seen, Duration)>,
    /// True if the last reading failed.
    broken: bool,
}

impl Watch {
    /// Returns the action for a state of the file, of this age by the wall clock.
    fn step(&mut self, seen: Seen, age: Option<Duration>, now: Duration) -> Step {
        if self.known == Some(seen) {
            self.changing = None;
            return Step::Nothing;
        }
        let since = match self.changing {
            Some((before, since)) if before == seen => since,
            _ => now,
        };
        // The wall clock only saves time: a change that was long ago is over. A file that is being written looks old
        // where the clock of a file server is behind, so that goes for a file that was put in place whole.
        let whole = !self.looked || self.known.is_some_and(|known| seen.is_other_file_than(known));
        self.looked = true;
        let over = whole && age.is_some_and(|age| age >= 10 * SETTLED);
        if over || now.saturating_sub(since) >= SETTLED {
            self.known = Some(seen);
            self.changing = None;
            return Step::Read;
        }
        self.changing = Some((seen, since));
        Step::Wait
    }
}

impl Seen {
    fn age(self) -> Option<Duration> {
        match self {
            Self::File(stamp) => stamp.age(),
            Self::Gone(_) => None,
        }
    }

    /// Returns true if these are two files, not two states of one.
    fn is_other_file_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => !one.is_same_file(other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<Duration> = Some(Duration::from_secs(60));
    const NEW: Option<Duration> = Some(Duration::ZERO);

    /// Makes states of a file, each with a size of its own.
    fn states<const N: usize>() -> [Seen; N] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::array::from_fn(|size| {
            file.as_file().set_len(size as u64).unwrap();
            Seen::File(Stamp::of(&file.as_file().metadata().unwrap()))
        })
    }

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_file_that_changes_is_read_when_it_has_stayed_as_it_is() {
        let [empty, half, whole] = states();
        let mut watch = Watch::default();

        assert_eq!(watch.step(empty, NEW, at(0)), Step::Wait);
        assert_eq!(watch.step(half, NEW, at(199)), Step::Wait);
        assert_eq!(watch.step(whole, NEW, at(398)), Step::Wait);
        assert_eq!(watch.step(whole, NEW, at(597)), Step::Wait);
        assert_eq!(watch.step(whole, NEW, at(598)), Step::Read);
        assert_eq!(watch.step(whole, NEW, at(9000)), Step::Nothing);
    }

    #[test]
    fn a_change_of_long_ago_is_over() {
        let [file] = states();
        let mut watch = Watch::default();

        assert_eq!(watch.step(file, OLD, at(0)), Step::Read);
        assert_eq!(watch.step(file, OLD, at(0)), Step::Nothing);
    }

    #[test]
    fn a_look_that_hangs_holds_up_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path().to_owned(), false, SETTLED).unwrap();
        let hangs = source.due_turn(at(0));

        assert!(hangs.is_some());
        assert!(source.due_turn(at(9000)).is_none(), "another would hang with it");
        drop(hangs);
        assert!(source.due_turn(at(18_000)).is_some());
    }

    #[test]
    fn a_file_that_looks_old_while_it_is_written_is_waited_for_and_one_put_in_place_is_not() {
        let [before, half, whole] = states();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        let kept = tempfile::NamedTempFile::new().unwrap();
        let other = [elsewhere, kept].map(|file| Stamp::of(&file.as_file().metadata().unwrap()));
        let is_new = |stamp: &Stamp| matches!(whole, Seen::File(before) if !stamp.is_same_file(before));
        let other = Seen::File(other.into_iter().find(is_new).unwrap());
        let mut watch = Watch::default();
        watch.step(before, OLD, at(0));

        assert_eq!(watch.step(half, OLD, at(1000)), Step::Wait);
        assert_eq!(watch.step(whole, OLD, at(1199)), Step::Wait);
        assert_eq!(watch.step(whole, OLD, at(1399)), Step::Read);
        assert_eq!(watch.step(other, OLD, at(2000)), Step::Read);
    }

    #[test]
    fn a_gap_between_two_files_is_not_a_file_that_is_gone() {
        let [before, after] = states();
        let gone = Seen::Gone(io::ErrorKind::NotFound);
        let mut watch = Watch::default();
        watch.step(before, OLD, at(0));

        assert_eq!(watch.step(gone, None, at(1000)), Step::Wait);
        assert_eq!(watch.step(before, OLD, at(1100)), Step::Nothing);
        assert_eq!(watch.step(gone, None, at(2000)), Step::Wait);
        assert_eq!(watch.step(after, NEW, at(2100)), Step::Wait);
        assert_eq!(watch.step(gone, None, at(2300)), Step::Wait);
        assert_eq!(watch.step(gone, None, at(2500)), Step::Read);
        assert_eq!(watch.step(gone, None, at(2700)), Step::Nothing);
    }
}
