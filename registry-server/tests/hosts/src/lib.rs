//! A client that pushes and pulls, on the standard library alone: it shares no code with the registry.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Content of the blob that is pushed, and its digest.
const BLOB: &str = "{}";
const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Maximum wait for a server, which is not slow but broken then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body.
    pub body: String,
}

impl Answer {
    /// Returns the value of a header.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head)).1
    }
}

/// Sends a request on a connection of its own.
///
/// # Panics
///
/// If there is no answer.
pub fn request(server: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    let mut connection = TcpStream::connect(server).expect("the server accepts connections");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("it is not zero");
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("the server reads");
    connection.write_all(body.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect("the server answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the answer is HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("the answer has a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Pushes an image to a registry whose paths begin with `prefix`, and pulls it.
///
/// # Panics
///
/// If either fails.
pub fn push_and_pull(server: SocketAddr, prefix: &str) {
    let repository = format!("{prefix}/v2/team/app");

    let opened = request(server, "POST", &format!("{repository}/blobs/uploads/"), "");
    assert_eq!(opened.status, 202, "{opened:?}");
    let upload = format!("{}?digest={DIGEST}", opened.header("location"));
    let pushed = request(server, "PUT", &upload, BLOB);
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let pulled = request(server, "GET", pushed.header("location"), "");
    assert_eq!((pulled.status, &*pulled.body), (200, BLOB), "{pulled:?}");

    let manifest = manifest();
    let tag = format!("{repository}/manifests/v1");
    let pushed = request(server, "PUT", &tag, &manifest);
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let pulled = request(server, "GET", &tag, "");
    assert_eq!((pulled.status, pulled.body), (200, manifest));
}

/// Returns a manifest of the blob.
pub fn manifest() -> String {
    let blob = format!(
        r#"{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{DIGEST}","size":{}}}"#,
        BLOB.len()
    );
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{blob},"layers":[{blob}]}}"#
    )
}
