//! A registry whose users are in an htpasswd file, as `htpasswd -B FILE USER` writes it:
//! `cargo run -p registry-examples --example basic_auth FILE [ADDRESS]`.

use registry_auth_htpasswd::Htpasswd;
use registry_core::{Registry, storage::MemoryStorage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "users.htpasswd".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5000".into());

    // Who logs in may do everything, strangers nothing; an authorizer, such as access rules, says otherwise. The file is
    // read again when it changes, without a restart.
    let users = Htpasswd::builder(file).realm("My service").open()?;
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(users)
        .build();

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("docker login {}", listener.local_addr()?);
    registry_listener::serve(listener, registry_axum::router(registry)).await;
    Ok(())
}
