//! Tenants at hosts of their own, each with a quota and a bill, by hooks alone. Tenants are added while the service runs.
//!
//! `cargo run -p registry-examples --example tenants [ADDRESS]`, then
//! `docker push acme.localhost:5000/team/app` and `docker push other.localhost:5000/team/app`.
//!
//! Its tests push and pull over HTTP: `cargo test -p registry-examples --example tenants`.

mod quota;
#[cfg(test)]
mod tests;

use quota::Quota;
use registry_axum::Mount;
use registry_core::{
    Registry, Storage,
    service::{ByHost, HostName, HostTable},
    storage::MemoryStorage,
};
use std::{error::Error, sync::Arc};

/// The tenants of the service.
#[derive(Debug, Default)]
struct Tenants(HostTable);

impl Tenants {
    /// Adds a tenant with a storage of its own, for example `FsStorage::open("/data/acme")`. What the storage holds
    /// counts.
    async fn add(&self, host: &str, storage: impl Storage, limit: u64) -> Result<Arc<Quota>, Box<dyn Error>> {
        let host = HostName::parse(host)?;
        let quota = Quota::new(host.as_str(), limit);
        // A real service adds an authenticator, and gives each tenant its own.
        let registry = Registry::builder(storage)
            .hooks(Arc::clone(&quota))
            .allow_anonymous_push()
            .build();
        quota.recount(&registry).await?;
        tokio::spawn(registry_axum::upkeep(registry.clone()));
        self.0.insert(host, registry);
        Ok(quota)
    }

    /// Returns a service for all tenants, also for those that are added later.
    fn mount(&self) -> Mount {
        Mount::by_host(ByHost::new(self.0.clone()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".into());
    let tenants = Tenants::default();
    let mount = tenants.mount();
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}, until ctrl-c", listener.local_addr()?);
    let app = mount.router();
    tokio::spawn(registry_listener::serve(listener, app));

    let acme = tenants
        .add("acme.localhost", MemoryStorage::new(), 1 << 30)
        .await?;
    let other = tenants
        .add("other.localhost", MemoryStorage::new(), 10 << 20)
        .await?;

    tokio::signal::ctrl_c().await?;
    mount.drained().await;
    for (tenant, quota) in [("acme", acme), ("other", other)] {
        println!("{tenant}: {:?}", quota.bill());
    }
    Ok(())
}
