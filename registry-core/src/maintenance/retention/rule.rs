//! [`Rule`] and [`Rules`]: the tags that are kept.

use super::{
    pattern::{RepositoryPattern, TagPattern},
    verdict::Span,
};
use crate::{name::RepositoryName, reference::Tag};
use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

/// Condition under which a rule keeps a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Keeps every tag.
    Always,
    /// Keeps the newest tags of each repository, among the tags about which the rule decides. If the last of them was
    /// moved at the same time as others, all of these are kept.
    Newest(NonZeroUsize),
    /// Keeps tags that were moved less than this time ago.
    Younger(Duration),
    /// Keeps tags that meet at least one of both conditions.
    Either(NonZeroUsize, Duration),
    /// Keeps tags that meet both conditions.
    Both(NonZeroUsize, Duration),
}

impl Keep {
    /// Returns true if the condition depends on the age of a tag.
    #[must_use]
    pub const fn depends_on_age(self) -> bool {
        match self {
            Self::Always | Self::Newest(_) => false,
            Self::Younger(_) | Self::Either(..) | Self::Both(..) => true,
        }
    }
}

/// One rule of retention. It decides about the tags that it matches, in the repositories that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    repositories: Vec<RepositoryPattern>,
    /// Empty for all tags.
    tags: Vec<TagPattern>,
    keep: Keep,
    expires_immutable: bool,
    origin: Option<Arc<str>>,
}

impl Rule {
    /// Describes a rule for all tags of the repositories that match at least one pattern.
    #[must_use]
    pub fn new(repositories: impl IntoIterator<Item = RepositoryPattern>, keep: Keep) -> Self {
        Self {
            repositories: repositories.into_iter().collect(),
            tags: Vec::new(),
            keep,
            expires_immutable: false,
            origin: None,
        }
    }

    /// Limits the rule to tags that match at least one of these patterns. Without any, it decides about all tags.
    #[must_use]
    pub fn tags(self, tags: impl IntoIterator<Item = TagPattern>) -> Self {
        Self {
            tags: tags.into_iter().collect(),
            ..self
        }
    }

    /// Lets the rule drop tags that nobody may overwrite.
    #[must_use]
    pub fn expire_immutable(self) -> Self {
        Self {
            expires_immutable: true,
            ..self
        }
    }

    /// Sets the place where the rule is written, for messages: `rules.yml:4`.
    #[must_use]
    pub fn at(self, origin: impl Into<Arc<str>>) -> Self {
        Self {
            origin: Some(origin.into()),
            ..self
        }
    }

    /// Returns the condition under which a tag is kept.
    #[must_use]
    pub const fn keep(&self) -> Keep {
        self.keep
    }

    /// Returns true if the rule drops tags that nobody may overwrite.
    #[must_use]
    pub const fn expires_immutable(&self) -> bool {
        self.expires_immutable
    }

    /// Returns the place where the rule is written.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    pub(super) fn matches_repository(&self, repository: &RepositoryName) -> bool {
        self.repositories
            .iter()
            .any(|pattern| pattern.matches(repository))
    }

    pub(super) fn matches_tag(&self, tag: &Tag) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|pattern| pattern.matches(tag))
    }
}

/// Shows the rule as in `keep the newest 10 or younger than 30d, of v* in team/**`. Rules with the same text decide
/// alike.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            repositories,
            tags,
            keep,
            expires_immutable,
            origin: _,
        } = self;
        write!(f, "keep {keep}, of ")?;
        if tags.is_empty() {
            f.write_str("all tags")?;
        } else {
            f.write_str(&joined(tags))?;
        }
        write!(f, " in {}", joined(repositories))?;
        if *expires_immutable {
            f.write_str(", immutable ones included")?;
        }
        Ok(())
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Always => f.write_str("always"),
            Self::Newest(newest) => write!(f, "the newest {newest}"),
            Self::Younger(younger) => write!(f, "younger than {}", Span(younger)),
            Self::Either(newest, younger) => {
                write!(f, "the newest {newest} or younger than {}", Span(younger))
            }
            Self::Both(newest, younger) => {
                write!(f, "the newest {newest} and younger than {}", Span(younger))
            }
        }
    }
}

fn joined(patterns: &[impl fmt::Display]) -> String {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    patterns.join(", ")
}

/// Ordered rules of retention. The first rule that matches a tag decides about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Orders rules. Without rules, every tag is kept.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Returns the rules in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Returns true if some rule depends on the age of tags.
    #[must_use]
    pub fn depend_on_age(&self) -> bool {
        self.0.iter().any(|rule| rule.keep().depends_on_age())
    }

    /// Returns true if some rule matches the repository.
    #[must_use]
    pub fn match_repository(&self, repository: &RepositoryName) -> bool {
        self.0.iter().any(|rule| rule.matches_repository(repository))
    }

    /// Returns true if the rule that decides about such a tag can drop it.
    pub(super) fn drop_tags_like(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        let mut rules = self.0.iter();
        let deciding = rules.find(|rule| rule.matches_repository(repository) && rule.matches_tag(tag));
        deciding.is_some_and(|rule| rule.keep() != Keep::Always)
    }

    /// Describes a rule by its number, its place and its text, for messages. `index` is counted from 0.
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        let number = index + 1;
        match self.0.get(index) {
            Some(rule) => match rule.origin() {
                Some(origin) => format!("rule {number} ({origin}): {rule}"),
                None => format!("rule {number}: {rule}"),
            },
            None => format!("rule {number}"),
        }
    }
}
