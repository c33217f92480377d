//! [`refusal`]: refuses requests that hyper accepts, but that the specifications forbid.

use super::refusal::Refusal;
use http::{HeaderValue, Request, Uri, Version, header, uri::Authority};

/// Returns the reason for which the head of a request is refused, if any.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Refusal> {
    if !is_coded_as_known(request) {
        Some(Refusal::TransferCoding)
    } else if !names_one_host(request) {
        Some(Refusal::Host)
    } else {
        None
    }
}

/// Returns true if the body has no transfer coding besides `chunked`. hyper removes `chunked`, which has to be last,
/// and ignores other codings: a compressed body would be stored compressed. RFC 9112, 6.1.
fn is_coded_as_known<B>(request: &Request<B>) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Returns true if the request names one host. RFC 9112, 3.2: exactly one `Host`, from HTTP/1.1 on. RFC 9113, 8.3.1:
/// none that contradicts `:authority`.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => second.is_none(),
        Version::HTTP_2 => second.is_none() && first.is_none_or(|host| is_that_of(request.uri(), host)),
        _ => first.is_some() && second.is_none(),
    }
}

/// Compares as in RFC 3986, 6.2.2 and 6.2.3: ignoring case, and with the default port of the scheme if none is given.
fn is_that_of(target: &Uri, host: &HeaderValue) -> bool {
    let Some(authority) = target.authority() else {
        return true;
    };
    let standard = match target.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    let port = |authority: &Authority| authority.port_u16().or(standard);
    Authority::try_from(host.as_bytes()).is_ok_and(|host| {
        host.host().eq_ignore_ascii_case(authority.host()) && port(&host) == port(authority)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn http_1_1_names_one_host_and_1_0_need_not() {
        let names = |version, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            names_one_host(&request(version, "/v2/", &hosts))
        };
        assert!(names(Version::HTTP_11, &["a"]));
        assert!(!names(Version::HTTP_11, &[]));
        assert!(!names(Version::HTTP_11, &["a", "a"]));
        assert!(names(Version::HTTP_10, &[]));
        assert!(!names(Version::HTTP_10, &["a", "b"]));
    }

    #[test]
    fn over_http_2_a_host_that_differs_from_the_authority_is_refused() {
        for (target, hosts, agrees) in [
            ("http://a:5000/v2/", &[][..], true),
            ("http://a:5000/v2/", &["a:5000"], true),
            ("http://a:5000/v2/", &["A:5000"], true),
            ("http://a/v2/", &["a:80"], true),
            ("https://a:443/v2/", &["a"], true),
            ("https://[::1]:5000/v2/", &["[::1]:5000"], true),
            ("/v2/", &["a"], true),
            ("http://a:5000/v2/", &["b:5000"], false),
            ("http://a:5000/v2/", &["a:5001"], false),
            ("http://a:5000/v2/", &["a"], false),
            ("https://a:80/v2/", &["a"], false),
            ("http://a/v2/", &[""], false),
            ("http://a/v2/", &["a/b"], false),
            ("http://a/v2/", &["a", "a"], false),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let request = request(Version::HTTP_2, target, &headers);
            assert_eq!(names_one_host(&request), agrees, "{target} {hosts:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_coding() {
        for (codings, known) in [
            (&[][..], true),
            (&["chunked"], true),
            (&[" Chunked\t"], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["identity,chunked"], false),
            (&["chunked", "chunked"], false),
            (&[", chunked"], false),
        ] {
            let headers: Vec<_> = codings
                .iter()
                .map(|coding| ("transfer-encoding", *coding))
                .collect();
            let request = request(Version::HTTP_11, "/v2/", &headers);
            assert_eq!(is_coded_as_known(&request), known, "{codings:?}");
        }
    }
}
