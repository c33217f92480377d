//! Route table: converts a path into an [`Endpoint`], and an endpoint into a path, also for `Location` and
//! `Link`.
//!
//! Paths are parsed from the right, because `blobs`, `uploads`, `tags`, `manifests` and `referrers` are legal
//! parts of a repository's name. A path is decoded once, as a whole, before it is split: clients generated
//! from API descriptions send the slashes of a name as `%2F`. Paths that are built here contain no escapes.
//!
//! Specification: "Endpoints", end-1 to end-14; `_catalog` is Docker's.

use super::error::InvalidRequest;
use crate::{digest::Digest, name::RepositoryName, reference::Reference, upload_id::UploadId};
use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::{borrow::Cow, fmt};

/// Endpoint that a path under `/v2/` names.
///
/// ```
/// use registry_core::protocol::Endpoint;
///
/// let endpoint = Endpoint::parse("/v2/team%2Fapp/manifests/v1")?;
/// assert_eq!(endpoint.repository().unwrap().as_str(), "team/app");
/// assert_eq!(endpoint.to_string(), "/v2/team/app/manifests/v1");
/// # Ok::<(), registry_core::protocol::InvalidRequest>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/v2/`: check that the server is a registry (end-1)
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list` (end-8)
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>` (end-3, end-7, end-9)
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10)
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/` (end-4, end-11)
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14)
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>` (end-12)
    Referrers(RepositoryName, Digest),
}

impl Endpoint {
    /// Parses the raw path of a request, percent-encoded as it was received. `/v2` and `/v2/` are the same,
    /// and so are `…/uploads` and `…/uploads/`: a redirect would turn a `POST` into a `GET`.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Endpoint`] if no endpoint has this form; else an error about the first malformed part.
    pub fn parse(path: &str) -> Result<Self, InvalidRequest> {
        let rest = below_base(path).ok_or(InvalidRequest::Endpoint)?;
        let (route, name, last) = split(&rest).ok_or(InvalidRequest::Endpoint)?;
        let name = || RepositoryName::parse(name);
        Ok(match route {
            Route::Base => Self::Base,
            Route::Catalog => Self::Catalog,
            Route::Tags => Self::Tags(name()?),
            Route::Manifest => Self::Manifest(name()?, Reference::parse(last)?),
            Route::Blob => Self::Blob(name()?, Digest::parse(last)?),
            Route::Uploads => Self::Uploads(name()?),
            // No session can have a malformed id, so it gets the answer for an unknown session.
            Route::Upload => Self::Upload(name()?, UploadId::parse(last).or(Err(InvalidRequest::UploadId))?),
            Route::Referrers => Self::Referrers(name()?, Digest::parse(last)?),
        })
    }

    /// Returns its repository, if it has exactly one.
    #[must_use]
    pub const fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }

    /// Returns the methods that it supports, for `Allow`. Each endpoint answers `OPTIONS` with this list.
    #[must_use]
    pub const fn methods(&self) -> &'static [Method] {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => {
                &[Method::GET, Method::HEAD, Method::OPTIONS]
            }
            Self::Manifest(..) => &[
                Method::GET,
                Method::HEAD,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
            ],
            Self::Blob(..) => &[Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS],
            Self::Uploads(_) => &[Method::POST, Method::OPTIONS],
            Self::Upload(..) => &[
                Method::GET,
                Method::HEAD,
                Method::PATCH,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
            ],
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Tags(name) => write!(f, "/v2/{name}/tags/list"),
            Self::Manifest(name, reference) => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Blob(name, digest) => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Uploads(name) => write!(f, "/v2/{name}/blobs/uploads/"),
            Self::Upload(name, id) => write!(f, "/v2/{name}/blobs/uploads/{id}"),
            Self::Referrers(name, digest) => write!(f, "/v2/{name}/referrers/{digest}"),
        }
    }
}

