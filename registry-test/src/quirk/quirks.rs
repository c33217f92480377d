//! [`Quirks`]: the quirks of one registry, as a layer around it.

use super::{chunks::Chunks, name::Quirk, tags};
use bytes::Buf;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Body;
use registry_core::{
    Error, ErrorCode, ResponseBody,
    error::error_body,
    protocol::{InvalidRequest, Route, normalized},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
};

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// `Content-Range` of a chunk at which no upload session stands.
const FAR_BEHIND: HeaderValue = HeaderValue::from_static("9223372036854775806-9223372036854775806");

/// Quirks of a registry. The registry itself decides first who may do what.
#[derive(Debug, Default)]
pub(crate) struct Quirks {
    all: Vec<Quirk>,
    chunks: Chunks,
}

/// Parts of a request that its response depends on.
struct Asked {
    method: Method,
    path: String,
    route: Option<Route>,
    has_body: bool,
    /// Size of the previous chunk, if it is too small for any to follow.
    too_small: Option<u64>,
}

impl Quirks {
    pub(crate) fn new(all: Vec<Quirk>) -> Self {
        Self {
            all,
            chunks: Chunks::default(),
        }
    }

    /// Returns true if this is one of them.
    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.all.contains(&quirk)
    }

    /// Answers a request as `registry` does, apart from the quirks.
    pub(crate) async fn answer<B: Body + Unpin, F>(
        &self,
        mut request: Request<B>,
        registry: impl FnOnce(Request<B>) -> F,
    ) -> Response<ResponseBody>
    where
        F: Future<Output = Response<ResponseBody>>,
    {
        if self.all.is_empty() {
            return registry(request).await;
        }
        let mut asked = Asked {
            method: request.method().clone(),
            path: normalized(request.uri().path()).into_owned(),
            route: Route::of(request.uri().path()),
            has_body: request.body().size_hint().exact() != Some(0),
            too_small: None,
        };
        for quirk in &self.all {
            self.before(*quirk, &mut asked, &mut request).await;
        }
        let mut response = registry(request).await;
        for quirk in &self.all {
            response = self.after(*quirk, &asked, response).await;
        }
        response
    }

    /// Changes a request.
    async fn before<B: Body + Unpin>(&self, quirk: Quirk, asked: &mut Asked, request: &mut Request<B>) {
        match quirk {
            Quirk::WithoutMount if asked.is(&Method::POST, Route::Uploads) => {
                change_query(request, |name| !matches!(name, "mount" | "from"), None);
            }
            Quirk::WithoutRanges if asked.route == Some(Route::Blob) => {
                request.headers_mut().remove(header::RANGE);
                request.headers_mut().remove(header::IF_RANGE);
            }
            Quirk::PageSize(most) if asked.is_listing() => {
                let own = query(request).filter_map(|(name, value)| (name == "n").then_some(value));
                // A malformed number stays, and is refused as it always is.
                let malformed = own.clone().any(|n| n.parse::<u64>().is_err());
                let least = own.filter_map(|n| n.parse().ok()).min().unwrap_or(u64::MAX);
                if !malformed && least > 0 {
                    let n = least.min(u64::from(most.max(1)));
                    change_query(request, |name| name != "n", Some(&format!("n={n}")));
                }
            }
            Quirk::SmallestChunk(_) if asked.is_chunk() => {
                let small = self.chunks.small(&asked.path);
                if small.is_some() && has_data(request.body_mut()).await {
                    // The registry decides who may push, and refuses this chunk without a change of the session.
                    request.headers_mut().insert(header::CONTENT_RANGE, FAR_BEHIND);
                    asked.too_small = small;
                }
            }
            _ => {}
        }
    }

    /// Changes a response.
    async fn after(
        &self,
        quirk: Quirk,
        asked: &Asked,
        mut response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let status = response.status();
        // Clients without permission see no quirk, as at other registries.
        let may = !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        match quirk {
            Quirk::WithoutReferrers if may && asked.route == Some(Route::Referrers) => return no_endpoint(),
            Quirk::WithoutCatalog if may && asked.route == Some(Route::Catalog) => return no_endpoint(),
            Quirk::WithoutReferrers if asked.is(&Method::PUT, Route::Manifest) => {
                response.headers_mut().remove(SUBJECT);
                // The registry tells clients that they need no index under a tag.
                response.headers_mut().remove(header::WARNING);
            }
            Quirk::WithoutRanges if asked.route == Some(Route::Blob) => {
                response.headers_mut().remove(header::ACCEPT_RANGES);
            }
            Quirk::UnsortedTags if asked.is(&Method::GET, Route::Tags) && status == StatusCode::OK => {
                return tags::reversed(response).await.unwrap_or_else(|error| {
                    let error = Error::from(error);
                    refusal(error.wire().0, error.body())
                });
            }
            Quirk::SmallestChunk(least)
                if matches!(
                    status,
                    StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE
                ) =>
            {
                if let Some(size) = asked.too_small {
                    return too_small(size, least);
                }
            }
            Quirk::SmallestChunk(least) if status.is_success() => {
                if asked.is(&Method::POST, Route::Uploads) && status == StatusCode::ACCEPTED {
                    let headers = response.headers_mut();
                    headers.insert(CHUNK_MIN_LENGTH, HeaderValue::from(least));
                } else if asked.ends_session() || asked.is_chunk() {
                    self.chunks
                        .note(&asked.path, &asked.method, response.headers(), least);
                }
            }
            _ => {}
        }
        response
    }
}

