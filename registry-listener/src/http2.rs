//! An HTTP/2 connection, driven until it ends.

use super::{
    connection_slots::ConnectionSlot,
    exchange::{self, Host},
    prefixed_io::PrefixedIo,
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

/// Number of bytes that a peer may send before they are read, per request and in total: enough for 1 Gbit/s with a round
/// trip of 30 ms.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Maximum size of a frame from a peer. Large frames are fewer pieces of an upload.
const FRAME: u32 = 64 << 10;
/// Maximum number of bytes of each answer that wait for a slow peer.
const SEND_BUFFER: usize = 128 << 10;
/// Maximum number of requests that a peer may reset before they are handled, and of its errors. Beyond them the
/// connection ends with `ENHANCE_YOUR_CALM`. CVE-2023-44487.
const RESETS: usize = 20;
const ERRORS: usize = 256;
/// Time for which a peer may keep the connection without a request after it was told of the end.
const GOODBYE: Duration = Duration::from_secs(5);

pub(super) async fn serve<H, Io>(
    shared: &Shared<H>,
    host: Host,
    slot: &Arc<ConnectionSlot>,
    io: PrefixedIo<Io>,
) where
    H: Sync,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, refusing) = (host.peer, host.refusing);
    let streams = Streams::new(shared.timeouts, Arc::clone(slot));
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
    let mut phase = Phase::Serving;

    let ended = poll_fn(|context| {
        streams.wake_with(context.waker());
        if phase == Phase::Serving && stopped.as_mut().poll(context).is_ready() {
            connection.as_mut().graceful_shutdown();
            phase = Phase::Finishing;
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            let deadline = phase.deadline(&streams, refusing);
            let Poll::Ready(now) = watchdog.poll(context, Some(deadline)) else {
                return Poll::Pending;
            };
            let Some(next) = phase.next(&streams, refusing, now) else {
                return Poll::Ready(None);
            };
            if phase == Phase::Serving && next != Phase::Serving {
                connection.as_mut().graceful_shutdown();
            }
            phase = next;
        }
    })
    .await;

    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, %error, "a connection failed"),
        None => tracing::debug!(%peer, "a connection was closed by a timeout"),
    }
}

/// Phases of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are accepted.
    Serving,
    /// The peer has been told that the connection ends. It keeps the connection without a request until this time, as
    /// a request may be in transit.
    Goodbye { until: Instant },
    /// The peer has been told that the connection ends, and its open requests finish.
    Finishing,
}

impl Phase {
    /// Returns the time at which the phase has to be checked.
    fn deadline(self, streams: &Streams, refusing: bool) -> Instant {
        match self {
            // A connection that is refused gets one answer.
            Self::Serving if refusing && streams.any() => Instant::now(),
            Self::Serving | Self::Finishing => streams.deadline(),
            Self::Goodbye { until } => until,
        }
    }

    /// Returns the phase after the deadline, or `None` if the connection is to be closed.
    fn next(self, streams: &Streams, refusing: bool, now: Instant) -> Option<Self> {
        let goodbye = Self::Goodbye { until: now + GOODBYE };
        match self {
            Self::Serving if refusing && streams.any() => Some(goodbye),
            Self::Serving | Self::Finishing => match streams.expire(now) {
                Some(Expired::Stalled | Expired::Evicted) => None,
                Some(Expired::Idle) => Some(goodbye),
                None => Some(self),
            },
            Self::Goodbye { .. } => (!refusing && streams.any_open()).then_some(Self::Finishing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connection_slots::ConnectionSlots, settings::Timeouts};
    use tokio::time::advance;

    fn streams() -> Arc<Streams> {
        Streams::new(Timeouts::default(), ConnectionSlots::new(1).take().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_is_told_of_the_end_and_an_open_request_finishes_after_that() {
        let streams = streams();
        let idle = Phase::Serving.deadline(&streams, false);
        assert_eq!(
            Phase::Serving.next(&streams, false, Instant::now()),
            Some(Phase::Serving)
        );

        let told = Phase::Serving.next(&streams, false, idle).unwrap();

        let until = idle + GOODBYE;
        assert_eq!(told, Phase::Goodbye { until });
        assert_eq!(told.deadline(&streams, false), until);
        assert_eq!(told.next(&streams, false, until), None);
        let open = streams.begin();
        assert_eq!(told.next(&streams, false, until), Some(Phase::Finishing));
        drop(open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_refused_is_told_of_the_end_after_its_first_request() {
        let streams = streams();
        advance(GOODBYE).await;
        assert!(Phase::Serving.deadline(&streams, true) > Instant::now());

        let _open = streams.begin();

        assert_eq!(Phase::Serving.deadline(&streams, true), Instant::now());
        let until = Instant::now() + GOODBYE;
        let told = Phase::Serving.next(&streams, true, Instant::now()).unwrap();
        assert_eq!(told, Phase::Goodbye { until });
        assert_eq!(
            told.next(&streams, true, until),
            None,
            "an open request does not count"
        );
    }
}