/// Kind of endpoint, without repository, tag or digest. Meant for logs and metrics, where a value chosen by
/// clients would create a separate series.
///
/// ```
/// use registry_core::protocol::Route;
///
/// assert_eq!(Route::of("/v2/team/app/manifests/v1"), Some(Route::Manifest));
/// assert_eq!(Route::of("/favicon.ico"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// [`Endpoint::Base`]
    Base,
    /// [`Endpoint::Catalog`]
    Catalog,
    /// [`Endpoint::Tags`]
    Tags,
    /// [`Endpoint::Manifest`]
    Manifest,
    /// [`Endpoint::Blob`]
    Blob,
    /// [`Endpoint::Uploads`]
    Uploads,
    /// [`Endpoint::Upload`]
    Upload,
    /// [`Endpoint::Referrers`]
    Referrers,
}

impl Route {
    /// Returns the route of a raw path, or `None` if no endpoint has this form. Names and digests are not
    /// checked.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        split(&below_base(path)?).map(|(route, ..)| route)
    }
}

/// Returns the part of a raw path below `/v2/`, decoded. `/v2` itself and the slash after it must not be
/// encoded: routers in front of this one would not recognize them.
fn below_base(path: &str) -> Option<Cow<'_, str>> {
    match path.strip_prefix("/v2")? {
        "" => Some(Cow::Borrowed("")),
        rest => rest.strip_prefix('/').map(decode),
    }
}

/// Splits a path below `/v2/` from the right into its route, the name in it, and its last segment.
fn split(path: &str) -> Option<(Route, &str, &str)> {
    match path {
        "" => return Some((Route::Base, "", "")),
        "_catalog" => return Some((Route::Catalog, "", "")),
        _ => {}
    }
    let (before, last) = path.rsplit_once('/')?;
    let (name, kind) = parent(before);
    match (kind, last) {
        ("tags", "list") => Some((Route::Tags, name, last)),
        ("blobs", "uploads") => Some((Route::Uploads, name, last)),
        ("manifests", _) => Some((Route::Manifest, name, last)),
        ("referrers", _) => Some((Route::Referrers, name, last)),
        ("blobs", _) => Some((Route::Blob, name, last)),
        ("uploads", _) => match parent(name) {
            (name, "blobs") if last.is_empty() => Some((Route::Uploads, name, last)),
            (name, "blobs") => Some((Route::Upload, name, last)),
            _ => None,
        },
        _ => None,
    }
}

/// Splits off the last segment; returns the path before it, and the segment.
fn parent(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Decodes once. Bytes that are not UTF-8 become a character that no grammar here accepts.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Normalizes a raw path for logs, so that paths of the same endpoint are equal.
///
/// Escaped slashes, and escaped characters that need no escape (RFC 3986, section 2.3), are decoded once.
/// Other escapes stay, so that the result has no blanks or control characters.
///
/// ```
/// use registry_core::protocol::normalized;
///
/// assert_eq!(normalized("/v2/team%2F%61pp/tags/list"), "/v2/team/app/tags/list");
/// assert_eq!(normalized("/v2/team%252Fapp/tags/list%0A"), "/v2/team%252Fapp/tags/list%0A");
/// ```
#[must_use]
pub fn normalized(path: &str) -> Cow<'_, str> {
    let Some((before, escapes)) = path.split_once('%') else {
        return Cow::Borrowed(path);
    };
    let mut normal = before.to_owned();
    for escape in escapes.split('%') {
        match plain(escape) {
            Some((character, rest)) => {
                normal.push(character);
                normal.push_str(rest);
            }
            None => {
                normal.push('%');
                normal.push_str(escape);
            }
        }
    }
    Cow::Owned(normal)
}

/// Decodes an escape (without its percent sign) of a character that needs none. Returns the character and the
/// text after the escape.
fn plain(escape: &str) -> Option<(char, &str)> {
    let (hex, rest) = escape.split_at_checked(2)?;
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = digits.then(|| u8::from_str_radix(hex, 16).ok())??;
    let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    plain.then(|| (char::from(byte), rest))
}

/// Characters that are escaped in a query. Slashes in names are not, because some proxies refuse `%2F`.
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?');

/// Encodes a value for a query.
pub(super) fn encode(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, QUERY)
}

