//! [`Connection`]: a client's connection and the tap's own to the registry, with a thread for each direction.
//!
//! There are two threads because a registry may answer before it has read the request, and the client must see that.

use super::{
    client::Client,
    encryption::Session,
    journal::Journal,
    message::{Framing, Head, copy},
    patience::{SILENCE, lock},
    record::{Exchange, Reply},
    rule::{Fault, Rule},
    side::Side,
};
use http::{HeaderValue, Method, header};
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// Number of bytes read at once.
const BUFFER: usize = 64 * 1024;

/// The two sockets of one client's connection.
pub(super) struct Connection {
    number: usize,
    client: Client,
    upstream: TcpStream,
}

/// Message from the thread of requests to that of answers about the next bytes.
enum Expected {
    /// The answer to this request.
    Answer(Ongoing),
    /// Bytes of another protocol follow.
    Opaque,
}

/// An exchange in progress.
#[derive(Clone)]
struct Ongoing {
    method: Method,
    exchange: Arc<Mutex<Exchange>>,
    rules: Vec<Arc<Rule>>,
}

impl Connection {
    pub(super) fn open(
        number: usize,
        client: TcpStream,
        session: Option<Box<dyn Session>>,
        upstream: SocketAddr,
    ) -> io::Result<Self> {
        let upstream = TcpStream::connect(upstream)?;
        for stream in [&client, &upstream] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
        }
        Ok(Self {
            number,
            client: Client::new(client, session),
            upstream,
        })
    }

    /// Closes both sockets, even if a thread reads or writes.
    pub(super) fn close(&self) {
        for stream in [self.client.socket(), &self.upstream] {
            // An error means that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connection as a dying registry does: no more bytes arrive, and sent bytes are lost. It ends in an
    /// orderly way, so that each client always sees the end of the stream.
    fn cut(&self) {
        // The client's side first: the thread of answers must not end it in an orderly way.
        let _ = self.client.socket().shutdown(Shutdown::Write);
        let _ = self.upstream.shutdown(Shutdown::Both);
    }

    /// Passes bytes on in both directions until one side ends.
    pub(super) fn run(&self, journal: &Journal) {
        let (expect, expected) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                if self.answers(expected).is_err() {
                    self.cut();
                }
                // The client has the complete answer. The end of the stream shows that no other follows.
                self.client.end();
            });
            match self.requests(journal, &expect) {
                Ok(()) => _ = self.upstream.shutdown(Shutdown::Write),
                Err(error) => {
                    // The registry has stopped reading, and may have answered: that answer still has to pass.
                    let refused = matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                    );
                    if !refused {
                        self.cut();
                    }
                    // Further bytes of the client are read and dropped. Closing the socket instead would cause a reset,
                    // which discards the part of the answer that the client has not read yet.
                    let _ = io::copy(&mut &self.client, &mut io::sink());
                }
            }
            drop(expect);
        });
    }

    fn requests(&self, journal: &Journal, expect: &mpsc::Sender<Expected>) -> io::Result<()> {
        let mut client = BufReader::with_capacity(BUFFER, &self.client);
        let mut upstream = &self.upstream;
        loop {
            let begin = client.fill_buf()?;
            if !begin.first().is_none_or(u8::is_ascii_uppercase) || begin.starts_with(b"PRI ") {
                tell(expect, Expected::Opaque)?;
                return io::copy(&mut client, &mut upstream).map(drop);
            }
            let Some(head) = Head::read(&mut client)? else {
                return Ok(());
            };
            let (method, target) = head.request().ok_or(io::ErrorKind::InvalidData)?;
            let exchange = Exchange::new(self.number, method.clone(), target, &head);
            let framing = Framing::of_request(&exchange.headers);
            let (exchange, rules) = journal.record(exchange);
            let ongoing = Ongoing {
                method,
                exchange,
                rules,
            };
            let mut position = 0;
            ongoing.before(Side::Request, position, 0)?;
            tell(expect, Expected::Answer(ongoing.clone()))?;
            head.write(&mut upstream)?;
            copy(&mut client, &mut upstream, framing, false, &mut |most| {
                let allowed = ongoing.before(Side::Request, position, most)?;
                position += allowed as u64;
                lock(&ongoing.exchange).sent = position;
                Ok(allowed)
            })?;
        }
    }

    fn answers(&self, expected: mpsc::Receiver<Expected>) -> io::Result<()> {
        let mut upstream = BufReader::with_capacity(BUFFER, &self.upstream);
        let mut client = &self.client;
        for expected in expected {
            let Expected::Answer(ongoing) = expected else {
                return io::copy(&mut upstream, &mut client).map(drop);
            };
            let last = loop {
                let Some(head) = Head::read(&mut upstream)? else {
                    return Ok(());
                };
                let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
                if !status.is_informational() {
                    break pass_answer(&ongoing, head, &mut upstream, client)?;
                }
                head.write(&mut client)?;
            };
            if last {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Passes an answer on; returns true if it ends with the connection.
fn pass_answer(
    ongoing: &Ongoing,
    mut head: Head,
    upstream: &mut BufReader<&TcpStream>,
    mut client: &Client,
) -> io::Result<bool> {
    let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
    let framing = Framing::of_response(&ongoing.method, status, &head.headers());
    let mut position = 0;
    ongoing.before(Side::Response, position, 0)?;
    ongoing.change_headers(&mut head);
    let rechunk =
        matches!(framing, Framing::Length(1..)) && !head.headers().contains_key(header::CONTENT_LENGTH);
    if rechunk {
        head.set(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
    }
    lock(&ongoing.exchange).reply = Some(Reply {
        status,
        headers: head.headers(),
        received: 0,
    });
    head.write(&mut client)?;
    copy(upstream, &mut client, framing, rechunk, &mut |most| {
        let allowed = ongoing.before(Side::Response, position, most)?;
        position += allowed as u64;
        if let Some(reply) = &mut lock(&ongoing.exchange).reply {
            reply.received = position;
        }
        Ok(allowed)
    })?;
    client.flush()?;
    let ends = head.headers().get_all(header::CONNECTION).iter().any(closes);
    Ok(ends || framing == Framing::UntilClose)
}

/// Returns true if the registry closes the connection after this answer. Clients may wait for the end.
fn closes(connection: &HeaderValue) -> bool {
    let value = connection.to_str().unwrap_or_default();
    value
        .split(',')
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

impl Ongoing {
    /// Applies the rules at `position` of a body before its next `most` bytes (0: before its head). Returns the number
    /// of bytes that may pass before the next rule applies.
    fn before(&self, side: Side, position: u64, most: usize) -> io::Result<usize> {
        let mut allowed = most;
        for rule in &self.rules {
            let (Fault::Cut { side: at, after } | Fault::Hold { side: at, after, .. }) = &rule.fault else {
                continue;
            };
            let Some(distance) = after.checked_sub(position).filter(|_| *at == side) else {
                continue;
            };
            let is_head = most == 0;
            if distance > 0 {
                allowed = usize::try_from(distance).map_or(allowed, |distance| allowed.min(distance));
            } else if (is_head || position > 0) && rule.take() {
                self.happen(side, &rule.fault)?;
            }
        }
        Ok(allowed)
    }

    fn happen(&self, side: Side, fault: &Fault) -> io::Result<()> {
        let passes = match fault {
            Fault::Hold { gate, .. } => gate.pass(),
            _ => false,
        };
        if passes {
            return Ok(());
        }
        lock(&self.exchange).cut = Some(side);
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn change_headers(&self, head: &mut Head) {
        for rule in &self.rules {
            match &rule.fault {
                Fault::RemoveHeader(name) if head.headers().contains_key(name) && rule.take() => {
                    head.remove(name);
                }
                Fault::SetHeader(name, value) if rule.take() => head.set(name, value),
                _ => {}
            }
        }
    }
}

fn tell(expect: &mpsc::Sender<Expected>, expected: Expected) -> io::Result<()> {
    // The thread of answers has ended, because the registry has closed its side.
    expect
        .send(expected)
        .map_err(|_ended| io::ErrorKind::BrokenPipe.into())
}
