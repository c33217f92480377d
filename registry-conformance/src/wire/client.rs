//! An HTTP/1.1 client that sends exactly the given bytes and reports exactly the received ones.
//!
//! A user agent corrects its requests and stops reading when writing fails. A black-box suite must do neither. This
//! client sends odd targets unchanged, announces bodies that it cuts, and holds a body open while another request
//! runs. It reads the answer to a body that was refused in the middle, and detects bytes that a HEAD must not have.
//! Each request has a connection of its own, so that no case can affect another.

use super::failure::Failure;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::{fmt::Write as _, io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// Maximum number of bytes read of an answer's head before the server is given up.
const MAX_HEAD: usize = 256 * 1024;

/// Size of the pieces in which a chunked body is sent.
const CHUNK: usize = 64 * 1024;

/// Maximum number of bytes of a body in a report.
const EXCERPT: usize = 600;

/// Target of the requests, and the headers that all of them carry.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// `host:port`, to connect to and for `Host`.
    authority: String,
    /// The path before `/v2/`, without a final slash.
    prefix: String,
    /// The value of `Authorization`.
    authorization: Option<String>,
    /// A safety net against servers that hang; no case depends on it.
    patience: Duration,
}

/// A request to send, byte for byte.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// No body, and no header for one.
    None,
    /// A body with `Content-Length`.
    Sized(Bytes),
    /// A body with `Transfer-Encoding: chunked`, and no length.
    Chunked(Bytes),
    /// The head announces this number of bytes; they are sent by hand, or not at all.
    Announced(usize),
}

/// An answer, with the request that it answers, for the report.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The request line and the headers as sent.
    pub(super) sent: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A request whose body is still being sent.
#[derive(Debug)]
pub(super) struct Exchange {
    sent: String,
    head_only: bool,
    patience: Duration,
    write: OwnedWriteHalf,
    reader: Reader,
}

impl Answer {
    /// Returns the failure to answer as expected.
    pub(super) fn fail(&self, expected: &str) -> Failure {
        let mut got = format!("HTTP/1.1 {}", self.status);
        for (name, value) in &self.headers {
            got.push_str(&format!(
                "\n{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if !self.body.is_empty() {
            let excerpt = self.body.get(..EXCERPT).unwrap_or(&self.body);
            got.push_str(&format!(
                "\n\n{}",
                String::from_utf8_lossy(excerpt).escape_debug()
            ));
            if excerpt.len() < self.body.len() {
                got.push_str(&format!("… ({} bytes)", self.body.len()));
            }
        }
        Failure::new(&self.sent, expected, &got)
    }
}

impl Client {
    /// Returns a client of the registry at `base`, in the form `http://host[:port][/prefix]`.
    pub(super) fn new(base: &str, user: Option<&str>, patience: Duration) -> Result<Self, String> {
        let rest = base
            .strip_prefix("http://")
            .ok_or_else(|| format!("{base:?} does not begin with http://"))?;
        let (authority, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(authority, path)| {
                (authority, format!("/{path}"))
            });
        if authority.is_empty() {
            return Err(format!("{base:?} names no host"));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            authority: if has_port {
                authority.to_owned()
            } else {
                format!("{authority}:80")
            },
            prefix: path.trim_end_matches('/').to_owned(),
            authorization: user.map(|user| format!("Basic {}", base64(user.as_bytes()))),
            patience,
        })
    }

    /// Returns the target of a path that begins with `/v2`.
    pub(super) fn target(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Returns the target of a `Location` or a link: a path, or an absolute URL of this very registry.
    pub(super) fn resolve(&self, location: &str) -> Option<String> {
        let path = location
            .strip_prefix("http://")
            .map_or(Some(location), |rest| rest.strip_prefix(self.authority.as_str()))?;
        path.starts_with('/').then(|| path.to_owned())
    }

    /// Sends a request and reads its answer, both at once: a server may answer before the body has ended.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let Exchange {
            sent,
            head_only,
            patience,
            mut write,
            mut reader,
        } = self.begin(request).await?;
        let body = request.body.clone();
        let writing = async {
            // A server may stop reading after its answer. Only the answer counts.
            let _ = write_body(&mut write, &body).await;
            write
        };
        let reading = reader.answer(&sent, head_only);
        let both = async { tokio::join!(writing, reading).1 };
        timeout(patience, both)
            .await
            .unwrap_or_else(|_| Err(silent(&sent)))
    }

