//! URLs of registries: `Location` and `Link` are resolved, and origins compared.

use http::{Uri, uri::Scheme};

/// Resolves `location` against the URL of the request that it answers. Returns `None` unless the result is an `http` or
/// `https` URL.
pub(crate) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    // A fragment is for the client alone.
    let location = location.split('#').next()?;
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else if is_absolute(location) {
        location.to_owned()
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let url: Uri = absolute.parse().ok()?;
    let http = matches!(url.scheme_str(), Some("http" | "https"));
    let bare = url
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    (http && bare).then_some(url)
}

/// Returns true if the text begins with a scheme.
fn is_absolute(text: &str) -> bool {
    let scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    text.split_once("://")
        .is_some_and(|(before, _)| !before.is_empty() && before.bytes().all(scheme))
}

/// Returns true if both have the same scheme, host and port.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let origin = |url: &Uri| {
        let host = url.host().map(str::to_ascii_lowercase);
        (url.scheme().cloned(), host, port(url))
    };
    origin(one) == origin(other)
}

/// Returns the port, or the default of the scheme.
pub(crate) fn port(url: &Uri) -> u16 {
    let default = if is_https(url) { 443 } else { 80 };
    url.port_u16().unwrap_or(default)
}

/// Returns host and port in lower case, without the default port.
pub(crate) fn authority(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    without_default_port(&authority.to_ascii_lowercase(), is_https(url)).to_owned()
}

/// Removes the default port of the scheme from `host:port`.
pub(crate) fn without_default_port(authority: &str, is_https: bool) -> &str {
    let default = if is_https { ":443" } else { ":80" };
    match authority.strip_suffix(default) {
        // The colons of a bare address are no port.
        Some(host) if !host.starts_with('[') || host.ends_with(']') => host,
        _ => authority,
    }
}

pub(crate) fn is_https(url: &Uri) -> bool {
    url.scheme() == Some(&Scheme::HTTPS)
}

/// Appends a parameter to a URL that may have a query already.
pub(crate) fn with_parameter(url: &Uri, name: &str, value: &str) -> Option<Uri> {
    let mark = if url.query().is_some() { '&' } else { '?' };
    let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
    format!("{url}{mark}{name}={value}").parse().ok()
}

/// Shows a URL in a message: without its query, which may be a signature.
pub(crate) fn shown(url: &Uri) -> String {
    let text = url.to_string();
    let mut shown: String = text
        .split('?')
        .next()
        .unwrap_or_default()
        .chars()
        .take(512)
        .collect();
    if shown.len() < text.len() && text.contains('?') {
        shown.push_str("?…");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_all_forms_are_resolved() {
        let base: Uri = "https://a.example:5000/v2/x/blobs/uploads/?n=1".parse().unwrap();
        for (location, expected) in [
            ("/v2/y?s=1", "https://a.example:5000/v2/y?s=1"),
            ("https://b.example/z", "https://b.example/z"),
            ("//b.example/z", "https://b.example/z"),
            ("?s=2", "https://a.example:5000/v2/x/blobs/uploads/?s=2"),
            ("id", "https://a.example:5000/v2/x/blobs/uploads/id"),
            ("/a?u=http://c/", "https://a.example:5000/a?u=http://c/"),
        ] {
            let resolved = resolve(&base, location).map(|url| url.to_string());
            assert_eq!(resolved.as_deref(), Some(expected), "{location}");
        }
        for location in ["ftp://b.example/z", "https://user:pw@b.example/z", "https://"] {
            assert_eq!(resolve(&base, location), None, "{location}");
        }
    }

    #[test]
    fn a_default_port_is_the_same_origin_as_no_port() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert!(same_origin(&uri("https://a/"), &uri("https://A:443/x")));
        for other in ["http://a/", "https://b/", "https://a:444/"] {
            assert!(!same_origin(&uri("https://a/"), &uri(other)), "{other}");
        }
    }

    #[test]
    fn settings_of_a_host_are_found_with_and_without_a_default_port() {
        for (url, expected) in [
            ("https://A:443/x", "a"),
            ("https://a/x", "a"),
            ("https://a:80/", "a:80"),
            ("http://a:80/", "a"),
            ("https://a:8443/", "a:8443"),
            ("https://[::1]:443/", "[::1]"),
            ("https://[::443]/", "[::443]"),
        ] {
            assert_eq!(authority(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_message_does_not_show_a_query() {
        assert_eq!(
            shown(&"https://a/b?X-Signature=s".parse().unwrap()),
            "https://a/b?…"
        );
    }
}
