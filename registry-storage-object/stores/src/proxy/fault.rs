//! [`Fault`]: a deviation that the proxy causes.

use super::{Gate, Repeat};
use http::StatusCode;

/// A deviation that the proxy causes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Holds the request at the gate. The store receives it when the gate opens, even if the client has given up.
    Delay(Gate),
    /// Holds the answer at the gate. The request has taken effect.
    DelayAnswer(Gate),
    /// Answers with this status. The store receives nothing.
    Answer(StatusCode),
    /// Answers with this status instead of the store's. The request has taken effect.
    AnswerAfterEffect(StatusCode),
    /// Closes the connection without an answer. The store receives nothing.
    Cut,
    /// Closes the connection without an answer. The request has taken effect.
    CutAfterEffect,
    /// Records the request, which the test can send again.
    Repeat(Repeat),
    /// Removes the keys and common prefixes that contain one of these texts from a listing.
    OmitKeys(Vec<String>),
    /// Removes the conditions of the request, as a store does that ignores them. If they are signed, the proxy signs
    /// the request anew, for the user of [`S3Server`](crate::S3Server).
    IgnoreConditions,
}
