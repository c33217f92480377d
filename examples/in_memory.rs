//! A registry in memory, in the fewest lines: `cargo run -p registry-examples --example in_memory [ADDRESS]`.

use registry_core::{Registry, storage::MemoryStorage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".into());
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    registry_listener::serve(listener, registry_axum::router(registry)).await;
    Ok(())
}