/// External location of the registry: the text before `/v2/` in every `Location` and `Link`.
///
/// It is empty by default, which makes links path-relative; that works behind every proxy. As in registry:2,
/// a `Link` to the next page never has a scheme and host, because some clients append it to the address that
/// they know. A value in a request's extensions replaces it for that request.
///
/// ```
/// use registry_core::protocol::{Endpoint, Links};
///
/// let links = Links::below("https://example.com/registry")?;
/// assert_eq!(links.to(&Endpoint::Base), "https://example.com/registry/v2/");
/// assert_eq!(Links::default().to(&Endpoint::Base), "/v2/");
/// # Ok::<(), registry_core::protocol::InvalidBase>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    base: String,
}

/// Error for a base that cannot precede `/v2/` in a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a path such as `/registry` nor a URL such as `https://example.com/registry`, in ASCII and \
     without escapes"
)]
pub struct InvalidBase(String);

impl InvalidBase {
    /// Creates the error. Meant for adapters that refuse more than [`Links::below`] does.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self(base.to_owned())
    }
}

impl Links {
    /// Creates links below a path (`/registry`) or a URL (`https://example.com/registry`), in ASCII, without
    /// escapes, query and fragment.
    ///
    /// # Errors
    ///
    /// [`InvalidBase`] for anything else.
    pub fn below(base: &str) -> Result<Self, InvalidBase> {
        let trimmed = base.trim_end_matches('/');
        let invalid = || InvalidBase::new(base);
        if trimmed.is_empty() {
            return if base.is_empty() || base == "/" {
                Ok(Self::default())
            } else {
                Err(invalid())
            };
        }
        let uri: http::Uri = trimmed.parse().ok().ok_or_else(invalid)?;
        let url = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
        let path = uri.scheme().is_none() && trimmed.starts_with('/') && !trimmed.starts_with("//");
        if (url || path) && uri.query().is_none() && trimmed.is_ascii() && !trimmed.contains(['#', '%']) {
            Ok(Self {
                base: trimmed.to_owned(),
            })
        } else {
            Err(invalid())
        }
    }

    /// Creates links below the prefix that a router has removed from a request's path, such as `/images` if
    /// `received` is `/images/v2/` and `seen` is `/v2/`. Both are raw paths, and the links repeat the prefix as
    /// the client sent it.
    ///
    /// Returns `None` if `seen` is not the end of `received`, or if the links would name another host.
    ///
    /// ```
    /// use registry_core::protocol::{Endpoint, Links};
    ///
    /// let links = Links::below_removed("/images/v2/a/tags/list", "/v2/a/tags/list").unwrap();
    /// assert_eq!(links.to(&Endpoint::Catalog), "/images/v2/_catalog");
    /// ```
    #[must_use]
    pub fn below_removed(received: &str, seen: &str) -> Option<Self> {
        let prefix = received.strip_suffix(seen)?.trim_end_matches('/');
        let path = prefix.is_empty() || (prefix.starts_with('/') && !prefix.starts_with("//"));
        // Browsers read a backslash as a slash.
        let plain = !prefix.contains(['\\', '"', '<', '>']);
        (path && plain).then(|| Self {
            base: prefix.to_owned(),
        })
    }

    /// Returns the URL of an endpoint: path-relative, or absolute if the base is.
    #[must_use]
    pub fn to(&self, endpoint: &Endpoint) -> String {
        self.within(&endpoint.to_string())
    }

    fn within(&self, target: &str) -> String {
        format!("{}{target}", self.base)
    }

