//! [`Disk`]: the writing side of a directory, which syncs, removes and discards.

use crate::{
    directories::Directories,
    durable_files::Files,
    error::{Context as _, FsError},
    moves::{is_there, remove_in_place},
    staging::{Staged, Staging},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Failures that an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power loss: data is synced and renamed, and its directories are synced. The default.
    #[default]
    Full,
    /// Survives the end of the process. A power loss may cost writes acknowledged within the last half minute or so.
    /// It may leave names without content; these count as absent, and the next push repairs them.
    Relaxed,
}

/// The writing side of a directory.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Directory that contains everything. It and its parents are made durable at opening.
    pub(crate) top: PathBuf,
    staging: Staging,
    durability: Durability,
    pub(crate) directories: Directories,
    pub(crate) files: Files,
}

impl Disk {
    pub(crate) fn new(top: &Path, staging: Staging, durability: Durability) -> Self {
        Self {
            top: top.to_path_buf(),
            staging,
            durability,
            directories: Directories::default(),
            files: Files::default(),
        }
    }

    /// See [`Staging::stage`].
    pub(crate) fn stage(&self) -> Result<Staged, FsError> {
        self.staging.stage()
    }

    /// See [`Staging::require_owned`].
    pub(crate) fn require_owned(&self) -> Result<(), FsError> {
        self.staging.require_owned()
    }

