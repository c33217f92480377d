//! `registry serve`: opens the directory, listens, and drains when it is told to stop.

use crate::{
    access,
    cli::Serve,
    debug::{self, Debug},
    expiry, files, tls, users,
};
use axum::{Router, routing::get};
use registry_axum::{
    Mount,
    server::{Limits, Server, Timeouts},
};
use registry_core::{Registry, Storage};
use registry_storage_fs::FsStorage;
use std::{
    error::Error,
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, signal::unix, time::timeout};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// How often the storage is checked, and how many failures in a row are too many: registry:2's.
const STORAGE_CHECK: (Duration, u32) = (Duration::from_secs(10), 3);

pub(crate) fn run(options: &Serve) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Colours are for people: programs that read a log look for its words.
        .with_ansi(io::stderr().is_terminal())
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: &Serve) -> Result<(), Box<dyn Error>> {
    let users = users::open(options)?;
    let logins = users.is_some();
    let rules = options.access.as_deref();
    let rules = rules.map(|path| access::open(path, logins)).transpose()?;
    let storage = FsStorage::open(&options.root)?;
    let listener = TcpListener::bind(&options.addr).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; --addr takes another address and port",
            options.addr
        )
    })?;
    let address = listener.local_addr()?;
    if rules.is_none() && !logins && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "anybody who reaches this address can pull, push and delete: --htpasswd FILE asks for a login"
        );
    }
    files::allow_for(options.max_connections);
    // The signals are caught before anybody is told that the server is there.
    let stop = stop_signal()?;
    let mut debug = match &options.debug_addr {
        Some(addr) => Some(Debug::listen(debug_settings(addr)).await?),
        None => None,
    };
    let tls = tls::start(options)?;
    if let (Some(debug), Some(tls)) = (&mut debug, tls.clone()) {
        debug.check("tls", move || tls.status().check());
    }
    announce(address, options)?;

    let storage: Arc<dyn Storage> = match &mut debug {
        Some(debug) => Arc::new(debug.watch(storage, STORAGE_CHECK.0, STORAGE_CHECK.1)),
        None => Arc::new(storage),
    };
    let expiring = Arc::clone(&storage);
    let mut builder = access::decided(Registry::builder(storage), rules, logins);
    if let Some(users) = users {
        users::follow(&users);
        builder = match &mut debug {
            Some(debug) => builder.authenticator(debug.logins(users)),
            None => builder.authenticator(users),
        };
    }
    let registry = builder.build();
    let mount = Mount::new(registry);
    let mut app: Router = mount.router().route("/", get(|| async {}));
    if let Some(debug) = debug {
        app = app.layer(debug.serve());
    }
    let timeouts = Timeouts::default();
    let drain = timeouts.drain;
    let mut limits = Limits::default();
    limits.connections = options.max_connections;

    let server = Server::new(app)
        .timeouts(timeouts)
        .limits(limits)
        .until(async move {
            stop.await;
            tracing::info!(
                "stopping: waiting up to {} s for running requests",
                drain.as_secs()
            );
        });
    let serving = async {
        match tls {
            Some(tls) => server.handshake(tls).serve(listener).await,
            None => server.serve(listener).await,
        }
    };
    let ended = tokio::select! {
        ended = serving => ended,
        never = expiry::run(&*expiring) => match never {},
    };
    if ended.cut > 0 {
        tracing::warn!(
            connections = ended.cut,
            "requests were still running and are cut off; their uploads can be resumed"
        );
    }
    // Tasks outlive their connections: what was received is kept before the process ends.
    if timeout(drain, mount.drained()).await.is_err() {
        tracing::warn!("requests did not end in time");
    }
    Ok(())
}

fn debug_settings(addr: &str) -> debug::Settings {
    debug::Settings {
        addr: addr.to_owned(),
        metrics: Some("/metrics".to_owned()),
    }
}

/// Ends with the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn announce(address: SocketAddr, options: &Serve) -> io::Result<()> {
    let root = std::path::absolute(&options.root).unwrap_or_else(|_| options.root.clone());
    let (scheme, skopeo, podman) = match options.tls_cert {
        None => ("http", " --dest-tls-verify=false", " --tls-verify=false"),
        Some(_) => ("https", "", ""),
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "registry {} listens on {scheme}://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "images are kept in {}", root.display())?;
    writeln!(out, "push one:")?;
    writeln!(
        out,
        "    docker tag alpine {address}/alpine && docker push {address}/alpine"
    )?;
    writeln!(
        out,
        "    skopeo copy{skopeo} docker-daemon:alpine:latest docker://{address}/alpine"
    )?;
    writeln!(out, "    podman push{podman} alpine {address}/alpine")?;
    out.flush()
}
