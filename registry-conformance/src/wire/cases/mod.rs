//! The cases, one file for each group of promises.

mod answers;
mod blobs;
mod conditional;
mod data_sets;
mod docker;
mod list;
mod manifests;
mod paths;
mod ranges;
mod referrers;
mod scope;
mod steps;
mod tags;
mod uploads;

use self::list::List;
use super::case::Case;
use std::sync::OnceLock;

/// Returns every case, sorted by name.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = all();
        cases.sort_by(|a, b| a.name().cmp(b.name()));
        cases
    })
}

/// Returns every case, group by group.
fn all() -> Vec<Case> {
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
