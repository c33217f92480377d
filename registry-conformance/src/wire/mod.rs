//! The wire suite: black-box cases against a base URL, for any registry.
//!
//! Each [`Case`] is one promise of the OCI Distribution Specification (the coming 1.2) or of the Docker Registry HTTP
//! API V2, and is named for it: `blobs/sha256/chunked-multi`, `tags/link`. Cases whose names begin with `extra/` go
//! beyond both: this project's own answers to points that the specification leaves open. A case uses repositories of
//! its own, so that a registry can be tested repeatedly. On failure it reports the request, the expected answer and
//! the received one.
//!
//! - On the command line: `cargo run -p registry-conformance --bin registry-wire -- http://127.0.0.1:5000`.
//! - From a program: [`run`], which returns a [`Report`].
//! - As tests: [`trials`], one `libtest_mimic` test for each case.
//!
//! A registry that is known to fail some cases is run with a [`KnownFailures`] list. Then exactly these must
//! fail: a case that passes against the list is an error too.
//!
//! ```no_run
//! use registry_conformance::wire::{self, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = Options::default();
//! options.user = Some("ann:secret".to_owned());
//! options.filter = "blobs/".to_owned();
//! options.known_failures = std::fs::read_to_string("known-failures.txt")?.parse()?;
//!
//! let report = wire::run("http://127.0.0.1:5000", &options).await;
//! for (name, verdict) in report.verdicts() {
//!     println!("{name}: {verdict:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod case;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes only what the suite itself has built"
)]
mod cases;
mod check;
mod client;
#[expect(
    clippy::indexing_slicing,
    reason = "indexes only what the suite itself has built"
)]
mod content;
mod failure;
mod known;
mod media_types;
mod options;
mod report;
mod session;

pub use self::{
    case::Case,
    cases::cases,
    failure::Failure,
    known::{InvalidKnownFailures, KnownFailures},
    options::Options,
    report::{Report, Verdict},
};

use libtest_mimic::{Failed, Trial};
use std::sync::Arc;

/// Runs the suite against the registry at `base`, in the form `http://host[:port][/prefix]`.
///
/// Needs a tokio runtime with I/O and time. The cases run one after another.
pub async fn run(base: &str, options: &Options) -> Report {
    run_observed(base, options, |_, _| {}).await
}

/// Does the same as [`run`]; `observe` is called with each case's name and verdict as it ends.
pub async fn run_observed<F>(base: &str, options: &Options, mut observe: F) -> Report
where
    F: FnMut(&'static str, &Verdict) + Send,
{
    let mut verdicts = Vec::with_capacity(cases().len());
    for case in cases() {
        let verdict = if case.name().contains(&options.filter) {
            let known = options.known_failures.contains(case.name());
            match (case.run(base, options).await, known) {
                (Ok(()), false) => Verdict::Passed,
                (Ok(()), true) => Verdict::PassedUnexpectedly,
                (Err(failure), false) => Verdict::Failed(failure),
                (Err(failure), true) => Verdict::FailedAsKnown(failure),
            }
        } else {
            Verdict::Skipped
        };
        observe(case.name(), &verdict);
        verdicts.push((case.name(), verdict));
    }
    Report { verdicts }
}

/// Returns the suite as tests for `libtest_mimic::run`, one for each case that [`Options::filter`] selects.
///
/// `base` is called for the base URL when a test runs, so that listing the tests starts no server. Each test has its
/// own small runtime. A known failure is named `… (fails, as known)`, and the test passes if the case fails.
///
/// A test target with `harness = false` that runs them:
///
/// ```no_run
/// use registry_conformance::wire::{self, Options};
///
/// fn main() {
///     let arguments = libtest_mimic::Arguments::from_args();
///     let base = || Ok("http://127.0.0.1:5000".to_owned());
///     let trials = wire::trials(base, &Options::default());
///     libtest_mimic::run(&arguments, trials).exit();
/// }
/// ```
pub fn trials<F>(base: F, options: &Options) -> Vec<Trial>
where
    F: Fn() -> Result<String, Failed> + Send + Sync + 'static,
{
    let base = Arc::new(base);
    let selected = cases()
        .iter()
        .filter(|case| case.name().contains(&options.filter));
    let trial = |case: &'static Case| {
        let known = options.known_failures.contains(case.name());
        let name = if known {
            format!("{} (fails, as known)", case.name())
        } else {
            case.name().to_owned()
        };
        let base = Arc::clone(&base);
        let options = options.clone();
        Trial::test(name, move || {
            let base = base()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            match (runtime.block_on(case.run(&base, &options)), known) {
                (Ok(()), false) | (Err(_), true) => Ok(()),
                (Ok(()), true) => Err("the case passes; remove it from the list of known failures".into()),
                (Err(failure), false) => Err(Failed::from(format!("\n{failure}"))),
            }
        })
    };
    selected.map(trial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        assert!(cases().is_sorted_by(|a, b| a.name() < b.name()), "{:?}", cases());
    }

    #[test]
    fn a_case_exists_for_each_algorithm_alike() {
        let names: Vec<&str> = cases().iter().map(Case::name).collect();
        for name in names.iter().filter(|name| name.contains("/sha256/")) {
            assert!(
                names.contains(&name.replace("/sha256/", "/sha512/").as_str()),
                "{name}"
            );
        }
    }
}
