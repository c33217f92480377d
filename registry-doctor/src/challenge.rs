//! Challenges for a login: Basic, or a token of a service (Bearer).

use super::{
    client::{Answer, shown},
    finding::{Check, Finding},
};
use http::{StatusCode, Uri, header};

/// Challenge that clients can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) bearer: bool,
    pub(super) realm: Option<String>,
    /// Service that the token is for (Bearer only).
    pub(super) service: Option<String>,
}

impl Challenge {
    /// Returns the first challenge of an answer that clients can meet.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let asked = answer.values(header::WWW_AUTHENTICATE);
        asked.iter().find_map(|value| {
            let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
            let bearer = match scheme.to_ascii_lowercase().as_str() {
                "basic" => false,
                "bearer" => true,
                _ => return None,
            };
            Some(Self {
                bearer,
                realm: parameter(rest, "realm"),
                service: parameter(rest, "service"),
            })
        })
    }

    const fn scheme(&self) -> &'static str {
        if self.bearer { "Bearer" } else { "Basic" }
    }
}

/// Examines the challenge to a client without a login. `None` if there is none that clients can meet.
pub(super) fn examine(answer: &Answer, found: &mut Vec<Finding>) -> Option<Challenge> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let challenge = Challenge::of(answer);
    found.push(match &challenge {
        Some(challenge) => judged(answer, challenge),
        None => unanswerable(answer),
    });
    challenge
}

fn unanswerable(answer: &Answer) -> Finding {
    let by = answer.speaker();
    let asked = answer.values(header::WWW_AUTHENTICATE);
    let seen = if asked.is_empty() {
        format!("401 by {by} without `WWW-Authenticate`: clients do not know how to log in")
    } else {
        let asked = shown(&asked.join(", "));
        format!("{by} asks for `{asked}`; clients support Basic and Bearer only")
    };
    Finding::fault(Check::Challenge, seen)
        .server("forward `WWW-Authenticate` unchanged. nginx: no `proxy_hide_header` for it")
}

fn judged(answer: &Answer, challenge: &Challenge) -> Finding {
    let (by, scheme) = (answer.speaker(), challenge.scheme());
    let Some(realm) = &challenge.realm else {
        return Finding::warning(
            Check::Challenge,
            format!("{by} asks for {scheme} without a realm, which some clients require"),
        )
        .server("nginx: `auth_basic \"Registry\";`; the registry: `auth.htpasswd.realm`");
    };
    let asks = format!("{by} asks for {scheme}, realm {:?}", shown(realm));
    if challenge.bearer && !is_url(realm) {
        return Finding::fault(
            Check::Challenge,
            format!("{asks}, which must be the URL of a token service"),
        )
        .server("set `auth.token.realm` to the URL of the service for clients");
    }
    let lines = answer.values(header::WWW_AUTHENTICATE).len();
    if lines > 1 {
        return Finding::warning(
            Check::Challenge,
            format!("{asks}, and there are {lines} such headers: clients differ in the one that they use"),
        )
        .server("let only one server ask for a login: the proxy or the registry");
    }
    Finding::ok(Check::Challenge, asks)
}

fn is_url(text: &str) -> bool {
    text.parse::<Uri>()
        .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")))
}

/// Returns a parameter of a challenge, quoted or not.
fn parameter(text: &str, name: &str) -> Option<String> {
    let start = text.to_ascii_lowercase().find(&format!("{name}="))? + name.len() + 1;
    let value = text.get(start..)?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(',').next(),
    };
    value.map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_read_in_quotes_or_without() {
        for (text, realm) in [
            (r#"Basic realm="a, b""#, Some("a, b")),
            ("Basic realm=Registry", Some("Registry")),
            (r#"Bearer Realm="https://t/",service="s""#, Some("https://t/")),
            ("Basic", None),
        ] {
            assert_eq!(parameter(text, "realm").as_deref(), realm, "{text}");
        }
    }
}
