//! `http.relativeurls: false`: makes absolute links with the scheme and host that the client used.
//!
//! The algorithm is that of registry:2: a valid `Forwarded` counts, else `X-Forwarded-Proto` and `X-Forwarded-Host`,
//! else the request itself. The first item of a list counts.
//!
//! Unlike with registry:2, the headers only count if the peer is believed, and the scheme must be http or https. A link
//! without a known host stays relative.

use crate::{admission::Peer, proxies::ProxyWarnings};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header, uri::Authority},
};
use registry_core::protocol::Links;
use std::sync::Arc;

/// Adds a [`Links`] to every request.
#[derive(Clone, Debug)]
pub(crate) struct LinksFromRequest {
    prefix: Arc<str>,
    warnings: Arc<ProxyWarnings>,
}

impl LinksFromRequest {
    pub(crate) fn new(prefix: &str, warnings: Arc<ProxyWarnings>) -> Self {
        Self {
            prefix: prefix.into(),
            warnings,
        }
    }

    pub(crate) async fn add(State(this): State<Self>, mut request: Request) -> Request {
        let own_host = request.uri().authority().map(ToString::to_string);
        let peer = request.extensions().get::<Peer>().copied();
        let believed = peer.is_some_and(|peer| peer.believed);
        if let (Some(peer), false) = (peer, believed)
            && TOLD_IN.iter().any(|name| request.headers().contains_key(name))
        {
            this.warnings.unbelieved(peer.address);
        }
        if let Some(base) = base(request.headers(), own_host.as_deref(), believed)
            && let Ok(links) = Links::below(&format!("{base}{}", this.prefix))
        {
            request.extensions_mut().insert(links);
        }
        request
    }
}

/// Headers in which proxies report the scheme and host that a client used.
const TOLD_IN: [HeaderName; 3] = [header::FORWARDED, PROTO, HOST];
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Returns the scheme and host that a client used. `own_host` is the host of an HTTP/2 request.
fn base(headers: &HeaderMap, own_host: Option<&str>, believed: bool) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let first = |name| text(name).and_then(|list| list.split(',').next()).map(str::trim);
    let mut scheme = None;
    let mut host = text(header::HOST).or(own_host);
    match text(header::FORWARDED).and_then(forwarded) {
        _ if !believed => {}
        Some(forwarded) => {
            scheme = forwarded.proto;
            host = forwarded.host.or(host);
        }
        None => {
            scheme = scheme.or_else(|| first(PROTO));
            host = first(HOST).or(host);
        }
    }
    let host: Authority = host?.parse().ok()?;
    let scheme = match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    // A user in front of the host has no business in a link.
    (!host.as_str().contains('@')).then(|| format!("{scheme}://{host}"))
}

struct Forwarded<'a> {
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

/// Parses the first element of `Forwarded` (RFC 7239); `None` if it is malformed, for example a port outside of quotes.
fn forwarded(value: &str) -> Option<Forwarded<'_>> {
    let mut forwarded = Forwarded {
        proto: None,
        host: None,
    };
    for pair in value.split(',').next()?.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted
                .strip_suffix('"')
                .filter(|text| !text.contains(['"', '\\']))?,
            None if value.contains([':', '[', ' ']) => return None,
            None => value,
        };
        match name.to_ascii_lowercase().as_str() {
            "proto" => forwarded.proto = Some(value),
            "host" => forwarded.host = Some(value),
            _ => {}
        }
    }
    Some(forwarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn base_of(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        base(&headers, None, true)
    }

    #[test]
    fn a_link_begins_with_what_the_client_used() {
        let host = ("host", "registry:5000");
        for (headers, expected) in [
            (&[host][..], Some("http://registry:5000")),
            (
                &[host, ("x-forwarded-proto", "https")],
                Some("https://registry:5000"),
            ),
            (
                &[host, ("x-forwarded-proto", "https, http")],
                Some("https://registry:5000"),
            ),
            (
                &[host, ("x-forwarded-host", "a.example:8443, b.example")],
                Some("http://a.example:8443"),
            ),
            (
                &[host, ("forwarded", "for=1.2.3.4;proto=https;host=f.example")],
                Some("https://f.example"),
            ),
            (
                &[host, ("forwarded", "host=\"f.example:8443\", host=g")],
                Some("http://f.example:8443"),
            ),
            (
                &[
                    host,
                    ("forwarded", "proto=https"),
                    ("x-forwarded-host", "x.example"),
                ],
                Some("https://registry:5000"),
            ),
            // A port outside of quotes makes it unreadable, and the others count.
            (
                &[host, ("forwarded", "host=f:1"), ("x-forwarded-proto", "https")],
                Some("https://registry:5000"),
            ),
            (
                &[host, ("x-forwarded-proto", "gopher")],
                Some("http://registry:5000"),
            ),
            (&[], None),
            (&[host, ("x-forwarded-host", "evil/path")], None),
            (&[host, ("x-forwarded-host", "user@evil")], None),
        ] {
            assert_eq!(base_of(headers).as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn who_is_not_believed_says_nothing_but_its_own_host() {
        let told = [
            ("host", "registry:5000"),
            ("forwarded", "proto=https;host=f.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "x.example"),
        ];
        let headers = told
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(
            base(&headers, None, false).as_deref(),
            Some("http://registry:5000")
        );
    }
}
