//! Answers by which a busy store turns a request away, before it acts on it.

use super::foreign::is_marked;
use http::{HeaderMap, StatusCode};

/// Codes of such answers, of S3 and Azure.
const CODES: [&str; 2] = ["<Code>SlowDown</Code>", "<Code>ServerBusy</Code>"];

/// Text of a store that lacks some of its disks. It may have written to the others.
const PARTIAL: &str = "Resource requested is un";

/// Returns true if the store itself says that it has too many requests. Other failures may come after an effect.
pub(super) fn is_turned_away(status: StatusCode, headers: &HeaderMap, text: &str) -> bool {
    let is_busy = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => CODES.iter().any(|code| text.contains(code)),
        _ => false,
    };
    is_busy && is_marked(headers) && !text.contains(PARTIAL)
}
