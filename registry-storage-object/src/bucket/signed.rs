//! URLs by which a client reads an object itself.

use super::Bucket;
use http::{Method, Uri};
use registry_core::storage::{Result, StorageError};
use std::time::Duration;

impl Bucket {
    /// Returns true if the store can be asked by signed URLs.
    pub(crate) fn signs(&self) -> bool {
        self.clients.signer.is_some()
    }

    /// Signs a URL by which anybody reads an object for some time. It is good for GET only.
    pub(crate) async fn signed_get(&self, key: &str, validity: Duration) -> Result<Uri> {
        let Some(signing) = &self.clients.signer else {
            return Err(StorageError::Unsupported("sign URLs"));
        };
        let fail = |error| StorageError::failed(format!("cannot sign a URL of {key}"), error);
        let url = signing
            .signer
            .signed_url(Method::GET, &self.path(key), validity)
            .await
            .map_err(fail)?;
        url.as_str()
            .parse()
            .map_err(|error| StorageError::failed(format!("cannot sign a URL of {key}"), Box::new(error)))
    }
}
