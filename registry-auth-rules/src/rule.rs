//! [`Rule`]: permission or refusal of actions, for users, in repositories.

use crate::{
    pattern::{InvalidPattern, Pattern},
    who::{Caller, Who},
};
use registry_core::{Action, auth::Decision};
use std::{fmt, sync::Arc};

/// One rule. It applies to its actions, by its users, in the repositories that match.
///
/// ```
/// use registry_auth_rules::{Rule, Who};
/// use registry_core::Action;
///
/// let rule = Rule::allow([Action::Pull, Action::Push], [Who::group("team")], ["team/**"])?;
/// assert_eq!(rule.to_string(), "allow pull, push for group:team in team/**");
///
/// assert!(Rule::hide(Rule::ALL, [Who::Everyone], ["no such name"]).is_err());
/// # Ok::<(), registry_auth_rules::InvalidRule>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    effect: Effect,
    /// Actions in the order of [`Rule::ALL`], each once.
    actions: Vec<Action>,
    who: Vec<Who>,
    repositories: Vec<Pattern>,
    origin: Option<Origin>,
}

/// Effect of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Allows the action.
    Allow,
    /// Refuses the action: anonymous clients are asked to log in, users are denied.
    Deny,
    /// Refuses the action, and answers as if the repository did not exist.
    Hide,
}

/// Place of a rule in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Name of the file, as it was given.
    pub file: Arc<str>,
    /// Line number, counted from 1.
    pub line: u64,
}

/// Reason why a rule is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// The rule has no action, no user or no repository.
    #[error("a rule needs at least one {0}")]
    Missing(&'static str),
    /// The action is not one that rules decide.
    #[error("rules do not decide on `{0}`")]
    Action(Action),
    /// A pattern is malformed.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl Rule {
    /// All actions that rules decide.
    pub const ALL: [Action; 4] = [Action::Pull, Action::Push, Action::Overwrite, Action::Delete];

    /// Allows `who` to do `actions` in `repositories`.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if one of them is missing or malformed.
    pub fn allow<'a>(
        actions: impl IntoIterator<Item = Action>,
        who: impl IntoIterator<Item = Who>,
        repositories: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidRule> {
        Self::with_effect(Effect::Allow, actions, who, repositories)
    }

    /// Denies `who` to do `actions` in `repositories`.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if one of them is missing or malformed.
    pub fn deny<'a>(
        actions: impl IntoIterator<Item = Action>,
        who: impl IntoIterator<Item = Who>,
        repositories: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidRule> {
        Self::with_effect(Effect::Deny, actions, who, repositories)
    }

    /// Denies `who` to do `actions` in `repositories`, as if those did not exist.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if one of them is missing or malformed.
    pub fn hide<'a>(
        actions: impl IntoIterator<Item = Action>,
        who: impl IntoIterator<Item = Who>,
        repositories: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidRule> {
        Self::with_effect(Effect::Hide, actions, who, repositories)
    }

    fn with_effect<'a>(
        effect: Effect,
        actions: impl IntoIterator<Item = Action>,
        who: impl IntoIterator<Item = Who>,
        repositories: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidRule> {
        let repositories = repositories
            .into_iter()
            .map(Pattern::parse)
            .collect::<Result<_, _>>()?;
        Self::new(
            effect,
            &actions.into_iter().collect::<Vec<_>>(),
            who.into_iter().collect(),
            repositories,
        )
    }

    pub(crate) fn new(
        effect: Effect,
        named: &[Action],
        who: Vec<Who>,
        repositories: Vec<Pattern>,
    ) -> Result<Self, InvalidRule> {
        if let Some(other) = named.iter().find(|action| !Self::ALL.contains(action)) {
            return Err(InvalidRule::Action(*other));
        }
        let mut actions = Self::ALL.to_vec();
        actions.retain(|action| named.contains(action));
        for (missing, what) in [
            (actions.is_empty(), "action"),
            (who.is_empty(), "user, group or `everyone`"),
            (repositories.is_empty(), "repository"),
        ] {
            if missing {
                return Err(InvalidRule::Missing(what));
            }
        }
        Ok(Self {
            effect,
            actions,
            who,
            repositories,
            origin: None,
        })
    }

    #[cfg(feature = "yaml")]
    pub(crate) fn at(self, origin: Origin) -> Self {
        Self {
            origin: Some(origin),
            ..self
        }
    }

    /// Returns the effect of the rule.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Returns the actions of the rule.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Returns the users of the rule.
    #[must_use]
    pub fn who(&self) -> &[Who] {
        &self.who
    }

    /// Returns the patterns of the rule's repositories.
    #[must_use]
    pub fn repositories(&self) -> &[Pattern] {
        &self.repositories
    }

    /// Returns the rule's place in its file, if it is from one.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Returns true if the rule can apply to a repository, for a user of a suitable name.
    pub(crate) fn matches_for_some_user(&self, repository: &[&str]) -> bool {
        let mut patterns = self.repositories.iter();
        patterns.any(|pattern| pattern.matches_for_some_user(repository))
    }

    /// Returns true if the rule applies to a repository for every client.
    pub(crate) fn matches_for_everyone(&self, repository: &[&str]) -> bool {
        let has = |who| self.who.contains(&who);
        let everyone = has(Who::Everyone) || has(Who::Authenticated) && has(Who::Anonymous);
        let mut patterns = self.repositories.iter();
        everyone && patterns.any(|pattern| pattern.matches_components(repository, None))
    }

    /// Returns true if the rule decides. Answers and explanations both use this test. `repository` is the components of
    /// a name.
    pub(crate) fn applies(&self, caller: &Caller<'_>, action: Action, repository: &[&str]) -> bool {
        self.actions.contains(&action)
            && self.who.iter().any(|who| who.includes(caller))
            && self
                .repositories
                .iter()
                .any(|pattern| pattern.matches_components(repository, caller.user))
    }
}

impl Effect {
    pub(crate) const fn decision(self) -> Decision {
        match self {
            Self::Allow => Decision::Allow,
            Self::Deny => Decision::Deny,
            Self::Hide => Decision::DenyHidden,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hide => "hide",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Shows the rule as in `allow pull, push for group:team in team/**`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            effect,
            actions,
            who,
            repositories,
            origin: _,
        } = self;
        if **actions == Self::ALL {
            write!(f, "{effect} all")?;
        } else {
            write!(f, "{effect} {}", joined(actions))?;
        }
        write!(f, " for {} in {}", joined(who), joined(repositories))
    }
}

fn joined(items: &[impl fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
