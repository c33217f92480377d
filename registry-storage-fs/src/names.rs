//! Names in a directory, in byte order.

use crate::{
    error::{Context, FsError},
    seams,
};
use registry_core::{Algorithm, Digest};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs, io,
    path::{Path, PathBuf},
};

/// Returns the digests of an algorithm in a directory, in order.
pub(crate) fn digests_in(
    directory: &Path,
    algorithm: Algorithm,
) -> Result<impl Iterator<Item = Digest> + use<>, FsError> {
    let names = names_after(directory, None)?;
    Ok(parsed(directory.to_path_buf(), names, move |name| {
        Digest::from_hex(algorithm, name).ok()
    }))
}

/// Returns the names in a directory that sort after `after`; none if there is no directory.
///
/// They are in a heap. A page takes the names that it needs, and the rest is not sorted.
pub(crate) fn names_after(
    directory: &Path,
    after: Option<&str>,
) -> Result<BinaryHeap<Reverse<String>>, FsError> {
    names_where(directory, after, &|_| true)
}

/// Does the same for the names of the entries that `counts` accepts.
pub(crate) fn names_where(
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
            Err(name) => {
                tracing::warn!(?name, directory = %directory.display(), "ignoring an entry whose name is not UTF-8")
            }
        }
    }
    Ok(BinaryHeap::from(names))
}

/// Lists a directory; tests count how often.
pub(crate) fn read_dir(directory: &Path) -> io::Result<fs::ReadDir> {
    seams::listed(directory);
    fs::read_dir(directory)
}

/// Parses names in order. Skips names that do not parse, which other programs left.
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
                    tracing::warn!(name, directory = %directory.display(), "ignoring an entry with an invalid name");
                }
            }
        }
    })
}
