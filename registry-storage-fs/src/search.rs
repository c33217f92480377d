//! Walk through the repositories that finds items without a record: upload sessions of registry:2 and of older
//! versions, and empty directories that they left. Listings pass through each of these directories.

use crate::{
    error::{Context as _, FsError},
    names::read_dir,
    store::Store,
};
use registry_core::{RepositoryName, UploadId};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A walk in progress.
struct Search<'a> {
    store: &'a Store,
    unreadable: Vec<PathBuf>,
}

impl Store {
    /// Walks these directories and everything below them; returns those that could not be read.
    ///
    /// Sessions are adopted. The owner removes an empty directory, unless it belongs to a repository with content:
    /// registry:2 leaves an empty `_uploads` in each.
    pub(crate) fn search(&self, directories: Vec<PathBuf>) -> Vec<PathBuf> {
        let repositories = self.layout.repositories();
        let mut search = Search {
            store: self,
            unreadable: Vec::new(),
        };
        for directory in directories {
            let name = directory.strip_prefix(&repositories).ok();
            if let Some(name) = name.and_then(Path::to_str) {
                search.visit(&directory, name);
            }
        }
        search.unreadable
    }
}

impl Search<'_> {
    /// Returns true if the directory of this name contains anything, or did when it was listed.
    fn visit(&mut self, directory: &Path, name: &str) -> bool {
        let Some(entries) = self.entries(directory, directory) else {
            return true;
        };
        let mut holds = false;
        for entry in entries {
            let path = directory.join(&entry);
            let below = if name.is_empty() {
                entry.clone()
            } else {
                format!("{name}/{entry}")
            };
            holds |= if entry == "_uploads" {
                self.visit_uploads(&path, name)
            } else if RepositoryName::parse(&below).is_ok() {
                self.visit(&path, &below)
            } else {
                true
            };
        }
        if !holds && self.store.is_owned() {
            let top = self.store.layout.repositories();
            self.store.disk.remove_empty(&directory.join("_uploads"), &top);
        }
        holds
    }

    fn visit_uploads(&mut self, directory: &Path, name: &str) -> bool {
        let repository = directory.parent().unwrap_or(directory);
        let Some(entries) = self.entries(directory, repository) else {
            return true;
        };
        if let Ok(repository) = RepositoryName::parse(name) {
            for id in entries.iter().filter_map(|entry| UploadId::parse(entry).ok()) {
                self.store.adopt(&repository, id);
            }
        }
        !entries.is_empty()
    }

    /// Lists a directory. `None` if it is not a directory or cannot be read; then `again` will be walked once more.
    fn entries(&mut self, directory: &Path, again: &Path) -> Option<Vec<String>> {
        match list(directory) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => None,
            Err(error) => {
                let reported = &self.store.reported;
                reported.unreadable(&error, "upload sessions in it are not found until it can be read");
                self.unreadable.push(again.to_path_buf());
                None
            }
        }
    }
}

/// Returns the names in a directory; none if it has just been removed.
fn list(directory: &Path) -> Result<Vec<String>, FsError> {
    let entries = read_dir(directory).if_there("list", directory)?;
    let names = entries.into_iter().flatten().map(|entry| {
        let entry = entry.at("list", directory)?;
        Ok(entry.file_name().to_string_lossy().into_owned())
    });
    names.collect()
}
