//! `registry access explain`: names the rule that decides.

use super::cli::Explain;
use crate::printable;
use registry_auth_rules::{RulesFile, Who};
use registry_core::{RepositoryName, auth::Decision};
use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

/// Prints the rule that decides. The exit code is 0 if it allows the action, or else 1.
pub(crate) fn run(options: &Explain) -> Result<ExitCode, Box<dyn Error>> {
    let rules = RulesFile::open(&options.rules)?.rules();
    let user = match &*options.user {
        "-" => None,
        user => match user.parse()? {
            Who::Anonymous => None,
            Who::User(name) => Some(name),
            _ => {
                return Err(format!(
                    "`{user}` is not a user name; use a name, or `-` for a client without a login"
                )
                .into());
            }
        },
    };
    let repository = RepositoryName::parse(&options.repository)
        .map_err(|error| format!("`{}`: {error}", options.repository))?;

    for warning in rules.warnings() {
        writeln!(io::stderr(), "warning: {}", printable::Lines(warning))?;
    }
    let explanation = rules.explain(user.as_deref(), &[], options.action.into(), &repository);
    writeln!(io::stdout(), "{}", printable::Lines(&explanation))?;
    Ok(match explanation.decision {
        Decision::Allow => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    })
}
