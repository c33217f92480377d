//! A minimal HTTP/1.1 client for these tests: blocking, one connection per request, without interpretation.
//!
//! The content of a registry is compared byte for byte, so no client library stands between the socket and the test.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Time that a single read or write may stall before the test fails instead of hanging.
const STALL: Duration = Duration::from_secs(60);

/// All types of manifests. registry:2 answers 404 or converts a manifest whose type is not accepted.
pub(crate) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Complete answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the first value of a header; the name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(present, _)| present == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns all values of a header; the name is in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.lines()
            .filter_map(|(present, value)| (present == name).then_some(value))
            .collect()
    }

    /// Returns the header's lines, their names in lower case.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the answer if it has this status; otherwise fails the test with the body.
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "the answer was {}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// Returns the path and query of `Location`, which may be absolute or relative.
    pub(crate) fn location(&self) -> String {
        let location = self.header("location").expect("the answer has a Location");
        match location.split_once("://") {
            Some((_, rest)) => rest[rest.find('/').expect("an absolute Location has a path")..].to_owned(),
            None => location.to_owned(),
        }
    }
}

/// Sends one request and reads the whole answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = Request::open(address, method, target, headers, body.len());
    request.send(body);
    request.finish()
}

/// Sends one request to a server that may die meanwhile. The error says that there is no whole answer.
pub(crate) fn try_request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    try_request_within(STALL, address, method, target, headers, body)
}

/// Sends one request to a server that may stop anywhere, with a limit for each read and write.
pub(crate) fn try_request_within(
    stall: Duration,
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut request = Request::try_open(address, method, target, headers, body.len())?;
    let stream = request.stream.get_mut();
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))?;
    stream.write_all(body)?;
    request.try_finish()
}

/// Opens a connection with the time limits of these tests on each read and write.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).expect("the server accepts connections")
}

fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    Ok(stream)
}

/// Request whose body the test sends in pieces.
pub(crate) struct Request {
    stream: BufReader<TcpStream>,
    method: String,
}

impl Request {
    /// Connects and sends the head, which announces `length` bytes of body.
    pub(crate) fn open(
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Self {
        Self::try_open(address, method, target, headers, length).expect("the server accepts requests")
    }

    fn try_open(
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> io::Result<Self> {
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut request = Self {
            stream: BufReader::new(try_connect(address)?),
            method: method.to_owned(),
        };
        request.stream.get_mut().write_all(head.as_bytes())?;
        Ok(request)
    }

    /// Sends the next bytes of the body.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("the server reads what it was announced");
    }

    /// Waits for `100 Continue`: the server has begun to read the body of a request with `Expect`.
    pub(crate) fn wait_for_continue(&mut self) {
        let (status, _) = self.head().expect("the server answers in time");
        assert_eq!(status, 100, "the server asks for the body");
    }

    /// Reads the answer to its end.
    pub(crate) fn finish(self) -> Response {
        self.try_finish()
            .expect("the server answers in time, and sends the body that it announced")
    }

    fn try_finish(mut self) -> io::Result<Response> {
        let (status, headers) = loop {
            let (status, headers) = self.head()?;
            if status != 100 {
                break (status, headers);
            }
        };
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        response.body = self.read_body(&response)?;
        Ok(response)
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                assert!(line.is_empty(), "not a header line: {line:?}");
                return Ok((status, headers));
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn read_body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.method == "HEAD" {
            return Ok(body);
        }
        if head.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = u64::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                self.read_exactly(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match head.header("content-length") {
            Some(length) => self.read_exactly(length.parse().map_err(io::Error::other)?, &mut body)?,
            None => _ = self.stream.read_to_end(&mut body)?,
        }
        Ok(body)
    }

    fn read_exactly(&mut self, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let read = self.stream.by_ref().take(length).read_to_end(into)?;
        if read as u64 == length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
