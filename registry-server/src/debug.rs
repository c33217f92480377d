//! Listener for operators: `/debug/health` and the metrics, as with registry:2.
//!
//! It has no login, so it belongs on an address that only operators reach.

use crate::{
    causes::with_causes,
    health_checks::Check,
    listen::{Listen, bind},
    opening::Opening,
    tasks::Tasks,
};
use axum::{
    Router,
    body::Body,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use registry_core::{
    Authenticator, Storage, UploadLedger,
    maintenance::{Collections, VerifyStatus},
    storage::{StorageError, StorageHealth},
};
use registry_health::{Health, Watch};
use registry_metrics::{
    AuthMetrics, HttpMetrics, MeasuredAuthenticator, MeasuredStorage, StorageMetrics, gauges,
    prometheus_client::registry::Registry, text,
};
use registry_storage_fs::FsStorage;
use registry_tls::{Status, Tls};
use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, runtime::Handle, task::spawn_blocking};

/// Path of health, as with registry:2.
const HEALTH: &str = "/debug/health";

/// Settings of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Address to listen on.
    pub(crate) addr: Listen,
    /// Path of the metrics; `None` if they are not served.
    pub(crate) metrics: Option<String>,
}

/// Settings of the periodic check of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StorageCheck {
    /// Interval of the check.
    pub(crate) interval: Duration,
    /// Number of consecutive failures after which the check fails.
    pub(crate) threshold: u32,
}

/// Debug listener that does not answer yet, and to which health checks and metrics are added.
#[derive(Debug)]
pub(crate) struct Debug {
    /// `None` once it answers.
    listener: Option<TcpListener>,
    shown: Arc<OnceLock<Shown>>,
    address: SocketAddr,
    health: Health,
    instruments: Registry,
    metrics: Option<String>,
}

impl Debug {
    /// Binds the address.
    pub(crate) async fn listen(settings: Settings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let Settings { addr, metrics } = settings;
        let listener = bind(&addr)
            .await
            .map_err(|error| format!("cannot listen on {addr} for health and metrics: {error}; set another address or port with `http.debug.addr` or --debug-addr"))?;
        let mut instruments = Registry::default();
        gauges::build(&mut instruments, env!("CARGO_PKG_VERSION"));
        gauges::process_start(&mut instruments, SystemTime::now());
        Ok(Self {
            address: listener.local_addr()?,
            listener: Some(listener),
            shown: Arc::default(),
            health: Health::new(),
            instruments,
            metrics,
        })
    }

    /// Registers health checks and metrics of a storage. Returns it with its operations measured.
    pub(crate) fn watch(
        &mut self,
        storage: FsStorage,
        check: Option<StorageCheck>,
        tasks: &mut Tasks,
    ) -> MeasuredStorage<FsStorage> {
        self.watch_health(Arc::new(storage.clone()), "filesystem", check, tasks);
        let asked = storage.clone();
        gauges::quarantined(&mut self.instruments, move || asked.quarantined());
        StorageMetrics::register(&mut self.instruments, "filesystem").wrap(storage)
    }

    /// Registers the number of open upload sessions as a metric.
    pub(crate) fn uploads(&mut self, ledger: UploadLedger) {
        gauges::open_uploads(&mut self.instruments, move || ledger.open_uploads());
    }

    /// Registers the last verification as metrics.
    pub(crate) fn verified(&mut self, status: VerifyStatus) {
        gauges::verified(&mut self.instruments, move || status.last());
    }

    /// Registers the results of collections as metrics.
    pub(crate) fn collections(&mut self, collections: Collections) {
        gauges::collections(&mut self.instruments, move || collections.counts());
    }

    /// Registers health checks and metrics of a storage by the name of its kind. Returns it with its operations measured.
    pub(crate) fn watch_any(
        &mut self,
        storage: Arc<dyn Storage>,
        name: &'static str,
        check: Option<StorageCheck>,
        tasks: &mut Tasks,
    ) -> MeasuredStorage<Arc<dyn Storage>> {
        self.watch_health(Arc::clone(&storage), name, check, tasks);
        StorageMetrics::register(&mut self.instruments, name).wrap(storage)
    }

    /// Registers what any storage tells of its health. Reports and scrapes wait for the storage, on threads where they
    /// may: see [`answer_blocking`].
    fn watch_health(
        &mut self,
        storage: Arc<dyn Storage>,
        name: &str,
        check: Option<StorageCheck>,
        tasks: &mut Tasks,
    ) {
        if storage.health().is_none() {
            return;
        }
        if let Some(StorageCheck { interval, threshold }) = check {
            let watch = Watch::new(interval, threshold);
            // registry:2's name for it.
            let name = match name {
                "host" => "filesystem",
                name => name,
            };
            self.health
                .register(format!("storagedriver_{name}"), watch.verdict());
            let probed = Arc::clone(&storage);
            tasks.require(
                "check of the storage",
                watch.run(move || {
                    let storage = Arc::clone(&probed);
                    async move { health(&*storage)?.probe().await }
                }),
            );
        }
        let (asked, runtime) = (Arc::clone(&storage), Handle::current());
        self.health.register("free_space", move || {
            let accepts = runtime.block_on(async { health(&*asked)?.accepts_uploads().await });
            accepts.map_err(|error| with_causes(&error))
        });
        let runtime = Handle::current();
        gauges::space(&mut self.instruments, move || {
            runtime.block_on(async { health(&*storage)?.space().await })
        });
    }

