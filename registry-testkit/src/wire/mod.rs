//! The wire suite: black-box cases against a base URL, for any registry.
//!
//! Each [`Case`] is one promise of the OCI Distribution Specification (the coming 1.2) or of the Docker
//! Registry HTTP API V2, and is named for it: `blobs/sha256/chunked-multi`, `tags/link`. What begins with
//! `extra/` goes beyond both: this project's own answers where the specification leaves the choice.
//! A case uses repositories of its own, so that a registry can be asked again and again, and tells on failure
//! what it had sent, what it expected, and what it got.
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

/// The longest that a single request may take: a net for servers that hang, far from what any case needs.
const PATIENCE: Duration = Duration::from_secs(60);

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One promise, and how to test it.
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

    /// The name, from the general to the particular: `blobs/sha512/stream`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the case against the registry at `base`. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`Failure`] says what was sent, expected and received.
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

/// Every case, sorted by name.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = cases::all();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    })
}

/// How to run the suite.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// `user:password` for `Authorization: Basic`, on every request.
    pub user: Option<String>,
    /// Only cases whose name contains this are run; the others count as skipped.
    pub filter: String,
    /// The cases that must fail.
    pub known_failures: KnownFailures,
    /// The longest that a single request may take.
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

/// What came of one case, against what was expected of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It passed, as it must.
    Passed,
    /// It failed, as [`KnownFailures`] says it must.
    FailedAsKnown(Failure),
    /// It failed.
    Failed(Failure),
    /// It passed, and [`KnownFailures`] says that it fails.
    PassedUnexpectedly,
    /// The filter leaves it out.
    Skipped,
}

impl Verdict {
    /// Whether this is as expected.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Passed | Self::FailedAsKnown(_) | Self::Skipped)
    }
}

/// What came of all cases.
#[derive(Clone, Debug)]
pub struct Report {
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// Each case's name and verdict, in the order of the names.
    #[must_use]
    pub fn verdicts(&self) -> &[(&'static str, Verdict)] {
        &self.verdicts
    }

    /// Whether every case ended as expected.
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

/// The last line of a run: `N passed, N failed, N skipped`. A known failure that fails has passed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.count(|verdict| matches!(verdict, Verdict::Skipped));
        let failed = self.count(|verdict| !verdict.is_good());
        let passed = self.verdicts.len() - skipped - failed;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs the suite against the registry at `base`, which reads `http://host[:port][/prefix]`.
///
/// Needs a tokio runtime with I/O and time. The cases run one after another.
pub async fn run(base: &str, options: &Options) -> Report {
    run_observed(base, options, |_, _| {}).await
}

/// As [`run`]; `observe` is told each case's name and verdict as it ends.
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

/// The whole suite as tests for `libtest_mimic::run`, one for each case that [`Options::filter`] leaves in.
///
/// `base` is asked for the base URL when a test runs, so that listing the tests starts no server. Each test
/// brings its own small runtime. A known failure is named `… (fails, as known)` and passes by failing.
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
