//! For tests: counts of files opened and directory entries read, and points at which a test steps in.
//!
//! Without `cfg(test)` both are nothing.

#[cfg(test)]
pub(crate) use self::counted::{Pauses, entries, opened, watch};

#[cfg(not(test))]
mod uncounted {
    use std::path::Path;

    /// A file was opened, or looked for.
    pub(crate) const fn opened(_: &Path) {}

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
pub(crate) use self::uncounted::{Pauses, entries, opened};

#[cfg(test)]
mod counted {
    use std::{
        collections::{BTreeMap, HashMap},
        fmt,
        path::{Path, PathBuf},
        sync::{Mutex, MutexGuard, PoisonError},
    };

    /// What was read below each directory that is watched.
    static WATCHED: Mutex<BTreeMap<PathBuf, Costs>> = Mutex::new(BTreeMap::new());

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
        lock(&WATCHED)
            .insert(root.to_path_buf(), Costs::default())
            .unwrap_or_default()
    }

    fn count(path: &Path, add: impl FnOnce(&mut Costs)) {
        let mut watched = lock(&WATCHED);
        if let Some((_, costs)) = watched.iter_mut().find(|(root, _)| path.starts_with(root)) {
            add(costs);
        }
    }

    pub(crate) fn opened(path: &Path) {
        count(path, |costs| costs.files += 1);
    }

    pub(crate) fn entries(directory: &Path, read: usize) {
        count(directory, |costs| costs.entries += read);
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
