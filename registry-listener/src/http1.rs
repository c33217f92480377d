//! An HTTP/1 connection, driven until it ends.

use super::{
    connection_slots::ConnectionSlot,
    connection_state::ConnectionState,
    exchange::{self, Host},
    prefixed_io::PrefixedIo,
    refusal::Refusal,
    refused::Refused,
    sendfile::{self, Outlet},
    shared::Shared,
    watchdog::Watchdog,
    watched::Watched,
};
use hyper::{server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

/// Maximum number of header lines per request. It is higher than the limit of the registry, which refuses with a better
/// message.
const HEADER_LINES: usize = 512;
/// Maximum duration of the last writes on a connection: the last answer, and the closing message of TLS.
const LINGER: Duration = Duration::from_secs(2);

/// Maximum number of bytes in one read, or gathered for a write. A piece of a body keeps the whole buffer that it was
/// read into. Larger buffers cost more memory per upload, and smaller ones more system calls.
const BUFFER: usize = 128 << 10;
/// The same limit for a connection on which the system sends files, whose bytes need no memory.
const BUFFER_BESIDE_FILES: usize = 256 << 10;

pub(super) async fn serve<H, Io>(
    shared: &Shared<H>,
    mut host: Host,
    slot: &Arc<ConnectionSlot>,
    io: PrefixedIo<Io>,
) where
    H: Sync,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = host.peer;
    let state = ConnectionState::new(shared.timeouts, shared.limits, Arc::clone(slot));
    let io = Outlet::new(io, shared.sendfile);
    let buffer = match io.outgoing() {
        Some(outgoing) => {
            host.extensions.insert(sendfile::sender(outgoing));
            host.outgoing = Some(Arc::clone(outgoing));
            BUFFER_BESIDE_FILES
        }
        None => BUFFER,
    };
    let service = {
        let state = Arc::clone(&state);
        service_fn(move |request| exchange::http1(host.clone(), Arc::clone(&state), request))
    };
    let io = TokioIo::new(Watched::new(io, Arc::clone(&state)));
    let mut connection = Builder::new()
        // The timers of hyper are for heads only. `ConnectionState` has all deadlines.
        .header_read_timeout(None)
        .max_buf_size(buffer)
        .max_headers(HEADER_LINES)
        // Pieces of bodies are passed to the socket without a copy.
        .writev(true)
        .serve_connection(io, service);
    let mut stopped = pin!(shared.stop.cancelled());
    let mut stopping = false;
    let mut watchdog = Watchdog::new(Instant::now() + shared.timeouts.header);

    let ended = poll_fn(|context| {
        if !stopping && stopped.as_mut().poll(context).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(Some(ended));
        }
        state.poll_leftover(context);
        while let Poll::Ready(now) = watchdog.poll(context, state.deadline()) {
            if state.expire(now) {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await;

    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, %error, "a connection failed"),
        None => tracing::debug!(%peer, "a connection was closed by a timeout"),
    }
    let (refusal, unread) = state.ended();
    if let Some(refusal) = refusal {
        shared
            .observer
            .tell(|| Refused::line(peer, state.first_line(), refusal));
    }
    let mut io = connection.into_parts().io.into_inner().into_inner().into_inner();
    // What is not sent or received by then is cut off.
    if let (Ok(Ok(())), Some(until)) = (timeout(LINGER, end(&mut io, refusal)).await, unread) {
        let _ = timeout_at(until, discard(&mut io, shared.limits.discarded_body)).await;
    }
}

/// Sends the last answer, if any, and ends the connection.
async fn end<Io: AsyncWrite + Unpin>(io: &mut Io, refusal: Option<Refusal>) -> io::Result<()> {
    if let Some(refusal) = refusal {
        io.write_all(&refusal.bytes()).await?;
    }
    io.shutdown().await
}

/// Receives unwanted bytes until the peer closes the connection. A close with unread bytes resets the connection, and the
/// peer loses an answer that it has not read yet.
async fn discard<Io: AsyncRead + Unpin>(io: &mut Io, most: u64) -> io::Result<()> {
    let mut discarded = vec![0; 16 << 10];
    let mut left = most;
    loop {
        match io.read(&mut discarded).await? as u64 {
            0 => return Ok(()),
            read if read > left => return Ok(()),
            read => left -= read,
        }
    }
}
