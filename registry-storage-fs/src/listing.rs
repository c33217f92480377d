//! Listings, each in byte order of the whole name.
//!
//! Walking directories is not byte order: `a-b` sorts before `a/b`, and the directory `a` before both. Each entry of a
//! directory therefore counts twice: as the name of a repository and, with a slash, as the beginning of others. A page
//! reads only the directories that can hold some of its names. It skips those in which an earlier walk found no
//! repository.

use crate::{
    bare::BareDirectories,
    error::{Context, FsError},
    open::Store,
    remarks::Remarks,
    seams,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{Listing, Page, Result, Seen},
};
use rustix::io::Errno;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

impl Store {
    /// Lists tags; `None` if there is no such repository.
    pub(crate) fn tags(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>> {
        if !self.has_manifests(repository)? {
            return Ok(None);
        }
        let mut tags = Vec::new();
        for tag in self.tag_names(repository, page.after)? {
            // One more than the page says that there is more.
            if tags.len() > page.limit {
                break;
            }
            if self.points(repository, &tag)? {
                tags.push(tag);
            }
        }
        Ok(Some(Listing::first(page.limit, tags)))
    }

    /// Returns true if a tag has a pointer. A directory without one is left over from a registry that died. An
    /// unreadable pointer counts as none, because an error would keep all other tags from being listed.
    fn points(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, FsError> {
        let path = self.layout.tag(repository, tag).current();
        match fs::metadata(&path).if_there("look at", &path) {
            Err(error) if error.is_of_this_path() => {
                self.remarks
                    .unreadable(&error, "the tag is left out of the list of tags");
                Ok(false)
            }
            found => {
                let found = found?;
                self.remarks.forget(&path);
                Ok(found.is_some_and(|current| current.is_file() && current.len() > 0))
            }
        }
    }

    /// Returns true if the repository exists.
    pub(crate) fn has_manifests(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        is_directory(&self.layout.manifests(repository))
    }

    /// Returns the tags that have a directory, in order.
    pub(crate) fn tag_names(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
    ) -> Result<impl Iterator<Item = Tag> + use<>, FsError> {
        let directory = self.layout.tags(repository);
        // A stray file there is no tag, and keeps nobody from listing and deleting those that are.
        let is_no_file = |entry: &fs::DirEntry| !entry.file_type().is_ok_and(|file_type| file_type.is_file());
        let names = names_where(&directory, after.map(Tag::as_str), &is_no_file)?;
        Ok(parsed(directory, names, |name| Tag::parse(name).ok()))
    }

    /// Returns the manifests that have a directory, in order; some may have lost their link since.
    pub(crate) fn revision_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        after: Option<&Digest>,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.revisions(repository, algorithm), algorithm, after)
    }

    /// Returns the blobs that have a directory, in order.
    pub(crate) fn layer_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        after: Option<&Digest>,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.layers(repository, algorithm), algorithm, after)
    }

    /// Returns the upload sessions that have a directory, in order.
    pub(crate) fn upload_ids(
        &self,
        repository: &RepositoryName,
        after: Option<&UploadId>,
    ) -> Result<impl Iterator<Item = UploadId> + use<>, FsError> {
        let directory = self.layout.uploads(repository);
        let names = names_after(&directory, after.map(UploadId::to_string).as_deref())?;
        Ok(parsed(directory, names, |name| UploadId::parse(name).ok()))
    }

    pub(crate) fn repositories(&self, page: &Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let listed = self.repositories_where(page, Whom::Readers, &|path| {
            let manifests = path.join("_manifests");
            let exists = is_directory(&manifests)?;
            self.remarks.forget(&manifests);
            Ok(exists)
        })?;
        Ok(Listing {
            items: listed.items.into_iter().filter_map(Seen::whole).collect(),
            more: listed.more,
        })
    }

    /// Lists the directories that could be repositories and whose content `counts` accepts.
    pub(crate) fn repositories_where(
        &self,
        page: &Page<'_, RepositoryName>,
        whom: Whom,
        counts: &dyn Fn(&Path) -> Result<bool, FsError>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let mut walk = Walk {
            remarks: &self.remarks,
            bare: (whom == Whom::Readers && self.is_owned()).then_some(&self.bare),
            began: self.bare.appeared(),
            whom,
            counts,
            left_out: HashSet::new(),
            after: page.after.map(RepositoryName::as_str),
            // One more says whether there are more.
            wanted: if page.limit == 0 {
                0
            } else {
                page.limit.saturating_add(1)
            },
            found: Vec::new(),
        };
        let root = self.layout.repositories();
        let names = names_after(&root, None)?;
        if let Some(bare) = walk.visit(&root, "", names)? {
            walk.remember(bare);
        }
        Ok(Listing::first(page.limit, walk.found))
    }
}

