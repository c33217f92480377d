//! Handling of an HTTP request: parse, authenticate, act and respond.

use super::{
    Authority, ManifestPush, Registry, Repository, ResponseBody, asked::Asked, body, needs::needs,
    referrers::ReferrersIndex,
};
use crate::{
    auth::{AuthRequest, Identity},
    digest::{Algorithm, Digest},
    error::Error,
    name::RepositoryName,
    protocol::{Endpoint, EntityTags, Links, PageQuery, Request, Response, normalized},
    reference::Reference,
    storage::{BlobBody, BoxError, IncomingBody, Listing, RangeSpec, ReadBlob, Uploader},
    upload_id::UploadId,
};
use bytes::Bytes;
use http::{HeaderValue, Method, header, request::Parts};
use http_body::Body;
use serde::Serialize;
use std::{future::Future, pin::pin};
use tracing::Instrument as _;

/// Result of an operation, before it becomes an HTTP response.
pub(super) type Outcome = Result<(Response, ResponseBody), Error>;

/// Information about a request besides its response.
#[derive(Default)]
struct Aside {
    identity: Option<Identity>,
    /// User or network that a large response counts for.
    client: Option<Uploader>,
    freshness: Option<&'static str>,
}

impl Registry {
    /// Answers one HTTP request under `/v2/`.
    ///
    /// The raw path is used without changes. A [`Links`] value in the request's extensions replaces the one
    /// that the registry was built with, for this request. If the client is known, its [`Identity`] is in the
    /// response's extensions.
    ///
    /// Dropping the future of a request that changes content is safe for the storage, but cuts the operation and
    /// loses its events. A server drops it when its client vanishes: use
    /// [`into_service`](Self::into_service) there, or `registry-axum`.
    pub fn handle<B>(
        &self,
        request: http::Request<B>,
    ) -> impl Future<Output = http::Response<ResponseBody>> + Send + use<B>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let registry = self.clone();
        async move {
            let (parts, body) = request.into_parts();
            let path = normalized(parts.uri.path());
            let span = tracing::debug_span!("request", method = %parts.method, path = &*path);
            // One copy of the code below, whatever `B` is.
            registry
                .answer(parts, pin!(body::Erased(Box::pin(body))))
                .instrument(span)
                .await
        }
    }

    async fn answer(&self, mut parts: Parts, body: IncomingBody<'_>) -> http::Response<ResponseBody> {
        let links = parts.extensions.get::<Links>().or_else(|| self.links());
        let links = links.cloned().unwrap_or_default();
        let mut aside = Aside::default();
        let outcome = self.run(&mut parts, body, &mut aside).await;
        let outcome = outcome.and_then(|(response, body)| match parts.method {
            // What it would be is only measured.
            Method::HEAD => Ok((response, body)),
            _ => Ok((response, self.inner.sent.hold(body, aside.client.take())?)),
        });
        let ((status, headers), body) = match outcome {
            Ok((response, body)) => {
                let (status, mut headers) = response.head(&links);
                let redirect = matches!(response, Response::Redirect { .. });
                if let Some(freshness) = aside.freshness.filter(|_| !redirect) {
                    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
                }
                ((status, headers), body.asked(|| Asked::of(&parts)))
            }
            Err(error) => {
                Asked::of(&parts).refused(&error);
                let unsatisfiable = matches!(error, Error::RangeUnsatisfiable { .. });
                let body = if unsatisfiable {
                    Bytes::new()
                } else {
                    error.body_with(self.inner.remedies.of(&error)).into()
                };
                (error.head(&links), ResponseBody::full(body))
            }
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(identity) = aside.identity {
            response.extensions_mut().insert(identity);
        }
        finish(&parts.method, &mut response);
        response
    }

    async fn run(&self, parts: &mut Parts, body: IncomingBody<'_>, aside: &mut Aside) -> Outcome {
        self.inner.limits.admit_head(&parts.uri, &parts.headers)?;
        let request = Request::parse(&parts.method, parts.uri.path(), parts.uri.query(), &parts.headers)?;
        // The same for everybody, and browsers ask it without the login that they have.
        if let Request::Options { endpoint } = &request {
            return options(endpoint);
        }
        let needed = needs(&request);
        let outcome = match self.authenticate(parts).await {
            Ok(authority) => {
                aside.identity = authority.identity().cloned();
                aside.client = authority.uploader();
                aside.freshness = self.freshness(&request);
                self.act(request, authority, body).await
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|error| match error {
            // Whatever it failed for, the next login shall do for the whole request.
            Error::Unauthorized { challenges, .. } => Error::Unauthorized { challenges, needed },
            other => other,
        })
    }

    /// Returns `Cache-Control` for a success, if it differs from the default. The target of a name may change
    /// at any time, and content behind a login is private.
    fn freshness(&self, request: &Request) -> Option<&'static str> {
        match request {
            Request::Catalog { .. }
            | Request::Tags { .. }
            | Request::Referrers { .. }
            | Request::Manifest {
                reference: Reference::Tag(_),
                ..
            } => Some("no-cache"),
            Request::Blob { .. } if self.inner.authenticator.is_some() => Some("private, max-age=31536000"),
            _ => None,
        }
    }

    async fn act(&self, request: Request, authority: Authority, body: IncomingBody<'_>) -> Outcome {
        match request {
            Request::Options { endpoint } => options(&endpoint),
            Request::Ping => self.ping(&authority),
            Request::Catalog { page } => self.catalog(&authority, page).await,
            Request::Tags { repository, page } => {
                let repository = self.scope(repository, authority);
                let listing = repository.tags(&page).await?;
                let listing = listing.ok_or_else(|| Error::RepositoryUnknown(repository.name.clone()))?;
                let next = next(&listing, |page| Request::Tags {
                    repository: repository.name.clone(),
                    page,
                });
                let tags = listing.items.iter().map(AsRef::as_ref).collect();
                Ok((
                    Response::List { next },
                    json(&TagList {
                        name: repository.name.as_str(),
                        tags,
                    }),
                ))
            }
            Request::Referrers {
                repository,
                subject,
                artifact_type,
                page,
            } => {
                let repository = self.scope(repository, authority);
                let found = repository
                    .referrers(&subject, artifact_type.as_deref(), &page)
                    .await?;
                let filtered = artifact_type.is_some();
                let next = found.next.map(|last| Request::Referrers {
                    repository: repository.name.clone(),
                    subject,
                    artifact_type,
                    // A page that was cut short says nothing of how many items the next one has.
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
            Request::Blob {
                repository,
                digest,
                head,
                ranges,
                known,
            } => {
                self.scope(repository, authority)
                    .answer_blob(digest, head, &ranges, known)
                    .await
            }
            Request::DeleteBlob { repository, digest } => {
                let deleted = self.scope(repository, authority).delete_blob(&digest).await?;
                if deleted {
                    done(Response::Deleted)
                } else {
                    Err(Error::BlobUnknown(digest))
                }
            }
            Request::Manifest {
                repository,
                reference,
                head,
                known,
            } => {
                self.scope(repository, authority)
                    .answer_manifest(reference, head, known)
                    .await
            }
            Request::PutManifest {
                repository,
                reference,
                tags,
                media_type,
                precondition,
            } => {
                let repository = self.scope(repository, authority);
                // Before the body is read: what is refused is not collected.
                let permits = repository.permit_put(&reference, &tags).await?;
                let mut share = self.inner.received.share(repository.authority.uploader());
                let bytes = body::collect(body, self.inner.limits.manifest_bytes, &mut share).await?;
                let named = tags.clone();
                let push = ManifestPush {
                    reference,
                    bytes,
                    media_type,
                    tags,
                    precondition,
                };
                let pushed = repository.put_permitted(push, permits).await?;
                done(Response::ManifestCreated {
                    repository: repository.name,
                    digest: pushed.digest,
                    subject: pushed.subject,
                    tags: named,
                    keeps_referrers: pushed.keeps_referrers,
                })
            }
            Request::DeleteManifest {
                repository,
                reference,
            } => {
                let deleted = self
                    .scope(repository, authority)
                    .delete_manifest(&reference)
                    .await?;
                if deleted {
                    done(Response::Deleted)
                } else {
                    Err(Error::ManifestUnknown(reference))
                }
            }
            Request::OpenUpload {
                repository,
                algorithm,
            } => {
                let repository = self.scope(repository, authority);
                repository
                    .answer_open(algorithm.unwrap_or(Algorithm::Sha256))
                    .await
            }
            Request::PushBlob { repository, digest } => {
                let repository = self.scope(repository, authority);
                repository.push_blob_erased(body, Some(digest)).await?;
                done(Response::BlobCreated {
                    repository: repository.name,
                    digest,
                })
            }
            Request::Mount {
                repository,
                digest,
                from,
            } => {
                let repository = self.scope(repository, authority);
                match repository.mount(&digest, from.as_ref()).await? {
                    Some(_) => done(Response::BlobCreated {
                        repository: repository.name,
                        digest,
                    }),
                    None => repository.answer_open(digest.algorithm()).await,
                }
            }
            Request::UploadStatus { repository, id } => {
                let repository = self.scope(repository, authority);
                let state = repository.upload(&id).await?.ok_or(Error::UploadUnknown)?;
                done(Response::UploadStatus {
                    repository: repository.name,
                    id,
                    offset: state.offset,
                })
            }
            Request::Append {
                repository,
                id,
                chunk,
            } => {
                let repository = self.scope(repository, authority);
                let offset = repository.append_erased(&id, chunk, body).await?;
                done(Response::Accepted {
                    repository: repository.name,
                    id,
                    offset,
                    min_chunk: None,
                })
            }
            Request::Close {
                repository,
                id,
                digest,
                chunk,
            } => {
                let repository = self.scope(repository, authority);
                repository.close_erased(&id, &digest, chunk, body).await?;
                done(Response::BlobCreated {
                    repository: repository.name,
                    digest,
                })
            }
            Request::Cancel { repository, id } => self.scope(repository, authority).answer_cancel(&id).await,
        }
    }

    /// Identifies the sender. `Og==`, an empty Basic login, counts as anonymous: some clients send it for "no
    /// credentials".
    async fn authenticate(&self, parts: &mut Parts) -> Result<Authority, Error> {
        let address = AuthRequest::new(parts)
            .client_address()
            .map(|address| address.ip());
        let Some(authenticator) = &self.inner.authenticator else {
            return Ok(Authority::Caller { who: None, address });
        };
        let empty = parts.headers.get(header::AUTHORIZATION).is_some_and(|value| {
            value
                .as_bytes()
                .split_at_checked(6)
                .is_some_and(|(scheme, credentials)| {
                    scheme.eq_ignore_ascii_case(b"basic ") && credentials.trim_ascii() == b"Og=="
                })
        });
        if empty {
            parts.headers.remove(header::AUTHORIZATION);
        }
        let identity = authenticator.authenticate(AuthRequest::new(parts)).await;
        identity
            .map(|who| Authority::Caller { who, address })
            .map_err(|error| self.auth_error(error))
    }

    /// Challenges an anonymous client that can log in. Docker sends its credentials only after this
    /// challenge.
    fn ping(&self, authority: &Authority) -> Outcome {
        let challenges = self.challenges();
        if authority.identity().is_none() && !challenges.is_empty() {
            return Err(Error::Unauthorized {
                challenges,
                needed: Vec::new(),
            });
        }
        Ok((Response::Pong, ResponseBody::full(Bytes::from_static(b"{}"))))
    }

    async fn catalog(&self, authority: &Authority, page: PageQuery<RepositoryName>) -> Outcome {
        if let (Some(n), Some(limit)) = (page.n, self.inner.limits.catalog_n)
            && n > limit
        {
            return Err(Error::CatalogPage { limit });
        }
        let listing = self.repositories_for(authority, &page).await?;
        let next = next(&listing, |page| Request::Catalog { page });
        let repositories = listing.items.iter().map(AsRef::as_ref).collect();
        Ok((Response::List { next }, json(&Catalog { repositories })))
    }
}

impl Repository {
    async fn answer_blob(
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

    async fn answer_manifest(&self, reference: Reference, head: bool, known: Option<EntityTags>) -> Outcome {
        let Some(manifest) = self.manifest(&reference).await? else {
            return Err(Error::ManifestUnknown(reference));
        };
        let digest = manifest.digest;
        if known.is_some_and(|known| known.has(&digest)) {
            return done(Response::NotModified { digest });
        }
        let size = manifest.bytes.len() as u64;
        let response = Response::Manifest {
            digest,
            media_type: manifest.media_type,
            size,
        };
        if head {
            return done(response);
        }
        self.tell_pulled(&digest, &reference);
        Ok((response, ResponseBody::full(manifest.bytes)))
    }

    async fn answer_open(self, algorithm: Algorithm) -> Outcome {
        let state = self.open_upload(algorithm).await?;
        let min_chunk = self.storage().abilities().min_chunk;
        done(Response::Accepted {
            repository: self.name,
            id: state.id,
            offset: state.offset,
            min_chunk,
        })
    }

    async fn answer_cancel(&self, id: &UploadId) -> Outcome {
        if self.cancel(id).await? {
            done(Response::Cancelled { id: *id })
        } else {
            Err(Error::UploadUnknown)
        }
    }
}

fn options(endpoint: &Endpoint) -> Outcome {
    done(Response::Options {
        allowed: endpoint.methods(),
    })
}

fn done(response: Response) -> Outcome {
    Ok((response, ResponseBody::empty()))
}

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

fn json(value: &impl Serialize) -> ResponseBody {
    ResponseBody::full(serde_json::to_vec(value).unwrap_or_default().into())
}

/// Returns the request for the next page after `listing`, with the same page size.
fn next<K: Clone>(listing: &Listing<K>, request: impl FnOnce(PageQuery<K>) -> Request) -> Option<Request> {
    let last = listing.items.last().filter(|_| listing.more)?;
    Some(request(PageQuery::first(listing.items.len()).after(last.clone())))
}

/// Sets `Content-Length` on every response that can have one, and removes the body where none is allowed.
fn finish(method: &Method, response: &mut http::Response<ResponseBody>) {
    let status = response.status();
    let bodiless = status == http::StatusCode::NO_CONTENT || status == http::StatusCode::NOT_MODIFIED;
    let size = response.body().size_hint().exact();
    if let (Some(size), false) = (size, bodiless) {
        response
            .headers_mut()
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| size.into());
    }
    if *method == Method::HEAD {
        *response.body_mut() = ResponseBody::empty();
    }
}
