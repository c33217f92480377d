//! Archives and layouts of this crate in other programs, and theirs here: skopeo, podman, docker, containerd.
//!
//! A test whose program is not installed is reported as ignored, with the reason; under `REGISTRY_TEST_REQUIRE_TOOLS=1`
//! it fails.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;

/// Lists the tests of a module: each function, with the programs that it needs. Those of an engine need root, too.
macro_rules! trials {
    ($module:literal: $($kind:ident $programs:tt $test:ident,)*) => {
        vec![$(crate::$kind(concat!($module, "::", stringify!($test)), &$programs, $test)),*]
    };
}

mod bench;
mod engines;
mod reads;
mod writes;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [writes::trials(), reads::trials()]
        .into_iter()
        .flatten()
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Makes a test that needs `programs`, and fails by panicking.
fn trial(name: &str, programs: &[&str], test: fn()) -> Trial {
    registry_conformance::tools::trial(name, programs, move || -> Result<(), Failed> {
        test();
        Ok(())
    })
}

/// Makes a test that starts an engine, which needs root.
fn engine_trial(name: &str, programs: &[&str], test: fn()) -> Trial {
    if rustix::process::geteuid().is_root() {
        trial(name, programs, test)
    } else {
        registry_conformance::tools::unavailable(name, "engines start only as root")
    }
}
