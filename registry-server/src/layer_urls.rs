//! `validation.manifests.urls`: URLs of layers that the registry need not have.
//!
//! A URL must be `http` or `https`, without a fragment. It must match one of `allow`, unless that list is empty, and
//! none of `deny`. If both lists are empty, every URL is refused. The same holds with registry:2.

use axum::http::Uri;
use regex::Regex;

/// Patterns that the URLs of layers must match, and patterns that they must not match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerUrls {
    pub(crate) allow: Vec<Pattern>,
    pub(crate) deny: Vec<Pattern>,
}

/// Regular expression that may match anywhere in a URL.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|error| {
            format!(
                "`{text}` is not a regular expression: {}",
                explained(text, &error)
            )
        })
    }
}

/// Explains on one line what is wrong with a regular expression. The library shows the expression on several lines, with
/// a mark below the character.
fn explained(text: &str, error: &regex::Error) -> String {
    let said = error.to_string();
    let Some(what) = said.lines().find_map(|line| line.strip_prefix("error: ")) else {
        return said.split_whitespace().collect::<Vec<_>>().join(" ");
    };
    let mark = said
        .lines()
        .find(|line| line.contains('^') && line.trim_matches([' ', '^']).is_empty());
    // Of several lines each has a number before it.
    let mark = mark.filter(|_| !text.contains('\n'));
    let position = mark.and_then(|line| line.find('^')?.checked_sub(INDENT - 1));
    position.map_or_else(
        || what.to_owned(),
        |position| format!("{what}, at character {position}"),
    )
}

/// Number of spaces that the library puts before the expression.
const INDENT: usize = 4;

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl LayerUrls {
    pub(crate) fn allows(&self, url: &str) -> bool {
        let matched = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.0.is_match(url));
        let is_web = url
            .parse::<Uri>()
            .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && !url.contains('#'));
        let is_wanted = match self.allow.is_empty() {
            true => !self.deny.is_empty(),
            false => matched(&self.allow),
        };
        is_web && is_wanted && !matched(&self.deny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(allow: &[&str], deny: &[&str]) -> LayerUrls {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        LayerUrls {
            allow: patterns(allow),
            deny: patterns(deny),
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told_on_one_line_with_its_place() {
        for (text, expected) in [
            (
                "(abc",
                "`(abc` is not a regular expression: unclosed group, at character 1",
            ),
            (
                "https://[^",
                "`https://[^` is not a regular expression: unclosed character class, at character 9",
            ),
            (
                "a**?[z-a]",
                "`a**?[z-a]` is not a regular expression: invalid character class range, the start must be <= the end, at \
                 character 6",
            ),
            ("a\n(", "`a\n(` is not a regular expression: unclosed group"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err(), expected);
        }
        let large = Pattern::parse("(a{1000}){1000}").unwrap_err();
        assert!(large.contains("size limit") && !large.contains('\n'), "{large}");
    }

    #[test]
    fn an_address_has_to_match_one_of_these_and_none_of_those() {
        let both = urls(
            &[r"^https?://([^/]+\.)*example\.com/"],
            &[r"^https?://www\.example\.com/"],
        );
        for (url, allowed) in [
            ("https://example.com/layer", true),
            ("http://cdn.example.com/layer", true),
            ("https://www.example.com/layer", false),
            ("https://example.org/layer", false),
            ("https://example.com/layer#part", false),
            ("ftp://example.com/layer", false),
            ("example.com/layer", false),
            ("", false),
        ] {
            assert_eq!(both.allows(url), allowed, "{url}");
        }
        assert!(urls(&[], &["example.org"]).allows("https://example.com/"));
        assert!(!urls(&[], &["example.org"]).allows("https://example.org/"));
        assert!(!urls(&[], &[]).allows("https://example.com/"));
    }
}
