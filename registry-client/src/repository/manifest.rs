//! Pulls of manifests.

use super::RemoteRepository;
use crate::{
    call::Call,
    error::{Error, Result},
    transport::Answered,
};
use bytes::Bytes;
use http::StatusCode;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, manifest::Manifest, protocol::Request,
    storage::StoredManifest,
};
use serde::Deserialize;

/// Maximum size of a manifest, in bytes. Registries accept no larger ones.
pub(crate) const MANIFEST: usize = 4 << 20;

/// Types that the client can read. A registry may convert a manifest to one of them, so the types of today come first.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

impl RemoteRepository {
    /// Returns digest, media type and size of a manifest, by tag or digest.
    ///
    /// The digest of a tag is the registry's word until the manifest itself is pulled. If the registry does not send it,
    /// the manifest is pulled. So it is if there is none, since only that answer has a code for
    /// [`Error::is_absence`].
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none, [`Error::Denied`] and [`Error::Unauthorized`] if the registry does not tell.
    pub async fn resolve(
        &self,
        reference: impl TryInto<Reference, Error: Into<Error>>,
    ) -> Result<Descriptor> {
        let reference = &reference.try_into().map_err(Into::into)?;
        let call = self.call_for(reference, true);
        let answered = match self.client.send(&call, &[StatusCode::OK]).await {
            // The answer to a `HEAD` has no code, which tells a missing manifest from a hidden repository.
            Err(Error::NotFound { code: None, .. }) => return self.described(reference).await,
            answered => answered?,
        };
        let answer = answered.answer();
        let (Some(digest), Some(media_type), Some(size)) =
            (answer.digest(), answer.media_type(), answer.length())
        else {
            return self.described(reference).await;
        };
        if let Reference::Digest(expected) = reference
            && *expected != digest
        {
            // Equal content may have digests of two algorithms, of which only the pull shows both.
            if expected.algorithm() == digest.algorithm() {
                return Err(corrupt(&answered, *expected, digest));
            }
            return Ok(Descriptor::new(media_type, *expected, size));
        }
        Ok(Descriptor::new(media_type, digest, size))
    }

    async fn described(&self, reference: &Reference) -> Result<Descriptor> {
        let manifest = self.manifest(reference).await?;
        let size = manifest.bytes.len() as u64;
        Ok(Descriptor::new(manifest.media_type, manifest.digest, size))
    }

    /// Pulls a manifest of at most 4 MiB, by tag or digest, and verifies it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it has another digest than the requested or announced one; otherwise as for
    /// [`resolve`](Self::resolve).
    pub async fn manifest(
        &self,
        reference: impl TryInto<Reference, Error: Into<Error>>,
    ) -> Result<StoredManifest> {
        let reference = reference.try_into().map_err(Into::into)?;
        let call = self.call_for(&reference, false);
        let (answered, bytes) = self.client.fetch(&call, &[StatusCode::OK], MANIFEST).await?;
        verified(&answered, &reference, bytes)
    }

    fn call_for(&self, reference: &Reference, head: bool) -> Call {
        let request = Request::Manifest {
            repository: self.name.clone(),
            reference: reference.clone(),
            head,
            known: None,
        };
        Call::new(&self.host, request).accepting(ACCEPT)
    }
}

/// Compares a manifest with the digest that was requested, or else with the one that was announced.
fn verified(answered: &Answered, reference: &Reference, bytes: Bytes) -> Result<StoredManifest> {
    let answer = answered.answer();
    let expected = match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => answer.digest(),
    };
    let algorithm = expected.map_or(Algorithm::Sha256, |expected| expected.algorithm());
    let got = Digest::of(algorithm, &bytes);
    if let Some(expected) = expected.filter(|expected| *expected != got) {
        return Err(corrupt(answered, expected, got));
    }
    // The document is verified, and the header is not.
    let media_type = named(&bytes)
        .or_else(|| answer.media_type())
        .unwrap_or_else(|| Manifest::sniff_media_type(&bytes));
    Ok(StoredManifest::new(got, media_type, bytes))
}

/// Returns the media type that a manifest names itself.
fn named(manifest: &[u8]) -> Option<MediaType> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "mediaType")]
        media_type: String,
    }
    let named: Named = serde_json::from_slice(manifest).ok()?;
    MediaType::parse(&named.media_type).ok()
}

fn corrupt(answered: &Answered, expected: Digest, got: Digest) -> Error {
    Error::Corrupt {
        url: answered.named.clone(),
        expected,
        got,
    }
}
