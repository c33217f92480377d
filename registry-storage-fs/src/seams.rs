//! Test hooks: counters of listed directories, their entries and opened files, and of threads that wait for a lock.
//! Tests assert these counts instead of times.
//!
//! Without `cfg(test)` all of them do nothing.

#[cfg(test)]
pub(crate) use self::counted::{Listed, Waits, entries, listed, opened, watch};

#[cfg(not(test))]
mod uncounted {
    use std::path::Path;

    /// Records that a file was opened, or looked up.
    pub(crate) const fn opened(_: &Path) {}

    /// Records that a directory is listed.
    pub(crate) const fn listed(_: &Path) {}

    /// Records the number of entries read from a directory.
    pub(crate) const fn entries(_: &Path, _: usize) {}

    #[derive(Debug, Default)]
    pub(crate) struct Waits(());

    pub(crate) struct Waiting(());

    impl Waits {
        /// Records that a thread waits until the returned value is dropped.
        #[expect(clippy::unused_self, reason = "the same call as in tests, where it counts")]
        pub(crate) const fn begin(&self) -> Waiting {
            Waiting(())
        }
    }
}

#[cfg(not(test))]
pub(crate) use self::uncounted::{Waits, entries, listed, opened};

#[cfg(test)]
mod counted {
    use std::{
        collections::BTreeMap,
        path::{Path, PathBuf},
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicUsize, Ordering},
        },
    };

    /// Costs below each watched root.
    static WATCHED: Mutex<BTreeMap<PathBuf, Read>> = Mutex::new(BTreeMap::new());

    #[derive(Default)]
    struct Read {
        costs: Costs,
        /// The listed directories, in this order.
        listed: Vec<PathBuf>,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Costs {
        /// Number of files opened, or looked up.
        pub(crate) files: usize,
        /// Number of directory entries read.
        pub(crate) entries: usize,
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets the counts below `root` to 0; returns the counts since the last call.
    pub(crate) fn watch(root: &Path) -> Costs {
        let mut watched = lock(&WATCHED);
        std::mem::take(&mut watched.entry(root.to_path_buf()).or_default().costs)
    }

    /// Watches the directories listed below a root, until this is dropped.
    pub(crate) struct Listed(PathBuf);

    impl Listed {
        pub(crate) fn below(root: &Path) -> Self {
            lock(&WATCHED).insert(root.to_path_buf(), Read::default());
            Self(root.to_path_buf())
        }

        /// Returns the directories listed since the last call.
        pub(crate) fn take(&self) -> Vec<PathBuf> {
            let mut watched = lock(&WATCHED);
            let read = watched.get_mut(&self.0);
            read.map(|read| std::mem::take(&mut read.listed))
                .unwrap_or_default()
        }
    }

    impl Drop for Listed {
        fn drop(&mut self) {
            lock(&WATCHED).remove(&self.0);
        }
    }

    fn count(path: &Path, add: impl FnOnce(&mut Read)) {
        let mut watched = lock(&WATCHED);
        if let Some((_, read)) = watched.iter_mut().find(|(root, _)| path.starts_with(root)) {
            add(read);
        }
    }

    pub(crate) fn opened(path: &Path) {
        count(path, |read| read.costs.files += 1);
    }

    pub(crate) fn listed(directory: &Path) {
        count(directory, |read| read.listed.push(directory.to_path_buf()));
    }

    pub(crate) fn entries(directory: &Path, count_of: usize) {
        count(directory, |read| read.costs.entries += count_of);
    }

    /// Number of threads that wait for a lock.
    #[derive(Debug, Default)]
    pub(crate) struct Waits(AtomicUsize);

    pub(crate) struct Waiting<'a>(&'a Waits);

    impl Waits {
        pub(crate) fn begin(&self) -> Waiting<'_> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Waiting(self)
        }

        pub(crate) fn any(&self) -> bool {
            self.0.load(Ordering::SeqCst) > 0
        }
    }

    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
