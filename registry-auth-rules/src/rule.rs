//! [`Rule`]: what is allowed, denied or hidden, to whom, and where.

use crate::{
    pattern::{InvalidPattern, Pattern},
    who::{Caller, Who},
};
use registry_core::{Action, auth::Decision};
use std::{fmt, sync::Arc};

/// One rule. It decides where it applies: about its actions, for those it is about, in the repositories that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    effect: Effect,
    /// In the order of [`Rule::ALL`], each once.
    actions: Vec<Action>,
    who: Vec<Who>,
    repositories: Vec<Pattern>,
    origin: Option<Origin>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It lets through.
    Allow,
    /// It refuses: strangers are asked to log in, others are told that it is denied.
    Deny,
    /// It refuses, and answers as if the repository did not exist.
    Hide,
}

/// Where a rule stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// Why there is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// A rule about no action, nobody or no repository.
    #[error("a rule needs at least one {0}")]
    Missing(&'static str),
    /// An action that rules do not decide.
    #[error("rules do not decide on `{0}`")]
    Action(Action),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl Rule {
    /// Every action that rules decide.
    pub const ALL: [Action; 4] = [Action::Pull, Action::Push, Action::Overwrite, Action::Delete];

    /// Lets `who` do `actions` in `repositories`.
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

    /// Refuses `who` to do `actions` in `repositories`.
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

    /// Refuses `who` to do `actions` in `repositories`, as if those did not exist.
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

    /// What it does.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// The actions that it names.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whom it is about.
    #[must_use]
    pub fn who(&self) -> &[Who] {
        &self.who
    }

    /// The repositories that it is about.
    #[must_use]
    pub fn repositories(&self) -> &[Pattern] {
        &self.repositories
    }

    /// Where it stands, if it is from a file.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Whether it decides: the one test that answers and explanations share. `repository` is a name's components.
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

/// As in `allow pull, push for group:team in team/**`.
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
