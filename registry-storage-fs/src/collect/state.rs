//! [`StateFile`]: the file `_collect/state`, with what a collection has to know of the past.
//!
//! It says that a run may remove that nobody asked for, and has the counts of the last run. It names nothing that a run
//! may remove: a list of such items would be wrong after a restart.

use crate::{
    disk::Disk,
    error::{Context as _, FsError},
    layout::Layout,
    moves::is_there,
    stored_file,
};
use registry_core::{
    Algorithm,
    storage::{Census, Terms},
};
use serde_json::{Value, json};

/// Maximum number of writes for all deletions between two runs: each notes a part of the manifests in advance.
const STEPS: u64 = 64;

/// Content of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StateFile {
    /// True if the directory was empty when this software opened it first, or somebody has asked for a collection since.
    pub(crate) own: bool,
    /// Number of manifests at the end of the last run.
    manifests: Option<u64>,
    /// Number of manifests that have gone since, or a few more.
    pub(super) deleted: u64,
}

impl StateFile {
    /// Reads the file. In a directory that holds nothing yet, it is written.
    ///
    /// A file that cannot be read is not written: it would lose what it says.
    pub(super) fn read_or_create(layout: &Layout, disk: &Disk) -> Result<Self, FsError> {
        if let Some(read) = Self::read(layout)? {
            return Ok(read);
        }
        let content = Algorithm::ALL.map(|algorithm| layout.blobs(algorithm));
        for directory in content.iter().chain([&layout.repositories()]) {
            if is_there(directory)? {
                return Ok(Self::default());
            }
        }
        let created = Self {
            own: true,
            ..Self::default()
        };
        created.write(layout, disk)?;
        Ok(created)
    }

    /// Reads the file, if there is one.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, FsError> {
        let path = layout.collect_state();
        let bytes = stored_file::read(&path).if_there("read", &path)?;
        Ok(bytes.map(|bytes| {
            Self::parse(&bytes).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "cannot parse the state of the collection; nothing is removed unless somebody asks for it");
                Self::default()
            })
        }))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let json: Value = str::from_utf8(bytes).ok()?.parse().ok()?;
        Some(Self {
            own: json.get("own")?.as_bool()?,
            manifests: json.get("manifests").and_then(Value::as_u64),
            deleted: json.get("deleted").and_then(Value::as_u64).unwrap_or(0),
        })
    }

    /// Makes the content durable.
    pub(crate) fn write(&self, layout: &Layout, disk: &Disk) -> Result<(), FsError> {
        let mut changes = disk.changes();
        let text =
            json!({ "own": self.own, "manifests": self.manifests, "deleted": self.deleted }).to_string();
        changes.put(&layout.collect_state(), text.as_bytes())?;
        changes.settle()
    }

    pub(crate) fn census(&self) -> Option<Census> {
        self.manifests.map(Census::new)
    }

    /// Returns the content after a run.
    pub(crate) fn after(self, terms: &Terms, census: &Census) -> Self {
        Self {
            own: self.own || terms.asked,
            manifests: Some(census.manifests),
            deleted: 0,
        }
    }

    /// Returns the content with at least this number of deletions, if the file has fewer.
    pub(super) fn with_deleted(self, deleted: u64) -> Option<Self> {
        let manifests = self.manifests?;
        // Any further ones make no difference to what the next run expects.
        let is_noted = deleted <= self.deleted || self.deleted >= manifests;
        (!is_noted).then(|| Self {
            deleted: deleted + manifests / STEPS,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_deletions_between_two_runs_take_few_writes_and_the_file_has_hardly_more() {
        for manifests in [0, 10, 1000, 100_000] {
            let mut file = StateFile::default().after(&Terms::new(), &Census::new(manifests));
            let mut writes = 0;
            for deleted in 1..=manifests + 10 {
                if let Some(noted) = file.with_deleted(deleted) {
                    file = noted;
                    writes += 1;
                }
                assert!(file.deleted >= deleted.min(manifests), "{deleted} of {manifests}");
                assert!(
                    file.deleted <= deleted + manifests / STEPS,
                    "{deleted} of {manifests}"
                );
            }
            assert!(writes <= STEPS && writes <= manifests, "{writes} for {manifests}");
        }
        assert!(StateFile::default().with_deleted(1).is_none());
    }
}
