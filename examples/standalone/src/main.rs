//! A registry server in one short file: images in a directory, no users, a page of its own, an orderly end.
//!
//! `cargo run -p registry-example-standalone [DIRECTORY [ADDRESS]]`, then
//! `docker pull alpine && docker tag alpine 127.0.0.1:5000/alpine && docker push 127.0.0.1:5000/alpine`.
//!
//! The program `registry` has more: a configuration, users and rules, TLS, health and metrics. It is `registry-server`,
//! which a host can embed whole.

use axum::{Router, routing::get};
use registry_axum::Mount;
use registry_core::Registry;
use registry_listener::Server;
use registry_storage_fs::FsStorage;
use std::{env, error::Error};
use tokio::{net::TcpListener, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "registry-data".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5000".to_owned());

    // Everybody may push, so the address is one that only this machine reaches.
    let registry = Registry::builder(FsStorage::open(&directory)?)
        .allow_anonymous_push()
        .build();
    // Abandoned uploads end.
    let upkeep = tokio::spawn(registry_axum::upkeep(registry.clone()));

    let mount = Mount::new(registry);
    let app = Router::new()
        .route("/", get(async || "a registry: push images to this address\n"))
        .merge(mount.router());

    let listener = TcpListener::bind(&address).await?;
    println!("{directory} is served on http://{}", listener.local_addr()?);
    Server::new(app)
        .until(async { _ = signal::ctrl_c().await })
        .serve(listener)
        .await;

    // A push whose client has gone is finished.
    mount.drained().await;
    upkeep.abort();
    Ok(())
}
