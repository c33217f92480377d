//! Content of a data directory by what it means, so that the results of two collections can be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names of everything that a test has pushed, by the hexadecimal digest.
pub(super) type Labels = BTreeMap<String, String>;

/// Items of a directory, such as `blob multi.layer` or `link multi multi.layer`.
pub(super) type Items = BTreeSet<String>;

const DIRECTORY: &str = "directory of ";

/// Returns the path of the part of a data directory that both registries use.
pub(super) fn base(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

/// Lists the blobs, links, manifests, tags, sessions and repositories of a directory, and the directories that a removed
/// blob, link or manifest has left.
pub(super) fn items(root: &Path, labels: &Labels) -> Items {
    let mut items = Items::new();
    for part in ["blobs", "repositories"] {
        walk(
            &base(root).join(part),
            &mut vec![part.to_owned()],
            &mut |path, entries| {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                items.extend(item(&path, entries, labels));
            },
        );
    }
    items
}

/// Returns true for a directory that a removal has left.
pub(super) fn is_directory(item: &str) -> bool {
    item.starts_with(DIRECTORY)
}

/// Calls `found` with each directory, as the names on the way to it, and with the names of its entries.
fn walk(directory: &Path, path: &mut Vec<String>, found: &mut impl FnMut(&[String], &BTreeSet<String>)) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let entries: BTreeMap<String, bool> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, entry.file_type().unwrap().is_dir())
        })
        .collect();
    found(path, &entries.keys().cloned().collect());
    for (name, _) in entries.into_iter().filter(|(_, is_directory)| *is_directory) {
        let below = directory.join(&name);
        path.push(name);
        walk(&below, path, found);
        path.pop();
    }
}

/// Returns the item that a directory is, if it is one.
fn item(path: &[&str], entries: &BTreeSet<String>, labels: &Labels) -> Option<String> {
    let label = |hex: &str| {
        let label = labels.get(hex);
        label
            .unwrap_or_else(|| panic!("no test has pushed {hex}"))
            .clone()
    };
    let has = |name: &str| entries.contains(name);
    let or_directory = |file: &str, item: String| match has(file) {
        true => item,
        false => format!("{DIRECTORY}{item}"),
    };
    match path {
        ["blobs", _, _, hex] => Some(or_directory("data", format!("blob {}", label(hex)))),
        ["repositories", name @ .., "_layers", _, hex] => Some(or_directory(
            "link",
            format!("link {} {}", name.join("/"), label(hex)),
        )),
        ["repositories", name @ .., "_manifests", "revisions", _, hex] => Some(or_directory(
            "link",
            format!("manifest {} {}", name.join("/"), label(hex)),
        )),
        ["repositories", name @ .., "_manifests", "tags", tag, "current"] => {
            Some(or_directory("link", format!("tag {}:{tag}", name.join("/"))))
        }
        ["repositories", name @ .., "_uploads", _] if has("startedat") => {
            Some(format!("session {}", name.join("/")))
        }
        ["repositories", name @ ..] if has("_layers") || has("_manifests") => {
            Some(format!("repository {}", name.join("/")))
        }
        _ => None,
    }
}
