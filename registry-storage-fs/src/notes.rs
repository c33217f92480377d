//! `_notes/<name>`: small records that recurring work keeps between two processes.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
};
use async_trait::async_trait;
use bytes::Bytes;
use registry_core::{BoxError, maintenance::Notes, storage::StorageError};
use std::{fs, path::PathBuf};

#[async_trait]
impl Notes for FsStorage {
    async fn note(&self, name: &str) -> Result<Option<Bytes>, BoxError> {
        let path = self.note_path(name)?;
        let read = self.inspecting(move |_| {
            let note: Result<Option<Vec<u8>>, FsError> = fs::read(&path).if_there("read", &path);
            Ok(note?.map(Bytes::from))
        });
        Ok(read.await?)
    }

    async fn set_note(&self, name: &str, note: Bytes) -> Result<(), BoxError> {
        let path = self.note_path(name)?;
        let written = self.writing(move |store| {
            if !store.is_owned() {
                return Err(StorageError::ReadOnly);
            }
            let mut changes = store.disk.changes();
            changes.put(&path, &note)?;
            Ok(changes.settle()?)
        });
        Ok(written.await?)
    }
}

impl FsStorage {
    /// Returns the path of a note. A name with other characters could be a path of its own.
    fn note_path(&self, name: &str) -> Result<PathBuf, BoxError> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(format!("`{name}` is not the name of a note").into());
        }
        Ok(self.store().layout.note(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_survives_the_process_and_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(storage.note("retention").await.unwrap(), None);
        storage.set_note("retention", "one".into()).await.unwrap();
        storage.set_note("retention", "two".into()).await.unwrap();
        drop(storage);

        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(storage.note("retention").await.unwrap().unwrap(), "two");
        assert_eq!(storage.note("other").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_note_cannot_leave_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for name in ["", "..", "a/b", "A", "_owner"] {
            assert!(storage.note(name).await.is_err(), "{name}");
            assert!(storage.set_note(name, Bytes::new()).await.is_err(), "{name}");
        }
    }
}
