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
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is not a regular expression: {error}"))
    }
}

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
