//! Requests that `object_store` has not: making a bucket, and looking if a server stores anything.

use crate::keys::Keys;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Maximum time for one answer; a server that starts may accept a request and not answer it.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Sends a signed request, and returns the status and the rest of the answer.
fn put(server: SocketAddr, keys: &Keys, path: &str, body: Bytes) -> io::Result<(StatusCode, String)> {
    let unsigned = Request::builder()
        .method(Method::PUT)
        .uri(format!("http://{server}{path}"))
        .body(body)
        .map_err(io::Error::other)?;
    let signed = keys.sign(&unsigned)?;
    let length = signed.body().len();
    let mut message =
        format!("PUT {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-length: {length}\r\n")
            .into_bytes();
    for (name, value) in signed.headers() {
        message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    message.extend(b"\r\n");
    message.extend(signed.body());

    let mut connection = TcpStream::connect_timeout(&server, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(&message)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status =
        status.ok_or_else(|| io::Error::other(format!("{server} answers without a status: {answer}")))?;
    Ok((status, answer))
}
