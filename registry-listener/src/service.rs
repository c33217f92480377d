//! [`AnyService`]: the service of the host, behind one type.

use super::{
    any_body::{AnyBody, any_body},
    request_body::RequestBody,
};
use http::{Request, Response};
use http_body::Body;
use registry_core::BoxError;
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
};
use tower_service::Service;

type Answering = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, BoxError>> + Send>>;

/// The service of the host. The rest of the listener is compiled once, and not for each type of a service.
pub(super) struct AnyService(Box<dyn Erased>);

impl AnyService {
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Box::new(service))
    }

    /// Answers a request, as soon as the service is ready for it.
    pub(super) fn answer(&self, request: Request<RequestBody>) -> Answering {
        self.0.answer(request)
    }
}

impl Clone for AnyService {
    fn clone(&self) -> Self {
        Self(self.0.clone_boxed())
    }
}

impl fmt::Debug for AnyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyService").finish_non_exhaustive()
    }
}

trait Erased: Send {
    fn answer(&self, request: Request<RequestBody>) -> Answering;

    fn clone_boxed(&self) -> Box<dyn Erased>;
}

impl<S, B> Erased for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn answer(&self, request: Request<RequestBody>) -> Answering {
        let mut service = self.clone();
        Box::pin(async move {
            poll_fn(|context| service.poll_ready(context))
                .await
                .map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(any_body))
        })
    }

    fn clone_boxed(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }
}
