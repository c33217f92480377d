//! Judges the target of a `Location`: the door that the client asked, or another server.

use super::origin::{Origin, Scheme};
use super::{
    approach::Port80,
    client::{Door, shown},
};
use http::Uri;

/// Verdict on a `Location` that a client would follow.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) flaws: Vec<Flaw>,
    /// Path and query with which to continue at the door itself, even if the `Location` leads elsewhere.
    pub(super) target: String,
}

/// Flaw of a `Location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Not a URL.
    Unreadable,
    /// Another server: the scheme, port or host differs.
    Leaves(Origin),
    /// The prefix before `/v2/` is missing.
    LosesPrefix,
    /// `%2F` in the path.
    EncodedSlash,
    /// `//` in the path.
    DoubleSlash,
}

impl Judged {
    /// Judges a `Location` that this door answered with.
    pub(super) fn of(location: &str, door: &Door) -> Self {
        // What begins so names a host, and not a path.
        if let Some(rest) = location.strip_prefix("//") {
            let rest = rest.trim_start_matches('/');
            return Self {
                flaws: vec![Flaw::DoubleSlash],
                target: door.path(&format!("/{rest}")),
            };
        }
        let Ok(url) = location.parse::<Uri>() else {
            return Self {
                flaws: vec![Flaw::Unreadable],
                target: door.path("/v2/"),
            };
        };
        let mut flaws = Vec::new();
        if let Some(origin) = Origin::of(&url)
            && origin != door.origin
        {
            flaws.push(Flaw::Leaves(origin));
        }
        let mut path = url.path().to_owned();
        if path.contains("//") {
            flaws.push(Flaw::DoubleSlash);
            while path.contains("//") {
                path = path.replace("//", "/");
            }
        }
        let mut target = match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        if !path.starts_with(&door.path("/v2/")) {
            flaws.push(if path.starts_with("/v2/") {
                target = door.path(&target);
                Flaw::LosesPrefix
            } else {
                Flaw::Unreadable
            });
        }
        if path.to_ascii_lowercase().contains("%2f") {
            flaws.push(Flaw::EncodedSlash);
        }
        Self { flaws, target }
    }
}

impl Flaw {
    /// Describes the effect on clients. `at` is the door that they asked, and `port_80` the service on port 80.
    pub(super) fn consequence(&self, location: &str, at: &Door, port_80: Port80) -> String {
        // The query has the state of the session in it, which is nobody's business.
        let location = shown(location.split('?').next().unwrap_or_default());
        let leads = format!(
            "an upload that was opened at {} continues at `{location}`",
            at.origin
        );
        match self {
            Self::Leaves(to) if to.host() == at.origin.host() && to.scheme != at.origin.scheme => {
                let then = match (to.scheme, port_80) {
                    (Scheme::Http, Port80::Redirects) if to.has_default_port() => {
                        "port 80 redirects, and clients then send GET instead of PATCH: `docker push` says \
                         `unknown blob`, podman `authentication required`"
                    }
                    (Scheme::Http, Port80::Serves) if to.has_default_port() => {
                        "port 80 serves the registry, too, but clients send their login to https only: the login succeeds, and then `docker push` says `authentication required`"
                    }
                    (Scheme::Http, _) => "clients fail, or send a password unencrypted",
                    (Scheme::Https, _) => "without TLS on that port, clients fail",
                };
                format!(
                    "{leads}, over {} instead of {}: {then}",
                    to.scheme, at.origin.scheme
                )
            }
            Self::Leaves(to) if to.host() == at.origin.host() => {
                format!("{leads}, at another port: clients get `connection refused`, or bypass the proxy")
            }
            Self::Leaves(_) => format!(
                "{leads}, at another host: clients cannot resolve or reach it, and do not send their login to it"
            ),
            Self::LosesPrefix => format!("{leads}, without the prefix `{}`", at.prefix),
            Self::EncodedSlash => format!("{leads}, with an encoded slash: Apache answers 404"),
            Self::DoubleSlash => format!(
                "{leads}, with a double slash: clients take the next part for a host, and proxies merge the slashes"
            ),
            Self::Unreadable => format!("{leads}, which is not a valid URL below this registry"),
        }
    }