    /// Sends the head of a request and leaves its body to be sent by hand.
    pub(super) async fn begin(&self, request: &Request) -> Result<Exchange, Failure> {
        let sent = self.head(request);
        let connecting = async {
            let mut stream = TcpStream::connect(&self.authority).await?;
            stream.set_nodelay(true)?;
            stream.write_all(format!("{sent}\r\n\r\n").as_bytes()).await?;
            Ok::<_, io::Error>(stream)
        };
        let stream = timeout(self.patience, connecting)
            .await
            .map_err(|_elapsed| silent(&sent))?
            .map_err(|error| Failure::transport(&sent, &format!("cannot connect: {error}")))?;
        let (read, write) = stream.into_split();
        Ok(Exchange {
            sent,
            head_only: request.method == "HEAD",
            patience: self.patience,
            write,
            reader: Reader {
                read,
                buffer: Vec::new(),
            },
        })
    }

    fn head(&self, request: &Request) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close",
            request.method, request.target, self.authority
        );
        let mut line = |name: &str, value: &str| {
            let _ = write!(head, "\r\n{name}: {value}");
        };
        if let Some(authorization) = &self.authorization {
            line("Authorization", authorization);
        }
        for (name, value) in &request.headers {
            line(name, value);
        }
        match &request.body {
            Body::None => {}
            Body::Sized(body) => line("Content-Length", &body.len().to_string()),
            Body::Chunked(_) => line("Transfer-Encoding", "chunked"),
            Body::Announced(length) => line("Content-Length", &length.to_string()),
        }
        head
    }
}

fn silent(sent: &str) -> Failure {
    Failure::transport(sent, "no answer within the time limit")
}

async fn write_body(write: &mut OwnedWriteHalf, body: &Body) -> io::Result<()> {
    match body {
        Body::None | Body::Announced(_) => Ok(()),
        Body::Sized(body) => write.write_all(body).await,
        Body::Chunked(body) => {
            for piece in body.chunks(CHUNK) {
                write_chunk(write, piece).await?;
            }
            write.write_all(b"0\r\n\r\n").await
        }
    }
}

async fn write_chunk(write: &mut OwnedWriteHalf, piece: &[u8]) -> io::Result<()> {
    write
        .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
        .await?;
    write.write_all(piece).await?;
    write.write_all(b"\r\n").await
}

impl Request {
    /// Returns a request without a body.
    pub(super) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// Adds a header; a name may come more than once.
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a body whose length is announced; an empty one sends `Content-Length: 0`.
    pub(super) fn sized(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Sized(body.into());
        self
    }

    /// Sets a body in chunked encoding, without a length.
    pub(super) fn chunked(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Chunked(body.into());
        self
    }

    /// Announces a body of this length, which [`Client::begin`] leaves to be sent.
    pub(super) fn announced(mut self, length: usize) -> Self {
        self.body = Body::Announced(length);
        self
    }

