//! Status and headers of a refusal.

use super::Error;
use crate::protocol::{Headers, InvalidRequest, Links};
use http::{HeaderMap, Method, StatusCode, header};

impl Error {
    /// Returns status and headers of a refusal. Its body is [`Error::body`], except that the body is empty if
    /// a range has none of a blob's bytes.
    #[must_use]
    pub fn head(&self, links: &Links) -> (StatusCode, HeaderMap) {
        let mut headers = Headers::new();
        headers.set(header::CONTENT_TYPE, "application/json");
        match self {
            Self::Request(InvalidRequest::Method { allowed }) => headers.allow(allowed),
            // Only methods that read are left. One list serves all endpoints.
            Self::ReadOnly | Self::DeletionOff | Self::Unsupported(_) => {
                headers.allow(&[Method::GET, Method::HEAD, Method::OPTIONS]);
            }
            Self::ChunkOutOfOrder {
                repository,
                id,
                offset,
            } => {
                headers.session(links, repository, *id, *offset);
            }
            Self::RangeUnsatisfiable { size } => {
                headers.remove(header::CONTENT_TYPE);
                headers.set(header::CONTENT_RANGE, format_args!("bytes */{size}"));
                headers.set(header::CONTENT_LENGTH, 0);
            }
            Self::Unauthorized { challenges, needed } => {
                for challenge in challenges.iter().filter_map(|challenge| challenge.render(needed)) {
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            Self::Throttled { retry_after } => {
                headers.set(header::RETRY_AFTER, retry_after.as_secs().max(1));
            }
            Self::Hook {
                retry_after: Some(time),
                ..
            } => headers.set(header::RETRY_AFTER, time.as_secs().max(1)),
            // The time until a session ends is unknown. It is short while clients push.
            Self::TooManyUploads { .. } => headers.set(header::RETRY_AFTER, 30),
            // Without a time, an operator probably has to intervene first.
            Self::Unavailable { retry_after, .. } => {
                headers.set(
                    header::RETRY_AFTER,
                    retry_after.map_or(60, |time| time.as_secs().max(1)),
                );
            }
            Self::TooManyDocuments { .. } => headers.set(header::RETRY_AFTER, 5),
            _ => {}
        }
        (self.wire().0, headers.into_map())
    }
}
