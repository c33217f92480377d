//! One request at a time, without a runtime.

use bytes::Bytes;
use http::{Request, StatusCode};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Maximum time for one answer; a server that starts may accept a request and not answer it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a request, and returns the status and the whole answer.
pub(crate) fn send(server: SocketAddr, request: &Request<Bytes>) -> io::Result<(StatusCode, String)> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let (method, length) = (request.method(), request.body().len());
    let mut message = format!(
        "{method} {target} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    )
    .into_bytes();
    for (name, value) in request.headers() {
        message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    message.extend(b"\r\n");
    message.extend(request.body());

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
