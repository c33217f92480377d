//! Injected system errors, for tests: operations at a path fail, as seen by this crate.

use rustix::io::Errno;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
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

pub(crate) fn injected<T>(result: io::Result<T>, path: &Path) -> io::Result<T> {
    let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    match faults.as_ref().and_then(|faults| faults.get(path)) {
        Some(errno) => Err((*errno).into()),
        None => result,
    }
}
