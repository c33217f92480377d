//! Warns of users in the access rules that are missing from the htpasswd file, and so cannot log in.
//!
//! A rule that forbids something to a misspelled name forbids it to nobody, and nothing else would show that. The
//! warning is logged at the start, and when either file was read again.

use crate::tasks::Tasks;
use registry_auth_htpasswd::{Htpasswd, Snapshot};
use registry_auth_rules::{Rules, RulesFile};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Interval of the comparison: the interval at which the files are checked.
const LOOK: Duration = Duration::from_secs(1);

/// Maximum number of users that are named individually.
const TOLD: usize = 20;

/// Returns the warnings about these rules and users.
pub(crate) fn warnings(rules: &Rules, users: &Snapshot) -> Vec<String> {
    let absent = rules.absent_users(|user| users.contains(user));
    let mut told: Vec<String> = absent
        .iter()
        .take(TOLD)
        .map(|warning| format!("{warning} in the htpasswd file"))
        .collect();
    if let more @ 1.. = absent.len().saturating_sub(TOLD) {
        told.push(format!("and {more} more users"));
    }
    told
}

/// Logs the warnings after each reload of either file.
pub(crate) fn follow(rules: RulesFile, users: Htpasswd, tasks: &mut Tasks) {
    tasks.repeat("absent users", move || {
        let (rules, users) = (rules.clone(), users.clone());
        let mut told = Readings::of(&rules, &users);
        async move {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let now = Readings::of(&rules, &users);
                for warning in now.news_since(&told) {
                    tracing::warn!("access rules: {warning}");
                }
                told = now;
            }
        }
    });
}

/// Latest reading of both files.
struct Readings {
    rules: Arc<Rules>,
    users: Snapshot,
}

impl Readings {
    fn of(rules: &RulesFile, users: &Htpasswd) -> Self {
        Self {
            rules: rules.rules(),
            users: users.snapshot(),
        }
    }

    /// Returns the warnings if either file was read again, or else none.
    fn news_since(&self, before: &Self) -> Vec<String> {
        if Arc::ptr_eq(&self.rules, &before.rules) && self.users.is_same_reading(&before.users) {
            return Vec::new();
        }
        warnings(&self.rules, &self.users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LINE: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

    fn rules(names: &str) -> Rules {
        Rules::parse(
            &format!("rules:\n  - {{repository: '**', who: [{names}], deny: push}}\n"),
            "rules.yml",
        )
        .unwrap()
    }

    fn users(names: &[&str]) -> Snapshot {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: String = names.iter().map(|name| format!("{name}:{LINE}")).collect();
        fs::write(file.path(), lines).unwrap();
        Htpasswd::open(file.path()).unwrap().snapshot()
    }

    #[test]
    fn absent_users_are_told_when_either_file_was_read_again() {
        let readings = |names: &str, known: &[&str]| Readings {
            rules: Arc::new(rules(names)),
            users: users(known),
        };
        let expected =
            ["rules.yml:2: rule 1 is about the user `anne`, and there is no such user in the htpasswd file"];
        let first = readings("anne", &["ann"]);
        assert_eq!(warnings(&first.rules, &first.users), expected);

        let same = Readings {
            rules: Arc::clone(&first.rules),
            users: first.users.clone(),
        };
        assert!(same.news_since(&first).is_empty());
        let new_users = Readings {
            rules: Arc::clone(&first.rules),
            users: users(&["ann", "bob"]),
        };
        assert_eq!(new_users.news_since(&first), expected);
        let new_rules = Readings {
            rules: Arc::new(rules("ann, anne")),
            users: first.users.clone(),
        };
        assert_eq!(new_rules.news_since(&first), expected);
        assert!(readings("ann", &["ann"]).news_since(&first).is_empty());
    }

    #[test]
    fn many_absent_users_are_told_briefly() {
        let names: Vec<String> = (0..50).map(|number| format!("user{number}")).collect();
        let told = warnings(&rules(&names.join(", ")), &users(&["ann"]));
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!(told[TOLD], "and 30 more users");
    }
}
