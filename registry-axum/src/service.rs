//! The one handler: the path and the links of a request.

use axum::{body::Body, extract::OriginalUri};
use http::{Request, Response, Uri, uri::PathAndQuery};
use registry_core::{
    protocol::Links,
    service::{DefaultLinks, RegistryService},
};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

#[derive(Clone, Debug)]
pub(crate) struct MountService {
    registry: RegistryService<Body>,
    /// Prefix that is part of the requests' paths.
    prefix: Arc<str>,
    /// External location of this mount.
    links: Option<Links>,
}

impl MountService {
    pub(crate) const fn new(registry: RegistryService<Body>, prefix: Arc<str>, links: Option<Links>) -> Self {
        Self {
            registry,
            prefix,
            links,
        }
    }

    /// Sets the raw path, from `/v2` on, and the external location of the registry, as the core expects them.
    fn prepare(&self, request: &mut Request<Body>) {
        let received = request
            .extensions()
            .get::<OriginalUri>()
            .map_or_else(|| request.uri().clone(), |original| original.0.clone());
        if !self.prefix.is_empty() {
            *request.uri_mut() = without_prefix(request.uri(), &self.prefix);
        }
        let routed = routed(received.path(), request.uri().path(), &self.prefix);
        let extensions = request.extensions_mut();
        // Links of the host's own middleware take precedence, because it sees the request.
        if let (None, Some(links)) = (extensions.get::<Links>(), &self.links) {
            extensions.insert(links.clone());
        }
        if let (None, Some(links)) = (extensions.get::<DefaultLinks>(), routed) {
            extensions.insert(DefaultLinks(links));
        }
    }
}

/// Returns links below the prefix that routers have removed from the path.
fn routed(received: &str, seen: &str, prefix: &str) -> Option<Links> {
    // If a middleware has changed the path, only the prefix of this mount is known.
    Links::below_removed(received, seen).or_else(|| Links::below_removed(prefix, ""))
}

impl Service<Request<Body>> for MountService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.prepare(&mut request);
        let response = self.registry.call(request);
        Box::pin(async move { response.await.map(|response| response.map(Body::new)) })
    }
}

/// Removes the prefix that the router has matched from the target.
fn without_prefix(uri: &Uri, prefix: &str) -> Uri {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = target.strip_prefix(prefix).unwrap_or(target);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = rest.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
