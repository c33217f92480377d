//! The server under attack: slow, silent and hasty clients, floods, and malformed requests. Meanwhile a polite client
//! pushes and pulls. Afterwards the process is in its previous state.

mod http2;
mod polite;

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
use registry_conformance::tools;

use crate::{
    http::{self, connect},
    image::sha256,
    program::Workbench,
    server::Server,
};
use polite::{BLOB, Polite};

/// Maximum number of connections of the server.
const CONNECTIONS: usize = 200;
/// Number of connections beyond those that are held.
const FLOOD: usize = 400;
/// Number of clients of each kind that holds a connection.
const EACH: usize = 40;
/// Maximum number of requests of the server over HTTP/2, and the number of clients that take no answer, with the
/// requests of each.
const ANSWERS: usize = 250;
const UNTAKEN: u32 = 100;
const MISERS: usize = 10;
/// Maximum cost of the open connections: memory, and open files besides one for each.
const COST: u64 = 64 << 20;
const FILES: usize = 100;
/// Memory for manifests, and its maximum cost, including the memory that the allocator keeps for each thread.
const DOCUMENTS: &str = "4m";
const DOCUMENTS_COST: u64 = 128 << 20;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Number of generated requests.
const REQUESTS: usize = 10_000;
/// Maximum memory that the process may keep after a whole attack, beyond what it kept after the previous one.
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
    let mut command = Server::ours_command(&bench.path("data"));
    command
        .args(["--max-connections", &limit])
        .env("REGISTRY_LIMITS_HTTP2REQUESTS", ANSWERS.to_string())
        .env("REGISTRY_LIMITS_DOCUMENTS", DOCUMENTS);
    let server = Server::start(command, "http://");
    let polite = Polite(server.address());
    let blob = polite.pushes_and_pulls(0);
    let manifest = large_manifest(server.address());
    let files = open_files(&server);

    // The first one also pays for what is made once: threads, buffers, the heap itself.
    attack(&server, &polite, 1);
    back_to(files, &server);
    take_nothing(&server, &polite, &blob);
    // Once: the allocator keeps a few large pieces for each thread that read one, and how many those are varies.
    take_no_manifest(&server, &manifest);
    back_to(files, &server);
    let memory = resident(&server);
    attack(&server, &polite, 2);
    back_to(files, &server);
    take_nothing(&server, &polite, &blob);
    back_to(files, &server);

    let after = resident(&server);
    assert!(after < memory + KEPT, "from {memory} to {after} bytes");
    polite.pushes_and_pulls(u64::MAX);
    assert_eq!(server.stop().code(), Some(0));
}

/// Runs every attack at once, while one client is served all the time.
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
        held.extend((0..EACH).map(|_| http2::silent(address)));
        nonsense(address, seed);
        for _ in 0..4 {
            http2::takes_everything_back(address);
        }
        flood(address);
        drip(&mut held);
        held.extend(all_idle(address));
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

/// Requests many answers at once and reads none of them. Their files and memory are bounded, and they give way to
/// clients that read theirs.
fn take_nothing(server: &Server, polite: &Polite, blob: &str) {
    let (files, memory) = (open_files(server), resident(server));
    let misers: Vec<TcpStream> = (0..MISERS)
        .map(|_| http2::miser(server.address(), blob, UNTAKEN))
        .collect();
    // Those that came first may have begun to give way.
    wait_until("many answers have begun", || {
        open_files(server) >= files + ANSWERS / 2
    });
    let within_bounds = || {
        let (files, memory) = (
            open_files(server).saturating_sub(files),
            resident(server).saturating_sub(memory),
        );
        assert!(files <= ANSWERS + FILES, "{files} files more are open");
        assert!(memory <= COST, "{memory} bytes more are held");
    };
    within_bounds();
    polite.pushes_and_pulls(u64::MAX - 1);
    assert_eq!(http2::gets(server.address(), blob), BLOB);
    within_bounds();
    drop(misers);
}

/// Requests many manifests, which are whole in memory: two hundred of 1 MiB, with room for four.
fn take_no_manifest(server: &Server, manifest: &str) {
    let memory = resident(server);
    let mut misers: Vec<TcpStream> = (0..2)
        .map(|_| http2::miser(server.address(), manifest, UNTAKEN))
        .collect();
    for miser in &mut misers {
        http2::begins_to_answer(miser, UNTAKEN);
    }
    let memory = resident(server).saturating_sub(memory);
    assert!(memory <= DOCUMENTS_COST, "{memory} bytes more are held");
}

/// Pushes a large manifest, and returns its path.
fn large_manifest(address: SocketAddr) -> String {
    let padding = "x".repeat(1 << 20);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"padding":"{padding}"}}}}"#
    );
    let target = format!("/v2/large/manifests/{}", sha256(index.as_bytes()));
    let headers = [("Content-Type", INDEX)];
    http::request(address, "PUT", &target, &headers, index.as_bytes()).expect_status(201);
    target
}

/// Opens twice the maximum number of connections. Each of them has sent a request and could send another.
fn all_idle(address: SocketAddr) -> Vec<TcpStream> {
    (0..2 * CONNECTIONS)
        .map(|_| {
            let mut stream = sent(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
            // Those on top may be refused: nobody has been idle for long.
            _ = stream.read(&mut [0; 12]);
            stream
        })
        .collect()
}

/// Begins a request, and never ends it.
fn slow_head(address: SocketAddr) -> TcpStream {
    sent(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
}

/// Begins an upload, and leaves it half open.
fn slow_body(server: &Server) -> TcpStream {
    let session = server.open_upload("slow/upload");
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nsome of it");
    sent(server.address(), head.as_bytes())
}

fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("the server reads what is little");
    stream
}

/// Sends one more byte on each connection. Some may have been closed, as they should be.
fn drip(held: &mut [TcpStream]) {
    for stream in held {
        _ = stream.write_all(b"x");
    }
}

/// Opens far more connections than allowed. Those beyond the limit are refused with an answer, or closed if there are
/// too many for that.
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

/// Sends requests made from those that fuzzing found: unchanged, cut, altered, and with bodies that contradict them.
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
        .join("../fuzz/corpus")
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

/// Generates a request. Returns true with it if it is complete; otherwise it ends where the client closes.
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

/// Pseudo-random numbers: Marsaglia's xorshift.
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

/// Waits until no more than `files` files are open.
fn back_to(files: usize, server: &Server) {
    wait_until("no more files are open than there were", || {
        open_files(server) <= files
    });
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it is not so that {what}");
        thread::yield_now();
    }
}

/// Returns the resident memory of the process, in bytes.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("the kernel counts memory")
        << 10
}
