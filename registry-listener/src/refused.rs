//! [`Refused`]: facts for an access log that the router does not know.

use super::refusal::Refusal;
use http::{HeaderMap, Method, Request, StatusCode};
use std::{fmt, net::SocketAddr, sync::Arc};

/// A request that the listener refused by itself, before any router: for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The request line. If there is no valid request, up to 512 bytes of the first line, possibly none.
    pub line: String,
    /// The headers, if they could be read.
    pub headers: HeaderMap,
    /// The answer's status. A request over HTTP/2 that was reset as not begun (`REFUSED_STREAM`) has 503.
    pub status: StatusCode,
    /// Number of bytes of the answer's body.
    pub sent: u64,
}

impl Refused {
    pub(super) fn request<B>(peer: SocketAddr, request: &Request<B>, refusal: Refusal) -> Self {
        let (method, version) = (request.method(), request.version());
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let line = Self::line(peer, format!("{method} {target} {version:?}"), refusal);
        Self {
            headers: request.headers().clone(),
            sent: if *method == Method::HEAD { 0 } else { line.sent },
            ..line
        }
    }

    pub(super) fn line(peer: SocketAddr, line: String, refusal: Refusal) -> Self {
        Self {
            peer,
            line,
            headers: HeaderMap::new(),
            status: refusal.status(),
            sent: refusal.body().len() as u64,
        }
    }

    /// Marks the request as reset instead of answered.
    pub(super) fn reset(self) -> Self {
        Self { sent: 0, ..self }
    }
}

/// The observer of refused requests.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Arc<dyn Fn(Refused) + Send + Sync>>);

impl Observer {
    pub(super) fn new(observer: impl Fn(Refused) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(super) fn tell(&self, refused: impl FnOnce() -> Refused) {
        if let Some(observer) = &self.0 {
            observer(refused());
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}
