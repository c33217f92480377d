//! Faults of the connection and of the bytes on it.

use crate::tap::{gate::Gate, side::Side};
use std::{fmt, num::NonZeroU64};

/// An end of the connection, created by [`cut`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Cut {
    pub(super) side: Side,
    pub(super) after: u64,
    pub(super) reset: bool,
}

/// Cuts the connection: no more bytes of the request pass, or none of the answer.
///
/// The client reads the end of the stream (FIN). Bytes that it has sent and that have not passed are lost.
///
/// ```
/// use registry_test::{fault::{GET, cut, on}, tap::Side::Response};
///
/// // Each blob breaks off once, with a reset, after 1000 bytes.
/// let rule = (on(GET).blob().each_first(), cut(Response).after(1000).reset());
/// ```
pub const fn cut(side: Side) -> Cut {
    Cut {
        side,
        after: 0,
        reset: false,
    }
}

impl Cut {
    /// Lets so many bytes of the body pass first.
    pub const fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// Ends the connection with a reset (RST): the client gets an error such as `ECONNRESET`. Bytes that the client has
    /// not received yet may be lost.
    pub const fn reset(self) -> Self {
        Self { reset: true, ..self }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut({:?})", self.side)?;
        after(self.after, f)?;
        f.write_str(if self.reset { ".reset()" } else { "" })
    }
}

/// A pause in which the connection stays open, created by [`stall`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Stall {
    pub(in crate::tap) side: Side,
    pub(in crate::tap) after: u64,
    pub(in crate::tap) gate: Gate,
    /// The gate is one of the test, which opens it.
    pub(in crate::tap) until: bool,
}

/// Stops the bytes of one side without closing the connection, as a network without a route does.
///
/// It lasts until the rule's [gate](crate::tap::Handle::gate) opens, and for at most a minute. Then the connection is closed.
/// Without [`until`](Stall::until), it also ends when the client leaves or closes its side. A client that sends a request
/// with a body is seen to leave only if it resets the connection.
pub fn stall(side: Side) -> Stall {
    Stall {
        side,
        after: 0,
        gate: Gate::new(),
        until: false,
    }
}

impl Stall {
    /// Lets so many bytes of the body pass first.
    pub const fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// Lasts until this gate opens, also if the client sends no more.
    pub fn until(mut self, gate: &Gate) -> Self {
        self.gate = gate.clone();
        self.until = true;
        self
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stall({:?})", self.side)?;
        after(self.after, f)?;
        f.write_str(if self.until { ".until(gate)" } else { "" })
    }
}

fn after(after: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match after {
        0 => Ok(()),
        after => write!(f, ".after({after})"),
    }
}

/// A slow network, created by [`slow`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Slow(pub(in crate::tap) NonZeroU64);

/// Limits the bodies of an exchange, in both directions, to so many bytes per second.
///
/// # Panics
///
/// If the rate is 0: that is a [`stall`].
#[track_caller]
pub const fn slow(bytes_per_second: u64) -> Slow {
    let Some(rate) = NonZeroU64::new(bytes_per_second) else {
        panic!(
            "`slow(0)` passes nothing: use `stall(Request)` or `stall(Response)`, or a rate of at least 1"
        );
    };
    Slow(rate)
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow({})", self.0)
    }
}