    /// Replaces a file whose directory exists. The new content survives the end of the process, but not a power loss.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let staged = self.stage()?;
        fs::write(&staged.path, bytes).at("write", &staged.path)?;
        fs::rename(&staged.path, target).at("publish", target)
    }

    /// Syncs the content of an open file.
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), FsError> {
        match self.durability {
            Durability::Full => {
                #[cfg(test)]
                crate::power_loss::synced(&self.top, path);
                file.sync_data().at("sync", path)
            }
            Durability::Relaxed => Ok(()),
        }
    }

    /// Returns true if [`sync_data`](Self::sync_data) syncs.
    pub(crate) fn syncs(&self) -> bool {
        self.durability == Durability::Full
    }

    /// Removes a directory with everything in it, at once for readers; returns false if there is none. Only for
    /// sessions, since nothing in them is remembered as durable. Readers ignore a directory without its file
    /// `pointer`.
    pub(crate) fn discard(&self, directory: &Path, pointer: &Path) -> Result<bool, FsError> {
        let staged = self.stage()?;
        #[cfg(test)]
        if crate::power_loss::discarded(directory) {
            return Ok(true);
        }
        match fs::rename(directory, &staged.path) {
            // A missing staging directory has the same error.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(directory)? => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                remove_in_place(directory, pointer)?;
                Ok(true)
            }
            moved => moved.at("remove", directory).map(|()| true),
        }
    }

    /// Removes a directory if it is empty, and then its empty parents up to `top`, which stays.
    ///
    /// Best effort: an empty directory that cannot be removed stays.
    pub(crate) fn remove_empty(&self, directory: &Path, top: &Path) {
        for directory in directory.ancestors().take_while(|directory| *directory != top) {
            match self.remove_if_empty(directory) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "cannot remove an empty directory");
                    return;
                }
            }
        }
    }

    /// Removes a directory if it is empty. Returns true if it is gone.
    fn remove_if_empty(&self, directory: &Path) -> Result<bool, FsError> {
        // A directory that is not empty must not be forgotten, since it would be synced again.
        let Some(mut entries) = fs::read_dir(directory).if_there("list", directory)? else {
            return Ok(true);
        };
        if entries.next().is_some() {
            return Ok(false);
        }
        let leaving = self.directories.forget(directory);
        match fs::remove_dir(directory) {
            Ok(()) => {
                leaving.gone();
                Ok(true)
            }
            // Another operation has added an entry, or it is a symbolic link to a directory.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            other => Ok(other.if_there("remove", directory)?.is_none()),
        }
    }

    /// Syncs a directory; returns false if it is gone. The absence of the top directory is an error.
    pub(crate) fn sync_if_there(&self, directory: &Path) -> Result<bool, FsError> {
        match self.sync_directory(directory) {
            Err(error) if error.is_absence() && directory != self.top => Ok(false),
            other => other.map(|()| true),
        }
    }

    pub(crate) fn sync_directory(&self, directory: &Path) -> Result<(), FsError> {
        match self.durability {
            Durability::Full => {
                #[cfg(test)]
                crate::power_loss::synced(&self.top, directory);
                File::open(directory)
                    .and_then(|open| open.sync_all())
                    .at("sync", directory)
            }
            Durability::Relaxed => Ok(()),
        }
    }

    /// Returns true if the content and the name of a file are known to be durable.
    pub(crate) fn is_durable(&self, path: &Path) -> bool {
        self.files.is_durable(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::fail;
    use rustix::io::Errno;

    fn disk(top: &Path) -> Disk {
        let staging = top.join("_staging");
        fs::create_dir_all(&staging).unwrap();
        Disk::new(top, Staging::new(staging, None), Durability::Full)
    }

    /// An operation that finds it as durable in between would build upon a directory that is gone.
    #[test]
    fn a_directory_is_forgotten_before_it_is_removed() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (emptied, discarded) = (top.path().join("all/emptied"), top.path().join("all/discarded"));
        for directory in [&emptied, &discarded] {
            let mut changes = disk.changes();
            changes.make(directory).unwrap();
            changes.settle().unwrap();
            assert!(disk.directories.is_durable(directory));
        }
        // A symbolic link to a directory cannot be removed as a directory.
        let elsewhere = top.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::remove_dir(&emptied).unwrap();
        std::os::unix::fs::symlink(elsewhere, &emptied).unwrap();
        let _fault = fail(&discarded, Errno::IO);

        disk.remove_empty(&emptied, &top.path().join("all"));
        assert!(
            disk.changes()
                .discard(&discarded, &discarded.join("link"))
                .is_err()
        );

        assert!(emptied.exists());
        assert!(!disk.directories.is_durable(&emptied) && !disk.directories.is_durable(&discarded));
    }

    #[test]
    fn what_cannot_be_moved_away_for_want_of_a_staging_area_is_not_called_absent() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (session, staging) = (top.path().join("session"), top.path().join("_staging"));
        fs::create_dir(&session).unwrap();
        // A dangling symbolic link, in whose place no directory can be created.
        fs::remove_dir(&staging).unwrap();
        std::os::unix::fs::symlink(top.path().join("nowhere"), &staging).unwrap();

        let absent = disk.discard(&top.path().join("absent"), &top.path().join("absent/link"));
        let there = disk.discard(&session, &session.join("link"));

        assert!(!absent.unwrap());
        assert!(there.is_err() && session.exists(), "{there:?}");
    }

    #[test]
    fn what_is_empty_is_removed_upwards_and_forgotten_and_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        let (kept, gone) = (top.path().join("all/a/kept"), top.path().join("all/a/b/c/d"));
        for file in [&kept, &gone.join("file")] {
            let mut changes = disk.changes();
            changes.put(file, b"x").unwrap();
            changes.settle().unwrap();
        }

        disk.remove_empty(&gone, &top.path().join("all"));
        assert!(
            gone.exists() && disk.directories.is_durable(&gone),
            "it holds something"
        );

        assert!(disk.changes().remove(&gone.join("file")).unwrap());
        disk.remove_empty(&gone, &top.path().join("all"));
        // Others have removed some of them.
        disk.remove_empty(&gone, &top.path().join("all"));

        assert!(!top.path().join("all/a/b").exists() && kept.exists());
        for directory in ["all/a/b", "all/a/b/c", "all/a/b/c/d"] {
            assert!(!disk.directories.is_durable(&top.path().join(directory)));
        }
        assert!(disk.directories.is_durable(&top.path().join("all/a")));

        assert!(disk.changes().remove(&kept).unwrap());
        disk.remove_empty(&top.path().join("all/a"), &top.path().join("all"));
        assert!(top.path().join("all").exists());
        assert_eq!(fs::read_dir(top.path().join("all")).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_is_made_although_its_directories_are_removed_meanwhile() {
        let top = tempfile::tempdir().unwrap();
        let disk = disk(top.path());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let disk = &disk;
                let directory = top.path().join(format!("all/a/b/{}", thread % 2));
                let all = top.path().join("all");
                scope.spawn(move || {
                    for _ in 0..200 {
                        let file = directory.join(thread.to_string());
                        let mut changes = disk.changes();
                        changes.put(&file, b"x").unwrap();
                        changes.settle().unwrap();
                        let mut changes = disk.changes();
                        assert!(changes.remove(&file).unwrap());
                        disk.remove_empty(&directory, &all);
                        changes.settle().unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(top.path().join("all")).unwrap().count(), 0);
    }

    /// A statement of `docs/durability.md` without a test is a hope.
    #[test]
    fn every_test_that_the_page_about_durability_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join("docs/durability.md")).unwrap();
        let (_, list) = page.split_once("## Tests").unwrap();
        let mut tests = 0;
        for row in list.lines().filter(|line| line.contains("`: `")) {
            let mut quoted = row.split('`').skip(1).step_by(2);
            let file = quoted.find(|text| text.ends_with(".rs")).unwrap();
            let code = fs::read_to_string(root.join(file)).unwrap();
            for test in quoted {
                assert!(code.contains(&format!("fn {test}(")), "{file} has no test {test}");
                tests += 1;
            }
        }
        assert!(tests > 20, "{tests}");
    }
}
