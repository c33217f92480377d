//! Refuses protecting keys that cannot take effect as they are given, so that the server does not start.
//!
//! [`unknown`](super::unknown) covers keys that are not in the table. This module covers known keys that lack another
//! key or a value. The administrator relies on them, and a running server would not show that they have no effect.

use super::{
    notice::Notice,
    reader::Reader,
    value::{Content, Value},
};

/// Settings of HTTPS, which have no effect without a certificate.
const OF_TLS: [&str; 4] = [
    "http.tls.clientcas",
    "http.tls.clientauth",
    "http.tls.minimumtls",
    "http.tls.ciphersuites",
];

/// Keys that configure a certificate.
const CERTIFICATES: [&str; 3] = [
    "http.tls.certificate",
    "http.tls.key",
    "http.tls.letsencrypt.cachefile",
];

/// Lists in which each item restricts access. An empty item would be ignored.
const LISTS: [&str; 2] = ["http.tls.clientcas", "http.tls.ciphersuites"];

/// Keys that must have a value. Without one, they would allow what they are meant to forbid.
const NEED_VALUES: [&str; 6] = [
    "access.rules",
    "auth.htpasswd.formats",
    "http.allow",
    "http.proxies.trusted",
    "http.maxblobsize",
    "storage.maintenance.readonly.enabled",
];

/// Keys that compose files leave empty if HTTPS is optional. An empty value counts as not given, as with registry:2.
const MAY_BE_EMPTY: [&str; 4] = [
    "http.tls.certificate",
    "http.tls.key",
    "http.tls.clientcas",
    "http.tls.ciphersuites",
];

/// Adds a problem for each protecting key that has no effect, and a notice for each empty optional one.
pub(super) fn check(reader: &Reader<'_>, notices: &mut Vec<Notice>) {
    let given = |path: &str| reader.section(path).filter(|value| !value.is_empty());
    let certified = CERTIFICATES.into_iter().any(|path| given(path).is_some());
    for path in OF_TLS {
        if let (false, Some(value)) = (certified, given(path)) {
            let what =
                "this has no effect without HTTPS: `http.tls.certificate` and `http.tls.key` are missing";
            reader.problem(&value.origin, path, what);
        }
    }
    if let (true, Some(value), None) = (
        certified,
        given("http.tls.clientauth"),
        given("http.tls.clientcas"),
    ) {
        let what = "this has no effect without `http.tls.clientcas`";
        reader.problem(&value.origin, "http.tls.clientauth", what);
    }
    for path in LISTS {
        if let Some(Content::List(items)) = given(path).map(|value| &value.content) {
            for item in items.iter().filter(|item| item.is_empty()) {
                reader.problem(&item.origin, path, "the list has an empty item");
            }
        }
    }
    for path in NEED_VALUES {
        if let Some(value) = reader.section(path).filter(|value| is_blank(value)) {
            let what = "the value is empty; set a value, or remove the key";
            reader.problem(&value.origin, path, what);
        }
    }
    for path in MAY_BE_EMPTY {
        if let Some(value) = reader.section(path).filter(|value| is_blank(value)) {
            let message = format!("{path}: the value is empty, and counts as absent");
            notices.push(Notice::new(value.origin.clone(), message));
        }
    }
}

/// Returns true for an empty value other than an empty list, which permits nobody.
fn is_blank(value: &Value) -> bool {
    value.is_empty() && !matches!(value.content, Content::List(_))
}
