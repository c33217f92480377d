//! Layers: archives of files, whose bytes depend on nothing but the files.

use super::error::SeedError;
use std::collections::{BTreeMap, BTreeSet};
use tar::{Builder, EntryType, Header};

/// Maximum length of a path in a header.
const NAME: usize = 100;

/// Path of an entry whose content is the path of the next one, as GNU tar writes long paths.
const LONG_NAME: &str = "././@LongLink";

/// Files of a layer by path. A later file replaces an earlier one with the same path.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(BTreeMap<String, Vec<u8>>);

impl Layer {
    pub(super) fn add<P, C>(&mut self, files: impl IntoIterator<Item = (P, C)>)
    where
        P: Into<String>,
        C: AsRef<[u8]>,
    {
        let files = files.into_iter();
        self.0
            .extend(files.map(|(path, content)| (path.into(), content.as_ref().to_vec())));
    }

    /// Returns the archive: directories and files in the order of their paths, time 0, user and group 0.
    pub(super) fn archive(&self) -> Result<Vec<u8>, SeedError> {
        let mut entries = BTreeMap::new();
        let mut directories = BTreeSet::new();
        for (path, content) in &self.0 {
            let names = checked(path)?;
            let file = names.join("/");
            for depth in 1..names.len() {
                let directory = names.iter().take(depth).copied().collect::<Vec<_>>();
                directories.insert(format!("{}/", directory.join("/")));
            }
            entries.insert(file, (path, Some(content)));
        }
        for directory in &directories {
            if let Some((path, _)) = entries.get(directory.trim_end_matches('/')) {
                return Err(refused(path, "it is a directory of another file"));
            }
        }
        let nameless = String::new();
        entries.extend(
            directories
                .into_iter()
                .map(|directory| (directory, (&nameless, None))),
        );
        let mut archive = Builder::new(Vec::new());
        for (path, (_, content)) in &entries {
            append(&mut archive, path, content.map(Vec::as_slice));
        }
        Ok(archive.into_inner().expect("writing to memory succeeds"))
    }
}

/// Adds a file, or a directory if there is no content.
fn append(archive: &mut Builder<Vec<u8>>, path: &str, content: Option<&[u8]>) {
    let (kind, mode) = match content {
        Some(_) => (EntryType::Regular, 0o644),
        None => (EntryType::Directory, 0o755),
    };
    if path.len() > NAME {
        let whole = [path.as_bytes(), b"\0"].concat();
        append_entry(archive, LONG_NAME, EntryType::GNULongName, 0o644, &whole);
    }
    append_entry(archive, path, kind, mode, content.unwrap_or_default());
}

/// Adds an entry, whose header has only the beginning of a long path.
///
/// The path is written here: the methods of `Header` read it as a path of this system, on which `C:/a` may be absolute.
fn append_entry(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, content: &[u8]) {
    let mut header = Header::new_gnu();
    let end = path.floor_char_boundary(NAME);
    for (byte, of_path) in header.as_old_mut().name.iter_mut().zip(path.bytes().take(end)) {
        *byte = of_path;
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive
        .append(&header, content)
        .expect("writing to memory succeeds");
}

/// Splits a path into its names. A leading `/` or `./` is left out.
fn checked(path: &str) -> Result<Vec<&str>, SeedError> {
    let relative = path.trim_start_matches("./").trim_start_matches('/');
    let names: Vec<_> = relative.split('/').collect();
    if names.contains(&"..") || names.contains(&".") {
        return Err(refused(path, "it has `.` or `..`"));
    }
    if names.contains(&"") {
        return Err(refused(path, "it has an empty name"));
    }
    if path.contains(['\0', '\\']) {
        return Err(refused(path, "it has a backslash or a NUL"));
    }
    Ok(names)
}

fn refused(path: &str, reason: &'static str) -> SeedError {
    SeedError::Path {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn layer(files: &[(&str, &str)]) -> Layer {
        let mut layer = Layer::default();
        layer.add(files.iter().copied());
        layer
    }

    #[test]
    fn an_archive_has_the_directories_and_the_files_in_order() {
        let long = format!("{}/f", "long".repeat(40));
        let layer = layer(&[
            ("b", "2"),
            ("/a/b/c", "1"),
            (&long, "3"),
            ("a/b.c", "4"),
            ("b", "5"),
            ("C:/d", "6"),
        ]);

        let archive = layer.archive().unwrap();

        let mut read = Vec::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.mtime(), header.uid(), header.gid()).0.unwrap(), 0);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            read.push((path, header.mode().unwrap(), content));
        }
        let directory = |path: &str| (path.to_owned(), 0o755, String::new());
        let file = |path: &str, content: &str| (path.to_owned(), 0o644, content.to_owned());
        assert_eq!(
            read,
            [
                directory("C:/"),
                file("C:/d", "6"),
                directory("a/"),
                file("a/b.c", "4"),
                directory("a/b/"),
                file("a/b/c", "1"),
                file("b", "5"),
                directory(&format!("{}/", "long".repeat(40))),
                file(&long, "3"),
            ]
        );
    }

    #[test]
    fn a_path_that_leaves_the_image_or_is_ambiguous_is_refused() {
        for path in ["", "/", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0"] {
            let refused = layer(&[(path, "")]).archive();
            assert!(matches!(refused, Err(SeedError::Path { .. })), "{path:?}");
        }
        let refused = layer(&[("a", "1"), ("a/b", "2")]).archive();
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no layer can have a file with the path \"a\": it is a directory of another file"
        );
    }
}
