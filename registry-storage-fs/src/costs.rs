//! Which directories are listed below a root: what tests assert of a cost, instead of seconds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// By the roots that somebody watches.
static LISTED: Mutex<BTreeMap<PathBuf, Vec<PathBuf>>> = Mutex::new(BTreeMap::new());

fn all() -> MutexGuard<'static, BTreeMap<PathBuf, Vec<PathBuf>>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody lists a directory.
pub(crate) fn listed(directory: &Path) {
    for (root, listed) in all().iter_mut() {
        if directory.starts_with(root) {
            listed.push(directory.to_path_buf());
        }
    }
}

/// The directories that are listed below a root, until this is dropped.
pub(crate) struct Listed(PathBuf);

impl Listed {
    pub(crate) fn below(root: &Path) -> Self {
        all().insert(root.to_path_buf(), Vec::new());
        Self(root.to_path_buf())
    }

    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<PathBuf> {
        all().get_mut(&self.0).map(std::mem::take).unwrap_or_default()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        all().remove(&self.0);
    }
}
