//! `_notes/<name>`: small records that recurring work keeps between two processes. Replicas share them, and the last one
//! that writes wins.

use crate::{keys, storage::ObjectStorage};
use async_trait::async_trait;
use bytes::Bytes;
use registry_core::{BoxError, maintenance::Notes, storage::StorageError};

#[async_trait]
impl Notes for ObjectStorage {
    async fn note(&self, name: &str) -> Result<Option<Bytes>, BoxError> {
        let found = self.store.bucket.get(&key(name)?).await?;
        Ok(found.map(|object| object.bytes))
    }

    async fn set_note(&self, name: &str, note: Bytes) -> Result<(), BoxError> {
        let key = key(name)?;
        if self.store.options.read_only {
            return Err(StorageError::ReadOnly.into());
        }
        Ok(self.store.bucket.put(&key, note).await?)
    }
}

/// Returns the key of a note. A name with other characters could be a key of something else.
fn key(name: &str) -> Result<String, BoxError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(format!("`{name}` is not the name of a note").into());
    }
    Ok(format!("{}/{name}", keys::NOTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    #[tokio::test]
    async fn a_note_is_there_for_every_replica_and_is_replaced() {
        let location = Location::memory();
        let storage = ObjectStorage::options().open(location.clone()).await.unwrap();
        assert_eq!(storage.note("retention").await.unwrap(), None);
        storage.set_note("retention", "one".into()).await.unwrap();
        storage.set_note("retention", "two".into()).await.unwrap();

        let other = ObjectStorage::options().read_only().open(location).await.unwrap();

        assert_eq!(other.note("retention").await.unwrap().unwrap(), "two");
        assert!(other.set_note("retention", "three".into()).await.is_err());
        for name in ["", "..", "a/b", "A", "_owner"] {
            assert!(other.note(name).await.is_err(), "{name}");
        }
    }
}
