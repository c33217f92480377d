//! [`Case`]: one promise, and its test.

use super::{client::Client, failure::Outcome, session::Session};
use registry_core::Algorithm;
use std::{fmt, future::Future, pin::Pin};

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One promise, and its test.
///
/// ```
/// use registry_conformance::wire;
///
/// let cases = wire::cases().iter().filter(|case| case.name().starts_with("referrers/"));
/// assert!(cases.count() > 5);
/// ```
pub struct Case {
    name: String,
    algorithm: Algorithm,
    run: Box<dyn Fn(Session) -> Running + Send + Sync>,
}

impl Case {
    pub(super) fn new<F, R>(name: impl Into<String>, algorithm: Algorithm, run: F) -> Self
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

    /// Runs the case with a client of its own.
    pub(super) async fn run_with(&self, client: Client) -> Outcome {
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
