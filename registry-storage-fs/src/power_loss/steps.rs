//! Tables of the steps on which durability rests: syncs, and the renames by which files and directories appear and go.
//!
//! Each step of a table is left out in turn, and some fact has to show it. A step of the operation that no table lists
//! fails the test, and so does a step that no fact needs: it can be removed from the code.

use super::{
    disks::{Failure, Step, Taken, Watched, scratch},
    facts::{Fact, check},
};
use std::{collections::BTreeSet, path::Path, pin::Pin};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Operations on a directory, one of which is under test.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    /// Work of an earlier process.
    pub(super) before: for<'a> fn(&'a Path) -> Boxed<'a, ()>,
    /// True if that is durable.
    pub(super) is_durable: bool,
    /// Performs the operations, and returns what holds meanwhile.
    pub(super) perform: for<'a> fn(&'a Watched) -> Boxed<'a, Vec<Fact>>,
}

impl Scenario {
    /// Begins with an empty directory.
    pub(super) fn new(perform: for<'a> fn(&'a Watched) -> Boxed<'a, Vec<Fact>>) -> Self {
        Self {
            before: |_| Box::pin(async {}),
            is_durable: true,
            perform,
        }
    }

    async fn run(&self, omitted: BTreeSet<usize>) -> (Vec<Failure>, Vec<Fact>, Vec<(usize, Step, String)>) {
        let root = scratch();
        (self.before)(root.path()).await;
        let watched = Watched::without(root, self.is_durable, omitted);
        let facts = (self.perform)(&watched).await;
        let (failures, taken) = watched.end();
        (failures, facts, taken.iter().map(line_of).collect())
    }
}

/// Asserts that the facts of all scenarios hold, and that each step of their operation is in the table and necessary.
/// The steps of a line differ in digests only. Some lines are not necessary by themselves.
pub(super) async fn assert_necessary(
    scenarios: &[Scenario],
    table: &[(Step, &str)],
    unnecessary: &[(Step, &str)],
) {
    let mut taken = Vec::new();
    for scenario in scenarios {
        let (failures, facts, steps) = scenario.run(BTreeSet::new()).await;
        check(&failures, &facts).await;
        taken.push(steps);
    }
    let all = taken.iter().flatten();
    let lines: BTreeSet<(Step, &str)> = all.map(|(_, step, path)| (*step, &**path)).collect();
    let listed = table.iter().chain(unnecessary).copied();
    assert_eq!(lines, listed.collect(), "the steps and the table");

    let mut unnoticed = Vec::new();
    for line in table {
        let mut is_noticed = false;
        for (scenario, taken) in scenarios.iter().zip(&taken) {
            let of_line = taken.iter().filter(|(_, step, path)| (*step, &**path) == *line);
            let omitted: BTreeSet<usize> = of_line.map(|(number, ..)| *number).collect();
            if omitted.is_empty() || is_noticed {
                continue;
            }
            let (mut failures, facts, _) = scenario.run(omitted).await;
            // Most lines show there.
            failures.sort_by_key(|failure| !failure.is_rough);
            let checked = tokio::spawn(async move { check(&failures, &facts).await });
            is_noticed = checked.await.is_err();
        }
        if !is_noticed {
            unnoticed.push(line);
        }
    }
    assert!(unnoticed.is_empty(), "nothing needs {unnoticed:?}");
}

/// Returns the line of a step in a table.
fn line_of(Taken { number, step, path }: &Taken) -> (usize, Step, String) {
    let mut line = Path::new("").to_path_buf();
    let mut above = "";
    for part in path.iter() {
        let part = part.to_str().unwrap();
        let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        line.push(match part.len() {
            64 if is_hex => "DIGEST",
            2 if is_hex => "XX",
            _ if above == "_deleted" => "ID",
            _ => part,
        });
        above = part;
    }
    (*number, *step, line.display().to_string())
}
