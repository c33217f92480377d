//! [`Followed`]: a value that is loaded from files, and loaded again when they change.

use crate::files::{Files, Reading};
use std::{
    any::Any,
    fmt,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// A value that is loaded from files, and loaded again when a check finds other contents.
///
/// Nothing runs by itself: the host calls [`check`](Self::check) at intervals, on a thread that may block. The
/// documentation of the crate has an example.
pub struct Followed<T> {
    files: Files,
    /// Time for which new contents have to stay the same; `None` loads them at once.
    settling: Option<Duration>,
    value: RwLock<Arc<T>>,
    state: Mutex<State>,
    /// Key of the fingerprints.
    key: RandomState,
}

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<T, E> {
    /// The contents are those of the last check that loaded a value or failed.
    Unchanged,
    /// The contents have changed, and may still be written. A later check loads them.
    Settling,
    /// A value was loaded.
    Loaded(Loaded<T>),
    /// The files cannot be used. The previous value stays in use.
    Failed(E),
    /// Loading the value panicked, with this message. The previous value stays in use, and the next check loads the
    /// files again. A second panic for the same contents is [`Change::Unchanged`].
    Panicked(String),
}

/// A value that a check has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// The new value, which is in use.
    pub value: Arc<T>,
    /// The value before. It is the same if the function that loads values has returned it.
    pub previous: Arc<T>,
    /// True if the files could not be used before.
    pub after_failure: bool,
}

/// Contents of the files, or the error, as a number.
///
/// The contents are not kept: they may be secret, or large. The key is random, so nobody can choose contents with
/// equal fingerprints.
type Fingerprint = u64;

#[derive(Debug, Default)]
struct State {
    /// Contents of the last check that loaded a value or failed.
    done: Option<Fingerprint>,
    /// Contents that differ from these, and the time at which they were first found.
    settling: Option<(Fingerprint, Instant)>,
    /// Contents whose loading has panicked.
    panicked: Option<Fingerprint>,
    failed: bool,
}

impl<T> Followed<T> {
    /// Reads the files, and loads a value. This blocks for as long as the file system does.
    ///
    /// # Errors
    ///
    /// The error of `load`.
    pub fn open<E>(files: Files, load: impl FnOnce(Reading) -> Result<T, E>) -> Result<Self, E> {
        let key = RandomState::new();
        let reading = files.read();
        let done = fingerprint(&key, &reading);
        let value = load(reading)?;
        Ok(Self {
            key,
            state: Mutex::new(State {
                done: Some(done),
                ..State::default()
            }),
            ..Self::new(files, value)
        })
    }

    /// Starts with a value that is in use until a check has loaded one.
    ///
    /// ```
    /// use registry_reload::{Change, Files, Followed, Unreadable};
    /// use std::{sync::Arc, time::Instant};
    ///
    /// let motd = Followed::new(Files::new(["/etc/motd.d/none"], 1024), Vec::new());
    /// let change = motd.check(Instant::now(), |reading, _| reading.map(Arc::new));
    ///
    /// assert!(matches!(change, Change::Failed(Unreadable { .. })));
    /// assert!(motd.current().is_empty());
    /// ```
    pub fn new(files: Files, value: T) -> Self {
        Self {
            files,
            settling: None,
            value: RwLock::new(Arc::new(value)),
            state: Mutex::default(),
            key: RandomState::new(),
        }
    }

    /// Loads new contents only after a second check has found them, at least so much later. Default: at once, for
    /// files whose contents show that they are complete.
    #[must_use]
    pub fn settling(mut self, time: Duration) -> Self {
        self.settling = Some(time);
        self
    }

    /// Returns the files.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// Returns the value in use.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files, and loads a value if their contents have changed and settled. This blocks for as long as the
    /// file system does, and while another check runs.
    ///
    /// `load` receives the contents and the value in use. It may return the latter if nothing has changed in effect.
    pub fn check<E>(
        &self,
        now: Instant,
        load: impl FnOnce(Reading, &Arc<T>) -> Result<Arc<T>, E>,
    ) -> Change<T, E> {
        self.check_with(|| self.files.read(), now, load)
    }

