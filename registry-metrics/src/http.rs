//! [`HttpMetrics`]: a tower layer that counts and times requests by endpoint.

use crate::{
    body::MeasuredBody,
    buckets,
    cells::Cells,
    labels::{ByClass, ByCode, ByHandler, Code, Handler, Method},
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tower_layer::Layer;
use tower_service::Service;

/// Counts and times requests by endpoint, method and status.
///
/// Wrap the registry's routes with it, in axum by `Router::layer`. Other routes inside the layer count as
/// `handler="other"`. A request ends when the last byte of its answer has been handed to the connection.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    instruments: Arc<Instruments>,
    prefix: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Instruments {
    requests: Family<ByCode, Counter>,
    in_flight: Cells<ByHandler, Gauge>,
    duration: Cells<ByClass, Histogram>,
    request_size: Cells<ByHandler, Histogram>,
    response_size: Cells<ByHandler, Histogram>,
}

impl HttpMetrics {
    /// Registers the instruments. Call it once per `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register(
            "registry_http_requests",
            "HTTP requests that have ended",
            requests.clone(),
        );
        Self {
            instruments: Arc::new(Instruments {
                requests,
                in_flight: Cells::register(
                    registry,
                    "registry_http_in_flight_requests",
                    "HTTP requests that are being answered",
                    Gauge::default,
                )
                .showing(Handler::ALL.map(|handler| ByHandler { handler })),
                duration: Cells::register(
                    registry,
                    "registry_http_request_duration_seconds",
                    "From the head of a request to the end of its answer",
                    buckets::request_seconds,
                ),
                request_size: Cells::register(
                    registry,
                    "registry_http_request_size_bytes",
                    "Bytes that arrived in the body of a request",
                    buckets::size_bytes,
                ),
                response_size: Cells::register(
                    registry,
                    "registry_http_response_size_bytes",
                    "Bytes that were sent in the body of an answer",
                    buckets::size_bytes,
                ),
            }),
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

    fn begin(&self, method: &http::Method, path: &str) -> Exchange {
        let handler = path
            .strip_prefix(&*self.prefix)
            .map_or(Handler::Other, Handler::of);
        self.instruments
            .in_flight
            .with(ByHandler { handler }, |in_flight| {
                in_flight.inc();
            });
        Exchange {
            instruments: Arc::clone(&self.instruments),
            handler,
            method: Method::of(method),
            code: Code::CLIENT_LEFT,
            sent: 0,
            started: Instant::now(),
        }
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
        let exchange = self.metrics.begin(request.method(), request.uri().path());
        let received = End::Request {
            instruments: Arc::clone(&exchange.instruments),
            handler: exchange.handler,
        };
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
        let mut exchange = this
            .exchange
            .take()
            .expect("a future is not polled after its end");
        exchange.code = response.status().into();
        Poll::Ready(Ok(
            response.map(|body| MeasuredBody::new(body, End::Response { exchange }))
        ))
    }
}

/// One request and its answer. It is counted when it is dropped, which is its end in every case.
#[derive(Debug)]
pub(crate) struct Exchange {
    instruments: Arc<Instruments>,
    handler: Handler,
    method: Method,
    code: Code,
    sent: u64,
    started: Instant,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Self {
            instruments,
            handler,
            method,
            code,
            sent,
            started,
        } = self;
        let (handler, method, code) = (*handler, *method, *code);
        instruments.in_flight.with(ByHandler { handler }, |in_flight| {
            in_flight.dec();
        });
        instruments
            .duration
            .with(ByClass::of(handler, method, code), |duration| {
                duration.observe(started.elapsed().as_secs_f64());
            });
        observe_size(&instruments.response_size, handler, *sent);
        instruments
            .requests
            .get_or_create(&ByCode {
                handler,
                method,
                code,
            })
            .inc();
    }
}

/// Action at the end of a body.
#[derive(Debug)]
pub(crate) enum End {
    /// End of a request's body.
    Request {
        instruments: Arc<Instruments>,
        handler: Handler,
    },
    /// End of an answer's body, and with it of the whole exchange.
    Response { exchange: Exchange },
}

impl End {
    /// Records the number of bytes passed.
    pub(crate) fn reached(&mut self, bytes: u64) {
        match self {
            Self::Request { instruments, handler } => {
                observe_size(&instruments.request_size, *handler, bytes);
            }
            Self::Response { exchange } => exchange.sent = bytes,
        }
    }
}

fn observe_size(sizes: &Cells<ByHandler, Histogram>, handler: Handler, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a sum of sizes may round")]
    sizes.with(ByHandler { handler }, |sizes| sizes.observe(bytes as f64));
}
