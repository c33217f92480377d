//! Access log: a line per request in the Combined Log Format, as registry:2 writes it.
//!
//! A line is written when an answer was sent or abandoned, with the number of bytes that were sent. Characters of a
//! client that are not [visible](printable::is_seen) are escaped, so that no request produces two lines or imitates
//! another one. A separate thread writes: if it cannot, requests continue, and the log reports the
//! number of lost lines.

use crate::printable;
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version, header, uri::PathAndQuery},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use registry_axum::Proxies;
use registry_core::{Identity, auth::ClientAddress, protocol::normalized, service::Overruled};
use registry_listener::Refused;
use std::{
    convert::Infallible,
    fmt,
    io::{self, Write},
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, SystemTime},
};

/// Maximum number of lines that wait to be written.
const WAITING: usize = 16_384;

/// Word in place of a version, in the lines of operators.
const CONTROL: &str = "control";

/// Access log. Clones write to the same output.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

/// Maximum time to write the last lines.
const LAST: Duration = Duration::from_millis(500);

/// Handle of the thread that writes. It writes all lines and ends when every [`AccessLog`] is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Channel without messages, which closes when the thread ends. The lock makes it part of errors, which threads
    /// share.
    ended: Mutex<Receiver<Infallible>>,
}

impl Writer {
    /// Waits until all lines are written, at most for a short time.
    pub(crate) fn finish(self) {
        let ended = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        _ = ended.recv_timeout(LAST);
    }
}

/// Writes lines until all senders are dropped. Lines that cannot be written are lost. This is logged once, until
/// writing succeeds again, for example because a full disk has space.
fn write_lines(waiting: &Receiver<String>, lost: &AtomicU64, mut out: impl Write) {
    let mut failing = false;
    while let Ok(first) = waiting.recv() {
        // The last line may have been cut short.
        let mut batch = if failing { "\n".to_owned() } else { String::new() };
        batch.push_str(&first);
        // What has gathered leaves in one write.
        batch.extend(waiting.try_iter().take(256));
        let written = write(&mut out, &batch);
        if let (Err(error), false) = (&written, failing) {
            tracing::warn!(
                %error,
                "cannot write the access log: its lines are lost until that works again"
            );
        }
        failing = written.is_err();
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "the access log is not written fast enough: lines are lost");
        }
    }
}

/// Writes lines. A panic of the host's writer is an error like any other: it must not end the log.
fn write(out: &mut impl Write, lines: &str) -> io::Result<()> {
    let write = AssertUnwindSafe(|| out.write_all(lines.as_bytes()).and_then(|()| out.flush()));
    catch_unwind(write).unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
}

