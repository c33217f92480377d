//! [`App`]: a bare tower service with a handler for each path, for which no framework is needed.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use registry_listener::RequestBody;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Handler = Arc<dyn Fn(Request<RequestBody>) -> Answering + Send + Sync>;

/// Returns a body of one piece.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Returns a body of several pieces.
pub(crate) fn pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(futures_util::stream::iter(
        pieces.map(|piece| Ok(Frame::data(piece))),
    ))
    .boxed_unsync()
}

pub(crate) fn status(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

#[derive(Clone, Default)]
pub(crate) struct App(Vec<(Method, &'static str, Handler)>);

impl App {
    /// Adds a handler that sees the whole request.
    pub(crate) fn on<F>(
        mut self,
        method: Method,
        path: &'static str,
        handler: impl Fn(Request<RequestBody>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        self.0.push((method, path, handler));
        self
    }

    /// Adds a handler of `GET` that returns a body.
    pub(crate) fn get<F>(self, path: &'static str, handler: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Body> + Send + 'static,
    {
        self.on(Method::GET, path, move |_| {
            let body = handler();
            async move { Response::new(body.await) }
        })
    }

    /// Adds a handler of `POST` that gets the whole body of a request, unless that breaks off, and returns a body.
    pub(crate) fn post<F>(
        self,
        path: &'static str,
        handler: impl Fn(Bytes) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Body> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.on(Method::POST, path, move |request| {
            let handler = Arc::clone(&handler);
            async move {
                match request.into_body().collect().await {
                    Ok(body) => Response::new(handler(body.to_bytes()).await),
                    Err(error) => Response::builder()
                        .status(StatusCode::BAD_REQUEST)
                        .body(full(error.to_string()))
                        .unwrap(),
                }
            }
        })
    }

    fn answer(&self, request: Request<RequestBody>) -> Answering {
        let path = request.uri().path();
        let mut known = self.0.iter().filter(|(_, known, _)| *known == path).peekable();
        let refused = match known.peek() {
            Some(_) => StatusCode::METHOD_NOT_ALLOWED,
            None => StatusCode::NOT_FOUND,
        };
        match known.find(|(method, ..)| method == request.method()) {
            Some((.., handler)) => handler(request),
            None => Box::pin(std::future::ready(status(refused, ""))),
        }
    }
}

impl Service<Request<RequestBody>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answering = self.answer(request);
        Box::pin(async move { Ok(answering.await) })
    }
}

/// A service around another one, made of a function.
#[derive(Clone)]
pub(crate) struct Around<S, F>(pub(crate) S, pub(crate) F);

impl<S, F, Answering, B> Service<Request<RequestBody>> for Around<S, F>
where
    S: Service<Request<RequestBody>> + Clone,
    F: Fn(S, Request<RequestBody>) -> Answering,
    Answering: Future<Output = Response<B>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answering = (self.1)(self.0.clone(), request);
        Box::pin(async move { Ok(answering.await) })
    }
}
