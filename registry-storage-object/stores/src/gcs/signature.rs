//! Credentials of a request: a bearer token, or a signature that is right and in time.
//!
//! <https://cloud.google.com/storage/docs/authentication/canonical-requests>

use super::{account::Account, answer::Refusal};
use crate::call::Query;
use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Request, header};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, SystemTime};

/// Host in every signature of `object_store`, whichever host it sends the request to.
const SIGNED_HOST: &str = "storage.googleapis.com";

const ALGORITHM: &str = "GOOG4-RSA-SHA256";

/// Characters that a canonical query encodes.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Checks the credentials of a request.
pub(super) fn check(request: &Request<Bytes>, account: &Account, now: SystemTime) -> Result<(), Refusal> {
    let query = Query(request.uri().query().unwrap_or_default());
    let Some(signature) = query.get("X-Goog-Signature") else {
        let bearer = request.headers().get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok());
        return match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if !token.is_empty() => Ok(()),
            _ => Err(Refusal::UNKNOWN),
        };
    };
    let parameter = |name| query.get(name).ok_or(Refusal::INVALID);
    let (date, names) = (parameter("X-Goog-Date")?, parameter("X-Goog-SignedHeaders")?);
    let (_account, scope) = parameter("X-Goog-Credential")?
        .split_once('/')
        .map(|(account, scope)| (account.to_owned(), scope.to_owned()))
        .ok_or(Refusal::INVALID)?;
    let canonical = canonical(request, &query, &names).ok_or(Refusal::SIGNATURE)?;
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let signed = format!("{ALGORITHM}\n{date}\n{scope}\n{hashed}");
    let signature = bytes_of(&signature).ok_or(Refusal::SIGNATURE)?;
    if !account.has_signed(&signed, &signature) {
        return Err(Refusal::SIGNATURE);
    }
    let validity = parameter("X-Goog-Expires")?
        .parse()
        .map_err(|_invalid| Refusal::INVALID)?;
    let end = time(&date).ok_or(Refusal::INVALID)? + Duration::from_secs(validity);
    if now < end { Ok(()) } else { Err(Refusal::EXPIRED) }
}

/// Returns the text that is hashed for a signature; `None` if a signed header is missing.
fn canonical(request: &Request<Bytes>, query: &Query<'_>, names: &str) -> Option<String> {
    let encoded = |text: &str| utf8_percent_encode(text, &ENCODED).to_string();
    let mut pairs: Vec<_> = query
        .pairs()
        .filter(|(name, _)| name != "X-Goog-Signature")
        .map(|(name, value)| (encoded(&name), encoded(&value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let headers: Option<Vec<_>> = names
        .split(';')
        .map(|name| match name {
            "host" => Some(format!("host:{SIGNED_HOST}")),
            _ => Some(format!(
                "{name}:{}",
                request.headers().get(name)?.to_str().ok()?.trim()
            )),
        })
        .collect();
    Some(format!(
        "{}\n{}\n{}\n{}\n\n{names}\nUNSIGNED-PAYLOAD",
        request.method(),
        request.uri().path(),
        pairs.join("&"),
        headers?.join("\n"),
    ))
}

fn time(date: &str) -> Option<SystemTime> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let date: Timestamp = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(date.into())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}
