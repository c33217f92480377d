//! [`Location`] and [`Redirect`], and the forms of headers.

use http::{HeaderName, HeaderValue};

/// A form of `Location`, for [`location`](super::location).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A whole URL, with the host that the request named.
    Absolute,
    /// A path.
    Relative,
    /// With an additional parameter in its query. A request that does not return it gets a 404.
    WithQuery,
    /// A whole URL on another host, the second one of the fixture, which serves the same registry.
    OtherHost,
}

/// Destination of a redirect, for [`redirect`](super::redirect).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirect {
    /// Another path on the same host.
    SameHost,
    /// Another host, the second one of the fixture. The URL contains all that the other host needs, as a signed URL
    /// of an object store does.
    OtherHost {
        /// Answers 400 to a request with the header `Authorization`, as object stores do.
        refuse_authorization: bool,
        /// Number of requests that the URL serves; further ones get a 403, as after the end of a signed URL.
        expires: Option<usize>,
    },
    /// A URL that redirects to itself, without an end.
    Loop,
}

#[track_caller]
pub(super) fn header_name(name: &str) -> HeaderName {
    name.parse().unwrap_or_else(|_invalid| {
        panic!("{name:?} is not the name of a header: use letters, digits and `-`, as in \"Docker-Content-Digest\"")
    })
}

#[track_caller]
pub(super) fn header_value(value: &str) -> HeaderValue {
    value.parse().unwrap_or_else(|_invalid| {
        panic!("{value:?} is not the value of a header: use visible ASCII characters on one line")
    })
}
