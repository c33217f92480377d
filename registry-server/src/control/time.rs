//! Times as text.

use std::time::SystemTime;

/// Returns a time as RFC 3339, without fractions of a second.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses a time in RFC 3339, as [`rfc3339`] writes it.
pub(crate) fn parse_rfc3339(text: &str) -> Result<SystemTime, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    let time = time.map_err(|error| format!("{text}: {error}; a time is as in 2026-05-01T14:30:00Z"))?;
    Ok(time.into())
}