impl AccessLog {
    /// Starts a thread that writes there.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, Writer)> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let (ending, ended) = channel();
        thread::Builder::new().name("access-log".into()).spawn(move || {
            let _ending: Sender<Infallible> = ending;
            write_lines(&waiting, &counted, out);
        })?;
        let ended = Mutex::new(ended);
        Ok((Self { lines, lost }, Writer { ended }))
    }

    /// Outermost layer: logs each request.
    pub(crate) async fn log(State(this): State<Self>, request: Request, next: Next) -> Response {
        let mut line = Line::begin(this, &request);
        let response = next.run(request).await;
        line.answered(&response);
        response.map(|body| Body::new(Counted { body, line }))
    }

    /// Logs each request of an operator. The request line ends with a word in place of a version.
    pub(crate) async fn log_operator(State(this): State<Self>, request: Request, next: Next) -> Response {
        let mut line = Line::begin(this, &request);
        line.asked = Asked::Request(request.method().clone(), request.uri().clone(), None);
        let response = next.run(request).await;
        line.answered(&response);
        response.map(|body| Body::new(Counted { body, line }))
    }

    /// Logs a request that the listener refused, and that therefore did not reach the layer.
    pub(crate) fn refused(&self, proxies: &Proxies, refused: Refused) {
        let client = proxies.client(refused.peer, &refused.headers);
        drop(Line::refused(self.clone(), client.ip(), refused));
    }

    /// Logs a change that an operator made with a command. The request line ends with a word in place of a version.
    pub(crate) fn operated(&self, operator: &Identity, method: &Method, target: &str, status: StatusCode) {
        drop(Line {
            log: self.clone(),
            client: None,
            user: Some(operator.clone()),
            received: SystemTime::now(),
            asked: Asked::Line(format!("{method} {target} {CONTROL}")),
            referer: String::new(),
            agent: String::new(),
            status: Some(status),
            sent: 0,
            overruled: None,
        });
    }

    fn write(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Line that is written when it is dropped.
#[derive(Debug)]
struct Line {
    log: AccessLog,
    client: Option<IpAddr>,
    user: Option<Identity>,
    received: SystemTime,
    asked: Asked,
    referer: String,
    agent: String,
    /// Status; `None` if the client disconnected before there was an answer.
    status: Option<StatusCode>,
    sent: u64,
    /// Tells if the listener answers in place of the router.
    overruled: Option<Overruled>,
}

/// Request line.
#[derive(Debug)]
enum Asked {
    /// Without a version, it is one of an operator.
    Request(Method, Uri, Option<Version>),
    /// Text received in place of a request, or its beginning.
    Line(String),
}

impl Line {
    fn begin(log: AccessLog, request: &Request) -> Self {
        let client = request.extensions().get::<ClientAddress>();
        Self {
            log,
            client: client.map(|client| client.0.ip().to_canonical()),
            user: None,
            received: SystemTime::now(),
            asked: Asked::Request(
                request.method().clone(),
                request.uri().clone(),
                Some(request.version()),
            ),
            referer: text(request.headers(), &header::REFERER),
            agent: text(request.headers(), &header::USER_AGENT),
            status: None,
            sent: 0,
            overruled: request.extensions().get().cloned(),
        }
    }

    fn refused(log: AccessLog, client: IpAddr, refused: Refused) -> Self {
        Self {
            log,
            client: Some(client.to_canonical()),
            user: None,
            received: SystemTime::now(),
            referer: text(&refused.headers, &header::REFERER),
            agent: text(&refused.headers, &header::USER_AGENT),
            asked: Asked::Line(refused.line),
            status: Some(refused.status),
            sent: refused.sent,
            overruled: None,
        }
    }

    fn answered(&mut self, response: &Response) {
        self.status = Some(response.status());
        self.user = response.extensions().get().cloned();
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(overruled) = &self.overruled
            && let (Some(status), Some(sent)) = (overruled.status(), overruled.sent())
        {
            (self.status, self.sent) = (Some(status), sent);
        }
        self.log.write(format!("{self}\n"));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => write!(f, "{client}")?,
            None => f.write_str("-")?,
        }
        f.write_str(" - ")?;
        match &self.user {
            Some(user) => write!(f, "{}", Word(&user.subject))?,
            None => f.write_str("-")?,
        }
        let time = jiff::Timestamp::try_from(self.received).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, " [{}]", time.strftime("%d/%b/%Y:%H:%M:%S +0000"))?;
        write!(f, " \"{}\"", self.asked)?;
        // nginx's number for a client that did not wait.
        let status = self.status.map_or(499, |status| status.as_u16());
        write!(
            f,
            " {status} {} \"{}\" \"{}\"",
            self.sent,
            Quoted(&self.referer),
            Quoted(&self.agent)
        )
    }
}

/// Writes the request line between quotes.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, target, version) = match self {
            Self::Request(method, target, version) => (method, target.path_and_query(), version),
            Self::Line(line) => return write!(f, "{}", Quoted(line)),
        };
        // A repository is found by one name, however clients spell it.
        let path = normalized(target.map_or("/", PathAndQuery::path));
        write!(f, "{method} {}", Quoted(&path))?;
        if let Some(query) = target.and_then(PathAndQuery::query) {
            write!(f, "?{}", Quoted(query))?;
        }
        match version {
            Some(version) => write!(f, " {version:?}"),
            None => write!(f, " {CONTROL}"),
        }
    }
}

/// Text between quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c => write!(f, "{}", printable::Line(c))?,
            }
        }
        Ok(())
    }
}

/// Text without quotes, written as a single word.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                c if c.is_whitespace() || !printable::is_seen(c) || "\"\\[]".contains(c) => {
                    f.write_str("_")?
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Body that counts the bytes that are sent.
struct Counted {
    body: Body,
    line: Line,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.line.sent += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn log() -> (AccessLog, Receiver<String>) {
        let (lines, written) = sync_channel(1);
        let lost = Arc::default();
        (AccessLog { lines, lost }, written)
    }

    /// Output that fails for some writes and accepts the following ones.
    struct Full {
        failures: usize,
        written: Vec<u8>,
    }

    impl Write for &mut Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(left) = self.failures.checked_sub(1) else {
                self.written.extend_from_slice(bytes);
                return Ok(bytes.len());
            };
            self.failures = left;
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_again_when_there_is_room_again() {
        let mut out = Full {
            failures: 1,
            written: Vec::new(),
        };
        let (lines, waiting) = channel();
        // More than one write takes.
        for number in 0..300 {
            lines.send(format!("{number}\n")).unwrap();
        }
        drop(lines);
        write_lines(&waiting, &AtomicU64::new(0), &mut out);
        let written = String::from_utf8(out.written).unwrap();
        assert!(written.starts_with("\n257\n258\n"), "{written}");
        assert!(written.ends_with("\n299\n"), "{written}");
    }

    /// Output that panics at the first write.
    struct Panics(Option<Vec<u8>>);

