//! A password file, a registry whose users are in it, and what is logged.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Request, header};
use registry_auth_htpasswd::{Builder, Htpasswd, Scheme, hash};
use registry_core::{
    Registry,
    auth::{ClientAddress, PresumedProxy},
    storage::MemoryStorage,
};
use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};

/// Address of clients, unless a test sets another one.
pub(crate) const HOME: &str = "192.0.2.7:50000";

pub(crate) struct Scene {
    _directory: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) users: Htpasswd,
    pub(crate) log: Log,
    registry: Registry,
}

/// Answer of a registry to a ping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
}

impl Scene {
    /// Makes a scene with these users, a name and a password each.
    pub(crate) fn new(users: &[(&str, &str)]) -> Self {
        Self::with(&lines(users), |builder| builder)
    }

    /// Makes a scene with a file of this text, and these options.
    pub(crate) fn with(text: &str, options: impl FnOnce(Builder) -> Builder) -> Self {
        let log = Log::capture();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, text).unwrap();
        let users = options(Htpasswd::builder(&path)).open().unwrap();
        let registry = Registry::builder(MemoryStorage::new())
            .authenticator(users.clone())
            .build();
        Self {
            _directory: directory,
            path,
            users,
            log,
            registry,
        }
    }

    /// Pings with a name and a password, and returns the status.
    pub(crate) async fn login(&self, user: &str, password: &str) -> u16 {
        self.login_from(HOME, user, password).await.status
    }

    /// Pings from another address.
    pub(crate) async fn login_from(&self, address: &str, user: &str, password: &str) -> Answer {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.ping(Some(address), &format!("Basic {credentials}")).await
    }

    /// Pings through a peer that forwards this address, and is only presumed to be a proxy.
    pub(crate) async fn login_through(
        &self,
        proxy: &str,
        address: &str,
        user: &str,
        password: &str,
    ) -> Answer {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let mut request = request(Some(address), &format!("Basic {credentials}"));
        let proxy = PresumedProxy(proxy.parse().unwrap());
        request.extensions_mut().insert(proxy);
        self.send(request).await
    }

    /// Pings with any `Authorization`.
    pub(crate) async fn ping(&self, address: Option<&str>, authorization: &str) -> Answer {
        self.send(request(address, authorization)).await
    }

    async fn send(&self, request: Request<String>) -> Answer {
        let response = self.registry.handle(request).await;
        let seconds = response.headers().get(header::RETRY_AFTER);
        Answer {
            status: response.status().as_u16(),
            retry_after: seconds.map(|seconds| seconds.to_str().unwrap().parse().unwrap()),
        }
    }

    pub(crate) fn hashed(&self) -> u64 {
        self.users.statistics().hashed
    }

    /// Looks at the file until a change has settled.
    pub(crate) async fn settle(&self) {
        self.users.check_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        self.users.check_now().await;
    }
}

fn request(address: Option<&str>, authorization: &str) -> Request<String> {
    let mut request = Request::get("/v2/")
        .header(header::AUTHORIZATION, authorization)
        .body(String::new())
        .unwrap();
    if let Some(address) = address {
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ClientAddress(address));
    }
    request
}

/// Lines of a file, by a hash that is quick to verify; it is salted, so that each is different.
pub(crate) fn lines(users: &[(&str, &str)]) -> String {
    let line = |&(user, password): &(&str, &str)| {
        let hash = hash(password.as_bytes(), Scheme::Bcrypt { cost: 4 }).unwrap();
        format!("{user}:{hash}\n")
    };
    users.iter().map(line).collect()
}

/// Captured log of this thread, and of those it starts, until it is dropped.
pub(crate) struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    /// With a single subscriber, `tracing` decides whether an event is logged by the thread that reaches it
    /// first, which may be another test's. With two it asks both.
    _second: tracing::Dispatch,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn capture() -> Self {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(LevelFilter::INFO)
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            written,
            _second: tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()),
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Returns the lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        let text = String::from_utf8(written).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