/// Returns true if the directory exists. Something else in its place is an error, since nobody could use it.
fn is_directory(path: &Path) -> Result<bool, FsError> {
    match fs::metadata(path).if_there("look at", path)? {
        Some(there) if there.is_dir() => Ok(true),
        Some(_) => Err(io::Error::from(Errno::NOTDIR)).at("look into", path),
        None => Ok(false),
    }
}

/// Audience of a list of repositories, which decides the treatment of directories that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Clients: directories that somebody made unreadable are left out, so that one repository does not hide all
    /// others. A failing disk fails the listing.
    Readers,
    /// Whoever decides about deletions: a directory that cannot be read is an item of its own.
    Inspection,
}

/// A walk through `repositories/` in the order of names.
struct Walk<'a> {
    remarks: &'a Remarks,
    /// Directories without a repository, if they may be remembered.
    bare: Option<&'a BareDirectories>,
    /// Number of repositories that had appeared when the walk began.
    began: u64,
    whom: Whom,
    counts: &'a dyn Fn(&Path) -> Result<bool, FsError>,
    /// Directories that have been left out, so that each is logged once.
    left_out: HashSet<PathBuf>,
    after: Option<&'a str>,
    wanted: usize,
    found: Vec<Seen<RepositoryName>>,
}

impl Walk<'_> {
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
            // `_layers` and its like belong to the repository above; dotfiles to nobody.
            if !name.starts_with(['_', '.']) {
                let key = format!("{prefix}{name}");
                keys.push(format!("{key}/"));
                keys.push(key);
            }
        }
        keys.sort_unstable();
        for key in keys {
            if self.found.len() >= self.wanted {
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
                        "a directory among the repositories has no repository's name"
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
            // What cannot be listed is told here, in its place; below it, nothing is found.
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
                self.remarks.forget(directory);
                self.visit(directory, prefix, names)
            }
            Err(error) => self.leave_out(directory.to_path_buf(), error).map(|()| None),
        }
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
                    self.remarks
                        .unreadable(&error, "what is there is left out of the list of repositories");
                }
                Ok(())
            }
            // A file is no repository, and a directory that this page has as an item is told.
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

pub(crate) fn digests_in(
    directory: &Path,
    algorithm: Algorithm,
    after: Option<&Digest>,
) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
    let after = match after {
        // The order of digests begins with the algorithm.
        Some(after) if after.algorithm() > algorithm => return Ok(None.into_iter().flatten()),
        Some(after) if after.algorithm() == algorithm => Some(after.hex()),
        _ => None,
    };
    let names = names_after(directory, after.as_deref())?;
    let digests = parsed(directory.to_path_buf(), names, move |name| {
        Digest::from_hex(algorithm, name).ok()
    });
    Ok(Some(digests).into_iter().flatten())
}

/// Returns the names in a directory that sort after `after`; none if there is no directory.
///
/// They are in a heap: a page takes the names that it needs, and the rest is never sorted.
pub(crate) fn names_after(
    directory: &Path,
    after: Option<&str>,
) -> Result<BinaryHeap<Reverse<String>>, FsError> {
    names_where(directory, after, &|_| true)
}

fn names_where(
    directory: &Path,
    after: Option<&str>,
    counts: &dyn Fn(&fs::DirEntry) -> bool,
) -> Result<BinaryHeap<Reverse<String>>, FsError> {
    let Some(entries) = read_dir(directory).if_there("list", directory)? else {
        return Ok(BinaryHeap::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        seams::entries(directory, 1);
        let entry = entry.at("list", directory)?;
        if !counts(&entry) {
            continue;
        }
        match entry.file_name().into_string() {
            Ok(name) if after.is_none_or(|after| name.as_str() > after) => names.push(Reverse(name)),
            Ok(_) => {}
            Err(name) => tracing::warn!(?name, directory = %directory.display(), "a name is not text"),
        }
    }
    Ok(BinaryHeap::from(names))
}

/// Lists a directory; tests count how often.
pub(crate) fn read_dir(directory: &Path) -> io::Result<fs::ReadDir> {
    seams::listed(directory);
    fs::read_dir(directory)
}

/// Parses names in order. Names that do not parse were left by others, and are skipped.
pub(crate) fn parsed<T>(
    directory: PathBuf,
    mut names: BinaryHeap<Reverse<String>>,
    parse: impl Fn(&str) -> Option<T>,
) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        loop {
            let Reverse(name) = names.pop()?;
            match parse(&name) {
                Some(item) => return Some(item),
                None => {
                    tracing::warn!(name, directory = %directory.display(), "a name that means nothing here");
                }
            }
        }
    })
}
