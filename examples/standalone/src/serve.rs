//! `registry serve`: opens the directory, listens, and drains when it is told to stop.

use crate::{
    access,
    cli::Serve,
    debug::{self, Debug},
};
use axum::{Router, routing::get, serve::ListenerExt as _};
use registry_axum::Mount;
use registry_core::{Registry, Storage};
use registry_storage_fs::FsStorage;
use std::{
    error::Error,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, signal::unix, time::timeout};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// How often the storage is checked, and how many failures in a row are too many: registry:2's.
const STORAGE_CHECK: (Duration, u32) = (Duration::from_secs(10), 3);

/// How long requests that run may go on after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &Serve) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: &Serve) -> Result<(), Box<dyn Error>> {
    let rules = options.access.as_deref().map(access::open).transpose()?;
    let storage = FsStorage::open(&options.root)?;
    let listener = TcpListener::bind(&options.addr).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; --addr takes another address and port",
            options.addr
        )
    })?;
    let address = listener.local_addr()?;
    if rules.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "anybody who reaches this address can pull, push and delete: there is no login");
    }
    // The signals are caught before anybody is told that the server is there.
    let (stop, stopped) = stop_signals()?;
    let mut debug = match &options.debug_addr {
        Some(addr) => Some(Debug::listen(debug_settings(addr)).await?),
        None => None,
    };
    announce(address, options)?;

    let storage: Arc<dyn Storage> = match &mut debug {
        Some(debug) => Arc::new(debug.watch(storage, STORAGE_CHECK.0, STORAGE_CHECK.1)),
        None => Arc::new(storage),
    };
    let registry = access::decided(Registry::builder(storage), rules).build();
    let mount = Mount::new(registry);
    let mut app: Router = mount.router().route("/", get(|| async {}));
    if let Some(debug) = debug {
        app = app.layer(debug.serve());
    }
    // Small answers must not wait for more to send.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection is without TCP_NODELAY");
        }
    });
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .into_future();
    drained(server, mount, stopped).await
}

fn debug_settings(addr: &str) -> debug::Settings {
    debug::Settings {
        addr: addr.to_owned(),
        metrics: Some("/metrics".to_owned()),
    }
}

/// Ends when the server has, or [`DRAIN`] after it was told to stop.
async fn drained(
    server: impl Future<Output = io::Result<()>>,
    mount: Mount,
    stopped: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let drain = async {
        stopped.await;
        tracing::info!(
            "stopping: waiting up to {} s for running requests",
            DRAIN.as_secs()
        );
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = drain => tracing::warn!("requests were still running and are cut off; their uploads can be resumed"),
    }
    // Tasks outlive their connections: what was received is kept before the process ends.
    if timeout(DRAIN, mount.drained()).await.is_err() {
        tracing::warn!("requests did not end in time");
    }
    Ok(())
}

/// Two futures that end with the first SIGTERM or SIGINT.
fn stop_signals() -> io::Result<(
    impl Future<Output = ()> + Send + 'static,
    impl Future<Output = ()>,
)> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = tell.send(());
    };
    let stopped = async {
        if told.await.is_err() {
            std::future::pending().await
        }
    };
    Ok((stop, stopped))
}

fn announce(address: SocketAddr, options: &Serve) -> io::Result<()> {
    let root = std::path::absolute(&options.root).unwrap_or_else(|_| options.root.clone());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "registry {} listens on http://{address}",
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
        "    skopeo copy --dest-tls-verify=false docker-daemon:alpine:latest docker://{address}/alpine"
    )?;
    writeln!(out, "    podman push --tls-verify=false alpine {address}/alpine")?;
    out.flush()
}
