//! [`Doors`]: the listeners of a server. Before a bucket is open, they answer already: liveness is told at once, and
//! everything else is to come back later.

use crate::{
    access_log::{AccessLog, Writer},
    config::Settings,
    debug::Debug,
    opening::Opening,
    socket::Bound,
    start_error::StartError,
    tasks::Tasks,
    tls, wiring,
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use registry_core::error::{ErrorCode, error_body};
use registry_listener::Ended;
use registry_tls::Tls;
use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio::{sync::oneshot, task::JoinSet};
use tower_service::Service as _;

/// Seconds after which a client should come back to a server whose bucket is not open.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The listeners of a server, with what they need before there is a storage.
pub(crate) struct Doors {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) url: String,
    pub(crate) debug: Option<Debug>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) writer: Option<Writer>,
    clients: Clients,
}

/// The listener for clients.
enum Clients {
    Bound(Bound, Option<Tls>),
    /// It answers. The router is that of the registry, once there is one.
    Answering(Serving, Arc<OnceLock<Router>>),
}

/// A listener that serves, until the sender tells it to stop.
pub(crate) type Serving = (JoinSet<Ended>, oneshot::Sender<()>);

impl Doors {
    /// Binds the configured addresses.
    pub(crate) async fn open(
        settings: &Settings,
        access_log: Option<Box<dyn Write + Send>>,
        tasks: &mut Tasks,
    ) -> Result<Self, StartError> {
        let listener = settings.http.socket.bind().await;
        let listener = listener.map_err(|error| StartError::Listen(error.into()))?;
        let address = listener.address();
        let mut debug = open_debug(settings, tasks).await?;
        let tls = start_tls(settings, address, tasks).await?;
        if let (Some(debug), Some(tls)) = (&mut debug, tls.clone()) {
            debug.tls(tls);
        }
        let access_log = access_log.filter(|_| settings.log.access);
        let access_log = access_log.map(AccessLog::start).transpose();
        let (access_log, writer) = access_log.map_err(StartError::AccessLog)?.unzip();
        Ok(Self {
            address,
            url: listener.url(settings.http.scheme()),
            debug,
            access_log,
            writer,
            clients: Clients::Bound(listener, tls),
        })
    }

    /// Answers before the storage is open: 503 to clients of the registry, and the pages of `/` and of a host.
    pub(crate) fn answer(
        mut self,
        settings: &Settings,
        host: Option<Router>,
        opening: &Opening,
        tasks: &mut Tasks,
    ) -> Self {
        if let Some(debug) = &mut self.debug {
            debug.answer(opening, tasks);
        }
        let Clients::Bound(listener, tls) = self.clients else {
            return self;
        };
        let place = self
            .address
            .map_or_else(|| self.url.clone(), |address| address.to_string());
        tracing::info!("not ready: clients on {place} are answered 503 until the bucket is open");
        let app = Arc::new(OnceLock::new());
        let early = wiring::early(later, settings, host, self.access_log.clone());
        let switch = switch(Arc::clone(&app), early);
        let serving = serve(listener, tls, switch, settings, self.access_log.clone());
        self.clients = Clients::Answering(serving, app);
        self
    }

    /// Serves clients with the registry's router from now on.
    pub(crate) fn serve(self, app: Router, settings: &Settings) -> Serving {
        match self.clients {
            Clients::Bound(listener, tls) => serve(listener, tls, app, settings, self.access_log),
            Clients::Answering(serving, switch) => {
                switch.set(app).expect("a server gets its router once");
                serving
            }
        }
    }
}

/// Answers with a router once there is one, and with another one before.
fn switch(app: Arc<OnceLock<Router>>, early: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let mut app = app.get().unwrap_or(&early).clone();
        async move {
            match app.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    })
}

/// Asks a client to come back.
async fn later() -> Response {
    let message = "the storage of this registry is not reached yet; try again later";
    let mut response = Response::new(Body::from(error_body(ErrorCode::Unavailable, message)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// Opens the listener for health and metrics, if one is configured, and starts the configured checks.
async fn open_debug(settings: &Settings, tasks: &mut Tasks) -> Result<Option<Debug>, StartError> {
    let Some(debug) = &settings.http.debug else {
        return Ok(None);
    };
    let debug = Debug::listen(debug.clone())
        .await
        .map_err(StartError::Operators)?;
    debug.ask(&settings.checks, tasks);
    Ok(Some(debug))
}

/// Sets up TLS, if it is configured.
async fn start_tls(
    settings: &Settings,
    address: Option<SocketAddr>,
    tasks: &mut Tasks,
) -> Result<Option<Tls>, StartError> {
    match (&settings.http.tls, address) {
        (Some(tls), Some(address)) => {
            let started = tls::start(tls, address.port(), tasks).await;
            Ok(Some(started.map_err(StartError::Tls)?))
        }
        _ => Ok(None),
    }
}

/// Starts to serve clients, until the end is told.
fn serve(
    listener: Bound,
    tls: Option<Tls>,
    app: Router,
    settings: &Settings,
    access_log: Option<AccessLog>,
) -> Serving {
    let (stop, stopped) = oneshot::channel();
    let server = wiring::listener(app, settings, access_log).until(async {
        // A server that is dropped ends, too.
        _ = stopped.await;
    });
    let mut serving = JoinSet::new();
    serving.spawn(async {
        match (listener, tls) {
            (Bound::Tcp(listener, _), Some(tls)) => server.handshake(tls).serve(listener).await,
            (Bound::Tcp(listener, _), None) => server.serve(listener).await,
            (Bound::Unix(listener), _) => server.serve(listener).await,
        }
    });
    (serving, stop)
}
