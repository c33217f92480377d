//! Repositories in byte order of their whole names.
//!
//! Walking directories is not byte order: `a-b` sorts before `a/b`, and the directory `a` before both. Each entry of a
//! directory therefore counts twice: as the name of a repository and, with a slash, as the beginning of others. A page
//! reads only the directories that can hold some of its names. It skips those in which an earlier walk found no
//! repository.

use crate::{
    bare::BareDirectories,
    error::{Context, FsError},
    names::{names_after, read_dir},
    reported_problems::ReportedProblems,
};
use registry_core::{
    RepositoryName,
    storage::{Listing, Page, Result, Seen},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    io,
    path::{Path, PathBuf},
};

/// Audience of a list of repositories, which decides the treatment of directories that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Clients: directories that somebody made unreadable are left out, so that one repository does not hide all
    /// others. A failing disk fails the listing.
    Readers,
    /// Maintenance, which decides about deletions: an unreadable directory is an item of its own.
    Inspection,
}

/// A walk through `repositories/` in the order of names, for one page.
pub(crate) struct Walk<'a> {
    reported: &'a ReportedProblems,
    /// Directories without a repository, if they may be remembered.
    bare: Option<&'a BareDirectories>,
    /// Number of repositories that had appeared when the walk began.
    began: u64,
    whom: Whom,
    counts: &'a dyn Fn(&Path) -> Result<bool, FsError>,
    /// Directories that have been left out, so that each is logged once.
    left_out: HashSet<PathBuf>,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<Seen<RepositoryName>>,
}

impl<'a> Walk<'a> {
    /// Begins a walk to the directories that could be repositories and whose content `counts` accepts. `bare` is `None`
    /// if directories without a repository must not be remembered.
    pub(crate) fn new(
        page: &Page<'a, RepositoryName>,
        whom: Whom,
        counts: &'a dyn Fn(&Path) -> Result<bool, FsError>,
        reported: &'a ReportedProblems,
        bare: Option<&'a BareDirectories>,
    ) -> Self {
        Self {
            reported,
            bare,
            began: bare.map_or(0, BareDirectories::appeared),
            whom,
            counts,
            left_out: HashSet::new(),
            after: page.after.map(RepositoryName::as_str),
            limit: page.limit,
            found: Vec::new(),
        }
    }

    /// Lists the page below `root`.
    pub(crate) fn list(mut self, root: &Path) -> Result<Listing<Seen<RepositoryName>>> {
        let names = names_after(root, None)?;
        if let Some(bare) = self.visit(root, "", names)? {
            self.remember(bare);
        }
        Ok(Listing::first(self.limit, self.found))
    }

    /// Visits a directory with these names in it. The names of its repositories begin with `prefix`, which is empty or
    /// ends in a slash.
    ///
    /// Returns the directories in it if all of it was visited and there is no repository in any of them.
    fn visit(
        &mut self,
        directory: &Path,
        prefix: &str,
        names: BinaryHeap<Reverse<String>>,
    ) -> Result<Option<Vec<PathBuf>>, FsError> {
        let (mut bare, mut all_are) = (Vec::new(), true);
        let mut keys = Vec::new();
        for Reverse(name) in names {
            // `_layers` and similar directories belong to the repository above them. Names with a leading dot are
            // ignored.
            if !name.starts_with(['_', '.']) {
                let key = format!("{prefix}{name}");
                keys.push(format!("{key}/"));
                keys.push(key);
            }
        }
        keys.sort_unstable();
        for key in keys {
            if self.is_full() {
                all_are = false;
                break;
            }
            let (name, below) = match key.strip_suffix('/') {
                Some(name) => (name, true),
                None => (key.as_str(), false),
            };
            if self.is_over(&key, below) {
                all_are = false;
                continue;
            }
            let Ok(repository) = RepositoryName::parse(name) else {
                if !below {
                    tracing::warn!(
                        name,
                        "ignoring a directory whose name is not valid for a repository"
                    );
                }
                continue;
            };
            let path = directory.join(name.strip_prefix(prefix).unwrap_or(name));
            if self.bare.is_some_and(|bare| bare.contains(&path)) {
                continue;
            }
            if below {
                match self.visit_below(&path, &key)? {
                    Some(_) if self.is_none(&repository, &path) => bare.push(path),
                    Some(inside) => {
                        all_are = false;
                        self.remember(inside);
                    }
                    None => all_are = false,
                }
                continue;
            }
            match self.counts(&path) {
                Ok(true) => {
                    all_are = false;
                    self.found.push(Seen::Whole(repository));
                }
                Ok(false) => {}
                Err(error) => {
                    all_are = false;
                    if self.whom == Whom::Inspection {
                        self.found.push(unreadable(repository, &error));
                        self.left_out.insert(path);
                    } else {
                        self.leave_out(path, error)?;
                    }
                }
            }
        }
        if all_are {
            return Ok(Some(bare));
        }
        self.remember(bare);
        Ok(None)
    }

    fn counts(&self, path: &Path) -> Result<bool, FsError> {
        if self.whom == Whom::Inspection {
            // A directory that cannot be listed is an item here; nothing below it is found.
            match read_dir(path).if_there("list", path) {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
                listed => listed?,
            };
        }
        (self.counts)(path)
    }

    fn visit_below(&mut self, directory: &Path, prefix: &str) -> Result<Option<Vec<PathBuf>>, FsError> {
        match names_after(directory, None) {
            Ok(names) => {
                self.reported.forget(directory);
                self.visit(directory, prefix, names)
            }
            Err(error) => self.leave_out(directory.to_path_buf(), error).map(|()| None),
        }
    }

    /// Returns true if the page is full, with one item beyond it, which shows that there are more.
    const fn is_full(&self) -> bool {
        self.limit == 0 || self.found.len() > self.limit
    }

    /// Returns true if this walk has visited the directory itself, before its content, and it is no repository.
    fn is_none(&self, repository: &RepositoryName, directory: &Path) -> bool {
        !self.is_over(repository.as_str(), false)
            && !self.left_out.contains(directory)
            && self.found.binary_search_by_key(&repository, Seen::key).is_err()
    }

    fn remember(&self, bare: Vec<PathBuf>) {
        if let Some(memory) = self.bare
            && !bare.is_empty()
        {
            memory.add(bare, self.began);
        }
    }

    /// Continues without a directory, or returns the error if the audience needs it.
    fn leave_out(&mut self, directory: PathBuf, error: FsError) -> Result<(), FsError> {
        match self.whom {
            Whom::Readers if error.is_of_this_path() => {
                if self.left_out.insert(directory) {
                    self.reported
                        .unreadable(&error, "it is left out of the list of repositories");
                }
                Ok(())
            }
            // A file is no repository. A directory that is an item of this page is reported by it.
            Whom::Inspection
                if error.kind() == io::ErrorKind::NotADirectory || self.left_out.contains(&directory) =>
            {
                Ok(())
            }
            Whom::Readers | Whom::Inspection => Err(error),
        }
    }

    /// Returns true if the name, or every name that begins with it, was on an earlier page.
    fn is_over(&self, key: &str, below: bool) -> bool {
        self.after
            .is_some_and(|after| key <= after && !(below && after.starts_with(key)))
    }
}

/// Describes an item of a strict listing that cannot be read.
pub(crate) fn unreadable<T, K>(key: K, error: &FsError) -> Seen<T, K> {
    Seen::unreadable(key, format!("{error}: {}", error.source()))
}