impl Asked {
    fn is(&self, method: &Method, route: Route) -> bool {
        self.method == *method && self.route == Some(route)
    }

    fn is_listing(&self) -> bool {
        matches!(self.route, Some(Route::Tags | Route::Catalog | Route::Referrers))
    }

    /// Returns true if it has bytes for an upload session.
    fn is_chunk(&self) -> bool {
        self.has_body
            && self.route == Some(Route::Upload)
            && matches!(self.method, Method::PATCH | Method::PUT)
    }

    fn ends_session(&self) -> bool {
        self.route == Some(Route::Upload) && matches!(self.method, Method::PUT | Method::DELETE)
    }
}

/// Returns true if a body has a byte, which may be read by that.
async fn has_data<B: Body + Unpin>(body: &mut B) -> bool {
    match body.size_hint().exact() {
        Some(size) => size > 0,
        None => loop {
            match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
                None => return false,
                // A body that breaks off is refused by the registry, too.
                Some(Err(_)) => return true,
                Some(Ok(frame)) if frame.data_ref().is_some_and(Buf::has_remaining) => return true,
                Some(Ok(_)) => {}
            }
        },
    }
}

/// Returns the names and values of a query, as they were sent.
fn query<B>(request: &Request<B>) -> impl Iterator<Item = (&str, &str)> + Clone {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Replaces the query by the parameters to keep, and another one.
fn change_query<B>(request: &mut Request<B>, keep: impl Fn(&str) -> bool, add: Option<&str>) {
    let kept = query(request).filter(|(name, _)| keep(name));
    let mut pairs: Vec<_> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.extend(add.map(str::to_owned));
    let path = request.uri().path();
    let target = if pairs.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", pairs.join("&"))
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.parse().ok();
    // A part of a valid query is valid.
    if let Ok(changed) = http::Uri::from_parts(parts) {
        *request.uri_mut() = changed;
    }
}

/// Returns the response for a path that is no endpoint.
fn no_endpoint() -> Response<ResponseBody> {
    let error = Error::from(InvalidRequest::Endpoint);
    refusal(error.wire().0, error.body())
}

fn too_small(size: u64, least: u64) -> Response<ResponseBody> {
    let message = format!(
        "the previous chunk had {size} bytes; each chunk but the last has at least {least} (OCI-Chunk-Min-Length)"
    );
    refusal(
        StatusCode::BAD_REQUEST,
        error_body(ErrorCode::SizeInvalid, &message),
    )
}

fn refusal(status: StatusCode, body: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body.into()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
