//! [`Remarks`]: the last remark about each path, so that the log states it once and not for every request.

use crate::error::FsError;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of remembered paths. Beyond that, all are forgotten, and logged again.
const MOST: usize = 4096;

/// Current problem of each path.
#[derive(Debug, Default)]
pub(crate) struct Remarks(Mutex<HashMap<PathBuf, u64>>);

impl Remarks {
    /// Returns true if this differs from the last remark about the path. `what` distinguishes remarks.
    pub(crate) fn is_news(&self, path: &Path, what: u64) -> bool {
        let mut said = self.said();
        if said.len() >= MOST && !said.contains_key(path) {
            said.clear();
        }
        said.insert(path.to_path_buf(), what) != Some(what)
    }

    /// Does the same for a path that cannot be read; logs the error and its consequence if they are news.
    pub(crate) fn unreadable(&self, error: &FsError, consequence: &str) {
        if self.is_news(error.path(), error.code()) {
            tracing::warn!(cause = %error.source(), "{error}; {consequence}");
        }
    }

    /// Forgets the remark about a path that has no problem.
    pub(crate) fn forget(&self, path: &Path) {
        let mut said = self.said();
        if !said.is_empty() {
            said.remove(path);
        }
    }

    fn said(&self) -> MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_news_once_until_it_changes() {
        let remarks = Remarks::default();
        let path = Path::new("/a");

        assert!(remarks.is_news(path, 1));
        assert!(!remarks.is_news(path, 1));
        assert!(remarks.is_news(path, 2));
        assert!(remarks.is_news(Path::new("/b"), 2));
        remarks.forget(path);
        assert!(remarks.is_news(path, 2));
    }

    #[test]
    fn no_more_paths_are_remembered_than_that() {
        let remarks = Remarks::default();
        for number in 0..3 * MOST {
            assert!(remarks.is_news(Path::new(&number.to_string()), 1));
        }
        assert!(remarks.said().len() <= MOST);
    }
}