    /// Makes a check with contents that were read before, for hosts that read and load on different threads. The host
    /// makes these checks in the order of its readings: the contents of the last check are in use.
    pub fn check_read<E>(
        &self,
        reading: Reading,
        now: Instant,
        load: impl FnOnce(Reading, &Arc<T>) -> Result<Arc<T>, E>,
    ) -> Change<T, E> {
        self.check_with(|| reading, now, load)
    }

    fn check_with<E>(
        &self,
        read: impl FnOnce() -> Reading,
        now: Instant,
        load: impl FnOnce(Reading, &Arc<T>) -> Result<Arc<T>, E>,
    ) -> Change<T, E> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a slow reading of old contents does not replace newer ones.
        let reading = read();
        let found = fingerprint(&self.key, &reading);
        if state.done == Some(found) {
            state.settling = None;
            return Change::Unchanged;
        }
        if !state.is_settled(found, now, self.settling) {
            return Change::Settling;
        }
        let previous = self.current();
        match panic::catch_unwind(AssertUnwindSafe(|| load(reading, &previous))) {
            Ok(loaded) => {
                state.done = Some(found);
                state.panicked = None;
                let after_failure = std::mem::replace(&mut state.failed, loaded.is_err());
                match loaded {
                    Ok(value) => {
                        *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&value);
                        Change::Loaded(Loaded {
                            value,
                            previous,
                            after_failure,
                        })
                    }
                    Err(error) => Change::Failed(error),
                }
            }
            Err(panic) => {
                state.done = None;
                state.failed = true;
                match state.panicked.replace(found) {
                    Some(before) if before == found => Change::Unchanged,
                    _ => Change::Panicked(message(&*panic)),
                }
            }
        }
    }

    /// Makes the next check load the files even if they do not change, for values whose validity depends on more than
    /// the files. This blocks while a check runs.
    pub fn load_again(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done = None;
    }
}

impl State {
    /// Returns true if contents that were not loaded yet can be loaded now.
    fn is_settled(&mut self, found: Fingerprint, now: Instant, time: Option<Duration>) -> bool {
        let settled = match (time, self.settling) {
            _ if self.panicked == Some(found) => true,
            (None, _) => true,
            (Some(time), Some((before, since))) if before == found => {
                now.saturating_duration_since(since) >= time
            }
            (Some(_), _) => {
                self.settling = Some((found, now));
                false
            }
        };
        if settled {
            self.settling = None;
        }
        settled
    }
}

fn fingerprint(key: &RandomState, reading: &Reading) -> Fingerprint {
    let mut hasher = key.build_hasher();
    match reading {
        Ok(contents) => contents.hash(&mut hasher),
        Err(error) => {
            error.path.hash(&mut hasher);
            error.source.kind().hash(&mut hasher);
            error.source.to_string().hash(&mut hasher);
        }
    }
    reading.is_ok().hash(&mut hasher);
    hasher.finish()
}

/// Returns the message of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a message").to_owned()
}

impl<T: fmt::Debug> fmt::Debug for Followed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed")
            .field("files", &self.files)
            .field("value", &self.current())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        convert::Infallible,
        sync::{TryLockError, mpsc},
        thread,
    };

    fn load(reading: Reading, _: &Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Infallible> {
        Ok(Arc::new(reading.unwrap().concat()))
    }

    /// The second check begins after the first one has read, and before it has loaded.
    #[test]
    fn a_slow_check_does_not_bring_back_old_contents() {
        let followed = Followed::new(Files::new([""; 0], 1), b"one".to_vec());
        let (old_read, second_begins) = mpsc::channel();
        let (begun, first_continues) = mpsc::channel();
        let now = Instant::now();
        thread::scope(|scope| {
            let followed = &followed;
            scope.spawn(move || {
                let read = || {
                    old_read.send(()).unwrap();
                    first_continues.recv().unwrap();
                    Ok(vec![b"two".to_vec()])
                };
                followed.check_with(read, now, load)
            });
            second_begins.recv().unwrap();
            let excluded = matches!(followed.state.try_lock(), Err(TryLockError::WouldBlock));
            let second = scope.spawn(move || {
                begun.send(()).unwrap();
                followed.check_with(|| Ok(vec![b"three".to_vec()]), now, load)
            });
            second.join().unwrap();
            assert!(
                excluded,
                "the second check waits for the first one, also while it reads"
            );
        });
        assert_eq!(*followed.current(), b"three");
    }
}
