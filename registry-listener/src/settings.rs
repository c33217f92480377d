//! [`Timeouts`] and [`ConnectionLimits`]: bounds on connections and requests.

use std::time::Duration;

/// Longest duration of a timeout. A deadline so far away can be calculated, and does not come.
const UNLIMITED: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Maximum durations on a connection. The duration of a whole body or connection is not limited.
///
/// `Duration::MAX` means unlimited, for each of them.
///
/// ```
/// use registry_listener::Timeouts;
/// use std::time::Duration;
///
/// let mut timeouts = Timeouts::default();
/// timeouts.keep_alive = Duration::from_secs(60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Time from the start of a connection to its first byte of HTTP, including the handshake. Default: 30 s.
    pub first_byte: Duration,
    /// Time from the first byte of a request to the end of its headers. Default: 30 s.
    pub header: Duration,
    /// Time without progress within a body: the client sends nothing or, during a response, reads nothing. Default:
    /// 900 s, because a client may compress a large layer while it sends it. A client that sends nothing gets 408.
    ///
    /// Over HTTP/2 a client also has to answer pings. A client whose process is stopped is cut off after
    /// [`ping_interval`](Self::ping_interval) and [`ping`](Self::ping).
    pub body_idle: Duration,
    /// Time until a client has read the first part of a response. Over HTTP/2 this is one piece. Over HTTP/1 it is the
    /// part that does not fit into the buffers of the connection. Default: 60 s, because such a request costs the client
    /// only a few bytes. Then the connection is closed. A client that has read a part may pause for
    /// [`body_idle`](Self::body_idle).
    pub first_write_timeout: Duration,
    /// Time for which an HTTP/2 request waits while [`ConnectionLimits::all_streams`] are open. Default: 10 s. Then the
    /// stream is reset with `REFUSED_STREAM`, and HTTP clients repeat the request. A request with a body gets 503 with
    /// `Retry-After`.
    pub queue: Duration,
    /// Time between two requests. Default: 300 s.
    pub keep_alive: Duration,
    /// Time without a byte after which an HTTP/2 peer gets a ping. Default: 60 s.
    pub ping_interval: Duration,
    /// Time within which an HTTP/2 peer has to answer a ping. Default: 20 s.
    pub ping: Duration,
    /// Time to receive the rest of a body after an early answer, see [`ConnectionLimits::discarded_body`]. Default: 5 s.
    pub discard: Duration,
    /// Time from the signal for the shutdown until running requests are cut off. Default: 8 s, because most supervisors
    /// kill a process after 10 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            header: Duration::from_secs(30),
            body_idle: Duration::from_secs(900),
            first_write_timeout: Duration::from_secs(60),
            queue: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            ping_interval: Duration::from_secs(60),
            ping: Duration::from_secs(20),
            discard: Duration::from_secs(5),
            drain: Duration::from_secs(8),
        }
    }
}

impl Timeouts {
    /// Returns timeouts that can be added to a time without an overflow.
    pub(crate) fn bounded(self) -> Self {
        let Self {
            first_byte,
            header,
            body_idle,
            first_write_timeout,
            queue,
            keep_alive,
            ping_interval,
            ping,
            discard,
            drain,
        } = self;
        Self {
            first_byte: first_byte.min(UNLIMITED),
            header: header.min(UNLIMITED),
            body_idle: body_idle.min(UNLIMITED),
            first_write_timeout: first_write_timeout.min(UNLIMITED),
            queue: queue.min(UNLIMITED),
            keep_alive: keep_alive.min(UNLIMITED),
            ping_interval: ping_interval.min(UNLIMITED),
            ping: ping.min(UNLIMITED),
            discard: discard.min(UNLIMITED),
            drain: drain.min(UNLIMITED),
        }
    }
}

/// Maximum numbers and sizes of connections and requests.
///
/// ```
/// use registry_listener::ConnectionLimits;
///
/// let mut limits = ConnectionLimits::default();
/// limits.connections = 10_000;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Number of concurrent connections. Default: 4,096. For a further one, the first of these is evicted that exists:
    ///
    /// 1. the connection that has been idle longest, for at least 1 s,
    /// 2. the connection that holds the most memory, of those that have waited for their clients for at least 5 s, in
    ///    the middle of a request or a response.
    ///
    /// If there is none, the new connection gets 503 with `Retry-After`.
    pub connections: usize,
    /// Number of bytes of the head of a request: request line and headers. Default: 64 KiB. A longer one gets 431.
    pub head: usize,
    /// Number of bytes of a body that are received and discarded after an early answer (401, 404, 413, …). Default:
    /// 64 MiB. A client that reads only after it has sent the whole request then sees this answer.
    ///
    /// Up to 256 KiB announced by a `Content-Length` are received, and the connection is kept. For more, for chunks,
    /// and for a body that waits for `100 Continue`, the answer has `Connection: close`, and no other follows it. Bytes
    /// are then received within this bound and [`Timeouts::discard`], until the client closes the connection.
    ///
    /// This applies to HTTP/1. Over HTTP/2 the stream is reset with `NO_ERROR` after the answer.
    pub discarded_body: u64,
    /// Number of concurrent requests on an HTTP/2 connection. Default: 100.
    pub streams: u32,
    /// Number of concurrent requests on all HTTP/2 connections. Default: 4,096. Each may have a file open, and holds one
    /// piece of its response. The same number of further requests may wait, see [`Timeouts::queue`]. Meanwhile
    /// connections are evicted whose clients have neither sent nor read anything for 5 s, those with the most such
    /// requests first.
    pub all_streams: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            head: 64 << 10,
            discarded_body: 64 << 20,
            streams: 100,
            all_streams: 4_096,
        }
    }
}
