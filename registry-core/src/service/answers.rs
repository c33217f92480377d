//! Operations of a repository as HTTP asks for them: each gives the head of its response, and a body.

use super::{
    ManifestPush, Repository, ResponseBody, body, manifests::manifest_pulled, referrers::ReferrersIndex,
};
use crate::{
    digest::{Algorithm, Digest},
    error::Error,
    media_type::MediaType,
    name::RepositoryName,
    protocol::{ContentRange, EntityTags, PageQuery, Precondition, Request, Response},
    reference::{Reference, Tag},
    storage::{BlobBody, IncomingBody, Listing, RangeSpec, ReadBlob},
    upload_id::UploadId,
};
use serde_core::{Serialize, Serializer, ser::SerializeMap as _};
use std::sync::Arc;

/// Result of an operation, before it becomes an HTTP response.
pub(super) type Outcome = Result<(Response, ResponseBody), Error>;

impl Repository {
    pub(super) async fn answer_tags(self, page: PageQuery<Tag>) -> Outcome {
        let listing = self.tags(&page).await?;
        let listing = listing.ok_or_else(|| Error::RepositoryUnknown(self.name.clone()))?;
        let next = next(&listing, |page| Request::Tags {
            repository: self.name.clone(),
            page,
        });
        let tags = listing.items.iter().map(AsRef::as_ref).collect();
        Ok((
            Response::List { next },
            json(&TagList {
                name: self.name.as_str(),
                tags,
            }),
        ))
    }

    pub(super) async fn answer_referrers(
        self,
        subject: Digest,
        artifact_type: Option<Arc<str>>,
        page: PageQuery<Digest>,
    ) -> Outcome {
        let found = self.referrers(&subject, artifact_type.as_deref(), &page).await?;
        let filtered = artifact_type.is_some();
        let next = found.next.map(|last| Request::Referrers {
            repository: self.name,
            subject,
            artifact_type,
            // A page may end before `n` items, so the next one requests `n` again, not the length of this one.
            page: PageQuery {
                last: Some(last),
                ..page
            },
        });
        Ok((
            Response::Referrers { filtered, next },
            json(&ReferrersIndex::of(&found.items)),
        ))
    }

    pub(super) async fn answer_blob(
        &self,
        digest: Digest,
        head: bool,
        ranges: &[RangeSpec],
        known: Option<EntityTags>,
    ) -> Outcome {
        if head || known.as_ref().is_some_and(|known| known.has(&digest)) {
            let info = self.blob(&digest).await?.ok_or(Error::BlobUnknown(digest))?;
            return done(match known {
                Some(known) if known.has(&digest) => Response::NotModified { digest },
                _ => Response::Blob {
                    digest,
                    size: info.size,
                    part: None,
                },
            });
        }
        match ranges {
            [] => {
                self.answer_content(digest, self.redirectable(ReadBlob::default()))
                    .await
            }
            [range] => {
                let how = self.redirectable(ReadBlob::part(Some(*range)));
                self.answer_content(digest, how).await
            }
            several => self.answer_ranges(digest, several).await,
        }
    }

    /// Allows a redirect, if the storage declares that it can make one.
    fn redirectable(&self, how: ReadBlob) -> ReadBlob {
        if self.storage().abilities().redirects {
            how.or_redirect()
        } else {
            how
        }
    }

    pub(super) async fn answer_content(&self, digest: Digest, how: ReadBlob) -> Outcome {
        let read = self
            .open_blob(&digest, how)
            .await?
            .ok_or(Error::BlobUnknown(digest))?;
        match read.body {
            BlobBody::Redirect(to) => done(Response::Redirect { digest, to }),
            BlobBody::Content(content) => {
                let part = how.range.map(|_| read.range);
                let response = Response::Blob {
                    digest,
                    size: read.info.size,
                    part,
                };
                Ok((response, ResponseBody::begin(content).await?))
            }
        }
    }

    pub(super) async fn answer_delete_blob(self, digest: Digest) -> Outcome {
        if self.delete_blob(&digest).await? {
            done(Response::Deleted)
        } else {
            Err(Error::BlobUnknown(digest))
        }
    }

