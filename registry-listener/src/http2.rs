//! An HTTP/2 connection, driven until it ends.

use super::{
    exchange::{self, Host},
    places::Place,
    rewound::Rewound,
    shared::Shared,
    streams::{Expired, Streams},
    watchdog::Watchdog,
};
use hyper::{server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// Number of bytes that a peer may send before they are read, per request and in total: enough for a gigabit over 30
/// ms.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Maximum size of a frame from a peer: fewer, larger pieces of an upload.
const FRAME: u32 = 64 << 10;
/// Maximum number of bytes of each answer that wait for a slow peer.
const SEND_BUFFER: usize = 128 << 10;
/// Maximum number of requests that a peer may reset before they are handled, and of its errors. Beyond that the peer
/// is told to calm down and the connection ends. CVE-2023-44487.
const RESETS: usize = 20;
const ERRORS: usize = 256;
/// Time for which a peer that was told of the end may keep the connection without a request: one may be in transit.
const GOODBYE: Duration = Duration::from_secs(5);

pub(super) async fn serve<H, Io>(shared: &Shared<H>, host: Host, place: &Arc<Place>, io: Rewound<Io>)
where
    H: Sync,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, refusing) = (host.peer, host.refusing);
    let streams = Streams::new(shared.timeouts, Arc::clone(place));
    shared.admission.join(&streams);
    let service = {
        let (admission, streams) = (Arc::clone(&shared.admission), Arc::clone(&streams));
        service_fn(move |request| {
            exchange::http2(
                host.clone(),
                Arc::clone(&admission),
                Arc::clone(&streams),
                request,
            )
        })
    };
    let header_list = u32::try_from(shared.limits.head).unwrap_or(u32::MAX);
    let mut connection = pin!(
        Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(shared.limits.streams)
            .max_header_list_size(header_list)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(ERRORS)
            .keep_alive_interval(shared.timeouts.ping_interval)
            .keep_alive_timeout(shared.timeouts.ping)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut stopped = pin!(shared.stop.cancelled());
    let mut watchdog = Watchdog::new(Instant::now() + shared.timeouts.keep_alive);
    // It was told that this is the end, and, unless the whole server ends, until when it may stay.
    let mut leaving = false;
    let mut until: Option<Instant> = None;

    let ended = poll_fn(|context| {
        streams.wake_with(context.waker());
        if !leaving && stopped.as_mut().poll(context).is_ready() {
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            // One that is refused is heard once.
            let mut leave = refusing && streams.any();
            if !leave || leaving {
                let deadline = until.unwrap_or_else(|| streams.deadline());
                let Poll::Ready(now) = watchdog.poll(context, Some(deadline)) else {
                    return Poll::Pending;
                };
                if until.take().is_some() {
                    if refusing || !streams.any_open() {
                        return Poll::Ready(None);
                    }
                    continue;
                }
                match streams.expire(now) {
                    Some(Expired::Stalled | Expired::GivesWay) => return Poll::Ready(None),
                    Some(Expired::Idle) => leave = true,
                    None => {}
                }
            }
            if leave {
                until = Some(Instant::now() + GOODBYE);
                if !std::mem::replace(&mut leaving, true) {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    })
    .await;

    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, %error, "a connection failed"),
        None => tracing::debug!(%peer, "a connection took too long"),
    }
}
