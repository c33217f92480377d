//! [`Accounts`]: the file `_collect/released` with the blobs whose removal a deletion accounts for, a digest in each line.
//!
//! It names what was deleted without a record, and what a forgotten record named. Nothing is removed because of it.

use crate::{
    digest_locks::{DigestLocks, Key},
    disk::Disk,
    error::{Context as _, FsError},
    layout::Layout,
    stored_file,
};
use registry_core::Digest;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::Write as _,
};

/// Maximum number of blobs. Of more, the next automatic run may have to be forced.
const MOST: usize = 1 << 20;

/// Blobs of the file, each with the number of the release by which it was added last; 0 for those of an earlier process.
#[derive(Debug, Default)]
pub(super) struct Accounts(HashMap<Key, u64>);

impl Accounts {
    pub(super) fn read(layout: &Layout, locks: &DigestLocks) -> Result<Self, FsError> {
        let blobs = read(layout)?.into_iter();
        Ok(Self(blobs.map(|blob| (locks.key(&blob), 0)).collect()))
    }

    /// Returns the number of the release by which a blob was added.
    pub(super) fn number(&self, key: Key) -> Option<u64> {
        self.0.get(&key).copied()
    }

    /// Returns those that the file does not have, as many as it may have.
    pub(super) fn missing<'a>(&self, blobs: &'a [Digest], locks: &DigestLocks) -> BTreeSet<&'a Digest> {
        let missing = blobs.iter().filter(|blob| !self.0.contains_key(&locks.key(blob)));
        missing.take(MOST.saturating_sub(self.0.len())).collect()
    }

    /// Makes blobs durable that the file does not have. They count once they are [added](Self::add).
    pub(super) fn append(missing: &BTreeSet<&Digest>, layout: &Layout, disk: &Disk) -> Result<(), FsError> {
        if missing.is_empty() {
            return Ok(());
        }
        let (path, text) = (layout.collect_released(), lines(missing.iter().copied()));
        let mut changes = disk.changes();
        match File::options().append(true).open(&path).if_there("open", &path)? {
            None => changes.put(&path, text.as_bytes())?,
            Some(mut file) => {
                disk.require_owned()?;
                file.write_all(text.as_bytes()).at("write", &path)?;
                disk.sync_data(&file, &path)?;
                changes.ensure_durable(&path)?;
            }
        }
        changes.settle()
    }

    /// Adds blobs by the release of a number. Those that were missing are in the file now.
    pub(super) fn add(
        &mut self,
        blobs: &[Digest],
        missing: &BTreeSet<&Digest>,
        number: u64,
        locks: &DigestLocks,
    ) {
        for blob in blobs {
            let key = locks.key(blob);
            if missing.contains(blob) || self.0.contains_key(&key) {
                self.0.insert(key, number);
            }
        }
    }

    /// Drops these blobs, each unless it was added again since it had the number.
    pub(super) fn shorten(
        &mut self,
        settled: &HashMap<Key, u64>,
        layout: &Layout,
        disk: &Disk,
        locks: &DigestLocks,
    ) -> Result<(), FsError> {
        let is_settled = |key: &Key, number: &u64| settled.get(key) == Some(number);
        if !self.0.iter().any(|(key, number)| is_settled(key, number)) {
            return Ok(());
        }
        let mut left: BTreeSet<Digest> = read(layout)?.into_iter().collect();
        left.retain(|blob| {
            let key = locks.key(blob);
            self.0.get(&key).is_some_and(|number| !is_settled(&key, number))
        });
        let mut changes = disk.changes();
        changes.put(&layout.collect_released(), lines(&left).as_bytes())?;
        changes.settle()?;
        self.0.retain(|key, number| !is_settled(key, number));
        Ok(())
    }
}

/// Reads the file. Damaged lines are passed over.
pub(super) fn read(layout: &Layout) -> Result<Vec<Digest>, FsError> {
    let path = layout.collect_released();
    let text = stored_file::read(&path).if_there("read", &path)?;
    let lines = text.as_deref().unwrap_or_default().split(|byte| *byte == b'\n');
    let texts = lines.filter_map(|line| str::from_utf8(line).ok());
    Ok(texts.filter_map(|text| Digest::parse(text).ok()).collect())
}

/// Returns a line for each blob. It begins with the end of the line before, which a crash may have damaged.
fn lines<'a>(blobs: impl IntoIterator<Item = &'a Digest>) -> String {
    blobs.into_iter().map(|blob| format!("\n{blob}")).collect()
}
