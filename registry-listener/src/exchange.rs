//! One request and its answer, through the service.

use super::{
    admission::Admission,
    any_body::AnyBody,
    body_scan::BodyScan,
    checks,
    connection_state::ConnectionState,
    refusal::Refusal,
    refused::{Observer, Refused},
    request_body::{RequestBody, Source},
    sendfile::{self, Outgoing},
    service::AnyService,
    streams::{Stream, Streams},
};
use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use registry_core::{BoxError, auth::ClientAddress, service::Overruled};
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
};

/// State that all requests of a connection share.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) service: AnyService,
    pub(super) peer: SocketAddr,
    pub(super) extensions: Extensions,
    /// Files on their way to a connection that the system sends them on.
    pub(super) outgoing: Option<Arc<Outgoing>>,
    /// True if the connection exceeds the limit: every request is answered 503.
    pub(super) refusing: bool,
    pub(super) observer: Observer,
}

/// Answers a request of an HTTP/1 connection. The request is recorded before this returns, because hyper may read more
/// bytes before it polls the future.
pub(super) fn http1(
    host: Host,
    state: Arc<ConnectionState>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> {
    let body = request.body();
    let scan = (!body.is_end_stream()).then(|| BodyScan::of(body.size_hint().exact()));
    let (number, refusal) = state.begin(scan);
    let exchange = Exchange::Http1(Http1 { state, number });
    let refusal = if host.refusing {
        Some(Refusal::Busy)
    } else {
        refusal.or_else(|| checks::refusal(&request))
    };
    async move { Ok(answer(host, exchange, request, refusal).await) }
}

/// Answers a request of an HTTP/2 connection.
///
/// A request beyond the limit that has no body is refused with `REFUSED_STREAM`: it was not processed (RFC 9113, 8.7).
/// HTTP clients repeat it by themselves. They cannot repeat a request with a body, so it gets an answer.
pub(super) async fn http2(
    host: Host,
    admission: Arc<Admission>,
    streams: Arc<Streams>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, h2::Error> {
    let (mut stream, has_slot) = streams.begin();
    let mut refusal = if host.refusing || !has_slot {
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
    let response = match refusal {
        Some(refusal) => {
            host.observer
                .tell(|| Refused::request(host.peer, &request, refusal));
            // Dropping the wrapper reports the unread body.
            drop(exchange.received(request, &stalled));
            refusal.response()
        }
        None => {
            host_of_target(&mut request);
            request.extensions_mut().extend(host.extensions);
            request.extensions_mut().insert(ClientAddress(host.peer));
            let overruled = Overruled::default();
            request.extensions_mut().insert(overruled.clone());
            let request = exchange.received(request, &stalled);
            match host.service.answer(request).await {
                Ok(answered) if !stalled.load(Ordering::Relaxed) => answered,
                unusable => {
                    let instead = match &unusable {
                        Err(error) if !stalled.load(Ordering::Relaxed) => {
                            tracing::error!(peer = %host.peer, %error, "the service failed to answer a request");
                            Refusal::Failed
                        }
                        _ => Refusal::BodyIdle,
                    };
                    // Before the unusable answer is dropped, because layers read this at that time.
                    overruled.by(instead.status(), instead.body().len() as u64);
                    instead.response()
                }
            }
        }
    };
    exchange.answered_by(response, host.outgoing)
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

/// A request that is being answered. It is dropped when its answer has been passed on or abandoned.
#[derive(Debug)]
enum Exchange {
    Http1(Http1),
    Http2(Arc<Stream>),
}

#[derive(Debug)]
struct Http1 {
    state: Arc<ConnectionState>,
    number: u64,
}

impl Drop for Http1 {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl Exchange {
    /// Wraps the body of a request.
    fn received(&self, request: Request<Incoming>, stalled: &Arc<AtomicBool>) -> Request<RequestBody> {
        let source = match self {
            Self::Http1(http1) => Source {
                connection: Some((Arc::clone(&http1.state), http1.number)),
                stream: Weak::new(),
                idle: http1.state.timeouts().body_idle,
            },
            Self::Http2(stream) => Source {
                connection: None,
                stream: Arc::downgrade(stream),
                idle: stream.timeouts().body_idle,
            },
        };
        let expects = request.headers().contains_key(header::EXPECT);
        request.map(|body| RequestBody::new(body, source, Arc::clone(stalled), expects))
    }

    fn answered_by(
        self,
        mut response: Response<AnyBody>,
        outgoing: Option<Arc<Outgoing>>,
    ) -> Response<AnswerBody> {
        match &self {
            Self::Http1(http1) if http1.state.answered() => {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Self::Http1(_) => {}
            Self::Http2(stream) => stream.answered(),
        }
        response.map(|body| AnswerBody {
            body,
            outgoing,
            exchange: self,
        })
    }
}

/// The body of an answer. The exchange ends with it.
///
/// Over HTTP/2 only one piece is in flight. hyper would otherwise poll for the next piece before the client has a window
/// for it, and hold it in addition to the previous one.
pub(super) struct AnswerBody {
    body: AnyBody,
    /// Files of a connection on which frames may be stand-ins for their bytes.
    outgoing: Option<Arc<Outgoing>>,
    exchange: Exchange,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match &this.exchange {
            Exchange::Http1(http1) => {
                let frame = ready!(this.body.as_mut().poll_frame(context));
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                if let Some(data) = data {
                    if this
                        .outgoing
                        .as_ref()
                        .is_some_and(|outgoing| !outgoing.pass(data))
                    {
                        tracing::error!(
                            "a layer around the registry changes the bodies of responses, which `sendfile` does not allow; \
                             the connection is cut"
                        );
                        return Poll::Ready(Some(Err(Changed.into())));
                    }
                    if !sendfile::are_stand_ins(data) {
                        http1.state.queued(data.len());
                    }
                }
                Poll::Ready(frame)
            }
            Exchange::Http2(stream) => {
                ready!(stream.poll_taken(context));
                stream.making();
                let frame = ready!(this.body.as_mut().poll_frame(context));
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

/// Failure of a body whose frames were replaced between the registry and the listener.
#[derive(Debug)]
struct Changed;

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer has changed the body")
    }
}

impl Error for Changed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        any_body::any_body,
        connection_slots::{ConnectionSlots, Occupant as _},
        settings::{ConnectionLimits, Timeouts},
    };
    use registry_core::service::ResponseBody;
    use std::{future::poll_fn, pin::pin};

    /// Bytes that the system sends from its page cache take no memory of the server.
    #[tokio::test]
    async fn a_piece_of_an_answer_is_held_in_memory_unless_it_stands_for_a_file() {
        for (piece, holds) in [(Bytes::from_static(b"hello"), 5), (sendfile::stand_ins(1000), 0)] {
            let slot = ConnectionSlots::new(1).take().unwrap();
            let state = ConnectionState::new(Timeouts::default(), ConnectionLimits::default(), slot);
            let (number, _) = state.begin(None);
            let exchange = Exchange::Http1(Http1 {
                state: Arc::clone(&state),
                number,
            });
            let mut answer = pin!(AnswerBody {
                body: any_body(ResponseBody::full(piece)),
                outgoing: None,
                exchange,
            });

            let piece = poll_fn(|context| answer.as_mut().poll_frame(context)).await;

            assert!(piece.is_some());
            state.blocked();
            assert_eq!(state.waits().unwrap().holds, holds);
        }
    }
}
