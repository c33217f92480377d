//! The wire suite against our own registry, in memory, in a directory, for a tenant, and above another storage: every
//! case passes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its server has failed"
)]

use libtest_mimic::{Arguments, Trial};
use registry_conformance::wire::{self, Options};
use registry_core::{
    Registry, RepositoryName, Storage,
    storage::{FallbackStorage, MemoryStorage, PrefixStorage},
};
use registry_storage_fs::FsStorage;
use std::process::ExitCode;
use tokio::{net::TcpListener, runtime::Runtime};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();

    let memory = serve(&runtime, MemoryStorage::new());
    let fs = serve(&runtime, FsStorage::open(directory.path()).unwrap());
    let prefix = RepositoryName::parse("acme").unwrap();
    let tenant = serve(&runtime, PrefixStorage::new(MemoryStorage::new(), prefix));
    let layers = FallbackStorage::new(MemoryStorage::new(), MemoryStorage::new());
    let fallback = serve(&runtime, layers);
    let trials = suite("memory", memory)
        .into_iter()
        .chain(suite("fs", fs))
        .chain(
            suite("tenant", tenant)
                .into_iter()
                // Its prefix leaves room for shorter names.
                .filter(|trial| trial.name() != "scope/longest-name"),
        )
        .chain(suite("fallback", fallback))
        .collect();

    libtest_mimic::run(&arguments, trials).exit_code()
}

fn suite(backend: &str, base: String) -> Vec<Trial> {
    let trials = wire::trials(move || Ok(base.clone()), &Options::default());
    trials.into_iter().map(|trial| trial.with_kind(backend)).collect()
}

/// Serves on a free port until the runtime ends, and returns its URL.
fn serve(runtime: &Runtime, storage: impl Storage) -> String {
    let registry = Registry::builder(storage).allow_anonymous_push().build();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(registry_listener::serve(
        listener,
        registry_axum::router(registry),
    ));
    format!("http://{address}")
}
