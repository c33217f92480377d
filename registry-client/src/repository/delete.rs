//! Deletions.

use super::RemoteRepository;
use crate::{
    call::Call,
    error::{Error, Result},
};
use http::StatusCode;
use registry_core::{Digest, Reference, Tag, protocol::Request};

impl RemoteRepository {
    /// Deletes a manifest and all its tags.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. It can be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Unsupported`] if the registry does not delete, [`Error::Denied`] and
    /// [`Error::Unauthorized`].
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        self.delete(self.deletion(digest.into())).await
    }

    /// Deletes a tag alone. Many registries do not support it.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. It can be repeated.
    ///
    /// # Errors
    ///
    /// As for [`delete_manifest`](Self::delete_manifest).
    pub async fn delete_tag(&self, tag: &Tag) -> Result<()> {
        match self.delete(self.deletion(tag.into())).await {
            // Docker's registry takes the tag for a malformed digest.
            Err(Error::Refused {
                url,
                status: 400,
                code,
                message,
            }) => Err(Error::Unsupported { url, code, message }),
            other => other,
        }
    }

    /// Deletes a blob from this repository.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. It can be repeated.
    ///
    /// # Errors
    ///
    /// As for [`delete_manifest`](Self::delete_manifest).
    pub async fn delete_blob(&self, digest: &Digest) -> Result<()> {
        let request = Request::DeleteBlob {
            repository: self.name.clone(),
            digest: *digest,
        };
        self.delete(request).await
    }

    fn deletion(&self, reference: Reference) -> Request {
        Request::DeleteManifest {
            repository: self.name.clone(),
            reference,
        }
    }

    async fn delete(&self, request: Request) -> Result<()> {
        let call = Call::new(&self.host, request);
        let expected = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT];
        let mut attempts = self.client.attempts();
        let mut lost = false;
        loop {
            match self.client.send_once(&call, &expected).await {
                Ok(_) => return Ok(()),
                // An earlier attempt has deleted it, and its answer was lost.
                Err(Error::NotFound { .. }) if lost => return Ok(()),
                Err(error) => {
                    lost |= error.is_lost_answer();
                    attempts.after(error).await?;
                }
            }
        }
    }
}