    /// Registers a health check of TLS, and the expiry of the certificate as a metric.
    pub(crate) fn tls(&mut self, tls: Tls) {
        let asked = tls.clone();
        self.health.register("tls", move || asked.status().check());
        gauges::certificate(&mut self.instruments, move || match tls.status() {
            Status::Serving { until, .. } => Some(until),
            _ => None,
        });
    }

    /// Returns the address that it listens on.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts further health checks.
    pub(crate) fn ask(&self, checks: &[Check], tasks: &mut Tasks) {
        for check in checks {
            tasks.require("health check", check.clone().join(&self.health));
        }
    }

    /// Returns the authenticator with its logins measured.
    pub(crate) fn logins<A: Authenticator>(&mut self, users: A) -> MeasuredAuthenticator<A> {
        AuthMetrics::register(&mut self.instruments).wrap(users)
    }

    /// Starts to answer before the storage is open: the report of health says why it is not. There are no metrics yet.
    pub(crate) fn answer(&mut self, opening: &Opening, tasks: &mut Tasks) {
        let opening = opening.clone();
        self.health.register(opening.name(), move || opening.verdict());
        self.begin(tasks);
    }

    fn begin(&mut self, tasks: &mut Tasks) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        let metrics = self
            .metrics
            .as_ref()
            .map_or_else(String::new, |path| format!(", metrics at {path}"));
        tracing::info!(
            "debug server listening on {}: health at {HEALTH}{metrics}",
            self.address
        );
        let early = Arc::new(Shown {
            health: self.health.clone(),
            instruments: None,
            metrics: self.metrics.clone(),
        });
        let shown = Arc::clone(&self.shown);
        let app: Router = Router::new().fallback(move |method: Method, target: Uri| {
            let (early, shown) = (Arc::clone(&early), Arc::clone(&shown));
            async move {
                let path = target.path();
                match early.refusal(&method, path) {
                    Some(refused) => refused,
                    None => answer_blocking(early, shown, path == HEALTH).await,
                }
            }
        });
        tasks.listen("listener for operators", listener, app);
    }

    /// Starts to answer, until the server ends. Returns the metrics of requests.
    pub(crate) fn serve(mut self, tasks: &mut Tasks) -> HttpMetrics {
        let http = HttpMetrics::register(&mut self.instruments);
        let health = self.health.clone();
        gauges::health(&mut self.instruments, move || {
            let report = health.report();
            let checks = report.checks();
            checks
                .map(|(name, verdict)| (name.to_owned(), verdict.is_ok()))
                .collect()
        });
        self.begin(tasks);
        let full = Shown {
            health: self.health,
            instruments: Some(self.instruments),
            metrics: self.metrics,
        };
        self.shown.set(full).expect("a listener serves once");
        http
    }
}

fn health(storage: &dyn Storage) -> Result<&dyn StorageHealth, StorageError> {
    storage
        .health()
        .ok_or(StorageError::Unsupported("tell its health"))
}

/// State of the handlers.
#[derive(Debug)]
struct Shown {
    health: Health,
    /// `None` before the storage is open.
    instruments: Option<Registry>,
    metrics: Option<String>,
}

/// Answers on a thread that may wait: checks and metrics may ask the file system.
async fn answer_blocking(early: Arc<Shown>, shown: Arc<OnceLock<Shown>>, health: bool) -> Response {
    let asked = spawn_blocking(move || {
        let shown = shown.get().unwrap_or(&early);
        if health { shown.health() } else { shown.metrics() }
    });
    asked
        .await
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl Shown {
    /// Returns the answer to a request for nothing that is here.
    fn refusal(&self, method: &Method, path: &str) -> Option<Response> {
        if path != HEALTH && self.metrics.as_deref() != Some(path) {
            return Some(StatusCode::NOT_FOUND.into_response());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = [(header::ALLOW, "GET, HEAD")];
            return Some((StatusCode::METHOD_NOT_ALLOWED, allow).into_response());
        }
        None
    }

    fn health(&self) -> Response {
        let report = self.health.report();
        let status = if report.is_healthy() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        answer(status, "application/json; charset=utf-8", report.to_json())
    }

    fn metrics(&self) -> Response {
        match &self.instruments {
            Some(instruments) => answer(StatusCode::OK, text::CONTENT_TYPE, text::encode(instruments)),
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Body::from(body)).into_response()
}
