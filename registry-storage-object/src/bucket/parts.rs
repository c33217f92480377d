//! Objects that are written in parts, and copies.

use super::{Bucket, error::failed};
use object_store::{ObjectStoreExt as _, PutPayload, multipart::PartId};
use registry_core::storage::Result;

/// A part that the store has, as it names it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Part {
    /// Opaque. Never interpreted: with checksums it is a piece of XML.
    pub(crate) id: String,
}

impl Bucket {
    /// Begins an object in parts, and returns the id by which any process continues it.
    pub(crate) async fn create_multipart(&self, key: &str) -> Result<String> {
        self.clients
            .parts
            .create_multipart(&self.path(key))
            .await
            .map_err(|error| failed("begin the parts of", key, error))
    }

    /// Writes a part, counted from 0. A part number that is used again overwrites: callers never do.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        multipart: &str,
        number: usize,
        payload: impl Into<PutPayload> + Send,
    ) -> Result<Part> {
        self.clients
            .parts
            .put_part(&self.path(key), &multipart.to_owned(), number, payload.into())
            .await
            .map(|part| Part { id: part.content_id })
            .map_err(|error| failed("write a part of", key, error))
    }

    /// Makes the object of its parts. May be repeated.
    pub(crate) async fn complete_multipart(&self, key: &str, multipart: &str, parts: &[Part]) -> Result<()> {
        let parts = parts
            .iter()
            .map(|part| PartId {
                content_id: part.id.clone(),
            })
            .collect();
        self.clients
            .parts
            .complete_multipart(&self.path(key), &multipart.to_owned(), parts)
            .await
            .map(drop)
            .map_err(|error| failed("complete the parts of", key, error))
    }

    /// Drops the parts. Parts that have gone are no error.
    pub(crate) async fn abort_multipart(&self, key: &str, multipart: &str) -> Result<()> {
        let aborted = self
            .clients
            .parts
            .abort_multipart(&self.path(key), &multipart.to_owned())
            .await;
        match aborted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("drop the parts of", key, error)),
        }
    }

    /// Copies an object within the store, whatever is at the target.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.clients
            .objects
            .copy(&self.path(from), &self.path(to))
            .await
            .map_err(|error| failed("copy", from, error))
    }
}