    impl Write for &mut Panics {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(written) = &mut self.0 else {
                self.0 = Some(Vec::new());
                panic!("by intention");
            };
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_after_a_panic_of_the_writer() {
        let mut out = Panics(None);
        let (lines, waiting) = channel();
        // More than one write takes.
        for number in 0..300 {
            lines.send(format!("{number}\n")).unwrap();
        }
        drop(lines);
        write_lines(&waiting, &AtomicU64::new(0), &mut out);
        let written = String::from_utf8(out.0.unwrap()).unwrap();
        assert!(written.ends_with("\n299\n"), "{written}");
    }

    #[test]
    fn a_line_is_as_registry_2_writes_it() {
        let (log, written) = log();
        let mut request = Request::get("/v2/team%2Fa/manifests/v1%20?x=%2F%22")
            .header("user-agent", "curl/7.88.1")
            .body(Body::empty())
            .unwrap();
        let client = "[::ffff:192.0.2.7]:1234".parse().unwrap();
        request.extensions_mut().insert(ClientAddress(client));

        let mut line = Line::begin(log, &request);
        line.received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_273_150);
        line.status = Some(StatusCode::NOT_FOUND);
        line.user = Some(Identity::new("ann lee"));
        line.sent = 91;
        drop(line);

        assert_eq!(
            written.recv().unwrap(),
            "192.0.2.7 - ann_lee [21/Nov/2026:14:59:10 +0000] \"GET /v2/team/a/manifests/v1%20?x=%2F%22 HTTP/1.1\" 404 91 \
             \"\" \"curl/7.88.1\"\n"
        );
    }

    #[test]
    fn what_a_client_sends_cannot_begin_a_line_or_end_a_quote() {
        let (log, written) = log();
        let request = Request::get("/")
            .header("user-agent", "a\" 200 \\ \tb")
            .header("referer", http::HeaderValue::from_bytes(b"\xff\"").unwrap())
            .body(Body::empty())
            .unwrap();
        drop(Line::begin(log, &request));
        let line = written.recv().unwrap();
        assert!(
            line.ends_with("\" 499 0 \"\u{fffd}\\\"\" \"a\\\" 200 \\\\ \\tb\"\n"),
            "{line}"
        );
    }

    #[test]
    fn what_a_client_sends_is_read_as_it_was_sent() {
        let unseen = printable::UNSEEN.trim_start_matches(char::is_control);
        let (log, written) = log();
        let request = Request::get("/")
            .header(
                "user-agent",
                http::HeaderValue::from_bytes(unseen.as_bytes()).unwrap(),
            )
            .body(Body::empty())
            .unwrap();
        let mut line = Line::begin(log, &request);
        line.user = Some(Identity::new(unseen));
        drop(line);
        let line = written.recv().unwrap();
        assert!(
            line.trim_end_matches('\n').chars().all(printable::is_seen),
            "{line:?}"
        );
        assert!(line.contains("\\u{202e}"), "{line}");
    }

    #[test]
    fn an_answer_of_the_listener_replaces_that_of_the_router() {
        let (log, written) = log();
        let overruled = Overruled::default();
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        request.extensions_mut().insert(overruled.clone());

        let mut line = Line::begin(log, &request);
        line.status = Some(StatusCode::BAD_REQUEST);
        line.sent = 91;
        overruled.by(StatusCode::REQUEST_TIMEOUT, 120);
        drop(line);

        let line = written.recv().unwrap();
        assert!(line.contains("\"GET / HTTP/1.1\" 408 120 "), "{line}");
    }

    /// Returns the line for bytes that reach no router, and the length of the body of the response.
    async fn line_for(request: &[u8]) -> (String, usize) {
        let (log, written) = log();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let proxies = Proxies::default();
        let serving = registry_listener::Server::new(axum::Router::new())
            .on_refusal(move |refused| log.refused(&proxies, refused))
            .serve(listener);
        tokio::spawn(serving);
        client.write_all(request).await.unwrap();
        let mut response = Vec::new();
        client.read_to_end(&mut response).await.unwrap();
        let end_of_head = response
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .unwrap()
            + 4;
        (written.recv().unwrap(), response.len() - end_of_head)
    }

    #[tokio::test]
    async fn what_the_listener_refuses_has_a_line_too() {
        let (line, length) = line_for(b"\x16\x03\"\xe2\x80\xae GET\n\n").await;
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(
            line.ends_with(&format!(
                "\"\\u{{16}}\\u{{3}}\\\"\\u{{202e}} GET\" 400 {length} \"\" \"\"\n"
            )),
            "{line}"
        );

        let request = "PUT /v2/a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nUser-Agent: curl\r\n\
                       Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
        let (line, length) = line_for(request.as_bytes()).await;
        assert!(line.starts_with("192.0.2.7 - - ["), "{line}");
        assert!(
            line.ends_with(&format!("\"PUT /v2/a HTTP/1.1\" 501 {length} \"\" \"curl\"\n")),
            "{line}"
        );
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_block_nobody() {
        let (log, _kept) = log();
        for _ in 0..3 {
            log.write("line\n".into());
        }
        assert_eq!(log.lost.load(Ordering::Relaxed), 2);
    }
}
