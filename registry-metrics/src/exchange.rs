//! Instruments of HTTP requests, and the request that they measure, from its head to the end of its answer.

use crate::{
    buckets,
    cells::Cells,
    labels::{ByClass, ByCode, ByHandler, Code, Handler, Method},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use registry_core::service::Overruled;
use std::{sync::Arc, time::Instant};

#[derive(Debug)]
pub(crate) struct Instruments {
    requests: Family<ByCode, Counter>,
    in_flight: Cells<ByHandler, Gauge>,
    duration: Cells<ByClass, Histogram>,
    request_size: Cells<ByHandler, Histogram>,
    response_size: Cells<ByHandler, Histogram>,
}

impl Instruments {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register(
            "registry_http_requests",
            "HTTP requests that ended",
            requests.clone(),
        );
        Self {
            requests,
            in_flight: Cells::register(
                registry,
                "registry_http_in_flight_requests",
                "HTTP requests in progress",
                Gauge::default,
            )
            .showing(Handler::ALL.map(|handler| ByHandler { handler })),
            duration: Cells::register(
                registry,
                "registry_http_request_duration_seconds",
                "Time from the head of a request to the end of its response",
                buckets::request_seconds,
            ),
            request_size: Cells::register(
                registry,
                "registry_http_request_size_bytes",
                "Bytes received in the body of a request",
                buckets::size_bytes,
            ),
            response_size: Cells::register(
                registry,
                "registry_http_response_size_bytes",
                "Bytes sent in the body of a response",
                buckets::size_bytes,
            ),
        }
    }

    /// `overruled` tells whether the listener answers in place of the router.
    pub(crate) fn begin(
        self: &Arc<Self>,
        handler: Handler,
        method: Method,
        overruled: Option<Overruled>,
    ) -> Exchange {
        self.in_flight.with(ByHandler { handler }, |in_flight| {
            in_flight.inc();
        });
        Exchange {
            instruments: Arc::clone(self),
            handler,
            method,
            overruled,
            code: Code::CLIENT_LEFT,
            sent: 0,
            started: Instant::now(),
        }
    }
}

/// One request and its answer. It is counted when it is dropped, which is its end in every case.
#[derive(Debug)]
pub(crate) struct Exchange {
    instruments: Arc<Instruments>,
    handler: Handler,
    method: Method,
    overruled: Option<Overruled>,
    code: Code,
    sent: u64,
    started: Instant,
}

impl Exchange {
    /// Returns the action at the end of the request's body.
    pub(crate) fn received(&self) -> End {
        End::Request {
            instruments: Arc::clone(&self.instruments),
            handler: self.handler,
        }
    }

    /// Returns the action at the end of the answer's body.
    pub(crate) fn answered(mut self, code: Code) -> End {
        self.code = code;
        End::Response { exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Self {
            instruments,
            handler,
            method,
            overruled,
            code,
            sent,
            started,
        } = self;
        if let Some(overruled) = overruled
            && let (Some(status), Some(bytes)) = (overruled.status(), overruled.sent())
        {
            (*code, *sent) = (status.into(), bytes);
        }
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
