//! [`Explanation`]: the rule that decided, in words.

use crate::rule::Rule;
use registry_core::{Action, RepositoryName, auth::Decision};
use std::fmt;

/// A decision and the rule that made it. Its text is one line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation<'a> {
    /// The decision.
    pub decision: Decision,
    /// The rule that decided and its number, counted from 1. If none applies, this is `None`, and access is refused.
    pub rule: Option<(usize, &'a Rule)>,
    pub(crate) user: Option<Box<str>>,
    pub(crate) action: Action,
    pub(crate) repository: RepositoryName,
    /// True if a rule has `{user}`, which never matches the name of this user.
    pub(crate) nameless: bool,
}

impl Explanation<'_> {
    /// Returns true if access is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.decision == Decision::Allow
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.decision {
            Decision::Allow => "allowed",
            Decision::DenyHidden => "hidden",
            _ => "denied",
        })?;
        match self.rule {
            Some((number, rule)) => {
                write!(f, ": rule {number}")?;
                if let Some(origin) = rule.origin() {
                    write!(f, " ({origin})")?;
                }
                write!(f, ": {rule}")
            }
            None => {
                let user = self.user.as_deref().unwrap_or("anonymous clients");
                write!(
                    f,
                    ": no rule allows {user} to {} in {}",
                    self.action, self.repository
                )?;
                if self.nameless {
                    write!(
                        f,
                        "; `{{user}}` never matches, as no repository has a component `{user}`"
                    )?;
                }
                Ok(())
            }
        }
    }
}
