//! The probe of real servers.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use libtest_mimic::{Arguments, Failed, Trial};
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::tools;
use registry_storage_object::{Kept, Location, ObjectStorage, S3};
use std::{io, process::ExitCode};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial(SeaweedFs::PROGRAM, SeaweedFs::start, |location| async move {
            let probe = ObjectStorage::options().probe(&location).await.unwrap();
            assert!(probe.supports_replicas());
            for kept in [
                &probe.create,
                &probe.update,
                &probe.delete,
                &probe.expiry,
                &probe.listed_at_once,
            ] {
                assert_eq!(*kept, Kept::Always, "{probe}");
            }
            // It lists directory by directory, and keeps the prefixes of removed objects.
            assert_eq!(probe.byte_order, Kept::Never, "{probe}");
        }),
        trial(Versitygw::PROGRAM, Versitygw::start, |location| async move {
            let probe = ObjectStorage::options().probe(&location).await.unwrap();
            assert!(probe.supports_replicas());
            for kept in [
                &probe.create,
                &probe.update,
                &probe.expiry,
                &probe.listed_at_once,
                &probe.byte_order,
                &probe.prefixes_vanish,
            ] {
                assert_eq!(*kept, Kept::Always, "{probe}");
            }
            // It looks, and then removes, while others write, which is found out by chance.
            assert!(
                matches!(probe.delete, Kept::Always | Kept::Races { .. }),
                "{probe}"
            );
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial<F>(
    program: &'static str,
    start: fn() -> io::Result<S3Server>,
    test: impl FnOnce(Location) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = ()>,
{
    tools::trial(
        format!("{program}::the_probe_tells_what_it_can"),
        &[program],
        move || {
            let server = start().map_err(Failed::from)?;
            server.bucket("probe").map_err(Failed::from)?;
            let location = S3::new("probe")
                .endpoint(server.endpoint())
                .region(server.region())
                .credentials(server.access_key(), server.secret())
                .path_style();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test(location.into()));
            Ok(())
        },
    )
}
