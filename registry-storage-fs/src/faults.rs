//! Injected system errors, for tests: operations at a path, or one call of many, fail, as seen by this crate. A call that
//! fails was made nevertheless: nobody can rely on a failed call having had no effect.

use rustix::io::Errno;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

static FAULTS: Mutex<Option<HashMap<PathBuf, Errno>>> = Mutex::new(None);

/// Makes everything done at a path fail, until this is dropped.
pub(crate) struct Fault(PathBuf);

pub(crate) fn fail(path: &Path, errno: Errno) -> Fault {
    let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    faults.get_or_insert_default().insert(path.to_path_buf(), errno);
    Fault(path.to_path_buf())
}

impl Drop for Fault {
    fn drop(&mut self) {
        let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get_or_insert_default().remove(&self.0);
    }
}

/// Calls below each watched root.
static CALLS: Mutex<BTreeMap<PathBuf, Counted>> = Mutex::new(BTreeMap::new());

struct Counted {
    /// The calls, each with its action and its path.
    seen: Vec<(&'static str, PathBuf)>,
    /// Number of the call that fails.
    number: usize,
    errno: Errno,
    failed: Option<PathBuf>,
}

impl Counted {
    fn next(&mut self, action: &'static str, path: &Path) -> Option<Errno> {
        if self.errno == Errno::NOSPC && !needs_space(action) {
            return None;
        }
        let fails = self.seen.len() == self.number;
        self.seen.push((action, path.to_path_buf()));
        if fails {
            self.failed = Some(path.to_path_buf());
        }
        fails.then_some(self.errno)
    }
}

/// Returns true for an action that a full disk can refuse.
fn needs_space(action: &str) -> bool {
    ["allocate", "create", "publish", "quarantine", "sync", "write"].contains(&action)
}

/// Counts the calls below a root, one of which fails, until this is dropped. ENOSPC concerns only those that may need
/// space.
pub(crate) struct Calls(PathBuf);

impl Calls {
    pub(crate) fn below(root: &Path, number: usize, errno: Errno) -> Self {
        let counted = Counted {
            seen: Vec::new(),
            number,
            errno,
            failed: None,
        };
        calls().insert(root.to_path_buf(), counted);
        Self(root.to_path_buf())
    }

    /// Returns the calls so far, each with its action and its path.
    pub(crate) fn seen(&self) -> Vec<(&'static str, PathBuf)> {
        let calls = calls();
        calls
            .get(&self.0)
            .map_or_else(Vec::new, |counted| counted.seen.clone())
    }

    /// Returns the path of the call that has failed.
    pub(crate) fn failed(&self) -> Option<PathBuf> {
        calls().get(&self.0)?.failed.clone()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        calls().remove(&self.0);
    }
}

fn calls() -> MutexGuard<'static, BTreeMap<PathBuf, Counted>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn injected<T>(result: io::Result<T>, action: &'static str, path: &Path) -> io::Result<T> {
    let counted = calls()
        .iter_mut()
        .find(|(root, _)| path.starts_with(root))
        .and_then(|(_, counted)| counted.next(action, path));
    if let Some(errno) = counted {
        return Err(errno.into());
    }
    let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    match faults.as_ref().and_then(|faults| faults.get(path)) {
        Some(errno) => Err((*errno).into()),
        None => result,
    }
}