    /// Returns method and target, for the trace of a case.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl Exchange {
    /// Sends a part of the body.
    pub(super) async fn write(&mut self, part: &[u8]) -> Result<(), Failure> {
        let written = timeout(self.patience, self.write.write_all(part)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::transport(
                &self.sent,
                &format!("cannot send the body: {error}"),
            )),
            Err(_) => Err(silent(&self.sent)),
        }
    }

    /// Sends one piece of a body in chunked encoding.
    pub(super) async fn write_chunk(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
        self.write(&framed).await
    }

    /// Waits for `100 Continue`: from here on the server is reading the body.
    pub(super) async fn continued(&mut self) -> Result<(), Failure> {
        let head = timeout(self.patience, self.reader.head(&self.sent))
            .await
            .unwrap_or_else(|_| Err(silent(&self.sent)))?;
        if head.0 == StatusCode::CONTINUE {
            return Ok(());
        }
        Err(Failure::new(
            &self.sent,
            "100 Continue",
            &format!("status {}", head.0.as_u16()),
        ))
    }

    /// Reads the answer.
    pub(super) async fn answer(mut self) -> Result<Answer, Failure> {
        timeout(self.patience, self.reader.answer(&self.sent, self.head_only))
            .await
            .unwrap_or_else(|_| Err(silent(&self.sent)))
    }

    /// Ends the sending side in the middle of the body, and waits until the server has closed the connection.
    pub(super) async fn cut(mut self) -> Result<(), Failure> {
        let gone = async {
            // An answer and a reset are ignored: only the end of the connection matters.
            let _ = self.write.shutdown().await;
            let mut ignored = Vec::new();
            let _ = self.reader.read.read_to_end(&mut ignored).await;
        };
        timeout(self.patience, gone)
            .await
            .map_err(|_elapsed| silent(&self.sent))
    }
}

/// The bytes of an answer, in the order in which they are read.
#[derive(Debug)]
struct Reader {
    read: OwnedReadHalf,
    /// Bytes that were read and not yet consumed.
    buffer: Vec<u8>,
}

type Head = (StatusCode, HeaderMap);

impl Reader {
    async fn answer(&mut self, sent: &str, head_only: bool) -> Result<Answer, Failure> {
        let (status, headers) = loop {
            let head = self.head(sent).await?;
            if !head.0.is_informational() {
                break head;
            }
        };
        let mut answer = Answer {
            sent: sent.to_owned(),
            status,
            headers,
            body: Bytes::new(),
        };
        let bodiless = head_only || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if bodiless {
            self.nothing_more().await
        } else {
            self.body(&answer.headers).await
        };
        match body {
            Ok(body) => {
                answer.body = body;
                Ok(answer)
            }
            Err(error) => Err(answer.fail(&format!("a body as its head announces it ({error})"))),
        }
    }

