//! A repository of a registry in the same process, as a source and as a target.

use crate::{
    error::Error,
    source::{Blob, BlobStream, Origin, Page, Source, sized},
    target::{Kind, Target},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use registry_core::{
    Descriptor, Digest, Error as RegistryError, RangeSpec, Reference, Repository, Tag,
    protocol::PageQuery,
    service::{BlobSource, ManifestPush},
    storage::{BlobBody, Content, ContentStream, ReadBlob, StorageError, StoredManifest},
};
use std::future::poll_fn;

/// Reads with the authority of the repository's handle.
#[async_trait]
impl Source for Repository {
    fn describe(&self) -> String {
        self.name().to_string()
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin::in_process(self.name().clone()))
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let found = Self::manifest(self, reference).await;
        let found = found.map_err(|error| Error::registry(self.name(), error))?;
        Ok(found.map(|found| Descriptor::new(found.media_type, found.digest, found.bytes.len() as u64)))
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        let found = Self::manifest(self, digest).await;
        found.map_err(|error| Error::registry(self.name(), error))
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let failed = |error| Error::registry(self.name(), error);
        if from > 0 {
            // A range that begins at the end of a blob cannot be read, but nothing is missing there.
            match Self::blob(self, digest).await.map_err(failed)? {
                Some(info) if info.size == from => {
                    return Ok(Some(Blob::new(from, Box::pin(stream::empty()))));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
        let part = (from > 0).then_some(RangeSpec::From(from));
        let read = self.open_blob(digest, ReadBlob::part(part)).await;
        let Some(read) = read.map_err(failed)? else {
            return Ok(None);
        };
        let BlobBody::Content(content) = read.body else {
            let redirected = "the storage answered with a redirect that was not allowed";
            return Err(failed(StorageError::internal(redirected).into()));
        };
        let stream = streamed(self.name().to_string(), content);
        Ok(Some(Blob::new(read.info.size, stream)))
    }

    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        let mut page = PageQuery::default();
        page.last = after.cloned();
        let listed = Self::tags(self, &page).await;
        let listed = listed
            .map_err(|error| Error::registry(self.name(), error))?
            .unwrap_or_default();
        let last = listed.items.last().cloned();
        Ok(Page::new(listed.items, last.filter(|_| listed.more)))
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        let mut page = PageQuery::default();
        page.last = after.copied();
        let listed = Self::referrers(self, subject, None, &page).await;
        let listed = listed.map_err(|error| Error::registry(self.name(), error))?;
        Ok(Page::new(listed.items, listed.next))
    }
}

/// Writes with the authority of the repository's handle. What is put is visible at once, an image by its tag last.
#[async_trait]
impl Target for Repository {
    fn describe(&self) -> String {
        self.name().to_string()
    }

    async fn has(&self, kind: Kind, digest: &Digest, size: u64) -> Result<bool, Error> {
        let failed = |error| Error::registry(self.name(), error);
        Ok(match kind {
            Kind::Blob => {
                let held = Self::blob(self, digest).await.map_err(failed)?;
                held.is_some_and(|held| held.size == size)
            }
            Kind::Manifest => Self::manifest(self, digest).await.map_err(failed)?.is_some(),
        })
    }

    async fn mount(&self, digest: &Digest, size: u64, origin: Option<&Origin>) -> Result<bool, Error> {
        // Without a repository, the registry would try all that hold the blob. A source that only names a digest would
        // then obtain content that it never had.
        let Some(Origin {
            host: None,
            repository,
        }) = origin
        else {
            return Ok(false);
        };
        // The origin may be in another registry of this process. The same name here does no harm: the digest names the
        // same bytes.
        let failed = |error| Error::registry(self.name(), error);
        let mounted = Self::mount(self, digest, Some(repository)).await;
        if mounted.map_err(failed)?.is_none() {
            return Ok(false);
        }
        match Self::blob(self, digest).await.map_err(failed)? {
            Some(held) if held.size != size => Err(Error::Size {
                place: self.name().to_string(),
                digest: *digest,
                expected: size,
                actual: held.size,
            }),
            Some(_) | None => Ok(true),
        }
    }

    async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), Error> {
        let stream = sized(self.name().to_string(), *digest, size, stream);
        let pushed = self.push_blob(BlobSource::stream(stream), Some(*digest)).await;
        pushed.map(drop).map_err(|error| match error {
            // The stream's own error says more.
            RegistryError::Body(source) => match source.downcast::<Error>() {
                Ok(error) => *error,
                Err(source) => Error::registry(self.name(), RegistryError::Body(source)),
            },
            RegistryError::DigestMismatch { expected, actual, .. } => Error::Digest {
                place: self.name().to_string(),
                digest: expected,
                actual,
            },
            error => Error::registry(self.name(), error),
        })
    }

    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        let mut push = ManifestPush::new(manifest.digest, manifest.bytes.clone());
        push.media_type = Some(manifest.media_type.clone());
        push.tags = tags.to_vec();
        let pushed = Self::put_manifest(self, push).await;
        pushed
            .map(drop)
            .map_err(|error| Error::registry(self.name(), error))
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Returns the frames of a body as items of a stream.
fn streamed(place: String, content: Content) -> BlobStream {
    Box::pin(stream::try_unfold(
        (content.into_stream(), place),
        async |(mut body, place): (ContentStream, String)| {
            let frame = poll_fn(|context| body.as_mut().poll_frame(context)).await;
            match frame
                .transpose()
                .map_err(|error| Error::registry(&place, error))?
            {
                Some(frame) => Ok(Some((
                    frame.into_data().unwrap_or_else(|_| Bytes::new()),
                    (body, place),
                ))),
                None => Ok(None),
            }
        },
    ))
}
