//! [`Refused`]: a request that no layer of the service has seen, for an access log.

use super::refusal::Refusal;
use http::{HeaderMap, Method, Request, StatusCode};
use std::{fmt, net::SocketAddr, sync::Arc};

/// A request that the server has refused by itself, before the service: for a log.
///
/// ```
/// use registry_listener::Refused;
///
/// fn line(refused: &Refused) -> String {
///     format!("{} {:?} {} {}", refused.peer, refused.line, refused.status.as_u16(), refused.sent)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The request line. If there is no valid request, up to 512 bytes of the first line, possibly none.
    pub line: String,
    /// The headers, if they could be read.
    pub headers: HeaderMap,
    /// The status of the answer; 503 for an HTTP/2 request that was reset with `REFUSED_STREAM`.
    pub status: StatusCode,
    /// Number of bytes in the body of the answer.
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
