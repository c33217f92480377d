//! Services of any kind: the listener needs no framework.

use super::*;
use crate::support::app::Around;
use http::Request;
use http_body_util::Full;
use registry_listener::RequestBody;
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};
use tower_service::Service;

/// A service that is ready once after it was asked twice, and whose bytes lie in two parts.
#[derive(Clone, Default)]
struct Hesitant {
    asked: u8,
}

impl Service<Request<RequestBody>> for Hesitant {
    type Response = Response<Full<VecDeque<u8>>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        if self.asked < 2 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        assert_eq!(self.asked, 2, "it is not ready");
        self.asked = 0;
        let mut bytes: VecDeque<u8> = b"lo".to_vec().into();
        for byte in *b"leh" {
            bytes.push_front(byte);
        }
        ready(Ok(Response::new(Full::new(bytes))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_called_when_it_is_ready_and_its_bytes_may_be_of_any_type() {
    let server = Running::of(Hesitant::default());
    let mut client = server.connect();
    let mut over_http2 = http2(server.pipe()).await;
    for _ in 0..2 {
        assert_eq!(client.ask(GET).await.body, "hello");
        assert_eq!(h2_get(&mut over_http2, "/").await, "hello");
    }
}

/// A service that fails when it is called, or already when it is asked if it is ready.
#[derive(Clone)]
struct Failing {
    ready: bool,
}

impl Service<Request<RequestBody>> for Failing {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.ready {
            true => Ok(()),
            false => Err(io::Error::other("on purpose")),
        })
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        ready(Err(io::Error::other("on purpose")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_a_500_in_the_format_of_the_registry() {
    for ready in [false, true] {
        let server = Running::of(Failing { ready });

        let answer = server.connect().ask(GET).await;

        answer.assert_refusal(500);
        assert!(!answer.body.contains("on purpose"), "{answer:?}");
        let mut client = http2(server.pipe()).await;
        client.ready().await.unwrap();
        let answer = client.send_request(h2_request("/")).await.unwrap();
        assert_eq!(answer.status(), 500);
    }
}

/// A service that can be sent to another thread, but not be shared by two.
#[tokio::test(start_paused = true)]
async fn a_service_need_not_be_shared_by_threads() {
    let alone = std::cell::Cell::new(0);
    let counting = move |mut app: App, request: Request<RequestBody>| {
        alone.set(alone.get() + 1);
        async move {
            let Ok(response) = app.call(request).await;
            response
        }
    };
    let server = Running::of(Around(app(), counting));

    assert_eq!(server.connect().ask(GET).await.body, "hello");
}
