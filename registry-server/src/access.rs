//! Access rules: `access.rules` and `--access RULES.yml`.

use crate::{absent, denied};
use registry_auth_htpasswd::Htpasswd;
use registry_auth_rules::{Rules, RulesFile};
use registry_core::service::Builder;
use std::{error::Error, path::Path};

/// Opens the rules for a server.
pub(crate) fn open(path: &Path) -> Result<RulesFile, Box<dyn Error>> {
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

/// Returns remarks on the rules. `users` can log in; nobody can if it is `None`.
pub(crate) fn remarks(rules: &Rules, users: Option<&Htpasswd>) -> Vec<String> {
    let mut remarks: Vec<String> = rules.warnings().iter().map(ToString::to_string).collect();
    match users {
        Some(users) => remarks.extend(absent::warnings(rules, &users.snapshot())),
        None if rules.need_logins() => remarks.push(
            "they distinguish users, but nobody can log in here: only rules for `everyone` and `anonymous` apply; to let users log in, set --htpasswd FILE"
                .into(),
        ),
        None => {}
    }
    remarks
}

/// Lets the rules decide, which follow their file from now on.
///
/// Without rules, logged-in users may do everything. If nobody can log in, every client may, as with registry:2.
pub(crate) fn decided(registry: Builder, rules: Option<RulesFile>, logins: bool) -> Builder {
    let Some(rules) = rules else {
        return if logins {
            registry
        } else {
            registry.allow_anonymous_push()
        };
    };
    let watched = rules.clone();
    tokio::spawn(async move { watched.watch().await });
    registry.authorizer(rules)
}
