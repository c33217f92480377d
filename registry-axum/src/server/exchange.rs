//! One request and its answer: through the router, with bodies that notice an idle client.

use super::{
    activity::Activity,
    admission::Admission,
    body_scan::BodyScan,
    checks,
    refusal::Refusal,
    refused::{Observer, Refused},
    sendfile::{self, Sender},
    streams::{Stream, Streams},
};
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use registry_core::{auth::ClientAddress, service::Overruled};
use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

/// State that all requests of a connection share.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) extensions: Extensions,
    /// True if the connection exceeds the limit: every request is answered 503.
    pub(super) refusing: bool,
    pub(super) observer: Observer,
}

/// Answers a request of an HTTP/1 connection. The request counts as begun when this returns, since hyper may read on
/// before it polls.
pub(super) fn http1(
    host: Host,
    activity: Arc<Activity>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> {
    let body = request.body();
    let scan = (!body.is_end_stream()).then(|| BodyScan::of(body.size_hint().exact()));
    let (number, refusal) = activity.begin(scan);
    let exchange = Exchange::Http1(Http1 { activity, number });
    let refusal = if host.refusing {
        Some(Refusal::Busy)
    } else {
        refusal.or_else(|| checks::refusal(&request))
    };
    async move { Ok(answer(host, exchange, request, refusal).await) }
}

/// Answers a request of an HTTP/2 connection.
///
/// A request beyond the limit that has no body is refused with a reset that says that nothing was done (RFC 9113,
/// 8.7). HTTP clients repeat it by themselves. They cannot repeat a request with a body, so its sender gets an answer.
pub(super) async fn http2(
    host: Host,
    admission: Arc<Admission>,
    streams: Arc<Streams>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, h2::Error> {
    let (mut stream, in_place) = streams.begin();
    let mut refusal = if host.refusing || !in_place {
        Some(Refusal::Busy)
    } else {
        checks::refusal(&request)
    };
    if refusal.is_none() {
        match admission.admit(streams.timeouts()).await {
            Some(permit) => stream.admit(permit),
            None if request.body().is_end_stream() => {
                host.observer
                    .tell(|| Refused::request(host.peer, &request, Refusal::Requests).reset());
                return Err(h2::Reason::REFUSED_STREAM.into());
            }
            None => refusal = Some(Refusal::Requests),
        }
    }
    let mut response = answer(host, Exchange::Http2(Arc::new(stream)), request, refusal).await;
    response.headers_mut().remove(header::CONNECTION);
    Ok(response)
}

async fn answer(
    host: Host,
    exchange: Exchange,
    mut request: Request<Incoming>,
    refusal: Option<Refusal>,
) -> Response<AnswerBody> {
    let stalled = Arc::new(AtomicBool::new(false));
    let sender = host.extensions.get::<Sender>().cloned();
    let response = match refusal {
        Some(refusal) => {
            host.observer
                .tell(|| Refused::request(host.peer, &request, refusal));
            // The wrapper decides what becomes of the body.
            drop(wrapped(request, &exchange, &stalled));
            refusal.response()
        }
        None => {
            host_of_target(&mut request);
            request.extensions_mut().extend(host.extensions);
            request.extensions_mut().insert(ClientAddress(host.peer));
            let overruled = Overruled::default();
            request.extensions_mut().insert(overruled.clone());
            let request = wrapped(request, &exchange, &stalled);
            let mut router = host.router;
            let answered = router.call(request).await.unwrap_or_else(|never| match never {});
            if stalled.load(Ordering::Relaxed) {
                let instead = Refusal::BodyIdle;
                overruled.by(instead.status(), instead.body().len() as u64);
                instead.response()
            } else {
                answered
            }
        }
    };
    exchange.answered_by(response, sender)
}

/// Sets the host of a request to the one that its target names, which overrides `Host`. RFC 9112, 3.2.2.
fn host_of_target<B>(request: &mut Request<B>) {
    let named = request
        .uri()
        .authority()
        .filter(|_| request.version() <= Version::HTTP_11);
    if let Some(host) = named.and_then(|authority| HeaderValue::try_from(authority.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
}

fn wrapped(
    request: Request<Incoming>,
    exchange: &Exchange,
    stalled: &Arc<AtomicBool>,
) -> Request<RequestBody> {
    let expects = request.headers().contains_key(header::EXPECT);
    let ended = request.body().is_end_stream();
    request.map(|body| RequestBody {
        body: (!ended).then_some(body),
        connection: exchange.connection(),
        stream: exchange.stream(),
        idle: exchange.body_idle(),
        last: Instant::now(),
        timer: None,
        stalled: Arc::clone(stalled),
        untouched: expects,
    })
}

/// A request that is being answered; dropped when its answer has been passed on or given up.
#[derive(Debug)]
enum Exchange {
    Http1(Http1),
    Http2(Arc<Stream>),
}

#[derive(Debug)]
struct Http1 {
    activity: Arc<Activity>,
    number: u64,
}

impl Drop for Http1 {
    fn drop(&mut self) {
        self.activity.end();
    }
}

impl Exchange {
    fn connection(&self) -> Option<(Arc<Activity>, u64)> {
        match self {
            Self::Http1(http1) => Some((Arc::clone(&http1.activity), http1.number)),
            Self::Http2(_) => None,
        }
    }

    fn stream(&self) -> Weak<Stream> {
        match self {
            Self::Http1(_) => Weak::new(),
            Self::Http2(stream) => Arc::downgrade(stream),
        }
    }

    fn body_idle(&self) -> Duration {
        match self {
            Self::Http1(http1) => http1.activity.timeouts().body_idle,
            Self::Http2(stream) => stream.timeouts().body_idle,
        }
    }

    fn answered_by(self, mut response: Response<Body>, sender: Option<Sender>) -> Response<AnswerBody> {
        match &self {
            Self::Http1(http1) if http1.activity.answered() => {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Self::Http1(_) => {}
            Self::Http2(stream) => stream.answered(),
        }
        response.map(|body| AnswerBody {
            body,
            sender,
            exchange: self,
        })
    }
}

/// The body of an answer; the exchange ends with it.
///
/// Over HTTP/2 only one piece is in flight. hyper polls for a piece before it knows whether the client has room for
/// it. hyper then holds it in addition to the previous one, which is held whole while there is room for only a part of
/// it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    /// Sender of a connection on which frames may be stand-ins for bytes of a file.
    sender: Option<Sender>,
    exchange: Exchange,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        match &this.exchange {
            Exchange::Http1(http1) => {
                let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                if let Some(data) = data {
                    if this.sender.as_ref().is_some_and(|sender| !sender.pass(data)) {
                        tracing::error!(
                            "a layer around the registry changes the bodies of answers, which `sendfile` rules out; \
                             the connection is cut"
                        );
                        return Poll::Ready(Some(Err(axum::Error::new(BodyError::Changed))));
                    }
                    if !sendfile::are_stand_ins(data) {
                        http1.activity.queued(data.len());
                    }
                }
                Poll::Ready(frame)
            }
            Exchange::Http2(stream) => {
                ready!(stream.poll_taken(context));
                stream.making();
                let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
                Poll::Ready(frame.map(|frame| {
                    frame.map(|frame| match frame.into_data() {
                        Ok(data) if !data.is_empty() => Frame::data(stream.sending(data)),
                        Ok(nothing) => Frame::data(nothing),
                        Err(trailers) => trailers,
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request; fails if nothing arrives for too long.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// `None` once it has been read to its end.
    body: Option<Incoming>,
    /// Over HTTP/1, the activity that receives the rest of the body, and the number of its request.
    connection: Option<(Arc<Activity>, u64)>,
    /// Over HTTP/2, the stream that records when the body is awaited.
    stream: Weak<Stream>,
    idle: Duration,
    /// Time when something last arrived, or was first awaited.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Arc<AtomicBool>,
    /// True if the client waits for `100 Continue`, which has not been sent.
    untouched: bool,
}

impl RequestBody {
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| {
            self.last = Instant::now();
            Box::pin(tokio::time::sleep_until(self.last + idle))
        });
        while timer.as_mut().poll(context).is_ready() {
            let until = self.last + idle;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn ended(&mut self) {
        self.body = None;
        if let Some((activity, number)) = self.connection.take() {
            activity.body_ended(number);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.untouched = false;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(stream) = this.stream.upgrade() {
                    stream.receiving(false);
                }
                if let Some((activity, number)) = &this.connection {
                    activity.received_body(*number, frame.data_ref().map_or(0, Bytes::len));
                }
                if body.is_end_stream() {
                    this.ended();
                } else if this.timer.is_some() {
                    this.last = Instant::now();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // The client may still be sending, and has to see the answer.
                if let (Some(body), Some((activity, number))) = (this.body.take(), this.connection.take()) {
                    activity.body_dropped(number, body, false);
                }
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Pending if this.poll_idle(context).is_ready() => {
                this.stalled.store(true, Ordering::Relaxed);
                if let (Some(body), Some((activity, number))) = (this.body.take(), this.connection.take()) {
                    activity.body_dropped(number, body, false);
                }
                Poll::Ready(Some(Err(BodyError::Idle)))
            }
            Poll::Pending => {
                if let Some(stream) = this.stream.upgrade() {
                    stream.receiving(true);
                }
                if let Some((activity, number)) = &this.connection {
                    activity.receiving(*number);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(body), Some((activity, number))) = (self.body.take(), self.connection.take()) {
            activity.body_dropped(number, body, !self.untouched);
        }
    }
}

/// Reason for the early end of a body.
#[derive(Debug)]
pub(super) enum BodyError {
    Broken(hyper::Error),
    Idle,
    Changed,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken(_) => "the connection broke",
            Self::Idle => "nothing has come for too long",
            Self::Changed => "a layer has changed it",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::Idle | Self::Changed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{
        places::{Occupant as _, Places},
        settings::{Limits, Timeouts},
    };
    use std::{future::poll_fn, pin::pin};

    /// Bytes that the system sends from its page cache take no memory of the server.
    #[tokio::test]
    async fn a_piece_of_an_answer_is_held_in_memory_unless_it_stands_for_a_file() {
        for (piece, holds) in [(Bytes::from_static(b"hello"), 5), (sendfile::stand_ins(1000), 0)] {
            let place = Places::new(1).take().unwrap();
            let activity = Activity::new(Timeouts::default(), Limits::default(), place);
            let (number, _) = activity.begin(None);
            let exchange = Exchange::Http1(Http1 {
                activity: Arc::clone(&activity),
                number,
            });
            let mut answer = pin!(AnswerBody {
                body: Body::from(piece),
                sender: None,
                exchange,
            });

            let piece = poll_fn(|context| answer.as_mut().poll_frame(context)).await;

            assert!(piece.is_some());
            activity.blocked();
            assert_eq!(activity.waits().unwrap().holds, holds);
        }
    }
}
