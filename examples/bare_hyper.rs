//! A registry in a host without axum: hyper alone, one connection after another as tasks. What a client began is
//! finished after it has vanished, and a shutdown waits for that.
//!
//! `cargo run -p registry-examples --example bare_hyper [ADDRESS]`

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use registry_core::{Registry, storage::MemoryStorage};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".into());
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();

    // Each operation that changes something is a task of its own.
    let operations = TaskTracker::new();
    let spawning = operations.clone();
    let service = registry.into_service::<Incoming>(move |operation| {
        spawning.spawn(operation);
    });

    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}, until ctrl-c", listener.local_addr()?);
    loop {
        let (connection, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            if let Err(error) = served.await {
                println!("a connection ended: {error}");
            }
        });
    }
    operations.close();
    operations.wait().await;
    Ok(())
}
