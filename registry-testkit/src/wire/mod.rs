//! The wire suite: black-box cases against a base URL, for any registry.
//!
//! Each [`Case`] is one promise of the OCI Distribution Specification (the coming 1.2) or of the Docker Registry HTTP
//! API V2, and is named for it: `blobs/sha256/chunked-multi`, `tags/link`. Cases whose names begin with `extra/` go
//! beyond both: this project's own answers to points that the specification leaves open. A case uses repositories of
//! its own, so that a registry can be tested repeatedly. On failure it reports the request, the expected answer and
//! the received one.
//!
//! - On the command line: `cargo run -p registry-testkit --bin registry-wire -- http://127.0.0.1:5000`.
//! - From a program: [`run`], which returns a [`Report`].
//! - As tests: [`trials`], one `libtest_mimic` test for each case.
//!
//! A registry that is known to fail some cases is run with a [`KnownFailures`] list. Then exactly these must
//! fail: a case that passes against the list is an error too.

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
mod session;

pub use self::{
    failure::Failure,
    known::{InvalidKnownFailures, KnownFailures},
};

use self::{client::Client, failure::Outcome, session::Session};
use libtest_mimic::{Failed, Trial};
use registry_core::Algorithm;
use std::{fmt, future::Future, pin::Pin, sync::Arc, sync::OnceLock, time::Duration};

/// Maximum duration of a single request: a safety net for servers that hang, far from the needs of any case.
const PATIENCE: Duration = Duration::from_secs(60);

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One promise, and its test.
pub struct Case {
    name: String,
    algorithm: Algorithm,
    run: Box<dyn Fn(Session) -> Running + Send + Sync>,
}

impl Case {
    fn new<F, R>(name: impl Into<String>, algorithm: Algorithm, run: F) -> Self
    where
        F: Fn(Session) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            name: name.into(),
            algorithm,
            run: Box::new(move |session| Box::pin(run(session))),
        }
    }

    /// Returns the name, from the general to the particular: `blobs/sha512/stream`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the case against the registry at `base`. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`Failure`] with the request, the expected answer and the received one.
    pub async fn run(&self, base: &str, options: &Options) -> Result<(), Failure> {
        let client = options.client(base)?;
        let session = Session::new(client, self.algorithm);
        let running = (self.run)(session.clone());
        running.await.map_err(|failure| failure.after(session.trace()))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Returns every case, sorted by name.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = cases::all();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    })
}

/// Options of a run of the suite.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// `user:password` for `Authorization: Basic`, on every request.
    pub user: Option<String>,
    /// Text that the names of the cases to run contain; the others count as skipped.
    pub filter: String,
    /// Cases that must fail.
    pub known_failures: KnownFailures,
    /// Maximum duration of a single request.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            filter: String::new(),
            known_failures: KnownFailures::default(),
            patience: PATIENCE,
        }
    }
}

impl Options {
    fn client(&self, base: &str) -> Result<Client, Failure> {
        Client::new(base, self.user.as_deref(), self.patience)
            .map_err(|error| Failure::new("nothing", "a base URL", &error))
    }
}

/// Result of one case, compared with the expected result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The case passed, as it must.
    Passed,
    /// The case failed, as [`KnownFailures`] demands.
    FailedAsKnown(Failure),
    /// The case failed.
    Failed(Failure),
    /// The case passed, although it is one of the [`KnownFailures`].
    PassedUnexpectedly,
    /// The case was left out by the filter.
    Skipped,
}

impl Verdict {
    /// Returns true if this is as expected.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Passed | Self::FailedAsKnown(_) | Self::Skipped)
    }
}

/// Results of all cases.
#[derive(Clone, Debug)]
pub struct Report {
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// Returns each case's name and verdict, in the order of the names.
    #[must_use]
    pub fn verdicts(&self) -> &[(&'static str, Verdict)] {
        &self.verdicts
    }

    /// Returns true if every case ended as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.is_good())
    }

    fn count(&self, counts: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts
            .iter()
            .filter(|(_, verdict)| counts(verdict))
            .count()
    }
}

/// Writes the last line of a run: `N passed, N failed, N skipped`. A known failure that fails has passed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.count(|verdict| matches!(verdict, Verdict::Skipped));
        let failed = self.count(|verdict| !verdict.is_good());
        let passed = self.verdicts.len() - skipped - failed;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

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
        let verdict = if case.name.contains(&options.filter) {
            let known = options.known_failures.contains(&case.name);
            match (case.run(base, options).await, known) {
                (Ok(()), false) => Verdict::Passed,
                (Ok(()), true) => Verdict::PassedUnexpectedly,
                (Err(failure), false) => Verdict::Failed(failure),
                (Err(failure), true) => Verdict::FailedAsKnown(failure),
            }
        } else {
            Verdict::Skipped
        };
        observe(&case.name, &verdict);
        verdicts.push((case.name.as_str(), verdict));
    }
    Report { verdicts }
}

/// Returns the suite as tests for `libtest_mimic::run`, one for each case that [`Options::filter`] selects.
///
/// `base` is called for the base URL when a test runs, so that listing the tests starts no server. Each test has its
/// own small runtime. A known failure is named `… (fails, as known)` and passes by failing.
pub fn trials<F>(base: F, options: &Options) -> Vec<Trial>
where
    F: Fn() -> Result<String, Failed> + Send + Sync + 'static,
{
    let base = Arc::new(base);
    let selected = cases().iter().filter(|case| case.name.contains(&options.filter));
    let trial = |case: &'static Case| {
        let known = options.known_failures.contains(&case.name);
        let name = if known {
            format!("{} (fails, as known)", case.name)
        } else {
            case.name.clone()
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
                (Ok(()), true) => Err("it passes: take it off the list of known failures".into()),
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
        assert!(cases().is_sorted_by(|a, b| a.name < b.name), "{:?}", cases());
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