    /// Returns the path of a target that begins with `/v2/` and may have a query.
    pub(super) fn path_of(&self, target: &str) -> String {
        let path = match self.base.split_once("://") {
            Some((_, rest)) => rest
                .find('/')
                .and_then(|path| rest.get(path..))
                .unwrap_or_default(),
            None => &self.base,
        };
        format!("{path}{target}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Algorithm, error::ErrorCode, reference::Tag};
    use proptest::prelude::*;

    fn name(name: &str) -> RepositoryName {
        RepositoryName::parse(name).unwrap()
    }

    fn digest() -> Digest {
        Digest::of(Algorithm::Sha256, b"")
    }

    #[test]
    fn paths_are_read_from_the_right() {
        let id = UploadId::from_random([7; 16]);
        let tag = |tag| Reference::Tag(Tag::parse(tag).unwrap());
        for endpoint in [
            Endpoint::Base,
            Endpoint::Catalog,
            Endpoint::Tags(name("a/tags/list")),
            Endpoint::Tags(name("a/blobs/uploads")),
            Endpoint::Manifest(name("manifests/manifests"), tag("manifests")),
            Endpoint::Manifest(name("a/blobs/uploads"), tag("list")),
            Endpoint::Manifest(name("a"), Reference::Digest(digest())),
            Endpoint::Blob(name("blobs/blobs"), digest()),
            Endpoint::Uploads(name("a/blobs/uploads")),
            Endpoint::Upload(name("a/blobs/uploads"), id),
            Endpoint::Referrers(name("referrers"), digest()),
        ] {
            assert_eq!(Endpoint::parse(&endpoint.to_string()).unwrap(), endpoint);
        }
    }

    #[test]
    fn both_slash_forms_are_the_same() {
        assert_eq!(Endpoint::parse("/v2").unwrap(), Endpoint::Base);
        assert_eq!(
            Endpoint::parse("/v2/a/blobs/uploads").unwrap(),
            Endpoint::Uploads(name("a"))
        );
    }

    #[test]
    fn a_route_is_known_without_what_stands_in_it() {
        for (path, route) in [
            ("/v2", Some(Route::Base)),
            ("/v2/_catalog", Some(Route::Catalog)),
            ("/v2/a/b/tags/list", Some(Route::Tags)),
            ("/v2/NO NAME/manifests/%", Some(Route::Manifest)),
            ("/v2/a/blobs/no-digest", Some(Route::Blob)),
            ("/v2/a/blobs/uploads", Some(Route::Uploads)),
            ("/v2/a/blobs/uploads/", Some(Route::Uploads)),
            ("/v2/a/blobs/uploads/no-id", Some(Route::Upload)),
            ("/v2/a/referrers/x", Some(Route::Referrers)),
            ("/v2/a/uploads/x", None),
            ("/v2/a/tags", None),
            ("/v2/a", None),
            ("/v3/", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_is_a_slash_on_every_endpoint() {
        let id = UploadId::from_random([7; 16]);
        let tag = Reference::Tag(Tag::parse("v1").unwrap());
        for endpoint in [
            Endpoint::Catalog,
            Endpoint::Tags(name("a/b/c")),
            Endpoint::Manifest(name("a/b/c"), tag),
            Endpoint::Manifest(name("a/b/c"), Reference::Digest(digest())),
            Endpoint::Blob(name("a/b/c"), digest()),
            Endpoint::Uploads(name("a/b/c")),
            Endpoint::Upload(name("a/b/c"), id),
            Endpoint::Referrers(name("a/b/c"), digest()),
        ] {
            let plain = endpoint.to_string();
            let below = plain.strip_prefix("/v2/").unwrap();
            for encoded in [
                plain.replace("a/b/c", "a%2Fb%2fc"),
                plain.replace("a/b/c", "a/b%2Fc"),
                format!("/v2/{}", below.replace('/', "%2F")),
                format!("/v2/{}", below.replace(':', "%3A").replace('_', "%5F")),
            ] {
                assert_eq!(Endpoint::parse(&encoded).unwrap(), endpoint, "{encoded}");
                assert_eq!(Route::of(&encoded), Route::of(&plain), "{encoded}");
            }
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        for path in [
            "/v2/a%252Fb/tags/list",
            "/v2/a%2F..%2Fb/tags/list",
            "/v2/a%2F%2Fb/tags/list",
            "/v2/%2Fa/tags/list",
            "/v2/a%2F/tags/list",
            "/v2/%2e%2e/a/tags/list",
            "/v2/a%00/tags/list",
            "/v2/%ff/tags/list",
            "/v2/a%2/tags/list",
        ] {
            assert_eq!(
                Endpoint::parse(path).unwrap_err().wire().1,
                ErrorCode::NameInvalid,
                "{path}"
            );
        }
    }

    #[test]
    fn an_encoded_slash_makes_no_reference_of_two_segments() {
        for path in [
            "/v2/a/manifests/v%2F1",
            "/v2/a/manifests/..%2Fv1",
            "/v2/a/blobs/uploads/x%2Fy",
            "/v2/a/tags/list%2F",
            "/v2/%2F",
            "/v2%2Fa/tags/list",
            "/v2%2F",
            "/v%32/",
        ] {
            assert_eq!(
                Endpoint::parse(path).unwrap_err().wire().1,
                ErrorCode::Unsupported,
                "{path}"
            );
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_malformed_is_named() {
        let long = format!("/v2/{}/tags/list", "a".repeat(256));
        for (path, code) in [
            ("/v2/A/tags/list", ErrorCode::NameInvalid),
            ("/v2//tags/list", ErrorCode::NameInvalid),
            ("/v2/a/../b/tags/list", ErrorCode::NameInvalid),
            ("/v2/tags/list", ErrorCode::NameInvalid),
            (&long, ErrorCode::NameInvalid),
            ("/v2/a/manifests/.x", ErrorCode::ManifestInvalid),
            ("/v2/a/manifests/", ErrorCode::ManifestInvalid),
            ("/v2/a/manifests/sha256:bad", ErrorCode::DigestInvalid),
            ("/v2/a/blobs/sha256:bad", ErrorCode::DigestInvalid),
            ("/v2/a/referrers/latest", ErrorCode::DigestInvalid),
            ("/v2/a/blobs/uploads/nonsense", ErrorCode::BlobUploadUnknown),
            ("/v2/a/nonsense", ErrorCode::Unsupported),
            ("/v2/a/tags/list/", ErrorCode::Unsupported),
            ("/v2x", ErrorCode::Unsupported),
            ("/", ErrorCode::Unsupported),
        ] {
            assert_eq!(Endpoint::parse(path).unwrap_err().wire().1, code, "{path}");
        }
    }

    #[test]
    fn links_lie_below_a_path_or_a_url_and_nothing_else() {
        let to = |base: &str| Links::below(base).map(|links| links.to(&Endpoint::Catalog));
        assert_eq!(to("").unwrap(), "/v2/_catalog");
        assert_eq!(to("/").unwrap(), "/v2/_catalog");
        assert_eq!(to("/registry/").unwrap(), "/registry/v2/_catalog");
        assert_eq!(
            to("https://r.example:8443/x").unwrap(),
            "https://r.example:8443/x/v2/_catalog"
        );
        for base in [
            "registry",
            "//evil",
            "///",
            "ftp://x",
            "/a?b",
            "/a#b",
            "/a b",
            "/a\r\nb",
            "/a%2Fb",
            "/ä",
            "https://ä.example/",
        ] {
            assert!(Links::below(base).is_err(), "{base:?}");
        }
    }

    #[test]
    fn links_repeat_a_removed_prefix_and_name_no_other_host() {
        let below = |received: &str, seen: &str| {
            Links::below_removed(received, seen).map(|links| links.to(&Endpoint::Base))
        };
        for (received, base) in [
            ("/v2/", Some("/v2/")),
            ("/images/v2/", Some("/images/v2/")),
            ("/a/b%20c/v2/", Some("/a/b%20c/v2/")),
            ("/images//v2/", Some("/images/v2/")),
            ("//evil/v2/", None),
            ("/\\evil/v2/", None),
            ("evil/v2/", None),
            ("/images/v3/", None),
        ] {
            assert_eq!(below(received, "/v2/").as_deref(), base, "{received}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/|v2|blobs|uploads|tags|list|manifests|referrers|%2[eEfF]|%|sha256:|[ -~]|\\PC){0,24}") {
            let _ = Endpoint::parse(&path);
            let path = format!("/v2/{path}");
            let read = Endpoint::parse(&path).ok();
            prop_assert_eq!(Endpoint::parse(&normalized(&path)).ok(), read);
        }

        #[test]
        fn an_endpoint_is_read_as_it_was_written(path in "/v2/([a-z0-9]{1,3}/){0,3}(blobs|manifests|tags|uploads)/(uploads/|list|v1)") {
            if let Ok(endpoint) = Endpoint::parse(&path) {
                prop_assert_eq!(endpoint.to_string(), path);
            }
        }
    }
}
