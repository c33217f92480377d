//! [`ReportedProblems`]: the last reported problem of each path, so that the log has it once and not for every request.

use crate::error::FsError;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of paths. Beyond that, all are evicted, and reported again.
const MAX_PATHS: usize = 4096;

/// Reported problem of each path.
#[derive(Debug, Default)]
pub(crate) struct ReportedProblems(Mutex<HashMap<PathBuf, u64>>);

impl ReportedProblems {
    /// Records the problem of a path. Returns true if it differs from the last one. `problem` distinguishes problems.
    pub(crate) fn is_news(&self, path: &Path, problem: u64) -> bool {
        let mut reported = self.lock();
        if reported.len() >= MAX_PATHS && !reported.contains_key(path) {
            reported.clear();
        }
        reported.insert(path.to_path_buf(), problem) != Some(problem)
    }

    /// Records that a path cannot be read. Logs the error and its consequence if they are news.
    pub(crate) fn unreadable(&self, error: &FsError, consequence: &str) {
        if self.is_news(error.path(), error.code()) {
            tracing::warn!(cause = %error.source(), "{error}; {consequence}");
        }
    }

    /// Records that a path has no problem. Returns true if it had one.
    pub(crate) fn forget(&self, path: &Path) -> bool {
        let mut reported = self.lock();
        !reported.is_empty() && reported.remove(path).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_news_once_until_it_changes() {
        let reported = ReportedProblems::default();
        let path = Path::new("/a");

        assert!(reported.is_news(path, 1));
        assert!(!reported.is_news(path, 1));
        assert!(reported.is_news(path, 2));
        assert!(reported.is_news(Path::new("/b"), 2));
        reported.forget(path);
        assert!(reported.is_news(path, 2));
    }

    #[test]
    fn the_number_of_paths_is_bounded() {
        let reported = ReportedProblems::default();
        for number in 0..3 * MAX_PATHS {
            assert!(reported.is_news(Path::new(&number.to_string()), 1));
        }
        assert!(reported.lock().len() <= MAX_PATHS);
    }
}
