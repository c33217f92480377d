//! `registry serve`: opens the directory, listens, and drains connections after a signal.

use super::{announce::announce, cli::Serve, files, log};
use crate::{
    absent, access,
    access_log::AccessLog,
    admission::Admission,
    backend,
    config::{self, Config, Location, Settings, Sources, StorageKind},
    debug::Debug,
    headers::AnswerHeaders,
    links::LinksFromRequest,
    proxies::ProxyWarnings,
    root,
    socket::Bound,
    tls,
    transfers::Transfers,
    users,
};
use axum::{Router, extract::Request, middleware, routing::get};
use registry_auth_htpasswd::Htpasswd;
use registry_auth_rules::RulesFile;
use registry_axum::{Mount, TokioClock};
use registry_core::{
    Registry, Storage,
    service::{Builder, Limits},
};
use registry_listener::Server;
use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    signal::unix,
    time::{Instant, timeout_at},
};

/// Additional time after the drain for storing received data. With the default drain timeout it is less than the 10 s
/// after which `docker stop` kills the process.
const TIDYING: Duration = Duration::from_secs(1);

pub(crate) fn run(options: Serve) -> Result<(), Box<dyn Error>> {
    let Serve {
        config,
        addr,
        root,
        min_free,
        debug_addr,
        htpasswd,
        realm,
        access,
        max_connections,
        tls_cert,
        tls_key,
        log_level,
        access_log,
    } = options;
    // Without a file somebody tries it out, and is told how.
    let tell_how = config.is_none();
    let flags = [
        ("http.addr", "--addr", addr),
        ("storage.filesystem.rootdirectory", "--root", root),
        ("storage.filesystem.minfree", "--min-free", min_free),
        (
            "http.debug.prometheus.enabled",
            "--debug-addr",
            debug_addr.as_ref().map(|_| "true".to_owned()),
        ),
        ("http.debug.addr", "--debug-addr", debug_addr),
        ("auth.htpasswd.path", "--htpasswd", htpasswd),
        ("auth.htpasswd.realm", "--realm", realm),
        ("access.rules", "--access", access),
        ("http.tls.certificate", "--tls-cert", tls_cert),
        ("http.tls.key", "--tls-key", tls_key),
        ("limits.connections", "--max-connections", max_connections),
        ("log.level", "--log-level", log_level),
        (
            "log.accesslog.disabled",
            "--access-log",
            access_log.then(|| "false".to_owned()),
        ),
    ];
    let config = Config::load(Sources {
        file: config,
        variables: config::variables(),
        flags: flags
            .into_iter()
            .filter_map(|(key, flag, value)| Some((key, flag, value?)))
            .collect(),
    })?;
    let settings = &config.settings;
    log::start(&settings.log);
    for notice in &config.notices {
        notice.log();
    }
    keep_memory_of_uploads();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let StorageKind::Directory { threads, .. } = settings.storage.kind {
        runtime.max_blocking_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let deadline = Deadline::default();
    let (access_log, writer) = if settings.log.access {
        AccessLog::start().map(|(log, writer)| (Some(log), Some(writer)))?
    } else {
        (None, None)
    };
    let ended = runtime.block_on(serve(settings, access_log, tell_how, &deadline));
    // A thread may be in a call that never returns, to a disk that has gone: the process does not wait for it.
    runtime.shutdown_timeout(deadline.get().saturating_duration_since(Instant::now()));
    // Every request has ended with it, and has its line.
    if let Some(writer) = writer {
        writer.finish();
    }
    ended
}

/// Makes glibc keep a few MiB of freed memory.
///
/// By default it returns the memory to the system at once, and each piece of an upload faults it in again, page by
/// page. The retained size follows the largest block that was ever freed (mallopt(3), dynamic mmap threshold). Other
/// allocators are not affected.
fn keep_memory_of_uploads() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4 << 20)));
}

/// Time at which the process ends even if work is still running. It is set when the process is told to stop.
#[derive(Clone, Default)]
struct Deadline(Arc<OnceLock<Instant>>);

impl Deadline {
    fn set_after(&self, drain: Duration) {
        let _ = self.0.set(Instant::now() + drain + TIDYING);
    }

    /// Returns the deadline, or the current time if the process was not told to stop.
    fn get(&self) -> Instant {
        self.0.get().copied().unwrap_or_else(Instant::now)
    }
}

