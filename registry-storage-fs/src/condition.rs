//! Condition of the file system of a directory: its free space, and whether that is enough for an upload.

use crate::layout::Layout;
use registry_core::{Algorithm, storage::Space};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Measures the file system of a directory.
pub(crate) fn measure(directory: &Path) -> io::Result<Space> {
    let file_system = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(file_system.f_frsize);
    // Some file systems create inodes on demand, and do not count them.
    let files_free = (file_system.f_files > 0).then_some(file_system.f_favail);
    Ok(Space::new(bytes(file_system.f_bavail), bytes(file_system.f_blocks)).with_files_free(files_free))
}

/// Returns true if a file system has free bytes, but no free inodes.
pub(crate) fn is_out_of_files(path: &Path) -> bool {
    let measured = path
        .ancestors()
        .find_map(|existing| rustix::fs::statvfs(existing).ok());
    measured.is_some_and(|room| lacks_files_alone(room.f_files, room.f_favail, room.f_bavail))
}

/// Returns true if only inodes are exhausted. Some file systems create inodes on demand and do not count them; some
/// report none free when their bytes are exhausted.
fn lacks_files_alone(files: u64, free_files: u64, free_bytes: u64) -> bool {
    files > 0 && free_files == 0 && free_bytes > 0
}

/// Logs a warning if content is on another file system than the staging area: files cannot be renamed from one to the
/// other.
pub(crate) fn warn_of_mounts(layout: &Layout) {
    for (directory, staging) in on_other_file_systems(layout) {
        tracing::warn!(
            "{} and {} are on different file systems, so every push fails when it renames a file; mount one file system at {}",
            directory.display(),
            staging.display(),
            layout.top().display()
        );
    }
}

/// Warns if the file system is smaller than the space that uploads must leave free, so that every upload is refused.
pub(crate) fn warn_of_reserve(layout: &Layout, min_free: u64) {
    if let Ok(space) = measure(layout.top())
        && space.bytes_total < min_free
    {
        tracing::warn!(
            "the file system of {} has {} bytes, fewer than the {min_free} that must stay free; every upload is refused",
            layout.top().display(),
            space.bytes_total
        );
    }
}

/// Returns the directories of content on another file system than the staging area, each with the staging area.
fn on_other_file_systems(layout: &Layout) -> Vec<(PathBuf, PathBuf)> {
    let device = |path: &Path| fs::metadata(path).ok().map(|there| there.dev());
    let staging = layout.staging();
    let Some(own) = device(&staging) else {
        return Vec::new();
    };
    let blobs = Algorithm::ALL.map(|algorithm| layout.blobs(algorithm));
    blobs
        .into_iter()
        .chain([layout.repositories()])
        .filter(|directory| device(directory).is_some_and(|device| device != own))
        .map(|directory| (directory, staging.clone()))
        .collect()
}

/// Reason for which an upload is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free} bytes are free, {min_free} of them are reserved, and the upload announces {announced}")]
pub(crate) struct LowWater {
    free: u64,
    min_free: u64,
    announced: u64,
}

/// Checks that at least `min_free` bytes stay free after an upload of at least `announced`.
pub(crate) fn require(free: u64, min_free: u64, announced: u64) -> Result<(), LowWater> {
    if free.saturating_sub(announced) >= min_free {
        return Ok(());
    }
    Err(LowWater {
        free,
        min_free,
        announced,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_lacking_where_they_are_counted_and_bytes_are_left() {
        for (files, free_files, free_bytes, lacking) in [
            (64, 0, 100, true),
            (64, 1, 100, false),
            (64, 0, 0, false),
            (64, 1, 0, false),
            (0, 0, 100, false),
        ] {
            let told = lacks_files_alone(files, free_files, free_bytes);
            assert_eq!(told, lacking, "{files} {free_files} {free_bytes}");
        }
    }

    #[test]
    fn an_upload_leaves_the_reserve_alone() {
        for (min_free, announced, fits) in [
            (0, 0, true),
            (100, 0, true),
            (101, 0, false),
            (60, 40, true),
            (60, 41, false),
            (1, 101, false),
            (1, u64::MAX, false),
            (0, u64::MAX, true),
        ] {
            let required = require(100, min_free, announced);
            assert_eq!(required.is_ok(), fits, "{min_free} {announced}");
        }
    }
}
