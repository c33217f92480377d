//! [`OpenUpload`]: upload sessions that clients have left open.

use super::TestRegistry;
use registry_core::{
    RepositoryName, Storage, UploadId,
    storage::{Page, StorageError, StorageInspect},
};
use std::fmt;

/// Number of items that are listed at once.
const PAGE: usize = 1000;

/// An upload session that was opened, and neither closed nor cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenUpload {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its id, the end of its `Location`.
    pub id: UploadId,
    /// Number of bytes that it has; 0 if the session cannot be read.
    pub offset: u64,
}

impl fmt::Display for OpenUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {}, with {} bytes",
            self.id, self.repository, self.offset
        )
    }
}

impl TestRegistry {
    /// Returns the upload sessions that are open, by repository and id.
    ///
    /// # Panics
    ///
    /// If the storage fails, or cannot list sessions. A storage in memory or in a directory can.
    #[must_use]
    #[track_caller]
    pub fn uploads_left_open(&self) -> Vec<OpenUpload> {
        let registry = self.registry.clone();
        let listed = self
            .server
            .run(async move { open_uploads(&**registry.storage()).await });
        match listed {
            Ok(uploads) => uploads,
            Err(error) => panic!("cannot list the open uploads of the test registry: {error}"),
        }
    }
}

async fn open_uploads(storage: &dyn Storage) -> Result<Vec<OpenUpload>, StorageError> {
    let inspect = storage
        .inspect()
        .ok_or(StorageError::Unsupported("list upload sessions"))?;
    let (mut open, mut after) = (Vec::new(), None);
    loop {
        let repositories = inspect.uploading(Page::first(PAGE).after(after.as_ref())).await?;
        for repository in &repositories.items {
            open.extend(uploads_in(inspect, repository.key()).await?);
        }
        after = repositories
            .items
            .last()
            .map(|repository| repository.key().clone());
        if !repositories.more {
            return Ok(open);
        }
    }
}

async fn uploads_in(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
) -> Result<Vec<OpenUpload>, StorageError> {
    let (mut open, mut after) = (Vec::new(), None);
    loop {
        let uploads = inspect
            .uploads(repository, Page::first(PAGE).after(after.as_ref()))
            .await?;
        for upload in uploads.items {
            let (id, offset) = match upload.read() {
                Ok(upload) => (upload.id, upload.offset),
                Err((id, _)) => (id, 0),
            };
            after = Some(id);
            open.push(OpenUpload {
                repository: repository.clone(),
                id,
                offset,
            });
        }
        if !uploads.more {
            return Ok(open);
        }
    }
}
