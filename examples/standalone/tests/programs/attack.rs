//! The server under attack: slow clients, silent ones, hasty ones, too many, and nonsense. Meanwhile somebody with
//! manners pushes and pulls; afterwards the process is as it was.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use registry_testkit::tools;

use crate::{
    http::{Connection, connect},
    image::{noise, sha256},
    program::Workbench,
    server::{OCTETS, Server, closing},
};

/// How many connections the server takes.
const CONNECTIONS: usize = 200;
/// How many come on top of those that are held.
const FLOOD: usize = 400;
/// How many clients there are of each kind that holds a connection.
const EACH: usize = 40;
/// How often a hasty client takes a request back.
const RESETS: usize = 10_000;
/// How many requests are made up.
const REQUESTS: usize = 10_000;
/// What the process may have kept of a whole attack, beyond what it kept of the one before.
const KEPT: u64 = 16 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    const NAME: &str = "attack::a_client_with_manners_is_served_and_nothing_is_left_behind";
    if Path::new("/proc/self/fd").exists() {
        vec![crate::trial(
            &format!("programs::{NAME}"),
            &[],
            a_client_with_manners_is_served_and_nothing_is_left_behind,
        )]
    } else {
        vec![tools::absent(NAME, "/proc/PID/fd")]
    }
}

fn a_client_with_manners_is_served_and_nothing_is_left_behind() {
    let bench = Workbench::new();
    let limit = CONNECTIONS.to_string();
    let server = Server::ours_with(&bench.path("data"), &["--max-connections", &limit]);
    let polite = Polite::connect(server.address());
    polite.pushes_and_pulls(0);
    let files = open_files(&server);

    // The first one also pays for what is made once: threads, buffers, the heap itself.
    attack(&server, &polite, 1);
    back_to(files, &server);
    let memory = resident(&server);
    attack(&server, &polite, 2);
    back_to(files, &server);

    let after = resident(&server);
    assert!(after < memory + KEPT, "from {memory} to {after} bytes");
    polite.pushes_and_pulls(u64::MAX);
    assert_eq!(server.stop().code(), Some(0));
}

/// Everything at once, and somebody who is served all the while.
fn attack(server: &Server, polite: &Polite, seed: u64) {
    let address = server.address();
    let done = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut content = seed << 32;
            while !done.load(Ordering::Relaxed) {
                content += 1;
                polite.pushes_and_pulls(content);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Told at the end of this closure, panic or not, so that the scope can end.
        let _told = Tell(&done);

        let mut held: Vec<TcpStream> = (0..EACH).map(|_| slow_head(address)).collect();
        held.extend((0..EACH).map(|_| slow_body(server)));
        held.extend((0..EACH).map(|_| silent_http2(address)));
        nonsense(address, seed);
        for _ in 0..4 {
            takes_everything_back(address);
        }
        flood(address);
        drip(&mut held);
        let before = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) < before + 2 {
            thread::yield_now();
        }
    });
}

struct Tell<'a>(&'a AtomicBool);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps one connection, and expects what it is promised.
struct Polite(Connection);

impl Polite {
    fn connect(address: SocketAddr) -> Self {
        Self(Connection::open(address))
    }

    fn pushes_and_pulls(&self, content: u64) {
        let blob = noise(content, 300_000);
        let digest = sha256(&blob).to_string();
        let opened = self.0.request("POST", "/v2/polite/app/blobs/uploads/", &[], b"");
        let session = opened.expect_status(202).location();
        let put = self
            .0
            .request("PUT", &closing(&session, &digest), &[OCTETS], &blob);
        put.expect_status(201);
        let target = format!("/v2/polite/app/blobs/{digest}");
        let got = self.0.request("GET", &target, &[], b"").expect_status(200);
        assert!(got.body == blob, "what was pushed is pulled");
    }
}

/// Begins a request, and lets it come to no end.
fn slow_head(address: SocketAddr) -> TcpStream {
    sent(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
}

/// Begins an upload, and leaves it half open.
fn slow_body(server: &Server) -> TcpStream {
    let session = server.open_upload("slow/upload");
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nsome of it");
    sent(server.address(), head.as_bytes())
}

/// With what an HTTP/2 client begins, and its empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn silent_http2(address: SocketAddr) -> TcpStream {
    sent(address, PREFACE)
}

fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the server reads what is little");
    stream
}

/// One more byte for everybody. Some may have been closed, which is their right place.
fn drip(held: &mut [TcpStream]) {
    for stream in held {
        _ = stream.write_all(b"x");
    }
}

/// CVE-2023-44487: requests that are taken back before they are answered, as fast as they can be written. The server
/// ends the connection and says why: GOAWAY with `ENHANCE_YOUR_CALM`.
fn takes_everything_back(address: SocketAddr) {
    let mut stream = sent(address, PREFACE);
    let mut answers = stream.try_clone().expect("a connection can be shared");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        _ = answers.read_to_end(&mut all);
        all
    });
    for request in 0..u32::try_from(RESETS).expect("some thousand") {
        if stream.write_all(&taken_back(request * 2 + 1)).is_err() {
            break;
        }
    }
    let answers = reader.join().expect("reading does not panic");
    let calm = [0, 0, 0, 0x0b];
    assert!(
        answers.windows(4).any(|window| window == calm),
        "the server says why it ends the connection"
    );
}

