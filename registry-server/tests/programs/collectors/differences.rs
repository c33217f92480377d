//! Lists of differences between two collectors, such as `differences.txt`.

use std::collections::BTreeMap;

use super::{Collector, THEIRS, tree::Items};

/// Result of a collector of theirs for an item, beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    Same,
    /// Theirs keeps it, and ours frees it.
    Kept,
    /// Theirs frees it, and ours keeps it.
    Freed,
}

/// Differences by item, for each collector of [`THEIRS`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences(BTreeMap<String, [Difference; 4]>);

impl Differences {
    /// Reads a list. Each group of items has a reason.
    pub(super) fn listed(list: &str) -> Self {
        let mut listed = Self::default();
        let mut has_reason = false;
        for line in list.lines() {
            if line.is_empty() {
                has_reason = false;
            } else if line.starts_with('#') {
                has_reason = true;
            } else {
                assert!(has_reason, "{line} has no reason");
                let (item, marks) = line.rsplit_once("  ").unwrap();
                let marks: Vec<Difference> = marks.split(' ').map(Difference::parse).collect();
                let again = listed
                    .0
                    .insert(item.trim_end().to_owned(), marks.try_into().unwrap());
                assert_eq!(again, None, "{item} is listed twice");
            }
        }
        listed
    }

    /// Returns the rows of the items whose names contain the name of a scene.
    pub(super) fn of_scene(self, scene: &str) -> Self {
        let rows = self.0.into_iter();
        Self(rows.filter(|(item, _)| item.contains(scene)).collect())
    }

    /// Adds what the collector at `column` has kept and freed, unlike ours.
    pub(super) fn add(&mut self, column: usize, ours: &Items, theirs: &Items) {
        let differences = [
            (theirs.difference(ours), Difference::Kept),
            (ours.difference(theirs), Difference::Freed),
        ];
        for (items, difference) in differences {
            for item in items {
                let row = self.0.entry(item.clone()).or_insert([Difference::Same; 4]);
                row[column] = difference;
            }
        }
    }

    /// Returns true if a collector of theirs frees an item that ours keeps.
    pub(super) fn frees(&self, collector: Collector, item: &str) -> bool {
        let column = THEIRS.iter().position(|theirs| *theirs == collector).unwrap();
        let row = self.0.get(item);
        row.is_some_and(|row| row[column] == Difference::Freed)
    }

    /// Asserts that both have the same rows. Prints those of one alone as the list has them.
    #[track_caller]
    pub(super) fn assert_same(&self, listed: &Self) {
        let only = |one: &Self, other: &Self| {
            let rows = one
                .0
                .iter()
                .filter(|(item, row)| other.0.get(*item) != Some(*row));
            let rows = rows.map(|(item, row)| {
                let marks = row.map(Difference::mark).join(" ");
                format!("{item:<60}  {marks}\n")
            });
            rows.collect::<String>()
        };
        assert!(
            self == listed,
            "not listed:\n{}\nlisted, but not found:\n{}",
            only(self, listed),
            only(listed, self)
        );
    }
}

impl Difference {
    fn parse(mark: &str) -> Self {
        let all = [Self::Same, Self::Kept, Self::Freed];
        let mut found = all.into_iter().filter(|difference| difference.mark() == mark);
        found.next().unwrap_or_else(|| panic!("{mark} is no mark"))
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Same => ".",
            Self::Kept => "+",
            Self::Freed => "-",
        }
    }
}
