//! [`Timeouts`] and [`ConnectionLimits`]: bounds on connections and requests.

use std::time::Duration;

/// Maximum durations on a connection. The duration of a whole body or connection is not limited.
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
    /// From the start of the connection to its first byte of HTTP, including the handshake. 30 s.
    pub first_byte: Duration,
    /// From the first byte of a request to the end of its headers. 30 s.
    pub header: Duration,
    /// Time without progress within a body: the client sends nothing, or, during an answer, reads nothing. 900 s, as a
    /// client may compress a large layer while it sends it. A client that sends nothing is answered 408.
    ///
    /// Over HTTP/2 a client has to answer pings meanwhile: one whose process is paused is cut off after
    /// [`ping_interval`](Self::ping_interval) and [`ping`](Self::ping).
    pub body_idle: Duration,
    /// Time until a client has taken the first part of an answer. Over HTTP/2 that is a piece of it; over HTTP/1,
    /// everything beyond the initial room of its connection. 60 s, since such a request costs the client only a few
    /// bytes. A client that has taken some may pause for [`body_idle`](Self::body_idle). At the end of this time the
    /// connection is closed.
    pub first_write_timeout: Duration,
    /// Time for which a request over HTTP/2 waits while there are [`ConnectionLimits::all_streams`]. 10 s. It is then refused
    /// with the reset that says that nothing was done (`REFUSED_STREAM`), upon which HTTP clients repeat it. If it has
    /// a body, it is answered 503 with `Retry-After`.
    pub queue: Duration,
    /// Time between two requests. 300 s.
    pub keep_alive: Duration,
    /// Time without a byte after which an HTTP/2 peer is sent a ping. 60 s.
    pub ping_interval: Duration,
    /// Time within which an HTTP/2 peer has to answer a ping. 20 s.
    pub ping: Duration,
    /// Time for receiving the rest of a body after an early answer, see [`ConnectionLimits::discarded_body`]. 5 s.
    pub discard: Duration,
    /// Time from the signal to stop until running requests are cut off. 8 s: most supervisors kill after 10.
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

/// Maximum numbers and sizes of connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Number of concurrent connections. 4,096. A further one takes the place of the one that has been idle longest,
    /// for at least 1 s. If there is none, one gives way that has waited for its client for 5 s, in the middle of a
    /// request or an answer. The one that holds the most memory goes first. If there is none either, the new
    /// connection is answered 503 with `Retry-After`.
    pub connections: usize,
    /// Number of bytes of a request's head: request line and headers. 64 KiB. A longer one is answered 431.
    pub head: usize,
    /// Number of bytes of a request's body that are received and discarded after an early answer (401, 404, 413, …).
    /// 64 MiB. A client that reads only after it has sent everything then sees that answer.
    ///
    /// Up to 256 KiB announced by a `Content-Length` are received, and the connection is kept. For more, for chunks,
    /// and for a body that waits for `100 Continue`, the answer has `Connection: close`, and no other follows it. The
    /// bytes within [`Timeouts::discard`] and this bound are then received until the client closes. HTTP/1 only: over
    /// HTTP/2 the request is reset with `NO_ERROR` after the answer.
    pub discarded_body: u64,
    /// Number of requests that an HTTP/2 peer may have open at once. 100.
    pub streams: u32,
    /// Number of requests that all HTTP/2 peers together may have open at once. 4,096. Each may have a file open, and
    /// holds one piece of its answer. Further ones wait, see [`Timeouts::queue`], up to the same number. Connections
    /// whose clients have neither sent nor taken anything for 5 s are closed, those with the most such requests first.
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
