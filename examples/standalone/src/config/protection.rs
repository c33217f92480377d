//! Keys that protect, and cannot take effect as they are given: the server does not start.
//!
//! [`unknown`](super::unknown) has the keys that there are not. Here are those that there are: without what they need, or
//! without a value. Whoever wrote them relies on them, and nothing that the server does would show that they do not count.

use super::{
    Notice,
    reader::Reader,
    value::{Content, Value},
};

/// Settings of HTTPS, which are nothing without a certificate.
const OF_TLS: [&str; 4] = [
    "http.tls.clientcas",
    "http.tls.clientauth",
    "http.tls.minimumtls",
    "http.tls.ciphersuites",
];

/// Where certificates come from.
const CERTIFICATES: [&str; 3] = [
    "http.tls.certificate",
    "http.tls.key",
    "http.tls.letsencrypt.cachefile",
];

/// Lists of which each item makes access narrower, and an empty one would be left out.
const LISTS: [&str; 2] = ["http.tls.clientcas", "http.tls.ciphersuites"];

/// Keys of our own, and one that registry:2 needs a value for: without one they would allow what they are there to forbid.
const NEED_VALUES: [&str; 5] = [
    "access.rules",
    "http.allow",
    "http.proxies.trusted",
    "http.maxblobsize",
    "storage.maintenance.readonly.enabled",
];

/// Keys that compose files set to nothing where HTTPS is optional, which registry:2 takes for not given.
const MAY_BE_EMPTY: [&str; 4] = [
    "http.tls.certificate",
    "http.tls.key",
    "http.tls.clientcas",
    "http.tls.ciphersuites",
];

/// Looks for them all.
pub(super) fn check(reader: &Reader<'_>, notices: &mut Vec<Notice>) {
    let given = |path: &str| reader.section(path).filter(|value| !value.is_empty());
    let certified = CERTIFICATES.into_iter().any(|path| given(path).is_some());
    for path in OF_TLS {
        if let (false, Some(value)) = (certified, given(path)) {
            let what =
                "without HTTPS this protects nothing: `http.tls.certificate` and `http.tls.key` are missing";
            reader.problem(&value.origin, path, what);
        }
    }
    if let (true, Some(value), None) = (
        certified,
        given("http.tls.clientauth"),
        given("http.tls.clientcas"),
    ) {
        let what = "without `http.tls.clientcas` no client is asked for a certificate";
        reader.problem(&value.origin, "http.tls.clientauth", what);
    }
    for path in LISTS {
        if let Some(Content::List(items)) = given(path).map(|value| &value.content) {
            for item in items.iter().filter(|item| item.is_empty()) {
                reader.problem(&item.origin, path, "an item of the list is empty");
            }
        }
    }
    for path in NEED_VALUES {
        if let Some(value) = reader.section(path).filter(|value| is_blank(value)) {
            let what = "it is empty; give it a value, or leave it out";
            reader.problem(&value.origin, path, what);
        }
    }
    for path in MAY_BE_EMPTY {
        if let Some(value) = reader.section(path).filter(|value| is_blank(value)) {
            let message = format!("{path}: it is empty, and counts as not given");
            notices.push(Notice::new(value.origin.clone(), message));
        }
    }
}

/// Nothing, where an empty list would be something: nobody.
fn is_blank(value: &Value) -> bool {
    value.is_empty() && !matches!(value.content, Content::List(_))
}
