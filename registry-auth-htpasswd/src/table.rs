//! Users who can log in, and for an unknown name a line to hash against all the same.

use crate::{
    file::{Lines, PasswordFile, SetAside},
    hash::PasswordHash,
    verified_password::VerifiedPassword,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

/// Users of one reading of the file.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Arc<Entry>>,
    by_user: HashMap<Arc<str>, usize>,
    /// Lines whose user cannot log in.
    pub(crate) set_aside: BTreeMap<SetAside, Lines>,
}

/// A line of the file, and the password that was last verified against it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) user: Arc<str>,
    pub(crate) hash: PasswordHash,
    pub(crate) verified: VerifiedPassword,
}

/// Line to verify a login against.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) entry: Arc<Entry>,
    /// True if the line is the user's own. If not, the password is hashed all the same and never right, so that the
    /// time does not tell a stranger which users exist.
    pub(crate) own: bool,
}

impl Table {
    /// Makes the table of a file. A line that was in the table before keeps its remembered password.
    pub(crate) fn new(file: PasswordFile, before: &Self) -> Self {
        let mut table = Self {
            set_aside: file.set_aside,
            ..Self::default()
        };
        for (index, (user, hash)) in file.users.into_iter().enumerate() {
            let kept = before.entry(&user).filter(|entry| entry.hash == hash).cloned();
            table.by_user.insert(Arc::clone(&user), index);
            table.entries.push(kept.unwrap_or_else(|| {
                Arc::new(Entry {
                    user,
                    hash,
                    verified: VerifiedPassword::default(),
                })
            }));
        }
        table
    }

    /// Returns the line for a login, another user's line for an unknown name, or `None` if nobody can log in.
    ///
    /// The name and a key of this process select that other line: unknown names are spread over the costs in the file
    /// as the known ones are.
    pub(crate) fn candidate(&self, user: &str, key: &RandomState) -> Option<Candidate> {
        if let Some(entry) = self.entry(user) {
            let entry = Arc::clone(entry);
            return Some(Candidate { entry, own: true });
        }
        let count = u64::try_from(self.entries.len()).ok()?;
        let index = key.hash_one(user).checked_rem(count)?;
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        Some(Candidate {
            entry: Arc::clone(entry),
            own: false,
        })
    }

    /// Returns true if two tables have the same users, hashes and lines set aside.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |entry: &Arc<Entry>| {
            other
                .entry(&entry.user)
                .is_some_and(|known| known.hash == entry.hash)
        };
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(same)
            && self.set_aside == other.set_aside
    }

    /// Returns the users with a weak hash, by its kind.
    pub(crate) fn weak(&self) -> Vec<&Entry> {
        let mut weak: Vec<&Entry> = self.entries.iter().map(Arc::as_ref).collect();
        weak.retain(|entry| entry.hash.kind().is_weak());
        weak.sort_by_key(|entry| entry.hash.kind());
        weak
    }

    /// Forgets the passwords that were not used within `unused`.
    pub(crate) fn drop_unused_passwords(&self, now: Duration, unused: Duration) {
        for entry in &self.entries {
            entry.verified.drop_unused(now, unused);
        }
    }

    /// Returns the number of users who can log in.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entry(&self, user: &str) -> Option<&Arc<Entry>> {
        self.by_user.get(user).and_then(|&index| self.entries.get(index))
    }
}

/// Names of the users with a weak hash, for a message: `ann, bob (DES crypt)`.
pub(crate) struct WeakUsers<'a>(pub(crate) &'a Table);

impl fmt::Display for WeakUsers<'_> {
    /// Shows the first few names only, to keep log lines short. Characters that could forge a line are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let weak = self.0.weak();
        let shown = weak.get(..weak.len().min(SHOWN)).unwrap_or_default();
        let kinds = shown.chunk_by(|one, other| one.hash.kind() == other.hash.kind());
        for (index, users) in kinds.enumerate() {
            for (place, entry) in users.iter().enumerate() {
                let before = if index + place == 0 { "" } else { ", " };
                write!(f, "{before}{}", entry.user.escape_debug())?;
            }
            if let Some(entry) = users.first() {
                write!(f, " ({})", entry.hash.kind())?;
            }
        }
        match weak.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Formats;

    fn table(text: &str, before: &Table) -> Table {
        Table::new(
            PasswordFile::parse(text.as_bytes(), &Formats::default()).unwrap(),
            before,
        )
    }

    const ONE: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const OTHER: &str = "{SHA}hKUWhBuneltGSN4s0N/LMOpG27Q=";

    #[test]
    fn a_line_that_stays_keeps_what_is_cached_and_one_that_changes_does_not() {
        let now = Duration::from_secs(1);
        let before = table(&format!("a:{ONE}\nb:{ONE}\n"), &Table::default());
        for entry in &before.entries {
            entry.verified.cache([7; 32], now);
        }

        let after = table(&format!("b:{OTHER}\n\na:{ONE}\n"), &before);

        let remembers = |user| after.entry(user).unwrap().verified.is([7; 32], now, now);
        assert!(remembers("a"));
        assert!(!remembers("b"));
        assert!(!before.is_same(&after));
        assert!(after.is_same(&table(&format!("a:{ONE}\nb:{OTHER}"), &Table::default())));
    }

    #[test]
    fn unknown_names_are_spread_over_the_lines_and_each_stays_with_its_own() {
        let text: String = (0..4).map(|index| format!("user{index}:{ONE}\n")).collect();
        let table = table(&text, &Table::default());
        let key = RandomState::new();
        let stand_in = |name: &str| {
            let candidate = table.candidate(name, &key).unwrap();
            assert!(!candidate.own);
            Arc::clone(&candidate.entry.user)
        };

        let mut counts: HashMap<Arc<str>, u32> = HashMap::new();
        for index in 0..1000 {
            let name = format!("nobody{index}");
            assert_eq!(stand_in(&name), stand_in(&name));
            *counts.entry(stand_in(&name)).or_default() += 1;
        }

        assert_eq!(counts.len(), 4);
        // A quarter each, within ten standard deviations.
        assert!(
            counts.values().all(|count| (113..=387).contains(count)),
            "{counts:?}"
        );
        assert!(table.candidate("user2", &key).unwrap().own);
        assert!(Table::default().candidate("user2", &key).is_none());
    }

    #[test]
    fn users_with_a_weak_hash_are_named_by_its_kind() {
        const APR1: &str = "$apr1$Mxfd5gnm$AsfPCWkXkCR5NDfW3vFLU/";
        let bcrypt = "$2y$04$lfx3DjWrmUNhcQAQhkr3OugQHtjmIGnj8rVyZlnSMLiQSuERxwiHm";
        let text = format!("a:{ONE}\nb:{APR1}\nc:{bcrypt}\nd\u{1b}:{ONE}\n");

        assert_eq!(
            WeakUsers(&table(&text, &Table::default())).to_string(),
            "b (Apache's MD5 ($apr1$)), a, d\\u{1b} (SHA-1 without a salt ({SHA}))"
        );
        let many: String = (1..=22).map(|number| format!("{number}:{ONE}\n")).collect();
        let told = WeakUsers(&table(&many, &Table::default())).to_string();
        assert!(told.starts_with("1, 2, 3"), "{told}");
        assert!(
            told.ends_with(", 20 (SHA-1 without a salt ({SHA})) and 2 more"),
            "{told}"
        );
    }
}
