//! The storage contract, kept by two replicas on a bucket of a real store.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use libtest_mimic::{Arguments, Trial};
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::{
    storage::{Backend, Handles},
    storage_trials, tools,
};
use registry_storage_object::{Location, ObjectStorage, Probe, S3};
use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

const BUCKET: &str = "contract";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut servers = Vec::new();
    let mut trials = Vec::new();
    let programs: [(&'static str, fn() -> io::Result<S3Server>); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    for (program, start) in programs {
        // Without the program, the trials say so.
        let server = tools::find(program).filter(|_| !arguments.list).map(|_| {
            let server = start().unwrap();
            server.bucket(BUCKET).unwrap();
            Arc::new(server)
        });
        let bucket = server.as_ref().map(|server| {
            let location = location(server);
            let probe = runtime
                .block_on(ObjectStorage::options().probe(&location))
                .unwrap();
            (location, probe)
        });
        trials.extend(of(program, bucket));
        servers.extend(server);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn location(server: &S3Server) -> Location {
    S3::new(BUCKET)
        .endpoint(server.endpoint())
        .region(server.region())
        .credentials(server.access_key(), server.secret())
        .path_style()
        .into()
}

/// Opens two replicas on a part of the bucket.
async fn open(location: &Location, root: &str, probe: &Probe) -> Handles {
    let open = || async {
        let options = ObjectStorage::options().root(root).probed(probe.clone());
        Arc::new(options.open(location.clone()).await.unwrap())
    };
    let (first, second) = tokio::join!(open(), open());
    (first, second)
}

fn of(program: &'static str, bucket: Option<(Location, Probe)>) -> Vec<Trial> {
    let roots = Arc::new(AtomicU32::new(0));
    let fresh = move || {
        let root = format!("root/{}", roots.fetch_add(1, Ordering::Relaxed));
        let (location, probe) = bucket.clone().unwrap();
        async move {
            let (first, second) = open(&location, &root, &probe).await;
            Backend::new(first, second).reopening(move || {
                let (location, root, probe) = (location.clone(), root.clone(), probe.clone());
                async move { open(&location, &root, &probe).await }
            })
        }
    };
    storage_trials!(
        program,
        &[program],
        fresh,
        expire,
        health,
        inspect,
        repair,
        restart,
        trash
    )
}
