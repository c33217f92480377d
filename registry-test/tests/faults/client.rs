//! A client that is a plain socket.

use registry_test::TestRegistry;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// A blob that is longer than the positions of the faults.
pub(crate) const BLOB: &[u8] = &[b'x'; 20_000];
/// A manifest without content.
pub(crate) const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// The end of a connection, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// The bytes that a client has received until the end of its connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    fn parts(&self) -> (&str, &[u8]) {
        let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return ("", &[]);
        };
        (str::from_utf8(&self.bytes[..at]).unwrap(), &self.bytes[at + 4..])
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.parts().0.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self
            .parts()
            .0
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let mut fields = fields.filter(|(present, _)| present.eq_ignore_ascii_case(name));
        fields.next().map(|(_, value)| value.trim())
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.parts().1
    }
}

/// Sends a request on a connection of its own, and returns everything received until the connection ends.
pub(crate) fn send(address: SocketAddr, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    // A reset may arrive before the request is written.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    receive(&mut stream)
}

/// Receives until the connection ends.
pub(crate) fn receive(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => End::Fin,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{error}"),
    };
    Answer { bytes, end }
}

pub(crate) fn get(registry: &TestRegistry, target: &str) -> Answer {
    send(registry.addr(), "GET", target, "", b"")
}

/// Puts the manifest as `app:v1`.
pub(crate) fn put_manifest(registry: &TestRegistry) -> Answer {
    let media_type = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";
    send(
        registry.addr(),
        "PUT",
        "/v2/app/manifests/v1",
        media_type,
        MANIFEST.as_bytes(),
    )
}

/// Puts a blob into `app` without a client, and returns its path.
pub(crate) fn plant_blob(registry: &TestRegistry, content: &[u8]) -> String {
    let push = format!("/v2/app/blobs/uploads/?digest={}", digest(content));
    assert_eq!(
        send(registry.addr(), "POST", &push, "", content).status(),
        Some(201)
    );
    format!("/v2/app/blobs/{}", digest(content))
}

pub(crate) fn digest(content: &[u8]) -> registry_core::Digest {
    registry_core::Digest::of(registry_core::Algorithm::Sha256, content)
}
