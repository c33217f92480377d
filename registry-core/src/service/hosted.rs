//! [`RegistryService`]: a registry as a service for any server, whose operations outlive their clients.

use super::{ByHost, FileSender, Registry, RegistryView, ResponseBody, oneshot::oneshot};
use crate::{
    error::Error,
    protocol::normalized,
    storage::{BoxError, StorageError},
};
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body;
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Future that a host has to run to its end.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A registry, or several by host, as a [`tower_service::Service`] for request bodies of type `B`. Created by
/// [`Registry::into_service`], [`RegistryView::into_service`] and [`ByHost::into_service`].
pub struct RegistryService<B> {
    served: Served,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
    body: PhantomData<fn(B)>,
}

impl Registry {
    /// Converts the registry into a service for a server without axum.
    ///
    /// Servers drop the future of a request when its client disconnects. Every request that may change something
    /// therefore runs as a task of its own, which `spawn` has to run to its end. The task stores the bytes that
    /// were received, completes the operation and sends its events. At a shutdown the host waits for these tasks.
    ///
    /// ```
    /// use registry_core::{Registry, storage::MemoryStorage};
    /// use tower_service::Service as _;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let mut service = registry.into_service(|task| {
    ///     tokio::spawn(task);
    /// });
    ///
    /// let request = http::Request::get("/v2/").body(String::new())?;
    /// assert_eq!(service.call(request).await?.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The body type is that of the server: `registry.into_service::<hyper::body::Incoming>(…)`. A server that can send
    /// files by itself adds a [`FileSender`] to the extensions of its requests.
    pub fn into_service<B>(self, spawn: impl Fn(Task) + Send + Sync + 'static) -> RegistryService<B> {
        RegistryService::new(Served::One(self), spawn)
    }
}

impl RegistryView {
    /// Converts the view into a service for a server, as [`Registry::into_service`] does. Every request has this authority.
    ///
    /// # Security
    ///
    /// As for [`handle`](Self::handle): whoever reaches the server has this authority.
    pub fn into_service<B>(self, spawn: impl Fn(Task) + Send + Sync + 'static) -> RegistryService<B> {
        RegistryService::new(Served::View(self), spawn)
    }
}

impl ByHost {
    /// Converts the registries into one service for a server without axum, like [`Registry::into_service`].
    pub fn into_service<B>(self, spawn: impl Fn(Task) + Send + Sync + 'static) -> RegistryService<B> {
        RegistryService::new(Served::ByHost(self), spawn)
    }
}

/// Registry or registries of a service.
#[derive(Clone, Debug)]
enum Served {
    One(Registry),
    View(RegistryView),
    ByHost(ByHost),
}

impl Served {
    async fn handle<B>(self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        match self {
            Self::One(registry) => registry.handle(request).await,
            Self::View(view) => view.handle(request).await,
            Self::ByHost(by_host) => by_host.handle(request).await,
        }
    }
}

impl<B> RegistryService<B> {
    fn new(served: Served, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self {
            served,
            spawn: Arc::new(spawn),
            body: PhantomData,
        }
    }
}

impl<B> tower_service::Service<Request<B>> for RegistryService<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let sender: Option<FileSender> = request.extensions_mut().remove();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let response = self.served.clone().handle(request);
        if reads {
            return Box::pin(async move {
                Ok(match sender {
                    Some(sender) => response.await.map(|body| body.sent_by(&sender)),
                    None => response.await,
                })
            });
        }
        let (sender, receiver) = oneshot();
        (self.spawn)(Box::pin(async move { sender.send(response.await) }));
        Box::pin(async move {
            Ok(receiver.await.unwrap_or_else(|| {
                tracing::error!(%method, path = &*normalized(uri.path()), "the task of a request ended without a response");
                failed()
            }))
        })
    }
}

/// Returns the response of a task that panicked or was dropped.
fn failed() -> Response<ResponseBody> {
    let error = Error::from(StorageError::internal("the task of the request ended"));
    let mut response = Response::new(ResponseBody::full(error.body().into()));
    *response.status_mut() = error.wire().0;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl<B> Clone for RegistryService<B> {
    fn clone(&self) -> Self {
        Self {
            served: self.served.clone(),
            spawn: Arc::clone(&self.spawn),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for RegistryService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryService")
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}
