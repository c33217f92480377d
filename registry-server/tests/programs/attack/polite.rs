//! A polite client: it opens a connection in each round, as a new client does, pushes and pulls, and retries after a
//! refusal for lack of room.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    http::connect,
    image::{noise, sha256},
    server::closing,
};

/// Size of the blobs that are pushed.
pub(super) const BLOB: usize = 300_000;

pub(super) struct Polite(pub(super) SocketAddr);

impl Polite {
    /// Pushes and pulls a blob, expects every promised answer, and returns the blob's path.
    pub(super) fn pushes_and_pulls(&self, content: u64) -> String {
        let blob = noise(content, BLOB);
        let digest = sha256(&blob).to_string();
        let target = format!("/v2/polite/app/blobs/{digest}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.round(&blob, &digest, &target).expect("the server is there") {
            assert!(
                Instant::now() < deadline,
                "the server has no room for a new client"
            );
        }
        target
    }

    /// Returns false if there was no room: the connection was refused, or closed between two requests.
    fn round(&self, blob: &[u8], digest: &str, target: &str) -> io::Result<bool> {
        let stream = connect(self.0);
        let Some(opened) = exchange(&stream, "POST", "/v2/polite/app/blobs/uploads/", b"")? else {
            return Ok(false);
        };
        assert_eq!(opened.status, 202);
        let session = opened.location.expect("a session has a place");
        let Some(put) = exchange(&stream, "PUT", &closing(&session, digest), blob)? else {
            return Ok(false);
        };
        assert_eq!(put.status, 201);
        let Some(got) = exchange(&stream, "GET", target, b"")? else {
            return Ok(false);
        };
        assert_eq!(got.status, 200);
        assert!(got.body == blob, "what was pushed is pulled");
        Ok(true)
    }
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

/// Sends a request and reads the answer; `None` if there is no room.
fn exchange(stream: &TcpStream, method: &str, target: &str, body: &[u8]) -> io::Result<Option<Answer>> {
    match try_exchange(stream, method, target, body) {
        Ok(answer) if answer.status == 503 => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

fn try_exchange(mut stream: &TcpStream, method: &str, target: &str, body: &[u8]) -> io::Result<Answer> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    // One that is refused may be closed before it has taken everything; the answer counts.
    let sent = stream.write_all(&[head.as_bytes(), body].concat());
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let status = lines[0].split(' ').nth(1).and_then(|status| status.parse().ok());
    let header = |name: &str| {
        let found = lines.iter().filter_map(|line| line.split_once(": "));
        let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let length = header("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Answer {
        status: status.expect("an answer has a status"),
        location: header("location"),
        body,
    })
}
