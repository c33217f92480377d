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
use registry_axum::{Mount, TokioClock};
use registry_core::{
    Limits, Registry, Storage,
    maintenance::{CollectSchedule, Collections},
    service::{ByHost, HostName, HostTable},
    storage::MemoryStorage,
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

const HOUR: Duration = Duration::from_secs(3600);

/// The tenants of the service.
#[derive(Debug, Default)]
struct Tenants(HostTable);

impl Tenants {
    /// Adds a tenant with a storage of its own, for example `FsStorage::open("/data/acme")`. What the storage holds
    /// counts.
    async fn add(&self, host: &str, storage: impl Storage, limit: u64) -> Result<Arc<Quota>, Box<dyn Error>> {
        let host = HostName::parse(host)?;
        let quota = Quota::new(host.as_str(), limit);
        // What uploads may receive before the quota decides: at most the limit, this number of times.
        let mut limits = Limits::default();
        limits.blob_bytes = Some(limit);
        limits.uploads = 32;
        // A real service adds an authenticator, and gives each tenant its own.
        let registry = Registry::builder(storage)
            .hooks(Arc::clone(&quota))
            .limits(limits)
            .allow_anonymous_push()
            .build();
        quota.recount(&registry).await?;
        tokio::spawn(keep_up(registry.clone(), Arc::clone(&quota)));
        self.0.insert(host, registry);
        Ok(quota)
    }

    /// Returns a service for all tenants, also for those that are added later.
    fn mount(&self) -> Mount {
        Mount::by_host(ByHost::new(self.0.clone()))
    }
}

/// Collects what is deleted, and recounts after each collection and each hour.
async fn keep_up(registry: Registry, quota: Arc<Quota>) {
    let (collected, mut collections) = mpsc::channel(1);
    let upkeep = registry
        .upkeep()
        .collect(Some(CollectSchedule::new(24 * HOUR)), Collections::default())
        .on_collected(move |_| {
            // If the channel is full, a recount follows anyway.
            let _ = collected.try_send(());
        });
    let recounts = async {
        loop {
            tokio::select! {
                _ = collections.recv() => {}
                () = sleep(HOUR) => {}
            }
            if let Err(error) = quota.recount(&registry).await {
                eprintln!("cannot count what a tenant stores, its bill stays as it is: {error}");
            }
        }
    };
    tokio::select! {
        never = upkeep.run(&TokioClock) => match never {},
        () = recounts => {}
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
    // A client that has stalled does not keep the process.
    _ = timeout(Duration::from_secs(8), mount.drained()).await;
    for (tenant, quota) in [("acme", acme), ("other", other)] {
        println!("{tenant}: {:?}", quota.bill());
    }
    Ok(())
}