async fn serve(
    settings: &Settings,
    access_log: Option<AccessLog>,
    tell_how: bool,
    deadline: &Deadline,
) -> Result<(), Box<dyn Error>> {
    let users = users::open(settings.login.as_ref())?;
    let rules = open_rules(settings, users.as_ref())?;
    // The signals are caught before anybody is told that the server is there, or that it waits.
    let mut stop = Box::pin(stop_signal()?);
    let Some(backend) = backend::open(settings, stop.as_mut()).await? else {
        return Ok(());
    };
    let listener = settings.http.socket.bind().await?;
    let address = listener.address();
    if rules.is_none() && users.is_none() {
        warn_of_open_access(settings, address);
    }
    files::allow_for(&settings.limits);
    let mut debug = open_debug(settings).await?;
    let tls = match (&settings.http.tls, address) {
        (Some(tls), Some(address)) => Some(tls::start(tls, address.port()).await?),
        _ => None,
    };
    if let (Some(debug), Some(tls)) = (&mut debug, tls.clone()) {
        debug.tls(tls);
    }
    tracing::info!("listening on {}", listener.url(settings.http.scheme()));
    if let (true, Some(address)) = (tell_how, address) {
        // Nobody may read it, as behind a pipe that has closed.
        if let Err(error) = announce(address, settings) {
            tracing::warn!(%error, "cannot write to standard output");
        }
    }

    let storage = backend.into_storage(settings, debug.as_mut());
    let registry = build_registry(storage, settings, users, rules, debug.as_mut());
    let upkeep = registry.upkeep().uploads(settings.storage.expiry);
    let mount = mounted(registry, settings)?;
    let app = routes(&mount, settings, debug, access_log.clone());
    let server = build_server(app, settings, access_log).until(stopping(
        stop,
        settings.timeouts.drain,
        deadline.clone(),
    ));
    let serving = async {
        match (listener, tls) {
            (Bound::Tcp(listener, _), Some(tls)) => server.handshake(tls).serve(listener).await,
            (Bound::Tcp(listener, _), None) => server.serve(listener).await,
            (Bound::Unix(listener), _) => server.serve(listener).await,
        }
    };
    let ended = tokio::select! {
        ended = serving => ended,
        never = upkeep.run(&TokioClock) => match never {},
    };
    if ended.cut > 0 {
        tracing::warn!(
            connections = ended.cut,
            "requests were still running and are aborted; their uploads can be resumed"
        );
    }
    // Tasks outlive their connections: what was received is kept before the process ends.
    if timeout_at(deadline.get(), mount.drained()).await.is_err() {
        tracing::warn!("requests did not end in time");
    }
    Ok(())
}

/// Opens the access rules, and logs what is remarkable in them.
fn open_rules(settings: &Settings, users: Option<&Htpasswd>) -> Result<Option<RulesFile>, Box<dyn Error>> {
    let rules = settings.access.as_deref().map(access::open).transpose()?;
    if let Some(rules) = &rules {
        for remark in access::remarks(&rules.rules(), users) {
            tracing::warn!("access rules: {remark}");
        }
    }
    Ok(rules)
}

/// Warns of a registry that anybody on the network can push to, unless the configuration asks for it.
fn warn_of_open_access(settings: &Settings, address: Option<SocketAddr>) {
    if is_open_by_mistake(settings.open_on_purpose, address) {
        tracing::warn!(
            address = address.map(tracing::field::display),
            "everyone who can reach this address can pull and push; to require a login, set `auth.htpasswd` or --htpasswd FILE; if no login is intended, set `auth: none`"
        );
    }
}

/// Returns true if others than this machine reach the address, and the configuration does not say that anybody may.
fn is_open_by_mistake(on_purpose: bool, address: Option<SocketAddr>) -> bool {
    let is_reachable = address.is_some_and(|address| !address.ip().is_loopback());
    is_reachable && !on_purpose
}

/// Opens the listener for health and metrics, if one is configured, and starts the configured checks.
async fn open_debug(settings: &Settings) -> Result<Option<Debug>, Box<dyn Error>> {
    let Some(debug) = &settings.http.debug else {
        return Ok(None);
    };
    let debug = Debug::listen(debug.clone()).await?;
    debug.ask(&settings.checks);
    Ok(Some(debug))
}

/// Builds the registry, follows the files of users and rules, and registers its metrics.
fn build_registry(
    storage: Arc<dyn Storage>,
    settings: &Settings,
    users: Option<Htpasswd>,
    rules: Option<RulesFile>,
    mut debug: Option<&mut Debug>,
) -> Registry {
    let is_writable = storage.write().is_some();
    if let (Some(rules), Some(users)) = (&rules, &users) {
        absent::follow(rules.clone(), users.clone());
    }
    let registry = access::decided(
        configured(Registry::builder(storage), settings),
        rules,
        users.is_some(),
    );
    if let Some(users) = &users {
        users::follow(users);
    }
    let registry = match (users, &mut debug) {
        (Some(users), Some(debug)) => registry.authenticator(debug.logins(users)).build(),
        (Some(users), None) => registry.authenticator(users).build(),
        (None, _) => registry.build(),
    };
    if let Some(debug) = debug.filter(|_| is_writable) {
        debug.uploads(registry.upload_ledger().clone());
    }
    registry
}

