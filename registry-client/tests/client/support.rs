//! Registries for the tests of the client.

use registry_client::{Client, ClientBuilder, RemoteRepository, Retry};
use registry_core::{Algorithm, Descriptor, Digest, MediaType};
use registry_test::{TestRegistry, tap::Tap};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A real registry behind a tap.
pub(crate) struct Tapped {
    pub(crate) registry: TestRegistry,
    pub(crate) tap: Tap,
}

impl Tapped {
    pub(crate) fn start() -> Self {
        Self::before(TestRegistry::start())
    }

    pub(crate) fn before(registry: TestRegistry) -> Self {
        let tap = Tap::start(registry.addr()).unwrap();
        Self { registry, tap }
    }

    pub(crate) fn repository(&self, name: &str) -> RemoteRepository {
        let address = self.tap.address();
        builder()
            .build()
            .unwrap()
            .repository(&format!("{address}/{name}"))
            .unwrap()
    }
}

/// Returns a client that hardly pauses between attempts.
pub(crate) fn builder() -> ClientBuilder {
    let short = Duration::from_millis(1);
    Client::builder().retry(Retry::new(4).pauses(short, short))
}

/// Returns `size` bytes that do not repeat soon.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let byte = |n: usize| (n ^ (n >> 8) ^ (n >> 13)).to_le_bytes()[0];
    (0..size).map(byte).collect()
}

pub(crate) fn descriptor(content: &[u8]) -> Descriptor {
    let media_type = MediaType::parse("application/octet-stream").unwrap();
    Descriptor::new(
        media_type,
        Digest::of(Algorithm::Sha256, content),
        content.len() as u64,
    )
}

/// Request that a scripted server has received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// Response of a scripted server.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl Reply {
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }
}

type Answer = dyn Fn(&Received) -> Reply + Send + Sync;

/// Server whose responses a test decides. Each connection has one request.
pub(crate) struct Scripted {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    pub(crate) fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let ended: Arc<AtomicBool> = Arc::default();
        let (log, stop, answer) = (Arc::clone(&received), Arc::clone(&ended), Arc::new(answer));
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(&connection.unwrap(), &log, &*answer));
            }
        });
        Self {
            address,
            received,
            ended,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn repository(&self, name: &str) -> RemoteRepository {
        let client = builder().build().unwrap();
        client.repository(&format!("{}/{name}", self.address)).unwrap()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The acceptor checks `ended` after each new connection.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one request. A client that closes the connection early is no failure of the test.
fn serve(connection: &TcpStream, log: &Mutex<Vec<Received>>, answer: &Answer) {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap_or_default();
    let mut parts = line.split_whitespace();
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return;
    };
    let mut request = Received {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: BTreeMap::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        request
            .headers
            .insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    if reader.read_exact(&mut request.body).is_err() {
        return;
    }
    log.lock().unwrap().push(request.clone());
    let Reply {
        status,
        mut headers,
        body,
    } = answer(&request);
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        headers.push(("content-length", body.len().to_string()));
    }
    let mut head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut writer = connection;
    let body = if request.method == "HEAD" {
        Vec::new()
    } else {
        body
    };
    let _ = writer.write_all(&[format!("{head}\r\n").into_bytes(), body].concat());
}
