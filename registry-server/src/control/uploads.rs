//! `registry uploads`: lists open upload sessions, and ends one.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    time::rfc3339,
    walk::{Cursor, inspect},
};
use registry_core::{
    RepositoryName, UploadId,
    storage::{StorageInspect, UploadState},
};
use serde::{Deserialize, Serialize};

/// Lists the open upload sessions of all repositories.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListUploads {}

/// Ends an upload session, and drops its bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct EndUpload {
    pub(crate) id: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct UploadItem {
    pub(crate) repository: String,
    /// `None` for a repository whose sessions cannot be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Times, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// `user:NAME` or `network:ADDRESS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uploader: Option<String>,
    /// Cause for which it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl Operation for ListUploads {
    const NAME: &'static str = "uploads";
    type Item = UploadItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<UploadItem>) -> Result<(), BoxError> {
        let inspect = inspect(&operator.registry)?;
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.uploading(page).await?;
            for seen in cursor.advance(listing, RepositoryName::clone) {
                match seen {
                    Ok(repository) => list(inspect, &repository, &items).await?,
                    Err((repository, problem)) => {
                        items
                            .send(UploadItem::unreadable(&repository, None, problem))
                            .await?;
                    }
                }
            }
        }
        Ok(())
    }
}

async fn list(
    inspect: &dyn StorageInspect,
    repository: &RepositoryName,
    items: &Items<UploadItem>,
) -> Result<(), BoxError> {
    let mut cursor = Cursor::start();
    while let Some(page) = cursor.page() {
        let listing = inspect.uploads(repository, page).await?;
        for seen in cursor.advance(listing, |session: &UploadState| session.id) {
            let item = match seen {
                Ok(session) => UploadItem::of(repository, &session),
                Err((id, problem)) => UploadItem::unreadable(repository, Some(id), problem),
            };
            items.send(item).await?;
        }
    }
    Ok(())
}

impl UploadItem {
    fn of(repository: &RepositoryName, session: &UploadState) -> Self {
        Self {
            repository: repository.to_string(),
            id: Some(session.id.to_string()),
            bytes: Some(session.offset),
            started: session.started.map(rfc3339),
            last: session.touched.map(rfc3339),
            uploader: session.opened_by.as_ref().map(ToString::to_string),
            problem: None,
        }
    }

    fn unreadable(repository: &RepositoryName, id: Option<UploadId>, problem: String) -> Self {
        Self {
            repository: repository.to_string(),
            id: id.map(|id| id.to_string()),
            bytes: None,
            started: None,
            last: None,
            uploader: None,
            problem: Some(problem),
        }
    }
}

impl Operation for EndUpload {
    const NAME: &'static str = "end-upload";
    type Item = UploadItem;

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<UploadItem>) -> Result<(), BoxError> {
        let id = UploadId::parse(&self.id)?;
        let inspect = inspect(&operator.registry)?;
        let Some(item) = find(inspect, &id).await? else {
            return Err(format!("there is no upload session {id}").into());
        };
        let name = RepositoryName::parse(&item.repository)?;
        let ended = operator.view().repository(&name)?.cancel(&id).await;
        operator.log_deletion(&format!("/v2/{name}/blobs/uploads/{id}"), &ended);
        if !ended? {
            return Err(format!("the upload session {id} has ended meanwhile").into());
        }
        Ok(items.send(item).await?)
    }
}

/// Finds a session, even one that cannot be read.
async fn find(inspect: &dyn StorageInspect, id: &UploadId) -> Result<Option<UploadItem>, BoxError> {
    let mut cursor = Cursor::start();
    while let Some(page) = cursor.page() {
        let listing = inspect.uploading(page).await?;
        for seen in cursor.advance(listing, RepositoryName::clone) {
            // A repository that cannot be listed may have it; ending it fails then.
            let Ok(repository) = seen else {
                continue;
            };
            let mut cursor = Cursor::start();
            while let Some(page) = cursor.page() {
                let listing = inspect.uploads(&repository, page).await?;
                for seen in cursor.advance(listing, |session: &UploadState| session.id) {
                    match seen {
                        Ok(session) if session.id == *id => {
                            return Ok(Some(UploadItem::of(&repository, &session)));
                        }
                        Err((found, problem)) if found == *id => {
                            return Ok(Some(UploadItem::unreadable(&repository, Some(found), problem)));
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
    }
    Ok(None)
}
