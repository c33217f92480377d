//! Deletions.

use super::RemoteRepository;
use crate::{
    call::Call,
    error::{Error, Result},
};
use http::StatusCode;
use registry_core::{Digest, Reference, Tag, manifest::Manifest, protocol::Request};

impl RemoteRepository {
    /// Deletes a manifest and all its tags.
    ///
    /// A manifest with a subject is removed from the index under the tag of the subject's referrers, unless the registry
    /// lists referrers itself. The client pulls the manifest before, to learn its subject.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. It can be repeated. If the manifest is deleted already, a repeated call
    /// leaves it in the index of referrers.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Unsupported`] if the registry does not delete, [`Error::Denied`] and
    /// [`Error::Unauthorized`]. After an error that concerns the index, the manifest is deleted.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        let subject = match self.abilities().referrers {
            Some(true) => None,
            _ => self.subject_of(digest).await?,
        };
        self.delete(self.deletion(digest.into())).await?;
        match subject {
            Some(subject) => self.remove_from_referrers_tag(&subject, digest).await,
            None => Ok(()),
        }
    }

    /// Returns the subject of a manifest. One that cannot be pulled has none, since it may be deleted nevertheless.
    async fn subject_of(&self, digest: &Digest) -> Result<Option<Digest>> {
        let manifest = match self.manifest(digest).await {
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => return Ok(None),
            Ok(manifest) => manifest,
        };
        let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type).ok();
        let referrer = parsed.and_then(|parsed| parsed.referrer(*digest, manifest.bytes.len() as u64));
        Ok(referrer.map(|(subject, _)| subject))
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
