//! [`Pattern`]: the repositories that a rule applies to.

use registry_core::{
    RepositoryName,
    glob::{matches_sequence, matches_text},
};
use std::fmt;

/// A pattern of repository names: components joined by slashes, as in the names themselves.
///
/// | component | matches |
/// |---|---|
/// | `app` | itself |
/// | `*` | one component, whatever it is; also in parts: `app-*` |
/// | `{user}` | one component that is the name of the user; never matches for anonymous clients |
/// | `**` | any number of components, none included |
///
/// So `team/*` is `team/app` but neither `team` nor `team/app/web`; `team/**` matches all three.
///
/// ```
/// use registry_auth_rules::Pattern;
/// use registry_core::RepositoryName;
///
/// let pattern = Pattern::parse("users/{user}/**")?;
/// let repository = RepositoryName::parse("users/ann/web/app")?;
/// assert!(pattern.matches(&repository, Some("ann")));
/// assert!(!pattern.matches(&repository, Some("eve")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    parts: Vec<Part>,
}

/// A component of a pattern.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// `**`
    Any,
    /// `{user}`
    User,
    /// A text, in which each star matches any number of characters.
    Glob(Box<str>),
}

/// Reason why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// A component contains `**` and something else.
    #[error("`**` must be a component of its own, as in `team/**`")]
    StarsInComponent,
    /// Braces are used for something other than the component `{user}`.
    #[error(
        "`{{user}}` must be a component of its own, as in `users/{{user}}/**`, and is the only word in braces"
    )]
    Braces,
    /// No repository can have such a name.
    #[error(
        "no repository matches `{0}`: names are lower-case letters and digits, joined by `.`, `_`, `__`, `-` or `/`"
    )]
    Impossible(Box<str>),
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] if the text is malformed, or if no repository could ever match.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let parts = text.split('/').map(Part::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if a repository matches, for `user`; `None` is an anonymous client.
    ///
    /// The number of steps is at most the bytes of the name times those of the pattern, for any number of stars.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName, user: Option<&str>) -> bool {
        let components: Vec<&str> = repository.as_str().split('/').collect();
        self.matches_components(&components, user)
    }

    pub(crate) fn matches_components(&self, names: &[&str], user: Option<&str>) -> bool {
        matches_parts(&self.parts, names, |part, name| part.matches(name, user))
    }

    /// Returns true if the components match for a user of a suitable name.
    pub(crate) fn matches_for_some_user(&self, names: &[&str]) -> bool {
        matches_parts(&self.parts, names, |part, name| part.matches(name, Some(name)))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn names_the_user(&self) -> bool {
        self.parts.contains(&Part::User)
    }
}

impl Part {
    fn parse(component: &str) -> Result<Self, InvalidPattern> {
        match component {
            "**" => return Ok(Self::Any),
            "{user}" => return Ok(Self::User),
            _ if component.contains("**") => return Err(InvalidPattern::StarsInComponent),
            _ if component.contains(['{', '}']) => return Err(InvalidPattern::Braces),
            _ => {}
        }
        // A letter is allowed wherever any character is. If the name is invalid with it, it is invalid with all
        // others.
        if RepositoryName::parse(&component.replace('*', "x")).is_err() {
            return Err(InvalidPattern::Impossible(component.into()));
        }
        Ok(Self::Glob(component.into()))
    }

    fn matches(&self, component: &str, user: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::User => user == Some(component),
            Self::Glob(text) => matches_text(text, component),
        }
    }

    /// Returns the text of a component without stars.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::Glob(text) => Some(&**text).filter(|text| !text.contains('*')),
            Self::Any | Self::User => None,
        }
    }
}

/// Returns true if `parts` match `items`: `**` matches any number of them, and `matches` compares any other part with
/// one.
pub(crate) fn matches_parts<T>(parts: &[Part], items: &[T], matches: impl Fn(&Part, &T) -> bool) -> bool {
    matches_sequence(parts, items, |part| *part == Part::Any, matches)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, repository: &str) -> bool {
        let repository = RepositoryName::parse(repository).unwrap();
        Pattern::parse(pattern).unwrap().matches(&repository, Some("ann"))
    }

    #[test]
    fn a_star_stays_within_its_component() {
        for (pattern, repository, expected) in [
            ("team/app", "team/app", true),
            ("team/app", "team/app2", false),
            ("team/*", "team/app", true),
            ("team/*", "team", false),
            ("team/*", "team/app/web", false),
            ("*", "team", true),
            ("*", "team/app", false),
            ("*/app", "team/app", true),
            ("app-*", "app-", false),
            ("app-*", "app-x", true),
            ("app*", "app", true),
            ("*-db-*", "my-db-1", true),
            ("*-db-*", "my-db", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*a", "aba", true),
            ("a*b*b", "ab", false),
        ] {
            if RepositoryName::parse(repository).is_ok() {
                assert_eq!(matches(pattern, repository), expected, "{pattern} {repository}");
            }
        }
    }

    #[test]
    fn two_stars_are_any_number_of_components() {
        for (pattern, repository, expected) in [
            ("**", "team/app/web", true),
            ("team/**", "team", true),
            ("team/**", "team/app", true),
            ("team/**", "team/app/web", true),
            ("team/**", "teams/app", false),
            ("**/app", "app", true),
            ("**/app", "a/b/app", true),
            ("**/app", "a/b/apps", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/z/c", false),
            ("a/**/m/**/z", "a/m/m/x/z", true),
            ("**/**", "a", true),
            ("**/*", "a", true),
            ("*/**/*", "a", false),
        ] {
            assert_eq!(matches(pattern, repository), expected, "{pattern} {repository}");
        }
    }

    #[test]
    fn the_user_is_one_whole_component_and_anonymous_clients_have_none() {
        let pattern = Pattern::parse("users/{user}/**").unwrap();
        let of = |user: Option<&str>| {
            let names = [
                "users/ann",
                "users/ann/app",
                "users/ann-2/app",
                "users/x/ann",
                "users/eve/app",
            ];
            names.map(|name| pattern.matches(&RepositoryName::parse(name).unwrap(), user))
        };
        assert_eq!(of(Some("ann")), [true, true, false, false, false]);
        for nobody in [
            None,
            Some(""),
            Some("*"),
            Some("**"),
            Some("ann/app"),
            Some("Ann"),
            Some("{user}"),
            Some(".."),
        ] {
            assert_eq!(of(nobody), [false; 5], "{nobody:?}");
        }
    }

    #[test]
    fn what_can_never_match_is_no_pattern() {
        for pattern in [
            "", "/", "team/", "/team", "a//b", "Team/*", "a..*", "-*", "*-", "a b", "ä*", "a?", "[ab]", "a:1",
        ] {
            let invalid = Pattern::parse(pattern).unwrap_err();
            assert!(matches!(invalid, InvalidPattern::Impossible(_)), "{pattern}");
        }
        assert_eq!(Pattern::parse("team/a**"), Err(InvalidPattern::StarsInComponent));
        for pattern in ["{group}/x", "{user}-x", "a/{user", "{}"] {
            assert_eq!(Pattern::parse(pattern), Err(InvalidPattern::Braces), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let name = RepositoryName::parse(&vec!["a"; 128].join("/")).unwrap();
        let many = vec!["**/a"; 60].join("/") + "/b";
        assert!(!Pattern::parse(&many).unwrap().matches(&name, None));
        let long = RepositoryName::parse(&"a".repeat(255)).unwrap();
        let stars = "*a".repeat(120) + "*b";
        assert!(!Pattern::parse(&stars).unwrap().matches(&long, None));
    }
}
