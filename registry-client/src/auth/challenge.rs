//! [`Challenge`]: the demand of a registry for a login.
//!
//! Specification: RFC 9110, section 11.6.1; the token authentication of Docker's registry.

use http::{HeaderMap, header};
use std::collections::BTreeMap;

/// Maximum number of challenges that are read.
const MOST: usize = 8;

/// Demand for a login that the client can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Token service that a registry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

impl Challenge {
    /// Selects a challenge of a response: Bearer if there is one, otherwise Basic.
    pub(crate) fn select(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).into_iter();
        let all: Vec<_> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse)
            .take(MOST)
            .collect();
        let bearer = all.iter().find_map(|(scheme, parameters)| {
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            Some(Self::Bearer(Bearer {
                realm: parameters.get("realm")?.clone(),
                service: parameters.get("service").cloned(),
                scope: parameters.get("scope").cloned(),
            }))
        });
        let basic = || all.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        bearer.or_else(|| basic().then_some(Self::Basic))
    }
}

type Parsed = (String, BTreeMap<String, String>);

/// Parses the challenges of one header. A malformed rest is ignored.
fn parse(text: &str) -> Vec<Parsed> {
    let mut found: Vec<Parsed> = Vec::new();
    let mut rest = text;
    loop {
        // The text after some schemes ends in `=`.
        rest = rest.trim_start_matches([' ', '\t', ',', '=']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return found;
        }
        rest = after;
        let Some(value) = rest.trim_start().strip_prefix('=') else {
            found.push((word.to_owned(), BTreeMap::new()));
            continue;
        };
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = token(value.trim_start());
                (value.to_owned(), after)
            }
        };
        rest = after;
        if let Some((_, parameters)) = found.last_mut() {
            parameters.entry(word.to_ascii_lowercase()).or_insert(value);
        }
    }
}

/// Splits off the characters of a token, and of the base64 text that some schemes have.
fn token(text: &str) -> (&str, &str) {
    let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    let end = text.find(|c| !legal(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a quoted string after its opening quote. Returns the text and the rest.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn select(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::select(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }))
    }

    #[test]
    fn a_challenge_is_read_with_its_parameters() {
        let hub =
            r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:x:pull,push""#;
        let expected = bearer(
            "https://a.example/token",
            Some("r.example"),
            Some("repository:x:pull,push"),
        );
        assert_eq!(select(&[hub]), expected);
        assert_eq!(
            select(&[r#"bearer Realm = "a\"b" , service=s"#]),
            bearer("a\"b", Some("s"), None)
        );
        assert_eq!(
            select(&[r#"Basic realm="a, Bearer realm=x""#]),
            Some(Challenge::Basic)
        );
        assert_eq!(select(&["Basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn bearer_is_preferred_in_one_header_or_several() {
        let expected = bearer("https://t/", None, None);
        assert_eq!(
            select(&[r#"Basic realm="a", Bearer realm="https://t/""#]),
            expected
        );
        assert_eq!(
            select(&["Basic realm=a", r#"Bearer realm="https://t/""#]),
            expected
        );
        assert_eq!(select(&["Negotiate abc==, Bearer realm=https://t/"]), expected);
    }

    #[test]
    fn challenges_that_nobody_can_meet_are_none() {
        for text in [
            "",
            "Bearer",
            "Negotiate",
            "Bearer service=s",
            "\"",
            "=",
            "Bearer realm",
        ] {
            assert_eq!(select(&[text]), None, "{text}");
        }
    }
}
