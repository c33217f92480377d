//! `validation.manifests.urls`: where layers may lie that the registry need not have.
//!
//! Clients fetch such a layer from the addresses that the manifest gives for it, so whoever may push could send them
//! anywhere. As with registry:2 an address has to be `http` or `https`, without a fragment, match one of `allow` if there
//! are any, and none of `deny`; where both lists are empty none will do.

use async_trait::async_trait;
use axum::http::Uri;
use regex::Regex;
use registry_core::{
    hooks::{Context, Hooks, Veto},
    storage::PutManifest,
};
use serde::Deserialize;

/// What addresses have to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerUrls {
    pub(crate) allow: Vec<Pattern>,
    pub(crate) deny: Vec<Pattern>,
}

/// A regular expression that is looked for anywhere in an address.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is no regular expression: {error}"))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl LayerUrls {
    fn allows(&self, url: &str) -> bool {
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

    /// The first address in a manifest that will not do.
    fn refused(&self, manifest: &[u8]) -> Option<String> {
        // What is no manifest never comes here; what has no layers has no addresses.
        let manifest: Layers = serde_json::from_slice(manifest).ok()?;
        let layers = manifest.layers.unwrap_or_default().into_iter();
        let mut urls = layers.flat_map(|layer| layer.urls.unwrap_or_default());
        urls.find(|url| !self.allows(url))
    }
}

#[derive(Deserialize)]
struct Layers {
    layers: Option<Vec<Layer>>,
}

#[derive(Deserialize)]
struct Layer {
    urls: Option<Vec<String>>,
}

#[async_trait]
impl Hooks for LayerUrls {
    async fn before_put_manifest(&self, _: &Context<'_>, put: &PutManifest) -> Result<(), Veto> {
        match self.refused(put.manifest.subject()) {
            None => Ok(()),
            Some(url) => Err(Veto::new(format!(
                "the manifest has a layer that lies at {url:?}, where this registry wants none; \
                 `validation.manifests.urls` in its configuration says where layers may lie"
            ))),
        }
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

    #[test]
    fn each_address_of_each_layer_counts() {
        let only = urls(&["^https://example.com/"], &[]);
        for (manifest, refused) in [
            (r#"{"layers":[{},{"urls":null},{"urls":[]}]}"#, None),
            (r#"{"layers":[{"urls":["https://example.com/a"]}]}"#, None),
            (
                r#"{"layers":[{},{"urls":["https://example.com/a","https://b/"]}]}"#,
                Some("https://b/"),
            ),
            (r#"{"manifests":[]}"#, None),
        ] {
            assert_eq!(
                only.refused(manifest.as_bytes()).as_deref(),
                refused,
                "{manifest}"
            );
        }
    }
}
