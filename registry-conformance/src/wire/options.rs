//! [`Options`] of a run, and a case run with them.

use super::{case::Case, client::Client, failure::Failure, known::KnownFailures};
use std::time::Duration;

/// Maximum duration of a single request. It is far longer than any case needs, and ends cases if a server hangs.
const PATIENCE: Duration = Duration::from_secs(60);

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

impl Case {
    /// Runs the case against the registry at `base`. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`Failure`] with the request, the expected answer and the received one.
    pub async fn run(&self, base: &str, options: &Options) -> Result<(), Failure> {
        self.run_with(options.client(base)?).await
    }
}