    /// Returns the remedy.
    pub(super) fn fix(&self, at: &Door) -> String {
        let relative = "This is not necessary with relative links: `http.relativeurls: true` (the default of this registry, but not of registry:2)";
        match self {
            Self::Leaves(to) if to.host() == at.origin.host() && to.scheme != at.origin.scheme => format!(
                "forward the scheme to the registry. nginx: \
                 `proxy_set_header X-Forwarded-Proto $scheme;` beside `proxy_set_header Host $http_host;` \
                 Apache: `RequestHeader set X-Forwarded-Proto \"https\"`. {relative}, or `http.host: {}`",
                at.origin
            ),
            Self::Leaves(_) => format!(
                "forward host and port to the registry. nginx: \
                 `proxy_set_header Host $http_host;` (`$host` drops the port) Apache: \
                 `ProxyPreserveHost on`. {relative}. If `http.host` is set, it must be `{}`",
                at.origin
            ),
            Self::LosesPrefix => format!(
                "set `http.prefix: {}/` in the registry's configuration, and let the proxy keep the path (nginx: `proxy_pass` without a slash at the end)",
                at.prefix
            ),
            Self::EncodedSlash => {
                "Apache: `AllowEncodedSlashes NoDecode`, and `nocanon` for `ProxyPass`. Proxies must not encode paths again"
                    .to_owned()
            }
            Self::DoubleSlash => {
                "in `proxy_pass` and `ProxyPass`, let both sides end with a slash, or neither. `http.host` and `http.prefix` must not have a double slash"
                    .to_owned()
            }
            Self::Unreadable => {
                "forward `Location` unchanged, or rewrite it as `proxy_redirect` does"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Peers, target::Target};

    fn door(url: &str) -> Door {
        let target = Target::parse(url).unwrap();
        Door {
            origin: target.origin,
            prefix: target.prefix,
            peers: Peers::Anybody,
        }
    }

    fn origin(url: &str) -> Origin {
        Target::parse(url).unwrap().origin
    }

    #[test]
    fn a_location_is_judged_by_where_it_leads() {
        let leaves = |to| vec![Flaw::Leaves(origin(to))];
        let session = "/v2/a/b/blobs/uploads/1?state=x";
        for (at, location, flaws) in [
            ("https://r.example", session.to_owned(), vec![]),
            ("https://r.example", format!("https://r.example{session}"), vec![]),
            (
                "https://r.example",
                format!("https://R.example:443{session}"),
                vec![],
            ),
            (
                "https://r.example",
                format!("http://r.example{session}"),
                leaves("http://r.example"),
            ),
            (
                "http://r.example:5461",
                format!("http://r.example{session}"),
                leaves("http://r.example"),
            ),
            (
                "https://r.example",
                format!("https://registry:5000{session}"),
                leaves("https://registry:5000"),
            ),
            (
                "https://r.example/sub",
                session.to_owned(),
                vec![Flaw::LosesPrefix],
            ),
            ("https://r.example/sub", format!("/sub{session}"), vec![]),
            (
                "https://r.example",
                "/v2/a%2Fb/blobs/uploads/1?state=x".to_owned(),
                vec![Flaw::EncodedSlash],
            ),
            (
                "https://r.example",
                format!("/{session}"),
                vec![Flaw::DoubleSlash],
            ),
            (
                "https://r.example",
                "/v2/a//b/blobs/uploads/1".to_owned(),
                vec![Flaw::DoubleSlash],
            ),
            (
                "https://r.example",
                "elsewhere".to_owned(),
                vec![Flaw::Unreadable],
            ),
            ("https://r.example", "/login".to_owned(), vec![Flaw::Unreadable]),
        ] {
            assert_eq!(
                Judged::of(&location, &door(at)).flaws,
                flaws,
                "{location} at {at}"
            );
        }
    }

    #[test]
    fn one_goes_on_where_one_asked_wherever_it_leads() {
        let session = "/v2/a/b/blobs/uploads/1?state=x";
        for (at, location, target) in [
            (
                "https://r.example",
                format!("http://registry:5000{session}"),
                session.to_owned(),
            ),
            (
                "https://r.example/sub",
                session.to_owned(),
                format!("/sub{session}"),
            ),
            (
                "https://r.example",
                format!("https://r.example/{session}"),
                session.to_owned(),
            ),
            ("https://r.example", format!("/{session}"), session.to_owned()),
        ] {
            assert_eq!(
                Judged::of(&location, &door(at)).target,
                target,
                "{location} at {at}"
            );
        }
    }

    #[test]
    fn the_state_of_a_session_is_not_shown() {
        let at = door("https://r.example");
        let location = "http://r.example/v2/a/blobs/uploads/1?_state=secret";
        for flaw in Judged::of(location, &at).flaws {
            assert!(
                !flaw
                    .consequence(location, &at, Port80::Redirects)
                    .contains("secret")
            );
        }
    }
}
