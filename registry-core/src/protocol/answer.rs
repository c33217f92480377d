//! [`Answer`]: status and headers of a response, as a client reads them.

use super::headers::{CONTENT_DIGEST, OCI_FILTERS_APPLIED, OCI_SUBJECT, OCI_TAG};
use crate::{
    digest::{AnyDigest, Digest},
    media_type::MediaType,
    reference::Tag,
};
use http::{HeaderMap, HeaderName, StatusCode, header};

/// Status and headers of a response, read by a client.
///
/// ```
/// use http::{HeaderMap, HeaderValue, StatusCode, header};
/// use registry_core::protocol::Answer;
///
/// let link = r#"</v2/_catalog?n=100&last=team/app>; rel="next""#;
/// let headers = HeaderMap::from_iter([(header::LINK, HeaderValue::from_static(link))]);
///
/// let answer = Answer::new(StatusCode::OK, &headers);
/// assert_eq!(answer.next(), Some("/v2/_catalog?n=100&last=team/app"));
/// assert_eq!(answer.digest(), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a> Answer<'a> {
    /// Wraps a response for reading.
    #[must_use]
    pub const fn new(status: StatusCode, headers: &'a HeaderMap) -> Self {
        Self { status, headers }
    }

    fn text(self, name: &HeaderName) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns `Docker-Content-Digest`.
    #[must_use]
    pub fn digest(self) -> Option<Digest> {
        Digest::parse(self.text(&CONTENT_DIGEST)?).ok()
    }

    /// Returns `Location` as it was sent: the URL of a session, or of created content.
    #[must_use]
    pub fn location(self) -> Option<&'a str> {
        self.text(&header::LOCATION)
    }

    /// Returns the last byte of a session, from `Range: 0-<last>`. It is 0 for an empty session too, so it is
    /// no offset.
    #[must_use]
    pub fn last_byte(self) -> Option<u64> {
        let (first, last) = self.text(&header::RANGE)?.split_once('-')?;
        (first == "0").then(|| last.parse().ok())?
    }

    /// Returns `Content-Type`, without parameters.
    #[must_use]
    pub fn media_type(self) -> Option<MediaType> {
        MediaType::parse(self.text(&header::CONTENT_TYPE)?).ok()
    }

    /// Returns `Content-Length`, in bytes.
    #[must_use]
    pub fn length(self) -> Option<u64> {
        self.text(&header::CONTENT_LENGTH)?.parse().ok()
    }

    /// Returns `OCI-Subject`.
    #[must_use]
    pub fn subject(self) -> Option<AnyDigest> {
        AnyDigest::parse(self.text(&OCI_SUBJECT)?).ok()
    }

    /// Returns the tags of `OCI-Tag`, from several headers or one with commas.
    #[must_use]
    pub fn tags(self) -> Vec<Tag> {
        let values = self
            .headers
            .get_all(OCI_TAG)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .filter_map(|tag| Tag::parse(tag.trim()).ok())
            .collect()
    }

    /// Returns the URL of the next page, from `Link`.
    #[must_use]
    pub fn next(self) -> Option<&'a str> {
        let links = self
            .headers
            .get_all(header::LINK)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let next = |link: &'a str| {
            let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let rel = parameters
                .split(';')
                .any(|p| matches!(p.trim(), "rel=next" | "rel=\"next\""));
            rel.then_some(url)
        };
        links.flat_map(|value| value.split(", ")).find_map(next)
    }

    /// Returns true if the referrers were filtered by `artifactType`.
    #[must_use]
    pub fn filtered(self) -> bool {
        self.text(&OCI_FILTERS_APPLIED)
            .is_some_and(|f| f.split(',').any(|f| f.trim() == "artifactType"))
    }
}
