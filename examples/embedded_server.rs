//! The whole server inside of another program, with a route and a hook of the host: configuration, users, TLS, health and
//! metrics are those of the program `registry`.
//!
//! `cargo run -p registry-examples --example embedded_server [CONFIG]`

use axum::{Router, routing::get};
use registry_core::hooks::{Event, EventKind, Hooks};
use registry_server::{Config, ServerBuilder, Sources};
use std::{error::Error, sync::Arc};

/// Hook that prints what is pushed.
#[derive(Debug)]
struct Printed;

impl Hooks for Printed {
    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { digest, .. } = &event.kind {
            println!("{} has {digest}", event.context.repository);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut sources = Sources::new().variables(std::env::vars());
    if let Some(file) = std::env::args().nth(1) {
        sources = sources.file(file);
    }
    let config = Config::load(sources)?;
    for notice in config.notices() {
        println!("{notice}");
    }

    let server = ServerBuilder::from_config(config)
        .routes(Router::new().route("/hello", get(async || "hello")))
        .hooks(Printed)
        .access_log(std::io::stdout())
        .start()
        .await?;
    println!("listening on {}, until ctrl-c", server.url());
    if let Some(address) = server.operator_address() {
        println!("health at http://{address}/debug/health");
    }
    server
        .run_until(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
