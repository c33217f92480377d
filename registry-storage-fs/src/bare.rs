//! [`BareDirectories`]: directories without a repository in or below them, which listings can skip.
//!
//! Upload sessions, and blobs without a manifest, have directories that readers never see. Without this cache, ten
//! thousand open sessions would make each page of the catalog walk all of their directories.
//!
//! A repository is visible once its manifest is acknowledged. An operation that creates one therefore forgets the
//! directories above it, and a walk that began earlier adds nothing.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of remembered directories. Forgetting them costs a walk.
const MOST: usize = 65_536;

/// Cache of directories without a repository. Only the process that owns the root may use it: no other creates
/// repositories.
#[derive(Debug, Default)]
pub(crate) struct BareDirectories(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Directories without a repository. If one is below another, mostly only the topmost is listed.
    bare: HashSet<PathBuf>,
    /// Number of repositories that may have appeared.
    appeared: u64,
}

impl BareDirectories {
    /// Returns the number of repositories that may have appeared. A walk that begins now passes it to
    /// [`add`](Self::add).
    pub(crate) fn appeared(&self) -> u64 {
        self.memory().appeared
    }

    /// Returns true if neither this directory nor one below it is a repository.
    pub(crate) fn contains(&self, directory: &Path) -> bool {
        self.memory().bare.contains(directory)
    }

    /// Adds the directories found by a walk that began when `began` repositories had appeared.
    pub(crate) fn add(&self, directories: Vec<PathBuf>, began: u64) {
        let mut memory = self.memory();
        if memory.appeared != began {
            return;
        }
        if memory.bare.len() + directories.len() > MOST {
            memory.bare.clear();
        }
        memory.bare.extend(directories.into_iter().take(MOST));
    }

    /// Records that a repository may have appeared at this path, and forgets this path and those above it.
    pub(crate) fn appear(&self, repository: &Path) {
        let mut memory = self.memory();
        memory.appeared += 1;
        if !memory.bare.is_empty() {
            for directory in repository.ancestors() {
                memory.bare.remove(directory);
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Durability, FsStorage,
        faults::fail,
        seams::Listed,
        support::{all, content, manifest, name, open_upload, push, put},
    };
    use registry_core::{Storage as _, storage::Page};
    use rustix::io::Errno;

    #[test]
    fn a_walk_that_began_before_a_repository_appeared_adds_nothing() {
        let directories = BareDirectories::default();
        let began = directories.appeared();
        directories.add(vec!["/a".into(), "/b".into()], began);

        directories.appear(Path::new("/a/x/y"));
        directories.add(vec!["/a".into(), "/c".into()], began);

        assert!(directories.contains(Path::new("/b")));
        assert!(!directories.contains(Path::new("/a")) && !directories.contains(Path::new("/c")));
    }

    #[test]
    fn no_more_are_remembered_than_that() {
        let directories = BareDirectories::default();
        for half in 0..3 {
            let many = (0..MOST / 2).map(|number| format!("/{half}/{number}").into());
            directories.add(many.collect(), 0);
        }
        let memory = directories.memory();
        assert!(memory.bare.len() <= MOST && memory.bare.contains(Path::new("/2/0")));
    }

    async fn catalog(storage: &FsStorage) -> Vec<String> {
        let listed = storage.repositories(all()).await.unwrap().items;
        listed.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn listings_pass_once_through_directories_without_a_repository() {
        let root = tempfile::tempdir().unwrap();
        let relaxed = FsStorage::options().durability(Durability::Relaxed);
        let storage = relaxed.open(root.path()).unwrap();
        for repository in ["a", "b/c", "z"] {
            put(&storage, &name(repository), manifest("1"), &[]).await;
        }
        for number in 0..10 {
            open_upload(&storage, &name(&format!("a/x/{number}/y/z"))).await;
            open_upload(&storage, &name(&format!("p{number}/y/z"))).await;
            push(&storage, &name(&format!("b/blobs/{number}")), &content(10)).await;
        }
        let listed = Listed::below(root.path());
        assert_eq!(catalog(&storage).await, ["a", "b/c", "z"]);
        assert!(listed.take().len() > 70);

        for _ in 0..2 {
            assert_eq!(catalog(&storage).await, ["a", "b/c", "z"]);
            // All of them, `a`, `b`, `b/c` and `z`.
            assert_eq!(listed.take().len(), 5);
        }

        // What appears is there at once, wherever it is.
        for (appears, expected) in [
            ("a/x/3/y", vec!["a", "a/x/3/y", "b/c", "z"]),
            ("p3/y/z/below", vec!["a", "a/x/3/y", "b/c", "p3/y/z/below", "z"]),
            ("b", vec!["a", "a/x/3/y", "b", "b/c", "p3/y/z/below", "z"]),
        ] {
            put(&storage, &name(appears), manifest("1"), &[]).await;
            for _ in 0..2 {
                assert_eq!(catalog(&storage).await, expected);
            }
        }
    }

    #[tokio::test]
    async fn a_reader_sees_what_the_owner_puts_where_it_found_no_repository() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let reader = FsStorage::options().read_only().open(root.path()).unwrap();
        open_upload(&storage, &name("a/b")).await;
        assert_eq!(catalog(&reader).await, [""; 0]);

        put(&storage, &name("a/b"), manifest("1"), &[]).await;

        assert_eq!(catalog(&reader).await, ["a/b"]);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_the_next_time() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let repositories = storage.store().layout.repositories();
        put(&storage, &name("a/b/c"), manifest("1"), &[]).await;
        for broken in ["a", "a/b", "a/b/c/_manifests"] {
            let fault = fail(&repositories.join(broken), Errno::ACCESS);
            assert_eq!(catalog(&storage).await, [""; 0], "{broken}");
            drop(fault);
            assert_eq!(catalog(&storage).await, ["a/b/c"], "{broken}");
        }
    }

    #[tokio::test]
    async fn pages_that_end_anywhere_hide_nothing_from_later_ones() {
        let root = tempfile::tempdir().unwrap();
        let relaxed = FsStorage::options().durability(Durability::Relaxed);
        let storage = relaxed.open(root.path()).unwrap();
        let model = ["a", "a-b", "a-b/c/d", "a/b", "a/b/c/d", "b/c", "b.c/d", "z/z/z"];
        let mut model: Vec<_> = model.map(name).to_vec();
        model.sort();
        for repository in &model {
            put(&storage, repository, manifest("1"), &[]).await;
        }
        for bare in ["a/a", "a/b/c/e/f", "a-b/c", "b", "b/d/e", "b.c", "y/y", "z/z/y"] {
            open_upload(&storage, &name(bare)).await;
        }
        for limit in 1..=model.len() {
            for position in 0..=model.len() {
                let after = position.checked_sub(1).map(|last| &model[last]);
                let page = storage
                    .repositories(Page::first(limit).after(after))
                    .await
                    .unwrap();
                let rest = &model[position..];
                assert_eq!(
                    page.items,
                    rest[..limit.min(rest.len())],
                    "{limit} after {after:?}"
                );
            }
        }
    }
}
