//! The cases, one file for each group of promises.

mod answers;
mod blobs;
mod conditional;
mod docker;
mod manifests;
mod paths;
mod ranges;
mod referrers;
mod scope;
mod steps;
mod tags;
mod uploads;

use super::{Case, failure::Outcome, session::Session};
use registry_core::Algorithm;
use std::future::Future;

/// Returns every case, group by group.
pub(super) fn all() -> Vec<Case> {
    let mut list = List::default();
    for group in [
        answers::add,
        blobs::add,
        conditional::add,
        docker::add,
        manifests::add,
        paths::add,
        ranges::add,
        referrers::add,
        scope::add,
        tags::add,
        uploads::add,
    ] {
        group(&mut list);
    }
    list.cases
}

/// Cases added so far.
#[derive(Default)]
struct List {
    cases: Vec<Case>,
}

impl List {
    /// Adds a case for which the algorithm does not matter.
    fn add<F, R>(&mut self, name: &str, run: F)
    where
        F: Fn(Session) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.cases.push(Case::new(name, Algorithm::Sha256, run));
    }

    /// Adds a case once for each algorithm: `group/sha256/name` and `group/sha512/name`.
    fn each<F, R>(&mut self, group: &str, name: &str, run: F)
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
