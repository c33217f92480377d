//! [`RepositoryPattern`] and [`TagPattern`]: the repositories and tags that a rule applies to.

use crate::{
    glob::{matches_sequence, matches_text},
    name::RepositoryName,
    reference::Tag,
};
use std::{fmt, sync::Arc};

/// A pattern of repository names: components joined by slashes, as in the names themselves.
///
/// | component | matches |
/// |---|---|
/// | `app` | itself |
/// | `*` | any component; also in parts: `app-*` |
/// | `**` | any number of components, none included |
///
/// So `team/*` matches `team/app`, but neither `team` nor `team/app/web`; `team/**` matches all three.
///
/// ```
/// use registry_core::{RepositoryName, maintenance::retention::RepositoryPattern};
///
/// let pattern = RepositoryPattern::parse("team/**")?;
/// assert!(pattern.matches(&RepositoryName::parse("team/app/web")?));
/// assert!(!pattern.matches(&RepositoryName::parse("teams/app")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RepositoryPattern(Arc<str>);

/// A pattern of tags: a text in which each `*` matches any number of characters.
///
/// ```
/// use registry_core::{Tag, maintenance::retention::TagPattern};
///
/// let pattern = TagPattern::parse("v1.*")?;
/// assert!(pattern.matches(&Tag::parse("v1.2-rc")?));
/// assert!(!pattern.matches(&Tag::parse("v10")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TagPattern(Arc<str>);

/// Reason why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// A component of a repository pattern contains `**` and something else.
    #[error("`**` must be a component of its own, as in `team/**`")]
    StarsInComponent,
    /// No repository can have such a name.
    #[error(
        "no repository matches `{0}`: names are lower-case letters and digits, joined by `.`, `_`, `__`, `-` or `/`"
    )]
    NoRepository(Box<str>),
    /// No tag can match.
    #[error(
        "no tag matches `{0}`: a tag has letters, digits, `_`, `.` or `-`, and does not begin with `.` or `-`"
    )]
    NoTag(Box<str>),
}

impl RepositoryPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] if the text is malformed, or if no repository could ever match.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        for component in text.split('/').filter(|component| *component != "**") {
            if component.contains("**") {
                return Err(InvalidPattern::StarsInComponent);
            }
            // A letter is allowed wherever any character is. If the name is invalid with it, it is invalid with all
            // others.
            if RepositoryName::parse(&component.replace('*', "x")).is_err() {
                return Err(InvalidPattern::NoRepository(component.into()));
            }
        }
        Ok(Self(text.into()))
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a repository matches.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        let parts: Vec<&str> = self.0.split('/').collect();
        let names: Vec<&str> = repository.as_str().split('/').collect();
        matches_sequence(
            &parts,
            &names,
            |part| *part == "**",
            |part, name| matches_text(part, name),
        )
    }
}

impl TagPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern::NoTag`] if no tag could ever match.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        // A letter is allowed wherever any character is.
        match Tag::parse(&text.replace('*', "x")) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidPattern::NoTag(text.into())),
        }
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a tag matches.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        matches_text(&self.0, tag.as_str())
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_component_and_two_are_any_number_of_them() {
        for (pattern, repository, expected) in [
            ("team/app", "team/app", true),
            ("team/app", "team/app2", false),
            ("team/*", "team/app", true),
            ("team/*", "team", false),
            ("team/*", "team/app/web", false),
            ("app-*", "app-x", true),
            ("*-db-*", "my-db", false),
            ("**", "team/app/web", true),
            ("team/**", "team", true),
            ("team/**", "teams/app", false),
            ("**/app", "a/b/app", true),
            ("a/**/z", "a/b/z/c", false),
            ("a/**/m/**/z", "a/m/m/x/z", true),
            ("*/**/*", "a", false),
        ] {
            let repository = RepositoryName::parse(repository).unwrap();
            let pattern = RepositoryPattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(&repository), expected, "{pattern} {repository}");
        }
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for pattern in [
            "",
            "/",
            "team/",
            "a//b",
            "Team/*",
            "-*",
            "a b",
            "[ab]",
            "a:1",
            "{user}/**",
        ] {
            let invalid = RepositoryPattern::parse(pattern).unwrap_err();
            assert!(matches!(invalid, InvalidPattern::NoRepository(_)), "{pattern}");
        }
        assert_eq!(
            RepositoryPattern::parse("team/a**"),
            Err(InvalidPattern::StarsInComponent)
        );
        for pattern in ["", "-*", ".x", "a/b", "a b", "v1?"] {
            assert!(TagPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let name = RepositoryName::parse(&vec!["a"; 128].join("/")).unwrap();
        let many = vec!["**/a"; 60].join("/") + "/b";
        assert!(!RepositoryPattern::parse(&many).unwrap().matches(&name));
        let tag = Tag::parse(&"a".repeat(128)).unwrap();
        let stars = "*a".repeat(60) + "*b";
        assert!(!TagPattern::parse(&stars).unwrap().matches(&tag));
    }
}
