//! Listings, each in byte order of the whole name.
//!
//! Walking directories is not byte order: `a-b` sorts before `a/b`, and the directory `a` before both. So each
//! entry of a directory counts twice, as the name of a repository and, with a slash, as the beginning of others.
//! A page looks into those directories only that can have some of it.

use crate::{
    error::{Context, FsError},
    open::Store,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{Listing, Page, Result},
};
use std::{cmp::Reverse, collections::BinaryHeap, fs, path::Path};

impl Store {
    /// `None` if there is no such repository.
    pub(crate) fn tags(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Option<Listing<Tag>>> {
        if !self.layout.manifests(repository).is_dir() {
            return Ok(None);
        }
        // A directory without a pointer is what a registry that died left behind, not a tag.
        let points = |tag: &Tag| {
            let current = fs::metadata(self.layout.tag(repository, tag).current());
            current.is_ok_and(|current| current.is_file() && current.len() > 0)
        };
        let tags = self.tag_names(repository, page.after)?.filter(points);
        Ok(Some(Listing::first(page.limit, tags)))
    }

    /// The tags that have a directory, in order.
    pub(crate) fn tag_names(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
    ) -> Result<impl Iterator<Item = Tag> + use<>, FsError> {
        let directory = self.layout.tags(repository);
        let names = names_after(&directory, after.map(Tag::as_str))?;
        Ok(parsed(directory, names, |name| Tag::parse(name).ok()))
    }

    /// The manifests that have a directory, in order; some may have lost their link since.
    pub(crate) fn revision_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        after: Option<&Digest>,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.revisions(repository, algorithm), algorithm, after)
    }

    /// The same for blobs.
    pub(crate) fn layer_digests(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        after: Option<&Digest>,
    ) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
        digests_in(&self.layout.layers(repository, algorithm), algorithm, after)
    }

    /// The upload sessions that have a directory, in order.
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
        self.repositories_where(page, &|path| path.join("_manifests").is_dir())
    }

    /// Those of the directories that could be repositories, by what is in them.
    pub(crate) fn repositories_where(
        &self,
        page: &Page<'_, RepositoryName>,
        counts: &dyn Fn(&Path) -> bool,
    ) -> Result<Listing<RepositoryName>> {
        let mut walk = Walk {
            counts,
            after: page.after.map(RepositoryName::as_str),
            // One more says whether there are more.
            wanted: if page.limit == 0 {
                0
            } else {
                page.limit.saturating_add(1)
            },
            found: Vec::new(),
        };
        walk.visit(&self.layout.repositories(), "")?;
        Ok(Listing::first(page.limit, walk.found))
    }
}

/// A walk through `repositories/` in the order of names.
struct Walk<'a> {
    counts: &'a dyn Fn(&Path) -> bool,
    after: Option<&'a str>,
    wanted: usize,
    found: Vec<RepositoryName>,
}

impl Walk<'_> {
    /// Visits a directory; the names of what is in it begin with `prefix`, which is empty or ends in a slash.
    fn visit(&mut self, directory: &Path, prefix: &str) -> Result<(), FsError> {
        let mut keys = Vec::new();
        for name in names_after(directory, None)?
            .into_iter()
            .map(|Reverse(name)| name)
        {
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
                break;
            }
            let (name, below) = match key.strip_suffix('/') {
                Some(name) => (name, true),
                None => (key.as_str(), false),
            };
            if self.is_over(&key, below) {
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
            if below {
                self.visit(&path, &key)?;
            } else if (self.counts)(&path) {
                self.found.push(repository);
            }
        }
        Ok(())
    }

    /// Whether the name, or every name that begins with it, was on an earlier page.
    fn is_over(&self, key: &str, below: bool) -> bool {
        self.after
            .is_some_and(|after| key <= after && !(below && after.starts_with(key)))
    }
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

/// The names in a directory that sort after `after`; none if there is no directory.
///
/// A heap: a page takes from it what it needs, and the rest is never sorted.
pub(crate) fn names_after(
    directory: &Path,
    after: Option<&str>,
) -> Result<BinaryHeap<Reverse<String>>, FsError> {
    let Some(entries) = fs::read_dir(directory).if_there("list", directory)? else {
        return Ok(BinaryHeap::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.at("list", directory)?.file_name();
        match name.into_string() {
            Ok(name) if after.is_none_or(|after| name.as_str() > after) => names.push(Reverse(name)),
            Ok(_) => {}
            Err(name) => tracing::warn!(?name, directory = %directory.display(), "a name is not text"),
        }
    }
    Ok(BinaryHeap::from(names))
}

/// In order, what parses; the rest was left by others.
fn parsed<T>(
    directory: std::path::PathBuf,
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
