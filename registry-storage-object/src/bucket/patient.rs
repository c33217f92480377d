//! Time that the store has: for an answer, by what was asked, and for each further piece of a body.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponseBody};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Time for the answer to a small request. A client of the registry waits for it.
const SMALL: Duration = Duration::from_secs(6);

/// The same while the store answers nothing, so that an operation of several requests does not add up their times.
const SILENT: Duration = Duration::from_secs(2);

/// Time for which the store counts as silent. A store that is merely slow has its full time again afterwards.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Time for an answer that the store has to work for: a copy, or the completion of parts.
const WORK: Duration = Duration::from_secs(120);

/// Number of bytes that a connection sends at least in a second.
const SLOWEST: u64 = 512 << 10;

/// Time for the next piece of a body.
const STALL: Duration = Duration::from_secs(20);

/// Returns the time in which a request has to be answered. It is shorter while the store is silent.
pub(super) fn patience(request: &HttpRequest, is_silent: bool) -> Duration {
    let works = request
        .headers()
        .keys()
        .any(|name| name.as_str().ends_with("-copy-source"))
        || (request.method() == http::Method::POST
            && request
                .uri()
                .query()
                .is_some_and(|query| query.contains("uploadId")));
    let sending = request.body().content_length() as u64 / SLOWEST;
    let answering = match (works, is_silent) {
        (true, _) => WORK,
        (false, true) => SILENT,
        (false, false) => SMALL,
    };
    answering + Duration::from_secs(sending)
}

/// Consequence of a request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It has failed: a client of the registry has waited long enough.
    Final,
    /// It is sent again, if it may be.
    Asked,
}

/// Describes an answer that did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the object store did not go on for {} seconds", .0.as_secs())]
struct Silent(Duration);

/// Returns the error of a request without an answer. Its kind says if the client library repeats the request.
pub(super) fn unanswered(patience: Duration, silence: Silence) -> HttpError {
    let kind = match silence {
        Silence::Final => HttpErrorKind::Unknown,
        Silence::Asked => HttpErrorKind::Timeout,
    };
    HttpError::new(kind, Silent(patience))
}

/// Bounds the time without progress of a body.
pub(super) fn patient(body: HttpResponseBody) -> HttpResponseBody {
    HttpResponseBody::new(Patient {
        body,
        stall: Box::pin(tokio::time::sleep(STALL)),
    })
}

struct Patient {
    body: HttpResponseBody,
    stall: Pin<Box<Sleep>>,
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.stall.as_mut().reset(Instant::now() + STALL);
            return Poll::Ready(frame);
        }
        ready!(this.stall.as_mut().poll(context));
        let error = HttpError::new(HttpErrorKind::Timeout, Silent(STALL));
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    fn request(method: &str, uri: &str, bytes: usize) -> HttpRequest {
        http::Request::builder()
            .method(method)
            .uri(uri)
            .body(vec![0; bytes].into())
            .unwrap()
    }

    #[test]
    fn what_takes_long_has_more_time() {
        assert_eq!(patience(&request("GET", "http://s/b/k", 0), false), SMALL);
        assert_eq!(
            patience(&request("POST", "http://s/b/k?uploads", 0), false),
            SMALL
        );
        assert_eq!(
            patience(&request("POST", "http://s/b/k?uploadId=1", 0), false),
            WORK
        );
        assert!(patience(&request("PUT", "http://s/b/k", 16 << 20), false) > SMALL + Duration::from_secs(30));
        assert_eq!(patience(&request("GET", "http://s/b/k", 0), true), SILENT);
        let mut copy = request("PUT", "http://s/b/k", 0);
        copy.headers_mut()
            .insert("x-amz-copy-source", http::HeaderValue::from_static("b/j"));
        assert_eq!(patience(&copy, true), WORK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_an_error() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            let frame: Result<Frame<Bytes>, HttpError> = receiver.recv().await?;
            Some((frame, receiver))
        });
        let mut body = patient(HttpResponseBody::new(StreamBody::new(frames)));
        sender.send(Ok(Frame::data(Bytes::from_static(b"one")))).unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
    }
}
