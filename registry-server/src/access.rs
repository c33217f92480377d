//! Access rules: `access.rules` and `--access RULES.yml`.

use crate::{absent, denied, tasks::Tasks};
use registry_auth_htpasswd::Htpasswd;
use registry_auth_rules::{Rules, RulesFile};
use std::{error::Error, path::Path};

/// Opens the rules for a server.
pub(crate) fn open(path: &Path) -> Result<RulesFile, Box<dyn Error + Send + Sync>> {
    let file = RulesFile::open(path).map_err(|error| {
        format!(
            "access.rules (--access): {}{}",
            crate::causes::with_causes(&error),
            denied::hint(path)
        )
    })?;
    tracing::info!(file = %path.display(), rules = file.rules().rules().len(), "the access rules are in effect");
    Ok(file)
}

/// Returns the warnings about rules that do not depend on the users.
pub(crate) fn warnings(rules: &Rules) -> Vec<String> {
    rules.warnings().iter().map(ToString::to_string).collect()
}

/// Returns notices about the rules. `users` can log in; nobody can if it is `None`.
pub(crate) fn notices(rules: &Rules, users: Option<&Htpasswd>) -> Vec<String> {
    let mut notices = warnings(rules);
    match users {
        Some(users) => notices.extend(absent::warnings(rules, &users.snapshot())),
        None if rules.need_logins() => notices.push(
            "they distinguish users, but nobody can log in here: only rules for `everyone` and `anonymous` apply; to let users log in, set --htpasswd FILE"
                .into(),
        ),
        None => {}
    }
    notices
}

/// Follows the file of the rules.
pub(crate) fn follow(rules: &RulesFile, tasks: &mut Tasks) {
    let rules = rules.clone();
    tasks.repeat("access rules", move || {
        let rules = rules.clone();
        async move { rules.watch().await }
    });
}
