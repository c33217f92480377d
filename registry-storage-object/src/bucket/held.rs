//! Writes whose last byte is held back, for the probe.
//!
//! A store that checks a precondition when the request begins, and writes when it has all bytes, lets another write in
//! between. The time in between is that of the transfer, and often too short to be hit. Held back, it is as long as the
//! probe wants. And many writes that are held back end at the same moment.

use super::Bucket;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use registry_core::storage::{Result, StorageError};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::watch;

/// Holds back the last byte of writes until it is released. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Hold(watch::Sender<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Number of writes of which only the last byte is missing, or that have ended before.
    writes: usize,
    is_released: bool,
}

impl Hold {
    /// Waits until this number of writes was sent except for their last byte, for some time at most: a store may take one
    /// after the other.
    pub(crate) async fn reached(&self, writes: usize, patience: Duration) {
        let mut held = self.0.subscribe();
        let reached = held.wait_for(|held| held.writes >= writes || held.is_released);
        let _ = tokio::time::timeout(patience, reached).await;
    }

    /// Sends the last bytes.
    pub(crate) fn release(&self) {
        self.0.send_modify(|held| held.is_released = true);
    }
}

/// A bucket to which writes can be held back.
#[derive(Debug)]
pub(crate) struct Holding {
    bucket: Bucket,
    /// `None` for memory, whose writes are not held back.
    client: Option<reqwest::Client>,
}

impl Bucket {
    pub(crate) fn holding(&self) -> Result<Holding> {
        let signing = self.clients.signer.as_ref();
        let client = signing.map(|signing| signing.connecting.client());
        let client = client
            .transpose()
            .map_err(|error| StorageError::failed("cannot make a client for the object store", error))?;
        Ok(Holding {
            bucket: self.clone(),
            client,
        })
    }
}

impl Holding {
    /// Returns the bucket with conditional writes that are held back until they are released.
    pub(crate) fn hold(&self) -> (Bucket, Hold) {
        let hold = Hold(watch::Sender::default());
        let mut bucket = self.bucket.clone();
        match (&mut bucket.clients.signer, &self.client) {
            (Some(signing), Some(client)) => {
                signing.http = HttpClient::new(Holder {
                    client: client.clone(),
                    hold: hold.clone(),
                });
            }
            _ => hold.release(),
        }
        (bucket, hold)
    }
}

/// Sends requests with bodies that are held back.
#[derive(Debug)]
struct Holder {
    client: reqwest::Client,
    hold: Hold,
}

#[async_trait::async_trait]
impl HttpService for Holder {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let failed = |error: reqwest::Error| HttpError::new(HttpErrorKind::Unknown, error.without_url());
        let (parts, body) = request.into_parts();
        let body = HeldBody::new(body.as_bytes().cloned().unwrap_or_default(), &self.hold);
        let sent = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(reqwest::Body::wrap(body));
        let answered = sent.send().await.map_err(failed)?;
        let (status, headers) = (answered.status(), answered.headers().clone());
        let bytes = answered.bytes().await.map_err(failed)?;
        let mut response = http::Response::new(HttpResponseBody::from(bytes));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A body whose last byte comes when it is released.
struct HeldBody {
    rest: Bytes,
    hold: Hold,
    waiting: Option<Waiting>,
}

impl HeldBody {
    fn new(bytes: Bytes, hold: &Hold) -> Self {
        Self {
            rest: bytes,
            hold: hold.clone(),
            waiting: None,
        }
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        // The store has answered before, or was not reached: nobody waits for this write.
        if self.waiting.is_none() {
            self.hold.0.send_modify(|held| held.writes += 1);
        }
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.len() > 1 {
            let first = this.rest.split_to(this.rest.len() - 1);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let hold = &this.hold;
        let waiting = this.waiting.get_or_insert_with(|| {
            hold.0.send_modify(|held| held.writes += 1);
            let mut held = hold.0.subscribe();
            Box::pin(async move {
                // Without a sender, nobody waits for the outcome.
                let _ = held.wait_for(|held| held.is_released).await;
            })
        });
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
