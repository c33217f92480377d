//! [`Listener`]: the source of connections, and the treatment of a failure to accept one.

#[cfg(unix)]
use std::net::Ipv4Addr;
use std::{future::Future, io, net::SocketAddr, time::Duration};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Source of the connections of a [`Server`](super::Server): a socket, or, in tests, pipes in memory.
///
/// ```
/// use registry_listener::Listener;
/// use std::{future::pending, io, net::SocketAddr};
/// use tokio::io::DuplexStream;
///
/// /// A single connection in memory.
/// struct Once(Option<DuplexStream>);
///
/// impl Listener for Once {
///     type Io = DuplexStream;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
///         match self.0.take() {
///             Some(connection) => Ok((connection, SocketAddr::from(([127, 0, 0, 1], 1)))),
///             None => pending().await,
///         }
///     }
/// }
/// ```
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Accepts the next connection, and returns it with the address of the peer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must not lose a connection.
    ///
    /// # Errors
    ///
    /// The server continues after any error: at once if a single connection failed, and after a pause if the system has
    /// run out of a resource.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

/// Sends small answers at once: without `TCP_NODELAY` some wait 40 ms for a delayed acknowledgement.
impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (connection, peer) = Self::accept(self).await?;
        connection.set_nodelay(true)?;
        Ok((connection, peer))
    }
}

/// Reports `127.0.0.1` as the address of every peer, because all are on this machine. A peer is then a presumed proxy by
/// default.
#[cfg(unix)]
impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
        let (connection, _) = Self::accept(self).await?;
        Ok((connection, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    }
}

/// Pause after a failure to accept.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Ends the pause after a connection was accepted.
    pub(super) const fn reset(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// Returns the pause after a failure, or `None` if only one connection has failed. Otherwise a resource has run out,
    /// such as file descriptors or memory. A retry without a pause would be a busy loop, and giving up would be an
    /// outage.
    pub(super) fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind as Kind;
        if matches!(
            error.kind(),
            Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::NotConnected
        ) {
            return None;
        }
        if self.pause.is_zero() {
            tracing::error!(%error, "cannot accept connections; retrying");
        }
        self.pause = (self.pause * 2).clamp(Self::FIRST, Self::LONGEST);
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connection_costs_no_pause_and_a_full_table_longer_and_longer_ones() {
        let mut backoff = Backoff::default();
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        let full = io::Error::other("too many open files");

        assert_eq!(backoff.after(&aborted), None);
        assert_eq!(backoff.after(&full), Some(Duration::from_millis(5)));
        assert_eq!(backoff.after(&full), Some(Duration::from_millis(10)));
        for _ in 0..20 {
            backoff.after(&full);
        }
        assert_eq!(backoff.after(&full), Some(Duration::from_secs(1)));
        backoff.reset();
        assert_eq!(backoff.after(&full), Some(Duration::from_millis(5)));
    }
}
