//! [`Fault`]: a deviation that the proxy causes.

use super::{Gate, Repeat};
use http::StatusCode;
use std::time::Duration;

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
    /// Answers with this status. The store receives the request when the gate opens.
    AnswerBeforeEffect(StatusCode, Gate),
    /// Closes the connection without an answer. The store receives nothing.
    Cut,
    /// Closes the connection without an answer. The request has taken effect.
    CutAfterEffect,
    /// Records the request, which the test can send again.
    Repeat(Repeat),
    /// Passes the request on, and again when the gate opens.
    Double(Gate),
    /// Removes the keys and common prefixes that contain one of these texts from a listing.
    OmitKeys(Vec<String>),
    /// Removes the conditions of the request, as a store does that ignores them. If they are signed, the proxy signs
    /// the request anew, for the user of [`S3Server`](crate::S3Server).
    IgnoreConditions,
    /// Checks the conditions itself when a request begins, and passes it on without them when its body is there, as a store
    /// does that looks before it writes.
    CheckEarly,
    /// Sets the date of the answer to that of a clock which is ahead by this time.
    WrongDate(Duration),
}
