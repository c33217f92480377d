//! [`List`]: the cases that the groups add.

use crate::wire::{case::Case, failure::Outcome, session::Session};
use registry_core::Algorithm;
use std::future::Future;

/// Cases added so far.
#[derive(Default)]
pub(super) struct List {
    pub(super) cases: Vec<Case>,
}

impl List {
    /// Adds a case for which the algorithm does not matter.
    pub(super) fn add<F, R>(&mut self, name: &str, run: F)
    where
        F: Fn(Session) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.cases.push(Case::new(name, Algorithm::Sha256, run));
    }

    /// Adds a case once for each algorithm: `group/sha256/name` and `group/sha512/name`.
    pub(super) fn each<F, R>(&mut self, group: &str, name: &str, run: F)
    where
        F: Fn(Session) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        for algorithm in Algorithm::ALL {
            self.cases.push(Case::new(
                format!("{group}/{algorithm}/{name}"),
                algorithm,
                run.clone(),
            ));
        }
    }
}
