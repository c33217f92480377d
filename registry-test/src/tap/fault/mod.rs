//! [`Fault`]: a deviation from what a healthy registry and a healthy network do.

mod bytes;
mod calls;
mod headers;
mod status;
mod token;

pub use self::{
    bytes::{Cut, Slow, Stall, cut, slow, stall},
    calls::{
        drop_header, location, lost_answer, redirect, refuse, set_header, token, wrong_bytes, wrong_length,
    },
    headers::{Location, Redirect},
    status::{Status, status},
    token::Token,
};

use super::side::Side;
use http::{HeaderName, HeaderValue};
use std::fmt;

/// A fault that is injected into an exchange.
///
/// A position (`after`) counts bytes of the body, without the framing of chunks. Position 0 is before the head: a
/// request that is cut there never reaches the registry. An answer that is cut there never reaches the client, though
/// the registry has acted. A body without a byte beyond the position passes whole, and the fault does not happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The client gets another answer, and the registry no request: [`status`].
    Status(Status),
    /// The connection ends, in an orderly way: [`cut`].
    Cut {
        /// The half to cut.
        side: Side,
        /// Number of bytes of the body that still pass.
        after: u64,
    },
    /// The connection is reset: [`cut`] with [`reset`](Cut::reset).
    Reset {
        /// The half to cut.
        side: Side,
        /// Number of bytes of the body that still pass.
        after: u64,
    },
    /// No more bytes pass, and the connection stays open: [`stall`].
    Stall(Stall),
    /// Bodies pass slowly: [`slow`].
    Slow(Slow),
    /// The registry has acted, and the client gets no answer: [`lost_answer`].
    LostAnswer,
    /// The connection is reset before the registry gets the request: [`refuse`].
    Refuse,
    /// A byte of the answer's body is another one: [`wrong_bytes`].
    WrongBytes,
    /// The answer announces a wrong length: [`wrong_length`].
    WrongLength(i64),
    /// Every line of this header is missing from the answer: [`drop_header`].
    RemoveHeader(HeaderName),
    /// The answer has this line in place of all lines of that name: [`set_header`].
    SetHeader(HeaderName, HeaderValue),
    /// The header `Range` of the answer, which is that of an upload session, has the unit `bytes=`.
    RangeUnit,
    /// The answer has another form of `Location`: [`location`].
    Location(Location),
    /// The client is redirected: [`redirect`].
    Redirect(Redirect),
    /// The login by tokens fails: [`token`].
    Token(Token),
}

impl From<Cut> for Fault {
    fn from(cut: Cut) -> Self {
        let Cut { side, after, reset } = cut;
        if reset {
            Self::Reset { side, after }
        } else {
            Self::Cut { side, after }
        }
    }
}

impl From<Stall> for Fault {
    fn from(stall: Stall) -> Self {
        Self::Stall(stall)
    }
}

impl From<Slow> for Fault {
    fn from(slow: Slow) -> Self {
        Self::Slow(slow)
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Prints the call that makes the fault.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Cut { side, after } => cut(*side).after(*after).fmt(f),
            Self::Reset { side, after } => cut(*side).after(*after).reset().fmt(f),
            Self::Stall(stall) => stall.fmt(f),
            Self::Slow(slow) => slow.fmt(f),
            Self::LostAnswer => f.write_str("lost_answer()"),
            Self::Refuse => f.write_str("refuse()"),
            Self::WrongBytes => f.write_str("wrong_bytes()"),
            Self::WrongLength(by) => write!(f, "wrong_length({by})"),
            Self::RemoveHeader(name) => write!(f, "drop_header({:?})", name.as_str()),
            Self::SetHeader(name, value) => write!(f, "set_header({:?}, {value:?})", name.as_str()),
            Self::RangeUnit => f.write_str("Fault::RangeUnit"),
            Self::Location(form) => write!(f, "location({form:?})"),
            Self::Redirect(to) => write!(f, "redirect({to:?})"),
            Self::Token(fault) => write!(f, "token({fault:?})"),
        }
    }
}