fn build_server(app: Router, settings: &Settings, access_log: Option<AccessLog>) -> Server {
    let proxies = settings.http.admission.proxies.clone();
    Server::new(app)
        .on_refusal(move |refused| {
            if let Some(log) = &access_log {
                log.refused(&proxies, refused);
            }
        })
        .timeouts(settings.timeouts)
        .limits(settings.limits)
        // No layer here looks at more of a body than its length.
        .sendfile()
}

/// Waits for the signal to stop, and sets the deadline.
async fn stopping(stop: impl Future<Output = ()>, drain: Duration, deadline: Deadline) {
    stop.await;
    deadline.set_after(drain);
    tracing::info!(
        "stopping: waiting up to {} s for running requests",
        drain.as_secs_f32()
    );
}

/// Applies limits and permissions that hold for all users.
fn configured(mut registry: Builder, settings: &Settings) -> Builder {
    let storage = &settings.storage;
    let mut limits = Limits::default();
    limits.blob_bytes = storage.blob_bytes;
    limits.catalog_n = storage.catalog_n;
    limits.uploads = storage.uploads;
    limits.uploads_in_repository = storage.repository_uploads;
    limits.uploads_of_user = storage.user_uploads;
    limits.name_components = storage.name_components;
    limits.document_bytes = usize::try_from(storage.document_bytes).unwrap_or(usize::MAX);
    registry = registry.limits(limits);
    for (setting, key) in config::remedies(settings) {
        registry = registry.remedy(setting, key);
    }
    if !storage.whole_indexes {
        registry = registry.allow_sparse_indexes();
    }
    if !storage.exact_sizes {
        registry = registry.allow_wrong_sizes();
    }
    if storage.read_only {
        // Turning deletion on would not help, so no answer says so.
        registry = registry.read_only();
    } else if !storage.deletion {
        registry = registry.without_deletion();
    }
    if let Some(urls) = storage.layer_urls.clone() {
        registry = registry.layer_urls(move |url| urls.allows(url));
    }
    registry
}

/// Mounts the registry at its path, with the external URL for links.
fn mounted(registry: Registry, settings: &Settings) -> Result<Mount, Box<dyn Error>> {
    let prefix = &settings.http.prefix;
    let mount = Mount::new(registry).at(prefix)?;
    Ok(match &settings.http.location {
        Location::Absolute(url) => mount.external_path(&format!("{url}{prefix}"))?,
        Location::Relative | Location::FromRequest => mount,
    })
}

/// Builds the router: the registry, `/`, and the layers around them, the outermost one last.
fn routes(mount: &Mount, settings: &Settings, debug: Option<Debug>, access_log: Option<AccessLog>) -> Router {
    let headers = AnswerHeaders::new(settings.http.headers.clone());
    let warnings = Arc::new(ProxyWarnings::default());
    let mut app: Router = mount
        .router()
        .layer(middleware::from_fn_with_state(headers, AnswerHeaders::add))
        .route("/", get(root::page));
    if settings.http.location == Location::FromRequest {
        app = app.layer(middleware::map_request_with_state(
            LinksFromRequest::new(&settings.http.prefix, Arc::clone(&warnings)),
            LinksFromRequest::add,
        ));
    }
    if let Some(debug) = debug {
        app = app.layer(debug.serve());
    }
    let admission = Arc::new(settings.http.admission.clone());
    app = app.layer(middleware::from_fn_with_state(
        Arc::clone(&admission),
        Admission::admit,
    ));
    app = match access_log {
        Some(log) => app.layer(middleware::from_fn_with_state(log, AccessLog::log)),
        None => app.layer(middleware::from_fn_with_state(
            Transfers::new(&settings.http.prefix),
            Transfers::log,
        )),
    };
    app.layer(middleware::map_request(move |mut request: Request| {
        admission.identify(&mut request, &warnings);
        std::future::ready(request)
    }))
}

/// Returns a future that ends with the first SIGTERM, SIGINT or SIGHUP. `nohup` ignores the last one, and so it stays.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let mut hangup = if is_hangup_ignored() {
        None
    } else {
        Some(unix::signal(unix::SignalKind::hangup())?)
    };
    Ok(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => _ = hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hung_up => {}
        }
    })
}

/// Returns true if whoever started this process made it ignore SIGHUP, as `nohup` does. False where the system does not
/// tell.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Of the mask, the lowest bit is signal 1.
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lets_everybody_in_is_warned_unless_that_was_said() {
        let address = |text: &str| Some(text.parse().unwrap());
        assert!(is_open_by_mistake(false, address("0.0.0.0:5000")));
        for (on_purpose, address) in [
            (true, address("0.0.0.0:5000")),
            (false, address("127.0.0.1:5000")),
            (false, address("[::1]:5000")),
            (false, None),
        ] {
            assert!(!is_open_by_mistake(on_purpose, address), "{address:?}");
        }
    }
}
