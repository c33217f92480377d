//! Query of a request: parsing and formatting.

use super::{
    error::InvalidRequest,
    page::PageQuery,
    route::{decode, encode},
};
use crate::digest::Digest;
use std::{borrow::Cow, fmt::Display, sync::Arc};

/// Query of a request. A `+` is not decoded to a blank: no parameter has a blank, and media types contain an
/// unescaped `+`.
#[derive(Clone, Copy)]
pub(super) struct Query<'q>(pub(super) &'q str);

impl<'q> Query<'q> {
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = Cow<'q, str>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    pub(super) fn first(self, name: &'static str) -> Option<Cow<'q, str>> {
        self.all(name).next()
    }

    /// Returns a parameter with any text, or `None` if it is missing or empty.
    pub(super) fn text(self, name: &'static str) -> Option<Arc<str>> {
        self.first(name).filter(|text| !text.is_empty()).map(Arc::from)
    }

    /// Parses a parameter that may be missing or empty, but not malformed.
    pub(super) fn parsed<T>(
        self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, InvalidRequest> {
        match self.first(name) {
            Some(text) if !text.is_empty() => parse(&text)
                .map(Some)
                .ok_or(InvalidRequest::Parameter { name, expected }),
            _ => Ok(None),
        }
    }

    pub(super) fn page<K>(
        self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<K>,
    ) -> Result<PageQuery<K>, InvalidRequest> {
        Ok(PageQuery {
            n: self.count("n")?,
            last: self.parsed("last", expected, parse)?,
        })
    }

    /// Parses the number of items on a page. Its maximum is checked by the code that uses it.
    fn count(self, name: &'static str) -> Result<Option<usize>, InvalidRequest> {
        let Some(text) = self.first(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(count) if decimal => Ok(Some(usize::try_from(count).unwrap_or(usize::MAX))),
            _ => Err(InvalidRequest::PageParameter {
                name,
                expected: "a non-negative decimal number of at most 64 bits",
            }),
        }
    }

    /// Parses the `digest` of pushed content. Several parameters are allowed if they are equal.
    pub(super) fn digest(self) -> Result<Digest, InvalidRequest> {
        let mut digests = self.all("digest").filter(|text| !text.is_empty());
        let first = Digest::parse(&digests.next().ok_or(InvalidRequest::DigestMissing)?)?;
        for other in digests {
            let second = Digest::parse(&other)?;
            if second != first {
                return Err(InvalidRequest::DigestTwice { first, second });
            }
        }
        Ok(first)
    }
}

/// Path to which query parameters are added.
pub(super) struct Target {
    text: String,
    separator: char,
}

impl Target {
    pub(super) const fn new(path: String) -> Self {
        Self {
            text: path,
            separator: '?',
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text
                .push_str(&format!("{}{name}={}", self.separator, encode(value)));
            self.separator = '&';
        }
    }

    pub(super) fn page<K: Display>(&mut self, page: &PageQuery<K>) {
        self.set("n", page.n.map(|n| n.to_string()).as_deref());
        self.set("last", page.last.as_ref().map(ToString::to_string).as_deref());
    }
}
