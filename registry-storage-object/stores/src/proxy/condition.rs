//! Removes the conditions of a request, although they may be signed, and checks them in the place of a store.

use crate::{call::CONDITIONS, http1, keys::KEYS};
use bytes::Bytes;
use http::{Method, Request, Uri, header, request::Parts};
use std::net::SocketAddr;

/// Asks the store for the object, and returns true if the conditions of S3 hold that a request has.
pub(super) async fn holds(store: SocketAddr, parts: &Parts) -> bool {
    let mut look = Request::new(Bytes::new());
    *look.method_mut() = Method::HEAD;
    *look.uri_mut() = Uri::try_from(parts.uri.path()).expect("the path of a URL is a URL");
    if let Some(host) = parts.headers.get(header::HOST) {
        look.headers_mut().insert(header::HOST, host.clone());
    }
    let Ok(found) = http1::send(store, sign(look)).await else {
        return false;
    };
    let (is_there, tag) = (found.status().is_success(), found.headers().get(header::ETAG));
    let expected = parts.headers.get(header::IF_MATCH);
    let is_expected = expected.is_none_or(|expected| is_there && tag == Some(expected));
    is_expected && !(is_there && parts.headers.contains_key(header::IF_NONE_MATCH))
}

/// Returns the request without conditions. If one of them was signed, the request is signed anew.
pub(super) fn without(request: Request<Bytes>) -> Request<Bytes> {
    let signed = CONDITIONS.iter().any(|name| is_signed(&request, name));
    let mut bare = request;
    for name in CONDITIONS {
        bare.headers_mut().remove(name);
    }
    if signed { sign(bare) } else { bare }
}

/// Returns true if a request has this header, and its signature is over it.
fn is_signed(request: &Request<Bytes>, name: &str) -> bool {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let in_header = authorization
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("SignedHeaders="))
        .and_then(|(_, names)| names.split(',').next())
        .is_some_and(|names| names.split(';').any(|signed| signed == name));
    let in_query = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once("SignedHeaders="))
        .any(|(_, names)| {
            names
                .split("%3B")
                .flat_map(|part| part.split(';'))
                .any(|signed| signed == name)
        });
    request.headers().contains_key(name) && (in_header || in_query)
}

/// Replaces the signature of a request.
fn sign(request: Request<Bytes>) -> Request<Bytes> {
    let (mut parts, body) = request.into_parts();
    for name in [
        "authorization",
        "x-amz-date",
        "x-amz-content-sha256",
        "connection",
    ] {
        parts.headers.remove(name);
    }
    let unsigned: Vec<_> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-"))
        .collect();
    let host = parts.headers.remove(header::HOST);
    let authority = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let mut target = parts.uri.path().to_owned();
    if !unsigned.is_empty() {
        target.push('?');
        target.push_str(&unsigned.join("&"));
    }
    parts.uri = format!("http://{authority}{target}")
        .parse()
        .expect("the URL of a request without some parameters is a URL");
    let mut signed = KEYS
        .sign(&Request::from_parts(parts, body))
        .expect("a request that was signed can be signed");
    *signed.uri_mut() = target.parse::<Uri>().expect("the target of a request is a URI");
    if let Some(host) = host {
        signed.headers_mut().insert(header::HOST, host);
    }
    signed
}
