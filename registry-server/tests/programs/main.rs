//! The server binary among real programs: the clients in common use, the registry that they were made for, and an
//! operating system that starts, stops and kills it.
//!
//! A test whose program is not installed is reported as ignored, with the reason; under
//! `REGISTRY_TEST_REQUIRE_TOOLS=1` it fails. With `REGISTRY_TEST_AGAINST=docker-registry` the tests of clients and of
//! the exchange run Debian's docker-registry instead, which distinguishes a broken test from a broken server. It fails
//! if a tag is deleted, referrers are listed, or sha512 is more than an alias.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

use std::{process::ExitCode, thread};

use libtest_mimic::{Arguments, Failed, Trial};

/// Returns the tests of a module: `trials!([PROGRAM, …]; TEST, …)`, each named for its function.
macro_rules! trials {
    ($programs:expr; $($test:ident),+ $(,)?) => {
        vec![$($crate::trial(concat!(module_path!(), "::", stringify!($test)), &$programs, $test)),+]
    };
}

mod access;
mod attack;
mod browser;
mod buckets;
mod clients;
mod collectors;
mod config;
mod container;
mod content;
mod docker;
mod doctor;
mod exchange;
mod guide;
mod health;
mod htpasswd;
mod http;
mod image;
mod lifecycle;
mod listening;
mod logins;
mod low_water;
mod operations;
mod operators;
mod program;
mod proxies;
mod pulls;
mod remedies;
mod replicas;
mod retention;
mod server;
mod soak;
mod tls;
mod verify;

/// Number of tests at the same time on a machine with fewer cores, unless the command line has it. They wait for other programs
/// most of theirs.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let at_once = AT_ONCE.max(cores);
    arguments.test_threads.get_or_insert(at_once);
    let trials = [
        access::trials(),
        attack::trials(),
        browser::trials(),
        buckets::trials(),
        clients::trials(),
        collectors::trials(),
        config::trials(),
        container::trials(),
        doctor::trials(),
        exchange::trials(),
        health::trials(),
        htpasswd::trials(),
        lifecycle::trials(),
        listening::trials(),
        logins::trials(),
        proxies::trials(),
        pulls::trials(),
        remedies::trials(),
        replicas::trials(),
        retention::trials(),
        low_water::trials(),
        operations::trials(),
        operators::trials(),
        soak::trials(),
        tls::trials(),
        verify::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Makes a test that needs `programs`, and fails by panicking. Its path begins with the name of this crate.
fn trial(path: &str, programs: &[&str], test: impl FnOnce() + Send + 'static) -> Trial {
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    registry_conformance::tools::trial(name, programs, move || -> Result<(), Failed> {
        test();
        Ok(())
    })
}
