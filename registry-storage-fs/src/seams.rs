//! For tests: which directories are listed, how many of their entries are read and how many files are opened, which is what a
//! test asserts of a cost instead of seconds; and points at which a test steps in.
//!
//! Without `cfg(test)` both are nothing.

#[cfg(test)]
pub(crate) use self::counted::{Listed, Pauses, entries, listed, opened, watch};

#[cfg(not(test))]
mod uncounted {
    use std::path::Path;

    /// A file was opened, or looked for.
    pub(crate) const fn opened(_: &Path) {}

    /// A directory is listed.
    pub(crate) const fn listed(_: &Path) {}

    /// So many entries of a directory were read.
    pub(crate) const fn entries(_: &Path, _: usize) {}

    #[derive(Debug, Default)]
    pub(crate) struct Pauses(());

    impl Pauses {
        /// The work has got to a point that has a name.
        #[expect(
            clippy::unused_self,
            reason = "the same call as in tests, where it looks up the point"
        )]
        pub(crate) const fn reach(&self, _: &'static str) {}
    }
}

#[cfg(not(test))]
pub(crate) use self::uncounted::{Pauses, entries, listed, opened};

#[cfg(test)]
mod counted {
    use std::{
        collections::{BTreeMap, HashMap},
        fmt,
        path::{Path, PathBuf},
        sync::{Mutex, MutexGuard, PoisonError},
    };

    /// What was read below each root that somebody watches.
    static WATCHED: Mutex<BTreeMap<PathBuf, Read>> = Mutex::new(BTreeMap::new());

    #[derive(Default)]
    struct Read {
        costs: Costs,
        /// The directories that were listed, in this order.
        listed: Vec<PathBuf>,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Costs {
        /// Files opened, or looked for.
        pub(crate) files: usize,
        /// Entries of directories read.
        pub(crate) entries: usize,
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from 0 below `root`; returns what was counted since the last call.
    pub(crate) fn watch(root: &Path) -> Costs {
        let mut watched = lock(&WATCHED);
        std::mem::take(&mut watched.entry(root.to_path_buf()).or_default().costs)
    }

    /// The directories that are listed below a root, until this is dropped.
    pub(crate) struct Listed(PathBuf);

    impl Listed {
        pub(crate) fn below(root: &Path) -> Self {
            lock(&WATCHED).insert(root.to_path_buf(), Read::default());
            Self(root.to_path_buf())
        }

        /// Those since the last call.
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

    type Act = Box<dyn FnOnce() + Send>;

    /// What a test does when the work gets to a point, once.
    #[derive(Default)]
    pub(crate) struct Pauses(Mutex<HashMap<&'static str, Act>>);

    impl Pauses {
        pub(crate) fn at(&self, point: &'static str, act: impl FnOnce() + Send + 'static) {
            lock(&self.0).insert(point, Box::new(act));
        }

        pub(crate) fn reach(&self, point: &'static str) {
            let act = lock(&self.0).remove(point);
            if let Some(act) = act {
                act();
            }
        }
    }

    impl fmt::Debug for Pauses {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Pauses").finish_non_exhaustive()
        }
    }
}
