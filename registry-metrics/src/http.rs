//! [`HttpMetrics`]: a tower layer that counts and times requests by endpoint.

use crate::{
    body::MeasuredBody,
    exchange::{Exchange, Instruments},
    labels::{Handler, Method},
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use prometheus_client::registry::Registry;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Counts and times requests by endpoint, method and status.
///
/// Wrap the registry's routes with it, in axum by `Router::layer`. Other routes inside the layer count as
/// `handler="other"`. A request ends when the last byte of its answer has been handed to the connection. If a listener answers
/// in place of the router, its answer counts ([`Overruled`](registry_core::service::Overruled)).
///
/// ```
/// use registry_metrics::{HttpMetrics, prometheus_client::registry::Registry, text};
///
/// let mut instruments = Registry::default();
/// // The registry is mounted below this path.
/// let layer = HttpMetrics::register(&mut instruments).below("/registry");
///
/// assert!(text::encode(&instruments).contains("registry_http_in_flight_requests"));
/// # drop(layer);
/// ```
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    instruments: Arc<Instruments>,
    prefix: Arc<str>,
}

impl HttpMetrics {
    /// Registers the instruments. Call it once per `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            instruments: Arc::new(Instruments::register(registry)),
            prefix: Arc::from(""),
        }
    }

    /// Sets a prefix, such as `/registry`, which the paths of the registry begin with.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').into(),
            ..self
        }
    }

    fn begin<A>(&self, request: &Request<A>) -> Exchange {
        let path = request.uri().path();
        let handler = path
            .strip_prefix(&*self.prefix)
            .map_or(Handler::Other, Handler::of);
        let overruled = request.extensions().get().cloned();
        self.instruments
            .begin(handler, Method::of(request.method()), overruled)
    }
}

impl<S> Layer<S> for HttpMetrics {
    type Service = MeasuredService<S>;

    fn layer(&self, inner: S) -> MeasuredService<S> {
        MeasuredService {
            inner,
            metrics: self.clone(),
        }
    }
}

/// A service with measured requests, made by [`HttpMetrics`].
#[derive(Clone, Debug)]
pub struct MeasuredService<S> {
    inner: S,
    metrics: HttpMetrics,
}

impl<S, A, B> Service<Request<A>> for MeasuredService<S>
where
    S: Service<Request<MeasuredBody<A>>, Response = Response<B>>,
{
    type Response = Response<MeasuredBody<B>>;
    type Error = S::Error;
    type Future = MeasuredFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let exchange = self.metrics.begin(&request);
        let received = exchange.received();
        MeasuredFuture {
            answer: self
                .inner
                .call(request.map(|body| MeasuredBody::new(body, received))),
            exchange: Some(exchange),
        }
    }
}

pin_project! {
    /// A pending answer, made by [`MeasuredService`].
    #[derive(Debug)]
    pub struct MeasuredFuture<F> {
        #[pin]
        answer: F,
        exchange: Option<Exchange>,
    }
}

impl<F, B, E> Future for MeasuredFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<MeasuredBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(context))?;
        let exchange = this
            .exchange
            .take()
            .expect("a future is not polled after its end");
        let sent = exchange.answered(response.status().into());
        Poll::Ready(Ok(response.map(|body| MeasuredBody::new(body, sent))))
    }
}
