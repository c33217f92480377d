//! [`Detours`]: URLs that the tap has given to clients, on the registry's host or on the second one.

use super::{
    canned::Canned,
    fault::{Location, Redirect, Status},
    message::Head,
    patience::lock,
    record::Exchange,
};
use http::{HeaderValue, StatusCode, header};
use registry_core::ErrorCode;
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Mutex, OnceLock},
};

/// Parameter of a URL to which a client was redirected: the number of the link.
const LINK: &str = "registry-test-link";
/// Parameter of the URL of an upload session that a client has to return.
const STATE: &str = "registry-test-state";

/// URLs that the tap has given to clients.
#[derive(Default)]
pub(super) struct Detours {
    /// The address of the second host, once a fault needs it.
    pub(super) other: OnceLock<SocketAddr>,
    /// Clients use TLS.
    tls: bool,
    links: Mutex<Vec<Link>>,
    /// Paths of upload sessions whose URL has to come with its state.
    with_state: Mutex<HashSet<String>>,
}

/// A URL to which a client was redirected.
struct Link {
    to: Redirect,
    /// Credentials of the request that was redirected, which a signed URL stands for.
    authorization: Option<HeaderValue>,
    served: usize,
}

/// Returns true if a target is a URL to which a client was redirected.
pub(super) fn is_link(target: &str) -> bool {
    parameter(target, LINK).is_some()
}

impl Detours {
    pub(super) fn new(tls: bool) -> Self {
        Self {
            tls,
            ..Self::default()
        }
    }

    /// Returns the host of the URLs on the second host.
    pub(super) fn other_host(&self) -> Option<String> {
        let address = self.other.get()?;
        // Another port alone is the same host to some clients.
        Some(match address.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => format!("localhost:{}", address.port()),
            _ => address.to_string(),
        })
    }

    fn url(&self, host: &str, target: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{host}{target}")
    }

    /// Handles a request for one of these URLs. Returns an answer, or changes the head to what the registry gets.
    pub(super) fn enter(&self, exchange: &Exchange, head: &mut Head) -> Option<Canned> {
        let target = origin_form(&exchange.target);
        if let Some((rest, id)) = parameter(target, LINK) {
            return self.follow(&rest, &id, exchange, head);
        }
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        if lock(&self.with_state).contains(path) && parameter(target, STATE).is_none() {
            let refusal = Status::new(404).expect("404 is a status");
            return Some(Canned::from(&refusal.code(ErrorCode::BlobUploadUnknown)));
        }
        None
    }

    fn follow(&self, rest: &str, id: &str, exchange: &Exchange, head: &mut Head) -> Option<Canned> {
        let mut links = lock(&self.links);
        let link = id.parse().ok().and_then(|id: usize| links.get_mut(id))?;
        link.served = link.served.saturating_add(1);
        match link.to {
            Redirect::SameHost => {}
            Redirect::Loop => {
                let location = HeaderValue::from_str(origin_form(&exchange.target)).ok()?;
                return Some(Canned::redirect(location));
            }
            Redirect::OtherHost {
                refuse_authorization,
                expires,
            } => {
                if refuse_authorization && exchange.headers.contains_key(header::AUTHORIZATION) {
                    return Some(Canned::of_object_store(
                        StatusCode::BAD_REQUEST,
                        "InvalidArgument",
                        "Only one auth mechanism allowed",
                    ));
                }
                if expires.is_some_and(|expires| link.served > expires) {
                    return Some(Canned::of_object_store(
                        StatusCode::FORBIDDEN,
                        "AccessDenied",
                        "Request has expired",
                    ));
                }
            }
        }
        head.set_target(rest);
        match &link.authorization {
            Some(authorization) => head.set(&header::AUTHORIZATION, authorization),
            None => head.remove(&header::AUTHORIZATION),
        }
        None
    }

    /// Redirects a request.
    pub(super) fn redirect(&self, to: Redirect, exchange: &Exchange) -> Option<Canned> {
        let target = origin_form(&exchange.target);
        let mut links = lock(&self.links);
        let linked = with_parameter(target, LINK, links.len());
        let location = match to {
            Redirect::SameHost | Redirect::Loop => linked,
            Redirect::OtherHost { .. } => self.url(&self.other_host()?, &linked),
        };
        let location = HeaderValue::try_from(location).ok()?;
        links.push(Link {
            to,
            authorization: exchange.headers.get(header::AUTHORIZATION).cloned(),
            served: 0,
        });
        Some(Canned::redirect(location))
    }

    /// Returns another form of a `Location`.
    pub(super) fn location(&self, form: Location, location: &HeaderValue, host: &str) -> Option<HeaderValue> {
        let target = origin_form(location.to_str().ok()?);
        let changed = match form {
            Location::Absolute => self.url(host, target),
            Location::Relative => target.to_owned(),
            Location::WithQuery if is_session(target) => with_parameter(target, STATE, "kept"),
            Location::WithQuery => return None,
            Location::OtherHost => self.url(&self.other_host()?, target),
        };
        HeaderValue::try_from(changed).ok()
    }

    /// Notes the URL of an upload session as a client gets it.
    pub(super) fn announce(&self, location: &HeaderValue) {
        let Some(target) = location.to_str().ok().map(origin_form) else {
            return;
        };
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        if parameter(target, STATE).is_some() {
            lock(&self.with_state).insert(path.to_owned());
        } else {
            lock(&self.with_state).remove(path);
        }
    }

    /// Returns a challenge whose token endpoint is on the second host.
    pub(super) fn challenge(&self, challenge: &HeaderValue) -> Option<HeaderValue> {
        let text = challenge.to_str().ok()?;
        let (before, rest) = text.split_once("realm=\"")?;
        let (realm, after) = rest.split_once('"')?;
        let path = origin_form(realm);
        let is_bearer = before.trim_start().to_ascii_lowercase().starts_with("bearer");
        if !is_bearer || !path.starts_with('/') {
            return None;
        }
        let url = self.url(&self.other_host()?, path);
        HeaderValue::try_from(format!("{before}realm=\"{url}\"{after}")).ok()
    }
}

