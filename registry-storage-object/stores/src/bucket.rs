//! Requests that `object_store` has not: making a bucket, looking if a server stores anything, and listing multipart uploads.

use crate::{keys::Keys, plain, xml};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use std::{io, net::SocketAddr};

/// Makes a bucket. One that exists already is kept.
pub(crate) fn create(server: SocketAddr, keys: &Keys, bucket: &str) -> io::Result<()> {
    let (status, answer) = put(server, keys, &format!("/{bucket}"), Bytes::new())?;
    match status {
        StatusCode::OK | StatusCode::CONFLICT => Ok(()),
        _ => Err(io::Error::other(format!(
            "cannot make the bucket {bucket}: {status}, {answer}"
        ))),
    }
}

/// Stores a small object, which a server that has just started may refuse.
pub(crate) fn store(server: SocketAddr, keys: &Keys, bucket: &str, key: &str) -> io::Result<()> {
    match put(
        server,
        keys,
        &format!("/{bucket}/{key}"),
        Bytes::from_static(b"1"),
    )? {
        (StatusCode::OK, _) => Ok(()),
        (status, answer) => Err(io::Error::other(format!(
            "cannot store {key} in {bucket}: {status}, {answer}"
        ))),
    }
}

/// Returns the keys of the multipart uploads that are open, at most 1000.
pub(crate) fn multiparts(server: SocketAddr, keys: &Keys, bucket: &str) -> io::Result<Vec<String>> {
    let (status, answer) = send(
        server,
        keys,
        Method::GET,
        &format!("/{bucket}?uploads="),
        Bytes::new(),
    )?;
    if status != StatusCode::OK {
        let message = format!("cannot list the multipart uploads of {bucket}: {status}, {answer}");
        return Err(io::Error::other(message));
    }
    let uploads = xml::contents(&answer, "Upload");
    let keys = uploads.iter().flat_map(|upload| xml::contents(upload, "Key"));
    Ok(keys.map(xml::unescape).collect())
}

fn put(server: SocketAddr, keys: &Keys, path: &str, body: Bytes) -> io::Result<(StatusCode, String)> {
    send(server, keys, Method::PUT, path, body)
}

/// Sends a signed request, and returns the status and the rest of the answer.
fn send(
    server: SocketAddr,
    keys: &Keys,
    method: Method,
    path: &str,
    body: Bytes,
) -> io::Result<(StatusCode, String)> {
    let unsigned = Request::builder()
        .method(method)
        .uri(format!("http://{server}{path}"))
        .body(body)
        .map_err(io::Error::other)?;
    plain::send(server, &keys.sign(&unsigned)?)
}