/// `GET /v2/` on a stream, and its reset. RFC 9113, 6.2 and 6.4; RFC 7541, appendix A.
fn taken_back(stream: u32) -> Vec<u8> {
    const GET: &[u8] = b"\x82\x86\x04\x04/v2/\x01\x01x";
    let mut frames = vec![0, 0, u8::try_from(GET.len()).expect("short"), 1, 0x05];
    frames.extend(stream.to_be_bytes());
    frames.extend(GET);
    frames.extend([0, 0, 4, 3, 0]);
    frames.extend(stream.to_be_bytes());
    frames.extend([0, 0, 0, 8]);
    frames
}

/// Far more connections than there may be: those on top are told so, or closed when even telling is too much.
fn flood(address: SocketAddr) {
    // Begun, so that none of them is idle and gives way to the next.
    let mut streams: Vec<TcpStream> = (0..FLOOD)
        .map(|_| sent(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"))
        .collect();
    for stream in &mut streams {
        // One that was closed without a word need not take it.
        _ = stream.write_all(b"\r\n");
    }
    let mut told = 0;
    for stream in &mut streams {
        let mut first = [0; 12];
        // A connection that was closed without a word may also be a reset.
        if stream.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 503" {
            let mut rest = String::new();
            _ = stream.read_to_string(&mut rest);
            assert!(
                rest.contains("retry-after: ") && rest.contains("UNAVAILABLE"),
                "{rest}"
            );
            told += 1;
        }
    }
    assert!(told > 0, "nobody was told that there are too many connections");
}

/// Requests made from those that fuzzing has found, as they are, cut, bent, and with bodies that contradict them.
fn nonsense(address: SocketAddr, seed: u64) {
    let heads = corpus("request");
    let bodies = corpus("manifest");
    thread::scope(|scope| {
        for part in 0..4 {
            let (heads, bodies) = (&heads, &bodies);
            scope.spawn(move || {
                let mut random = Random(seed * 4 + part + 1);
                for _ in 0..REQUESTS / 4 {
                    let (request, whole) = made_up(&mut random, heads, bodies);
                    let answer = answered(address, &request, whole);
                    assert!(
                        !answer.starts_with(b"HTTP/1.1 5") || answer.starts_with(b"HTTP/1.1 503"),
                        "{:?} is answered {:?}",
                        String::from_utf8_lossy(&request),
                        String::from_utf8_lossy(&answer)
                    );
                }
            });
        }
    });
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(&directory)
        .expect("there is a corpus")
        .map(|entry| entry.expect("a corpus can be listed").path())
        .collect();
    inputs.sort();
    inputs
        .iter()
        .map(|path| fs::read(path).expect("an input is a file"))
        .collect()
}

/// A request, and whether it is one: if not, it ends where the client closes.
fn made_up(random: &mut Random, heads: &[Vec<u8>], bodies: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let text = String::from_utf8_lossy(random.one_of::<Vec<u8>>(heads)).into_owned();
    let mut lines = text.lines();
    let mut request = format!(
        "{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
        lines.next().unwrap_or("GET /")
    );
    for line in lines {
        request.push_str(line);
        request.push_str("\r\n");
    }
    let body = random.one_of(bodies);
    let length = body.len();
    // How the body is framed, how much of it is sent, and whether that is all of it.
    let (framing, sent, mut whole) = match random.below(6) {
        0 => (String::from("Content-Length: 0"), 0, true),
        1 => (format!("Content-Length: {length}"), length, true),
        2 => (format!("Content-Length: {}", length + 1), length, false),
        3 => (
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}"),
            length,
            false,
        ),
        4 => (
            String::from("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            3.min(length),
            false,
        ),
        _ => (String::new(), 0, true),
    };
    if !framing.is_empty() {
        request.push_str(&framing);
        request.push_str("\r\n");
    }
    if !framing.starts_with("Transfer") {
        request.push_str("\r\n");
    }
    let mut bytes = request.into_bytes();
    bytes.extend(&body[..sent]);
    if random.below(2) == 0 {
        whole = false;
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = u8::try_from(random.below(256)).expect("a byte"),
                1 => drop(bytes.drain(at..bytes.len().min(at + 5))),
                _ => bytes.splice(at..at, b"\r\n\r\n".iter().copied()).for_each(drop),
            }
            if bytes.is_empty() {
                break;
            }
        }
    }
    (bytes, whole)
}

fn answered(address: SocketAddr, request: &[u8], whole: bool) -> Vec<u8> {
    let mut stream = connect(address);
    // The server may have answered and closed before it has read everything.
    _ = stream.write_all(request);
    if !whole {
        _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    answer
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

fn open_files(server: &Server) -> usize {
    let directory = format!("/proc/{}/fd", server.id());
    fs::read_dir(directory).expect("a process has files").count()
}

/// Waits until no more files are open than there were.
fn back_to(files: usize, server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while open_files(server) > files {
        assert!(
            Instant::now() < deadline,
            "{} files are open, {files} were",
            open_files(server)
        );
        thread::yield_now();
    }
}

/// The memory that the process holds, in bytes.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("the kernel counts memory")
        << 10
}
