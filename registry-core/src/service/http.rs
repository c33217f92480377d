//! Handling of an HTTP request: parse, authenticate, act and respond.

use super::{
    Authority, Registry, ResponseBody,
    answers::{Outcome, done, json, next},
    asked::Asked,
    body,
    head::RequestHead,
    needs::needs,
};
use crate::{
    auth::Identity,
    digest::Algorithm,
    error::Error,
    name::RepositoryName,
    protocol::{Endpoint, Links, PageQuery, Request, Response, normalized},
    reference::Reference,
    storage::{BoxError, IncomingBody, Uploader},
};
use bytes::Bytes;
use http::{HeaderValue, Method, header, request::Parts};
use http_body::Body;
use serde_core::{Serialize, Serializer, ser::SerializeMap as _};
use std::{future::Future, pin::pin, sync::Arc};
use tracing::Instrument as _;

/// Links of a registry that has no external location of its own, in a request's extensions. An adapter sets them, for
/// example below the prefix that its router has removed from the path.
///
/// ```
/// use registry_core::{Registry, protocol::Links, service::DefaultLinks, storage::MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::builder(MemoryStorage::new()).allow_anonymous_push().build();
/// let push = http::Request::post("/v2/team/app/blobs/uploads/")
///     .extension(DefaultLinks(Links::below("/images")?))
///     .body(String::new())?;
///
/// let response = registry.handle(push).await;
///
/// assert!(response.headers()["location"].to_str()?.starts_with("/images/v2/team/app/"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct DefaultLinks(pub Links);

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
    /// that the registry was built with, for this request. If there is neither, [`DefaultLinks`] count. If the client is known, its [`Identity`] is in the
    /// response's extensions.
    ///
    /// ```
    /// use http_body_util::BodyExt as _;
    /// use registry_core::{Registry, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    ///
    /// let request = http::Request::get("/v2/team/app/tags/list").body(String::new())?;
    /// let response = registry.handle(request).await;
    ///
    /// assert_eq!(response.status(), 404);
    /// let body = response.into_body().collect().await?.to_bytes();
    /// assert!(body.starts_with(br#"{"errors":[{"code":"NAME_UNKNOWN","#));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
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
        self.handle_as(None, request)
    }

    /// Answers one HTTP request. With a `fixed` authority, no authenticator is asked, and no login would change the answer.
    pub(super) fn handle_as<B>(
        &self,
        fixed: Option<Authority>,
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
            // `Erased` makes the rest independent of `B`, so that it is not compiled for each type of body.
            registry
                .answer(fixed, parts, pin!(body::Erased(Box::pin(body))))
                .instrument(span)
                .await
        }
    }

    async fn answer(
        &self,
        fixed: Option<Authority>,
        parts: Parts,
        body: IncomingBody<'_>,
    ) -> http::Response<ResponseBody> {
        let head = Arc::new(RequestHead::new(parts));
        let parts = head.parts();
        let own = parts.extensions.get::<Links>().or_else(|| self.links());
        let links = own.or_else(|| Some(&parts.extensions.get::<DefaultLinks>()?.0));
        let links = links.cloned().unwrap_or_default();
        let mut aside = Aside::default();
        let outcome = self.run(fixed, &head, body, &mut aside).await;
        let outcome = outcome.and_then(|(response, body)| match parts.method {
            // Only the length of this body is used, and `finish` removes it.
            Method::HEAD => Ok((response, body)),
            _ => Ok((response, body.held(&self.inner.sent, aside.client.take())?)),
        });
        let ((status, headers), body) = match outcome {
            Ok((response, body)) => {
                let (status, mut headers) = response.head(&links);
                let redirect = matches!(response, Response::Redirect { .. });
                if let Some(freshness) = aside.freshness.filter(|_| !redirect) {
                    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
                }
                ((status, headers), body.asked(|| Asked::of(parts)))
            }
            Err(error) => {
                Asked::of(parts).refused(&error);
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

    async fn run(
        &self,
        fixed: Option<Authority>,
        head: &Arc<RequestHead>,
        body: IncomingBody<'_>,
        aside: &mut Aside,
    ) -> Outcome {
        let parts = head.parts();
        self.inner.limits.admit_head(&parts.uri, &parts.headers)?;
        let request = Request::parse(&parts.method, parts.uri.path(), parts.uri.query(), &parts.headers)?;
        // Every client gets the same answer, and browsers send this request without credentials.
        if let Request::Options { endpoint } = &request {
            return options(endpoint);
        }
        let needed = needs(&request);
        let is_fixed = fixed.is_some();
        let authority = match fixed {
            Some(authority) => Ok(authority.in_request(head)),
            None => self.authenticate(head).await,
        };
        let outcome = match authority {
            Ok(_) if is_fixed && request == Request::Ping => pong(),
            Ok(authority) => {
                aside.identity = authority.identity().cloned();
                aside.client = authority.uploader();
                aside.freshness = self.freshness(&request);
                self.act(request, authority, body).await
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|error| match error {
            Error::Unauthorized { .. } if is_fixed => Error::Denied,
            // The challenge is for all that the request needs, not only for the refused access, so that one login
            // suffices.
            Error::Unauthorized {
                challenges,
                needed: refused,
            } => match self.challenges(Some(head.auth_request()), &needed) {
                none if none.is_empty() => Error::Unauthorized {
                    challenges,
                    needed: refused,
                },
                challenges => Error::Unauthorized { challenges, needed },
            },
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

    #[expect(clippy::too_many_lines, reason = "a table: one arm for each request")]
    async fn act(&self, request: Request, authority: Authority, body: IncomingBody<'_>) -> Outcome {
        match request {
            Request::Options { endpoint } => options(&endpoint),
            Request::Ping => self.ping(&authority),
            Request::Catalog { page } => self.catalog(&authority, page).await,
            Request::Tags { repository, page } => self.scope(repository, authority).answer_tags(page).await,
            Request::Referrers {
                repository,
                subject,
                artifact_type,
                page,
            } => {
                self.scope(repository, authority)
                    .answer_referrers(subject, artifact_type, page)
                    .await
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
                self.scope(repository, authority).answer_delete_blob(digest).await
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
                self.scope(repository, authority)
                    .answer_put_manifest(reference, tags, media_type, precondition, body)
                    .await
            }
            Request::DeleteManifest {
                repository,
                reference,
            } => {
                self.scope(repository, authority)
                    .answer_delete_manifest(reference)
                    .await
            }
            Request::OpenUpload {
                repository,
                algorithm,
            } => {
                self.scope(repository, authority)
                    .answer_open(algorithm.unwrap_or(Algorithm::Sha256))
                    .await
            }
            Request::PushBlob { repository, digest } => {
                self.scope(repository, authority)
                    .answer_push_blob(digest, body)
                    .await
            }
            Request::Mount {
                repository,
                digest,
                from,
            } => {
                self.scope(repository, authority)
                    .answer_mount(digest, from.as_ref())
                    .await
            }
            Request::UploadStatus { repository, id } => {
                self.scope(repository, authority).answer_upload(id).await
            }
            Request::Append {
                repository,
                id,
                chunk,
            } => {
                self.scope(repository, authority)
                    .answer_append(id, chunk, body)
                    .await
            }
            Request::Close {
                repository,
                id,
                digest,
                chunk,
            } => {
                self.scope(repository, authority)
                    .answer_close(id, digest, chunk, body)
                    .await
            }
            Request::Cancel { repository, id } => self.scope(repository, authority).answer_cancel(id).await,
        }
    }

    /// Identifies the sender.
    async fn authenticate(&self, head: &Arc<RequestHead>) -> Result<Authority, Error> {
        let request = head.auth_request();
        let who = match &self.inner.authenticator {
            Some(authenticator) => authenticator
                .authenticate(request)
                .await
                .map_err(|error| self.auth_error(error, Some(request)))?,
            None => None,
        };
        Ok(Authority::Caller {
            who,
            request: Some(Arc::clone(head)),
        })
    }

    /// Challenges an anonymous client that can log in, unless the host has turned that off. Docker sends its
    /// credentials only after this challenge.
    fn ping(&self, authority: &Authority) -> Outcome {
        if self.inner.base_login && authority.identity().is_none() {
            let challenges = self.challenges(authority.request(), &[]);
            if !challenges.is_empty() {
                return Err(Error::Unauthorized {
                    challenges,
                    needed: Vec::new(),
                });
            }
        }
        pong()
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

fn pong() -> Outcome {
    Ok((Response::Pong, ResponseBody::full(Bytes::from_static(b"{}"))))
}

fn options(endpoint: &Endpoint) -> Outcome {
    done(Response::Options {
        allowed: endpoint.methods(),
    })
}

struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

impl Serialize for Catalog<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("repositories", &self.repositories)?;
        map.end()
    }
}

/// Returns the response to a request that no registry has answered.
pub(super) fn refused(parts: &Parts, error: &Error) -> http::Response<ResponseBody> {
    Asked::of(parts).refused(error);
    let mut response = http::Response::new(ResponseBody::full(error.body().into()));
    (*response.status_mut(), *response.headers_mut()) = error.head(&Links::default());
    finish(&parts.method, &mut response);
    response
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