    /// Reads one head; also that of an interim answer.
    async fn head(&mut self, sent: &str) -> Result<Head, Failure> {
        let broken = |what: String| Failure::transport(sent, &what);
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(broken(format!("a head of more than {MAX_HEAD} bytes")));
            }
            match self.more().await {
                Ok(0) => return Err(broken("the connection closed without an answer".into())),
                Ok(_) => {}
                Err(error) => return Err(broken(format!("no answer: {error}"))),
            }
        };
        let text: Vec<u8> = self.buffer.drain(..end + 4).take(end).collect();
        parse_head(&text).ok_or_else(|| broken(format!("not HTTP/1.1: {:?}", String::from_utf8_lossy(&text))))
    }

    async fn body(&mut self, headers: &HeaderMap) -> io::Result<Bytes> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        if text(http::header::TRANSFER_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks().await;
        }
        match text(http::header::CONTENT_LENGTH) {
            Some(length) => {
                let length = length
                    .parse()
                    .map_err(|_not_a_number| invalid("Content-Length is not a number"))?;
                let body = self.take(length).await?;
                if self.nothing_more().await.is_err() {
                    return Err(invalid("more bytes than announced"));
                }
                Ok(body.into())
            }
            None => {
                while self.more().await? > 0 {}
                Ok(std::mem::take(&mut self.buffer).into())
            }
        }
    }

    async fn chunks(&mut self) -> io::Result<Bytes> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).map_err(|_not_a_number| invalid("a chunk without a size"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body.into());
            }
            body.extend(self.take(size).await?);
            if !self.line().await?.is_empty() {
                return Err(invalid("a chunk longer than its size"));
            }
        }
    }

    /// Expects the end of the connection, since each request has `Connection: close`.
    async fn nothing_more(&mut self) -> io::Result<Bytes> {
        match self.more().await {
            Ok(_) if !self.buffer.is_empty() => Err(invalid("bytes after the end of the answer")),
            // Some servers reset the connection after a complete answer to a refused body.
            Ok(_) | Err(_) => Ok(Bytes::new()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            self.some().await?;
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.some().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn some(&mut self) -> io::Result<()> {
        match self.more().await? {
            0 => Err(invalid("it ended early")),
            _ => Ok(()),
        }
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.read.read_buf(&mut self.buffer).await
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(text: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(status.as_bytes().get(..3)?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    Some((status, headers))
}

/// Encodes in Base64 with padding, for `Authorization: Basic`.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextet = |n: u32, shift: u32| {
        let index = usize::try_from(n >> shift & 63).unwrap_or_default();
        ALPHABET.get(index).copied().map_or('=', char::from)
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |index: usize| three.get(index).copied().map_or(0, u32::from);
        let n = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(sextet(n, 18));
        text.push(sextet(n, 12));
        text.push(if three.len() > 1 { sextet(n, 6) } else { '=' });
        text.push(if three.len() > 2 { sextet(n, 0) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_as_basic_wants_them() {
        for (text, encoded) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_base_url_may_have_a_prefix_and_must_be_plain_http() {
        let client = Client::new("http://localhost:5000/prefix/", None, Duration::ZERO).unwrap();
        assert_eq!(client.target("/v2/"), "/prefix/v2/");
        assert_eq!(client.authority, "localhost:5000");
        assert_eq!(
            Client::new("http://host", None, Duration::ZERO)
                .unwrap()
                .authority,
            "host:80"
        );
        assert!(Client::new("https://localhost", None, Duration::ZERO).is_err());
    }

    #[test]
    fn a_location_is_followed_only_within_the_registry() {
        let client = Client::new("http://localhost:5000", None, Duration::ZERO).unwrap();
        assert_eq!(client.resolve("/v2/a?b=c").unwrap(), "/v2/a?b=c");
        assert_eq!(client.resolve("http://localhost:5000/v2/a").unwrap(), "/v2/a");
        assert_eq!(client.resolve("http://elsewhere/v2/a"), None);
        assert_eq!(client.resolve("a/b"), None);
    }

    #[test]
    fn a_head_is_read_with_every_header_of_a_name() {
        let (status, headers) = parse_head(b"HTTP/1.1 201 Created\r\nOCI-Tag: a\r\nOCI-Tag: b").unwrap();
        assert_eq!(status, 201);
        assert_eq!(headers.get_all("oci-tag").iter().count(), 2);
        assert!(parse_head(b"SSH-2.0").is_none());
    }

    /// Returns the client's result for these bytes, sent by a server that then closes.
    async fn answer_to(method: &'static str, answer: &'static [u8]) -> Result<Answer, Failure> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(&base, None, Duration::from_secs(60)).unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while find(&head, b"\r\n\r\n").is_none() {
                stream.read_buf(&mut head).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
        };
        let request = Request::new(method, "/v2/");
        tokio::join!(serving, client.send(&request)).1
    }

    #[tokio::test]
    async fn bodies_are_read_in_every_framing() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ] {
            let answer = answer_to("GET", answer).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"hello"[..]));
        }
        let head = answer_to("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .await
            .unwrap();
        assert!(head.body.is_empty());
    }

    #[tokio::test]
    async fn answers_that_are_not_what_they_announce_are_failures() {
        for (method, answer) in [
            ("GET", &b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"[..]),
            ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello"),
            (
                "GET",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            ),
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ("GET", b"HTTP/1.1 204 No Content\r\n\r\nhello"),
            ("GET", b"HTTP/1.1 200 OK\r\nConte"),
            ("GET", b""),
        ] {
            assert!(
                answer_to(method, answer).await.is_err(),
                "{:?}",
                String::from_utf8_lossy(answer)
            );
        }
    }
}
