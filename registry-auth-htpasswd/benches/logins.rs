//! Cost of logins for a registry that serves pulls: `cargo bench -p registry-auth-htpasswd [-- users]`.
//!
//! The program starts itself as a server, in memory, and loads it from 32 connections with GETs of one manifest. A
//! second load, of 16 connections, tries wrong passwords as fast as it can. On a busy machine, the processor time is
//! more reliable than the rate. The file has bcrypt at cost 10. With `users`, it measures the cost of logins by a
//! million users who do not exist.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers, which fails by panicking and prints"
)]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Request, header};
use registry_auth_htpasswd::{Htpasswd, Scheme, hash};
use registry_core::{Registry, Tag, auth::ClientAddress, service::ManifestPush, storage::MemoryStorage};
use std::{
    env, fmt, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const READERS: usize = 32;
const ATTACKERS: usize = 16;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 3;

const INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn main() {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(arguments.get(1)),
        Some("users") => a_million_users(),
        _ => rates(),
    }
}

fn rates() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let bcrypt = hash(b"right", Scheme::Bcrypt { cost: 10 }).unwrap();
    fs::write(&file, format!("alice:{bcrypt}\n")).unwrap();
    let file = file.to_str().unwrap();
    let right = basic("alice:right");
    let one: fn(u64) -> String = |_| basic("alice:wrong");
    let many: fn(u64) -> String = |turn| basic(&format!("user{turn}:wrong"));

    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let open = Server::start(None).load(None, None);
        println!("  without logins:                    {open}");
        for (what, wrong) in [
            ("valid credentials:               ", None),
            ("… while one user is tried:       ", Some(one)),
            ("… while ever others are tried:   ", Some(many)),
        ] {
            let server = Server::start(Some(file));
            let load = server.load(Some(&right), wrong);
            let share = 100.0 * load.rate / open.rate;
            println!("  {what}  {load}, {share:.0} %; {}", server.end());
        }
    }
}

/// Results of a load.
struct Load {
    /// GETs answered in a second.
    rate: f64,
    /// Processor time of the server for each GET.
    cost: Duration,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cost = self.cost.as_secs_f64() * 1e6;
        write!(
            f,
            "{:>6.0} GETs/s, {cost:>3.0} µs of the server's processors each",
            self.rate
        )
    }
}

/// This program as a server, so that it has a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(file: Option<&str>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("serve").args(file);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            process,
            address: line.trim().parse().unwrap(),
        }
    }

    /// Sends GETs from clients with `right`, while others send the output of `wrong` for growing numbers.
    fn load(&self, right: Option<&str>, wrong: Option<fn(u64) -> String>) -> Load {
        let runtime = Runtime::new().unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        for _ in 0..READERS {
            let (address, right, answered) = (self.address, right.map(str::to_owned), Arc::clone(&answered));
            runtime.spawn(async move {
                let mut client = Client::connect(address).await;
                loop {
                    assert_eq!(client.get(right.as_deref()).await, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(WARM_UP);
        let turns = Arc::new(AtomicU64::new(0));
        for wrong in wrong.into_iter().cycle().take(wrong.map_or(0, |_| ATTACKERS)) {
            let (address, turns) = (self.address, Arc::clone(&turns));
            runtime.spawn(async move {
                let mut client = Client::connect(address).await;
                loop {
                    let shown = wrong(turns.fetch_add(1, Ordering::Relaxed));
                    let status = client.get(Some(&shown)).await;
                    assert!([401, 429].contains(&status), "{status}");
                }
            });
        }
        thread::sleep(WARM_UP);

        let (started, before, used) = (Instant::now(), answered.load(Ordering::Relaxed), self.used());
        thread::sleep(MEASURED);
        let (elapsed, used) = (started.elapsed(), self.used() - used);
        let count = (answered.load(Ordering::Relaxed) - before) as f64;
        Load {
            rate: count / elapsed.as_secs_f64(),
            cost: used.div_f64(count),
        }
    }

    /// Returns the processor time of the process so far.
    fn used(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name: the state is field 3, the times in user and system mode are 14 and 15, in hundredths.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(10 * ticks)
    }

    /// Ends the server and returns the line that it prints.
    fn end(mut self) -> String {
        drop(self.process.stdin.take());
        let mut said = String::new();
        let mut output = BufReader::new(self.process.stdout.as_mut().unwrap());
        output.read_line(&mut said).unwrap();
        said.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Serves until standard input ends, then prints the counters.
fn serve(file: Option<&String>) {
    let users = file.map(|file| Htpasswd::open(file).unwrap());
    let runtime = Runtime::new().unwrap();
    let mut builder = Registry::builder(MemoryStorage::new()).allow_anonymous_push();
    if let Some(users) = &users {
        builder = builder.authenticator(users.clone());
    }
    let registry = builder.build();
    let address = runtime.block_on(async {
        let push = ManifestPush::new(Tag::parse("latest").unwrap(), INDEX.to_vec());
        registry
            .repository("a/b")
            .unwrap()
            .put_manifest(push)
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(registry_listener::serve(
            listener,
            registry_axum::router(registry),
        ));
        address
    });
    println!("{address}");
    std::io::stdout().flush().unwrap();
    let mut ignored = String::new();
    std::io::stdin().read_line(&mut ignored).unwrap();
    if let Some(users) = users {
        println!("{:?}, resident: {} KiB", users.statistics(), resident());
    }
}

/// A persistent connection.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Reads the manifest; returns the status.
    async fn get(&mut self, authorization: Option<&str>) -> u16 {
        let authorization =
            authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let request =
            format!("GET /v2/a/b/manifests/latest HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.read.clear();
        loop {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "cut off");
            let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = str::from_utf8(&self.read[..end]).unwrap().to_ascii_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if self.read.len() == end + 4 + length {
                return head[9..12].parse().unwrap();
            }
        }
    }
}

/// Tries logins of a million users who do not exist, with a fast hash.
fn a_million_users() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    fs::write(
        &file,
        format!("alice:{}\n", hash(b"right", Scheme::Sha1).unwrap()),
    )
    .unwrap();
    let users = Htpasswd::open(&file).unwrap();
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(users.clone())
        .build();
    let runtime = Runtime::new().unwrap();
    for turn in 0..=1_000_000_u32 {
        let credentials = basic(&format!("user{turn}:wrong"));
        let mut request = Request::get("/v2/")
            .header(header::AUTHORIZATION, credentials)
            .body(String::new())
            .unwrap();
        let address = SocketAddr::from((turn.to_be_bytes(), 1));
        request.extensions_mut().insert(ClientAddress(address));
        assert_eq!(runtime.block_on(registry.handle(request)).status(), 401);
        if [1_000, 10_000, 100_000, 1_000_000].contains(&turn) {
            println!("{turn:>9} users who do not exist: {} KiB resident", resident());
        }
    }
    println!("{:?}", users.statistics());
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

/// Returns the resident memory of the process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
