//! [`Connection`]: a client's connection and the tap's own to the registry, with a thread for each direction.
//!
//! There are two threads because a registry may answer before it has read the request, and the client must see that.

use super::{
    activity::{Activity, Upstream},
    answer,
    canned::Canned,
    client::Client,
    encryption::Session,
    journal::Journal,
    message::{Framing, Head, copy},
    ongoing::{Ongoing, is_reset},
    patience::{SILENCE, lock},
    record::Exchange,
    side::Side,
    wake::Wake,
};
use http::{StatusCode, header};
use std::{
    io::{self, BufRead, BufReader},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Number of bytes read at once.
const BUFFER: usize = 64 * 1024;

/// Maximum time of an attempt to reach the registry. In between, the connection may be closed.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The two sockets of one client's connection.
pub(super) struct Connection {
    number: usize,
    other_host: bool,
    client: Client,
    /// It is set once the registry has been reached.
    upstream: OnceLock<TcpStream>,
    activity: Activity,
    wake: Arc<Wake>,
}

/// Message from the thread of requests to that of answers about the next bytes.
enum Expected<'c> {
    /// The answer of the registry to this request.
    Answer(Ongoing<'c>),
    /// An answer of the tap; with `true`, the last one of the connection.
    Canned(Ongoing<'c>, Canned, bool),
    /// The tap asks for the body of a request.
    Continue,
    /// Bytes of another protocol follow.
    Opaque,
}

impl Connection {
    pub(super) fn new(
        number: usize,
        other_host: bool,
        client: TcpStream,
        session: Option<Box<dyn Session>>,
    ) -> io::Result<Self> {
        set_up(&client)?;
        let activity = Activity::default();
        Ok(Self {
            number,
            other_host,
            client: Client::new(client, session, activity.clone()),
            upstream: OnceLock::new(),
            activity,
            wake: Arc::default(),
        })
    }

    /// Closes both sockets, even if a thread reads, writes or waits.
    pub(super) fn close(&self) {
        self.wake.close();
        // An error means that it is closed already.
        let _ = self.client.socket().shutdown(Shutdown::Both);
        self.end_upstream(Shutdown::Both);
    }

    fn end_upstream(&self, how: Shutdown) {
        if let Some(upstream) = self.upstream.get() {
            // An error means that it is closed already.
            let _ = upstream.shutdown(how);
        }
    }

    /// Reaches the registry and passes bytes on in both directions until one side ends. Without a registry, the
    /// client's connection ends.
    pub(super) fn run(&self, address: SocketAddr, journal: &Journal) {
        if let Ok(upstream) = self.reach(address) {
            self.pass(upstream, journal);
        }
    }

    /// Connects to the registry, in attempts between which the connection may be closed.
    fn reach(&self, address: SocketAddr) -> io::Result<&TcpStream> {
        let begun = Instant::now();
        let upstream = loop {
            match TcpStream::connect_timeout(&address, ATTEMPT) {
                Err(error)
                    if error.kind() == io::ErrorKind::TimedOut
                        && !self.wake.is_closed()
                        && begun.elapsed() < SILENCE => {}
                connected => break connected?,
            }
        };
        set_up(&upstream)?;
        let upstream = self.upstream.get_or_init(|| upstream);
        // Whoever has closed the connection before could not close this socket.
        if self.wake.is_closed() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(upstream)
    }

    /// Ends the connection as a dying registry does: no more bytes arrive, and sent bytes are lost. Without a reset, it
    /// ends in an orderly way, so that each client always sees the end of the stream.
    fn stop(&self, error: &io::Error) {
        // The client's side first: the thread of answers must not end it in an orderly way.
        if is_reset(error) {
            self.client.reset();
        } else {
            self.client.cut();
        }
        self.end_upstream(Shutdown::Both);
        self.wake.close();
    }

    fn pass(&self, upstream: &TcpStream, journal: &Journal) {
        let upstream = || Upstream {
            socket: upstream,
            activity: &self.activity,
        };
        let (to_registry, from_registry) = (upstream(), upstream());
        let (expect, expected) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                if let Err(error) = self.answers(from_registry, expected) {
                    self.stop(&error);
                }
                // The client has the complete answer. The end of the stream shows that no other follows.
                self.client.end();
            });
            let failed = self.requests(to_registry, journal, &expect).err();
            // The registry may have stopped reading because it has answered: that answer still has to pass.
            if let Some(error) = failed.as_ref().filter(|error| !is_refusal(error)) {
                self.stop(error);
            }
            // Answers that are due still pass, and then the end of the stream: no further request gets an answer.
            drop(expect);
            if failed.is_some() && !self.client.resets() {
                // Further bytes of the client are read and dropped. Closing the socket instead would cause a reset,
                // which discards the part of the answer that the client has not read yet.
                let _ = io::copy(&mut &self.client, &mut io::sink());
            }
            self.wake.client_left();
            self.end_upstream(Shutdown::Write);
        });
    }

    fn requests<'c>(
        &'c self,
        mut upstream: Upstream<'_>,
        journal: &'c Journal,
        expect: &mpsc::Sender<Expected<'c>>,
    ) -> io::Result<()> {
        let mut client = BufReader::with_capacity(BUFFER, &self.client);
        loop {
            let begin = client.fill_buf()?;
            if !begin.first().is_none_or(u8::is_ascii_uppercase) || begin.starts_with(b"PRI ") {
                tell(expect, Expected::Opaque)?;
                return io::copy(&mut client, &mut upstream).map(drop);
            }
            let Some(mut head) = Head::read(&mut client)? else {
                return Ok(());
            };
            let exchange =
                Exchange::new(self.number, self.other_host, &head).ok_or(io::ErrorKind::InvalidData)?;
            let framing = Framing::of_request(&exchange.headers);
            let detour = journal.detours.enter(&exchange, &mut head);
            let method = exchange.method.clone();
            let (exchange, rules) = journal.record(exchange);
            let ongoing = Ongoing {
                method,
                exchange,
                rules: rules.into_iter().map(Into::into).collect(),
                last: head.is_last(),
                client: &self.client,
                journal,
                wake: &self.wake,
            };
            ongoing.before(Side::Request, 0, 0)?;
            if let Some(canned) = detour.or_else(|| ongoing.canned()) {
                answer_itself(&ongoing, canned, framing, &mut client, expect)?;
                continue;
            }
            tell(expect, Expected::Answer(ongoing.clone()))?;
            head.write(&mut upstream)?;
            pass_body(&ongoing, framing, &mut client, &mut upstream)?;
        }
    }

    fn answers(&self, upstream: Upstream<'_>, expected: mpsc::Receiver<Expected<'_>>) -> io::Result<()> {
        let mut upstream = BufReader::with_capacity(BUFFER, upstream);
        let mut client = &self.client;
        for expected in expected {
            let last = match expected {
                Expected::Opaque => return io::copy(&mut upstream, &mut client).map(drop),
                Expected::Continue => {
                    Head::response(StatusCode::CONTINUE, &http::HeaderMap::new()).write(&mut client)?;
                    false
                }
                Expected::Canned(ongoing, canned, last) => answer::give(&ongoing, canned, last)?,
                Expected::Answer(ongoing) => {
                    let Some(head) = final_head(&mut upstream, client)? else {
                        return Ok(());
                    };
                    let last = answer::pass(&ongoing, head, &mut upstream)?;
                    if !last && ongoing.last {
                        // The registry ends the connection, as the client has announced.
                        return io::copy(&mut upstream, &mut client).map(drop);
                    }
                    last
                }
            };
            if last {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// Returns true if the registry has stopped reading.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// Passes informational responses on, and returns the head of the final one.
fn final_head(upstream: &mut impl BufRead, mut client: &Client) -> io::Result<Option<Head>> {
    loop {
        let Some(head) = Head::read(upstream)? else {
            return Ok(None);
        };
        let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
        if !status.is_informational() {
            return Ok(Some(head));
        }
        head.write(&mut client)?;
    }
}

/// Answers a request in place of the registry. Its body is read and dropped.
fn answer_itself<'c>(
    ongoing: &Ongoing<'c>,
    canned: Canned,
    framing: Framing,
    client: &mut impl BufRead,
    expect: &mpsc::Sender<Expected<'c>>,
) -> io::Result<()> {
    let waits = lock(&ongoing.exchange).headers.contains_key(header::EXPECT);
    if canned.after_body {
        if waits {
            tell(expect, Expected::Continue)?;
        }
        pass_body(ongoing, framing, client, &mut io::sink())?;
        return tell(expect, Expected::Canned(ongoing.clone(), canned, ongoing.last));
    }
    // A client that waits for leave to send its body may send it or not after this answer, so no request can follow.
    let last = ongoing.last || waits;
    tell(expect, Expected::Canned(ongoing.clone(), canned, last))?;
    if waits {
        return io::copy(client, &mut io::sink()).map(drop);
    }
    pass_body(ongoing, framing, client, &mut io::sink())
}

fn pass_body(
    ongoing: &Ongoing<'_>,
    framing: Framing,
    client: &mut impl BufRead,
    to: &mut impl io::Write,
) -> io::Result<()> {
    let mut position = 0;
    copy(client, to, framing, false, &mut |most| {
        let allowed = ongoing.before(Side::Request, position, most)?;
        position += allowed as u64;
        lock(&ongoing.exchange).sent = position;
        Ok(allowed)
    })
}

fn tell<'c>(expect: &mpsc::Sender<Expected<'c>>, expected: Expected<'c>) -> io::Result<()> {
    // The thread of answers has ended, because the registry has closed its side.
    expect
        .send(expected)
        .map_err(|_ended| io::ErrorKind::BrokenPipe.into())
}
