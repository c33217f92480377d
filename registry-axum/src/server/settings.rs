//! [`Timeouts`] and [`Limits`]: what a connection may take.

use std::time::Duration;

/// How long a connection may take for each thing. No time bounds a whole body or a whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the connection's beginning to its first byte of HTTP, the handshake included. 30 s.
    pub first_byte: Duration,
    /// From the first byte of a request to the end of its headers. 30 s.
    pub header: Duration,
    /// Without a byte of progress within a body: a client that sends nothing, or, during an answer, reads nothing.
    /// 900 s, as a client may compress a large layer while it sends it. One that sends nothing is answered 408.
    ///
    /// Over HTTP/2 a client has to answer pings all the while: one whose process is paused is cut after
    /// [`ping_interval`](Self::ping_interval) and [`ping`](Self::ping).
    pub body_idle: Duration,
    /// Until a client has taken the first of an answer: over HTTP/2 a piece of it, over HTTP/1 what goes beyond the room
    /// that its connection has from the start. 60 s. A client that takes nothing has asked for the price of a few bytes;
    /// one that has taken some may pause for [`body_idle`](Self::body_idle). What has run out ends the connection.
    pub untaken: Duration,
    /// How long a request over HTTP/2 waits while there are [`Limits::all_streams`]. 10 s. Then it is refused: with the
    /// reset that says that nothing was done (`REFUSED_STREAM`), upon which HTTP clients send it again by themselves, or,
    /// if it has a body, with 503 and `Retry-After`.
    pub queue: Duration,
    /// Between two requests. 300 s.
    pub keep_alive: Duration,
    /// After which an HTTP/2 peer is asked for a sign of life. 60 s.
    pub ping_interval: Duration,
    /// Within which it has to give one. 20 s.
    pub ping: Duration,
    /// For receiving what an early answer has made useless, see [`Limits::discarded_body`]. 5 s.
    pub discard: Duration,
    /// From the signal to stop until what still runs is cut off. 8 s: most supervisors kill after 10.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            header: Duration::from_secs(30),
            body_idle: Duration::from_secs(900),
            untaken: Duration::from_secs(60),
            queue: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            ping_interval: Duration::from_secs(60),
            ping: Duration::from_secs(20),
            discard: Duration::from_secs(5),
            drain: Duration::from_secs(8),
        }
    }
}

/// How much a connection may take, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once. One on top takes the place of the one that has been idle longest, for a second at least; or
    /// of one that has waited for its client for 5 s, to send more of a request or take more of an answer, those that hold
    /// the most memory first. Where there is none, it is answered 503 with `Retry-After`. 4,096.
    pub connections: usize,
    /// The bytes of a request's head: request line and headers. Answered 431 beyond. 64 KiB.
    pub head: usize,
    /// The bytes of a request's body that are received and thrown away after an early answer (401, 404, 413, …), so
    /// that a client that reads only when it has sent everything gets to see that answer. 64 MiB.
    ///
    /// Up to 256 KiB that a `Content-Length` announced are received, and the connection is kept. For more, for chunks,
    /// and for what waits for `100 Continue`, the answer says `Connection: close`, and nothing follows it; what comes
    /// within [`Timeouts::discard`] and this bound is received until the client closes. HTTP/1 only: over HTTP/2 the
    /// request is reset with `NO_ERROR` after the answer.
    pub discarded_body: u64,
    /// The requests that an HTTP/2 peer may have open at once. 100.
    pub streams: u32,
    /// The requests that all HTTP/2 peers together may have open at once. 4,096. Each may have a file open, and holds
    /// one piece of its answer. Beyond that they wait, see [`Timeouts::queue`], as many again at most; and connections
    /// whose clients have neither sent nor taken anything for 5 s end, those with the most such requests first.
    pub all_streams: usize,
}

impl Default for Limits {
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