fn is_session(target: &str) -> bool {
    target.contains("/blobs/uploads/")
}

/// Returns path and query of a target or a URL.
fn origin_form(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    }
}

fn with_parameter(target: &str, name: &str, value: impl std::fmt::Display) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{name}={value}")
}

/// Returns the target without a parameter, and the value of the parameter.
fn parameter(target: &str, name: &str) -> Option<(String, String)> {
    let (path, query) = target.split_once('?')?;
    let is_it = |pair: &&str| pair.split_once('=').is_some_and(|(key, _)| key == name);
    let value = query.split('&').find(is_it)?.split_once('=')?.1;
    let rest: Vec<_> = query.split('&').filter(|pair| !is_it(pair)).collect();
    let rest = match rest.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", rest.join("&")),
    };
    Some((rest, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_parameter_is_added_and_taken_off_again(target in "/[a-z/]{0,9}([?]([a-z&=]{0,9}))?", value in "[a-z0-9]{0,5}") {
            let added = with_parameter(&target, LINK, &value);
            let (rest, found) = parameter(&added, LINK).unwrap();
            prop_assert_eq!(found, value);
            // A query of nothing but the parameter goes with it.
            prop_assert_eq!(rest.trim_end_matches('?'), target.trim_end_matches('?'));
        }

        #[test]
        fn any_location_and_challenge_is_changed_or_left(text in "\\PC{0,40}", realm in "[ -~]{0,20}") {
            let detours = Detours::default();
            let _ = detours.other.set(([127, 0, 0, 1], 5000).into());
            let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
            for text in [text, challenge] {
                let Ok(value) = HeaderValue::try_from(text) else {
                    continue;
                };
                for form in [Location::Absolute, Location::Relative, Location::WithQuery, Location::OtherHost] {
                    let _ = detours.location(form, &value, "host");
                }
                detours.announce(&value);
                if let Some(changed) = detours.challenge(&value) {
                    prop_assert!(changed.to_str().unwrap().contains("realm=\"http://localhost:5000/"));
                }
            }
        }
    }

    #[test]
    fn a_url_is_cut_to_its_path_and_query() {
        for (url, path) in [
            ("/v2/?a=http://x/y", "/v2/?a=http://x/y"),
            ("http://host/v2/?n=1", "/v2/?n=1"),
            ("https://host", "/"),
        ] {
            assert_eq!(origin_form(url), path);
        }
    }
}
