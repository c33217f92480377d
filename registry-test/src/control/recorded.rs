//! Recorded requests as JSON.

use crate::{Kind, tap::Exchange, tap::Side};
use http::HeaderMap;
use registry_core::{protocol::Endpoint, reference::Reference};
use serde_json::{Map, Value, json};

/// Returns one request, and its answer.
pub(super) fn json(exchange: &Exchange) -> Value {
    let operation =
        Kind::of(exchange).map(|kind| format!("{} {kind}", exchange.method.as_str().to_ascii_lowercase()));
    let (mut reference, mut digest) = (None, None);
    match exchange.operation.as_ref().map(|operation| operation.endpoint()) {
        Some(Endpoint::Manifest(_, named)) => {
            if let Reference::Digest(named) = &named {
                digest = Some(named.to_string());
            }
            reference = Some(named.to_string());
        }
        Some(Endpoint::Blob(_, named) | Endpoint::Referrers(_, named)) => digest = Some(named.to_string()),
        _ => {}
    }
    json!({
        "method": exchange.method.as_str(),
        "target": exchange.target,
        "operation": operation,
        "repository": exchange.repository().map(|name| name.as_str().to_owned()),
        "reference": reference,
        "digest": digest,
        "headers": headers(&exchange.headers),
        "sent": exchange.sent,
        "status": exchange.status(),
        "response_headers": exchange.reply.as_ref().map(|reply| headers(&reply.headers)),
        "received": exchange.reply.as_ref().map_or(0, |reply| reply.received),
        "cut": exchange.cut.map(side),
    })
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Request => "request",
        Side::Response => "response",
    }
}

/// Returns headers by their names in lower case. Several lines of one name are one text, with commas between.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let text = |name| {
        let lines = headers.get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        lines.join(", ")
    };
    headers
        .keys()
        .map(|name| (name.to_string(), text(name).into()))
        .collect()
}
