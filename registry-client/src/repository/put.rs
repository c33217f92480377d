//! Pushes of manifests.

use super::RemoteRepository;
use crate::{
    call::{Call, Payload},
    error::{Error, Result},
    transport::Answered,
};
use bytes::Bytes;
use http::StatusCode;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, Tag,
    manifest::Manifest,
    protocol::{Precondition, Request},
};

/// Maximum number of tags that one request sets. Their names make its URL longer, and servers limit that.
const AT_ONCE: usize = 25;

impl RemoteRepository {
    /// Pushes a manifest with any number of tags, and returns its descriptor. Its blobs have to be pushed before.
    ///
    /// `condition` is the required target of each tag before the push. It is beyond the specification, so many registries
    /// ignore it.
    ///
    /// A manifest with a subject is added to the index under the tag of the subject's referrers, if the registry does not
    /// list referrers.
    ///
    /// The digest is a sha256, or one of [`with_algorithm`](Self::with_algorithm). A registry that sets no tags with a push by
    /// digest gives the tags of any manifest its own algorithm, which is sha256.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call: the manifest is stored, with all tags or some. The call can
    /// be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::ConditionFailed`], [`Error::Refused`] if the manifest is invalid or its blobs are missing,
    /// [`Error::Denied`] and [`Error::Unauthorized`], and the failures of connections after the last attempt. After an
    /// error, some of several tags may have been set.
    pub async fn put_manifest(
        &self,
        bytes: impl Into<Bytes>,
        media_type: &MediaType,
        tags: &[Tag],
        condition: Option<Precondition>,
    ) -> Result<Descriptor> {
        let bytes = bytes.into();
        let digest = Digest::of(self.algorithm, &bytes);
        let descriptor = Descriptor::new(media_type.clone(), digest, bytes.len() as u64);
        let put = Put {
            bytes: bytes.clone(),
            media_type,
            digest,
            condition,
        };
        let answered = match tags {
            [] => self.put(&put, digest.into(), &[]).await?.0,
            // A registry computes a sha256 if it gets no digest.
            [tag] if self.algorithm == Algorithm::Sha256 => self.put(&put, tag.into(), &[]).await?.0,
            tags => self.put_all(&put, tags).await?,
        };
        let referrer = Manifest::parse_stored(&bytes, media_type)
            .ok()
            .and_then(|manifest| manifest.referrer(digest, descriptor.size));
        if let Some((subject, referrer)) = referrer {
            let listed = answered.answer().subject().is_some();
            self.learned.note(|abilities| abilities.referrers = Some(listed));
            if !listed {
                self.add_to_referrers_tag(&subject, &referrer).await?;
            }
        }
        Ok(descriptor)
    }

    /// Sets several tags: up to [`AT_ONCE`] with one request where the registry can, the others one by one.
    async fn put_all(&self, put: &Put<'_>, tags: &[Tag]) -> Result<Answered> {
        let together = tags.get(..AT_ONCE).unwrap_or(tags);
        let (answered, found) = self.put(put, put.digest.into(), together).await?;
        let set = if found {
            together.to_vec()
        } else {
            let set = answered.answer().tags();
            self.learned
                .note(|abilities| abilities.tag_parameters = Some(!set.is_empty()));
            set
        };
        for tag in tags.iter().filter(|tag| !set.contains(tag)) {
            self.put(put, tag.into(), &[]).await?;
        }
        Ok(answered)
    }

    /// Sends a manifest. Returns true beside the response if its condition no longer held, because an attempt whose answer was
    /// lost has set the tags.
    async fn put(&self, put: &Put<'_>, reference: Reference, tags: &[Tag]) -> Result<(Answered, bool)> {
        let request = Request::PutManifest {
            repository: self.name.clone(),
            reference: reference.clone(),
            tags: tags.to_vec(),
            media_type: Some(put.media_type.clone()),
            precondition: put.condition,
        };
        let call = Call::new(&self.host, request).sending(Payload::Bytes(put.bytes.clone()));
        let mut attempts = self.client.attempts();
        let mut lost = false;
        loop {
            let error = match self.client.send_once(&call, &[StatusCode::CREATED]).await {
                Ok(answered) => return Ok((put.checked(answered)?, false)),
                Err(error) => error,
            };
            // The condition no longer holds if an earlier attempt succeeded and only its answer was lost.
            if lost
                && matches!(error, Error::ConditionFailed { .. })
                && self.is_put(put, &reference, tags).await
            {
                let unconditional = Put {
                    condition: None,
                    ..put.clone()
                };
                let (answered, _) = Box::pin(self.put(&unconditional, put.digest.into(), &[])).await?;
                return Ok((answered, true));
            }
            lost |= error.is_lost_answer();
            attempts.after(error).await?;
        }
    }

    /// Returns true if all tags have the manifest, or the reference if there are none.
    async fn is_put(&self, put: &Put<'_>, reference: &Reference, tags: &[Tag]) -> bool {
        let tags: Vec<Reference> = tags.iter().map(Reference::from).collect();
        let references = if tags.is_empty() {
            std::slice::from_ref(reference)
        } else {
            &tags
        };
        for reference in references {
            let now = self.resolve(reference).await;
            if now.map_or(true, |now| now.digest != put.digest) {
                return false;
            }
        }
        true
    }
}

/// A manifest to push.
#[derive(Clone)]
struct Put<'a> {
    bytes: Bytes,
    media_type: &'a MediaType,
    digest: Digest,
    condition: Option<Precondition>,
}

impl Put<'_> {
    /// Compares the digest of the response with that of the bytes.
    fn checked(&self, answered: Answered) -> Result<Answered> {
        let got = answered.answer().digest();
        let got = got.filter(|got| got.algorithm() == self.digest.algorithm());
        match got.filter(|got| *got != self.digest) {
            None => Ok(answered),
            Some(got) => Err(Error::Corrupt {
                url: answered.named,
                expected: self.digest,
                got,
            }),
        }
    }
}
