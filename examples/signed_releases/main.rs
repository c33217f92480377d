//! Only signed manifests may be tagged `release-*`: a hook verifies the signatures that cosign pushes.
//!
//! `cargo run -p registry-examples --example signed_releases cosign.pub [ADDRESS]`, and then
//!
//! ```sh
//! crane push app.tar 127.0.0.1:5000/team/app:candidate
//! cosign sign --key cosign.key 127.0.0.1:5000/team/app@sha256:…
//! crane tag 127.0.0.1:5000/team/app:candidate release-1.0
//! ```
//!
//! This is cosign 2. cosign 3 signs in this format with `--new-bundle-format=false --use-signing-config=false`.
//!
//! Its tests push over HTTP: `cargo test -p registry-examples --example signed_releases`.

mod policy;
#[cfg(test)]
mod tests;

use policy::{PublicKey, SignedReleases};
use registry_core::{Registry, storage::MemoryStorage};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "cosign.pub".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5000".into());

    let key = PublicKey::from_pem(&std::fs::read_to_string(file)?)?;
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone())
        .hooks(SignedReleases::new(storage, key))
        .allow_anonymous_push()
        .build();

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    registry_listener::serve(listener, registry_axum::router(registry)).await;
    Ok(())
}