    pub(super) async fn answer_manifest(
        &self,
        reference: Reference,
        head: bool,
        known: Option<EntityTags>,
    ) -> Outcome {
        let found = self.find_manifest(&reference).await?;
        let (pull, manifest) = found.ok_or_else(|| Error::ManifestUnknown(reference.clone()))?;
        let digest = manifest.digest;
        if known.is_some_and(|known| known.has(&digest)) {
            pull.end_silently();
            return done(Response::NotModified { digest });
        }
        let response = Response::Manifest {
            digest,
            media_type: manifest.media_type.clone(),
            size: manifest.bytes.len() as u64,
        };
        if head {
            pull.end_silently();
            return done(response);
        }
        pull.end(|| manifest_pulled(&manifest, reference));
        Ok((response, ResponseBody::full(manifest.bytes)))
    }

    pub(super) async fn answer_put_manifest(
        self,
        reference: Reference,
        tags: Vec<Tag>,
        media_type: Option<MediaType>,
        precondition: Option<Precondition>,
        body: IncomingBody<'_>,
    ) -> Outcome {
        // Decided before the body is read, so that a refused manifest is not received.
        let permits = self.permit_put(&reference, &tags).await?;
        let registry = &self.registry.inner;
        let mut share = registry.received.share(self.authority.uploader());
        let bytes = body::collect(body, registry.limits.manifest_bytes, &mut share).await?;
        let push = ManifestPush {
            reference,
            bytes,
            media_type,
            tags: tags.clone(),
            precondition,
            restores: false,
        };
        let pushed = self.put_permitted(push, permits).await?;
        done(Response::ManifestCreated {
            repository: self.name,
            digest: pushed.digest,
            subject: pushed.subject,
            tags,
            keeps_referrers: pushed.keeps_referrers,
        })
    }

    pub(super) async fn answer_delete_manifest(self, reference: Reference) -> Outcome {
        if self.delete_manifest(&reference).await? {
            done(Response::Deleted)
        } else {
            Err(Error::ManifestUnknown(reference))
        }
    }

    pub(super) async fn answer_push_blob(self, digest: Digest, body: IncomingBody<'_>) -> Outcome {
        self.push_blob_erased(body, Some(digest)).await?;
        done(Response::BlobCreated {
            repository: self.name,
            digest,
        })
    }

    pub(super) async fn answer_mount(self, digest: Digest, from: Option<&RepositoryName>) -> Outcome {
        match self.mount(&digest, from).await? {
            Some(_) => done(Response::BlobCreated {
                repository: self.name,
                digest,
            }),
            None => self.answer_open(digest.algorithm()).await,
        }
    }

    pub(super) async fn answer_open(self, algorithm: Algorithm) -> Outcome {
        let state = self.open_upload(algorithm).await?;
        let min_chunk = self.storage().abilities().min_chunk;
        done(Response::Accepted {
            repository: self.name,
            id: state.id,
            offset: state.offset,
            min_chunk,
        })
    }

    pub(super) async fn answer_upload(self, id: UploadId) -> Outcome {
        let state = self.upload(&id).await?.ok_or(Error::UploadUnknown)?;
        done(Response::UploadStatus {
            repository: self.name,
            id,
            offset: state.offset,
        })
    }

    pub(super) async fn answer_append(
        self,
        id: UploadId,
        chunk: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Outcome {
        let offset = self.append_erased(&id, chunk, body).await?;
        done(Response::Accepted {
            repository: self.name,
            id,
            offset,
            min_chunk: None,
        })
    }

    pub(super) async fn answer_close(
        self,
        id: UploadId,
        digest: Digest,
        chunk: Option<ContentRange>,
        body: IncomingBody<'_>,
    ) -> Outcome {
        self.close_erased(&id, &digest, chunk, body).await?;
        done(Response::BlobCreated {
            repository: self.name,
            digest,
        })
    }

    pub(super) async fn answer_cancel(self, id: UploadId) -> Outcome {
        if self.cancel(&id).await? {
            done(Response::Cancelled { id })
        } else {
            Err(Error::UploadUnknown)
        }
    }
}

pub(super) fn done(response: Response) -> Outcome {
    Ok((response, ResponseBody::empty()))
}

struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

impl Serialize for TagList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("tags", &self.tags)?;
        map.end()
    }
}

pub(super) fn json(value: &impl Serialize) -> ResponseBody {
    ResponseBody::full(serde_json::to_vec(value).unwrap_or_default().into())
}

/// Returns the request for the next page after `listing`, with the same page size.
pub(super) fn next<K: Clone>(
    listing: &Listing<K>,
    request: impl FnOnce(PageQuery<K>) -> Request,
) -> Option<Request> {
    let last = listing.items.last().filter(|_| listing.more)?;
    Some(request(PageQuery::first(listing.items.len()).after(last.clone())))
}
