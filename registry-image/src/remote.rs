//! A repository of any registry, as a source and as a target.

use crate::{
    error::Error,
    source::{Blob, BlobStream, Origin, Page, Source},
    target::{Kind, Target},
};
use async_trait::async_trait;
use futures_util::{TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use registry_client::{Error as ClientError, RemoteRepository};
use registry_core::{Descriptor, Digest, MediaType, Reference, Tag, hash::Hasher, storage::StoredManifest};

/// Maximum number of tags of a repository.
const TAGS: usize = 1_000_000;

/// Reads with the client's logins and retries. A registry without the list of referrers is read by their tags.
#[async_trait]
impl Source for RemoteRepository {
    fn describe(&self) -> String {
        format!("{}/{}", self.host().as_str(), self.name())
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin::at(self.host().as_str(), self.name().clone()))
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        found(self, Self::resolve(self, reference).await)
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        found(self, Self::manifest(self, digest).await)
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let Some(info) = found(self, self.blob_info(digest).await)? else {
            return Ok(None);
        };
        if from > info.size {
            return Err(Error::Size {
                place: Source::describe(self),
                digest: *digest,
                expected: from,
                actual: info.size,
            });
        }
        let any = MediaType::parse("application/octet-stream").expect("a constant is well-formed");
        let opened = self.open_blob(&Descriptor::new(any, *digest, info.size), from);
        let stream = stream::try_unfold(
            (opened, self.clone()),
            async |(mut opened, repository)| match opened.next().await {
                Ok(bytes) => Ok(bytes.map(|bytes| (bytes, (opened, repository)))),
                Err(error) => Err(failed(&repository, error)),
            },
        );
        Ok(Some(Blob::new(info.size, Box::pin(stream))))
    }

    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        let listed = found(self, Self::tags(self).all(TAGS).await)?;
        let mut tags = listed.unwrap_or_default();
        // Some registries have another order.
        tags.sort();
        tags.dedup();
        tags.retain(|tag| after.is_none_or(|after| tag > after));
        Ok(Page::new(tags, None))
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        let listed = Self::referrers(self, subject, None).await;
        let mut listed = listed.map_err(|error| failed(self, error))?;
        listed.sort_by_key(|found| found.digest);
        listed.retain(|found| after.is_none_or(|after| found.digest > *after));
        Ok(Page::new(listed, None))
    }
}

/// Writes with the client's logins and retries. A large blob is sent in chunks, each of which is in memory.
#[async_trait]
impl Target for RemoteRepository {
    fn describe(&self) -> String {
        Source::describe(self)
    }

    async fn has(&self, kind: Kind, digest: &Digest, size: u64) -> Result<bool, Error> {
        let held = match kind {
            Kind::Blob => self.blob_info(digest).await.map(|info| info.size == size),
            Kind::Manifest => Self::resolve(self, digest).await.map(|_| true),
        };
        match held {
            // Some may push, but not read.
            Err(ClientError::Denied { .. }) => Ok(false),
            held => Ok(found(self, held)?.unwrap_or_default()),
        }
    }

    async fn mount(&self, digest: &Digest, _: u64, origin: Option<&Origin>) -> Result<bool, Error> {
        let same = origin.filter(|origin| origin.host.as_deref() == Some(self.host().as_str()));
        match same.filter(|origin| origin.repository != *self.name()) {
            Some(origin) => {
                let mounted = Self::mount(self, digest, &origin.repository).await;
                mounted.map_err(|error| failed(self, error))
            }
            None => Ok(false),
        }
    }

    async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), Error> {
        // The digest is sent after the last byte. A stream with other bytes fails before, and nothing is published.
        let checked = checked(Source::describe(self), *digest, size, stream);
        let body = StreamBody::new(checked.map_ok(Frame::data));
        let pushed = self.push_stream(body, digest.algorithm()).await;
        pushed.map(drop).map_err(|error| failed(self, error))
    }

    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        let repository = self.clone().with_algorithm(manifest.digest.algorithm());
        let (bytes, media_type) = (manifest.bytes.clone(), &manifest.media_type);
        let put = Self::put_manifest(&repository, bytes, media_type, tags, None).await;
        put.map(drop).map_err(|error| failed(self, error))
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Converts a result. Absent content is `None`.
fn found<T>(repository: &RemoteRepository, result: Result<T, ClientError>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(repository, error)),
    }
}

fn failed(repository: &RemoteRepository, error: ClientError) -> Error {
    let transient = error.is_transient();
    let source = match error {
        // The stream's own error says more.
        ClientError::Content(source) => match source.downcast::<Error>() {
            Ok(error) => return *error,
            Err(source) => source,
        },
        error => error.into(),
    };
    Error::other(Source::describe(repository), transient, source)
}

/// Returns the same bytes, and fails at the end unless they have this digest and size.
fn checked(place: String, digest: Digest, size: u64, stream: BlobStream) -> BlobStream {
    let state = (stream, Hasher::new(digest.algorithm()), place);
    let next = move |(mut stream, mut hasher, place): (BlobStream, Hasher, String)| async move {
        if let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
            if hasher.offset() <= size {
                return Ok(Some((bytes, (stream, hasher, place))));
            }
        }
        if hasher.offset() != size {
            return Err(Error::Size {
                place,
                digest,
                expected: size,
                actual: hasher.offset(),
            });
        }
        match hasher.digest() {
            Some(actual) if actual != digest => Err(Error::Digest {
                place,
                digest,
                actual,
            }),
            Some(_) | None => Ok(None),
        }
    };
    Box::pin(stream::try_unfold(state, next))
}
