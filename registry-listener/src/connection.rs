//! One connection, from the handshake to its end.

use super::{
    connection_slots::ConnectionSlot,
    exchange::Host,
    handshake::{Established, Handshake, Protocol},
    http1, http2,
    prefixed_io::PrefixedIo,
    service::AnyService,
    shared::Shared,
};
use bytes::{Bytes, BytesMut};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

/// Maximum duration of a connection that is refused.
const REFUSAL: Duration = Duration::from_secs(5);

/// Serves a connection until it ends, or loses its slot.
pub(super) async fn serve<Io, H: Handshake<Io>>(
    shared: &Shared<H>,
    service: AnyService,
    io: Io,
    peer: SocketAddr,
    slot: &Arc<ConnectionSlot>,
) {
    tokio::select! {
        biased;
        () = slot.lost() => tracing::debug!(%peer, "an idle connection was evicted for a new one"),
        () = run(shared, service, io, peer, slot, false) => {}
    }
    slot.leave();
}

/// Answers the requests on a connection with 503, and closes it after a short time.
pub(super) async fn refuse<Io, H: Handshake<Io>>(
    shared: &Shared<H>,
    service: AnyService,
    io: Io,
    peer: SocketAddr,
) {
    let slot = ConnectionSlot::to_be_refused();
    if timeout(REFUSAL, run(shared, service, io, peer, &slot, true))
        .await
        .is_err()
    {
        tracing::debug!(%peer, "a refused connection was cut off");
    }
}

async fn run<Io, H: Handshake<Io>>(
    shared: &Shared<H>,
    service: AnyService,
    io: Io,
    peer: SocketAddr,
    slot: &Arc<ConnectionSlot>,
    refusing: bool,
) {
    let begun = timeout(shared.timeouts.first_byte, async {
        let established = shared.handshake.handshake(io, peer).await?;
        begin(established).await
    });
    // Without a request, the connection ends at once at a shutdown.
    let begun = tokio::select! {
        begun = begun => begun,
        () = shared.stop.cancelled() => return,
    };
    let begun = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a connection ended before HTTP"),
        Err(_) => return tracing::debug!(%peer, "a connection sent nothing in time"),
    };
    if !slot.busy() {
        return;
    }
    shared.tls_hint.check(&begun.read, peer);
    let host = Host {
        service,
        peer,
        extensions: begun.extensions,
        outgoing: None,
        refusing,
        observer: shared.observer.clone(),
    };
    let io = PrefixedIo::new(begun.io, begun.read);
    match begun.protocol {
        Protocol::Http1 => http1::serve(shared, host, slot, io).await,
        Protocol::Http2 => http2::serve(shared, host, slot, io).await,
    }
}

/// A connection whose protocol is known.
struct Begun<Io> {
    io: Io,
    protocol: Protocol,
    /// Bytes read so far.
    read: Bytes,
    extensions: http::Extensions,
}

/// The first bytes of an HTTP/2 peer. RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads as many bytes as are necessary to recognize the protocol.
async fn begin<Io: AsyncRead + Unpin>(established: Established<Io>) -> io::Result<Begun<Io>> {
    let Established {
        mut io,
        protocol,
        extensions,
    } = established;
    let mut read = BytesMut::with_capacity(PREFACE.len());
    let protocol = loop {
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(negotiated) = protocol {
            break negotiated;
        } else if read.starts_with(PREFACE) {
            break Protocol::Http2;
        } else if !PREFACE.starts_with(&read) {
            break Protocol::Http1;
        }
    };
    Ok(Begun {
        io,
        protocol,
        read: read.freeze(),
        extensions,
    })
}
