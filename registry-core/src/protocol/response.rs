//! [`Response`]: status and headers of each success.

use super::{
    headers::{Headers, OCI_CHUNK_MIN_LENGTH, OCI_FILTERS_APPLIED, OCI_SUBJECT, OCI_TAG, UPLOAD_UUID},
    parts::Parts,
    request::Request,
    route::{Endpoint, Links},
};
use crate::{
    digest::{AnyDigest, Digest},
    media_type::MediaType,
    name::RepositoryName,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use std::ops::Range;

/// Warning in the form of the specification: code 299, a dash and the text.
const KEEPS_REFERRERS: &str = concat!(
    "299 - \"this registry lists referrers (GET /v2/<name>/referrers/<digest>), ",
    "and includes those of this index; the index is not needed\""
);

/// Successful response, before conversion into status and headers.
///
/// ```
/// use registry_core::{Algorithm, Digest, protocol::{Links, Response}};
///
/// let digest = Digest::of(Algorithm::Sha256, b"content");
/// let response = Response::Blob { digest, size: 7, part: Some(2..4) };
///
/// let (status, headers) = response.head(&Links::default());
/// assert_eq!(status, 206);
/// assert_eq!(headers["content-range"], "bytes 2-3/7");
/// assert_eq!(headers["docker-content-digest"], digest.to_string());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are what the specification's headers say, typed"
)]
pub enum Response {
    /// 204: the methods of an endpoint.
    Options { allowed: &'static [Method] },
    /// 200: the server is a registry.
    Pong,
    /// 200 with a JSON list of names, and the request for the next page.
    List { next: Option<Request> },
    /// 200 with an image index of referrers.
    Referrers { filtered: bool, next: Option<Request> },
    /// 200 or, with a part, 206.
    Blob {
        digest: Digest,
        size: u64,
        part: Option<Range<u64>>,
    },
    /// 206: several parts of a blob.
    BlobParts { parts: Parts },
    /// 307: the client fetches the blob from another URL.
    Redirect { digest: Digest, to: Uri },
    /// 200.
    Manifest {
        digest: Digest,
        media_type: MediaType,
        size: u64,
    },
    /// 304: the client has the content.
    NotModified { digest: Digest },
    /// 202: a session was opened, or a chunk was appended. `min_chunk` is the announced smallest size of
    /// chunks, if any.
    Accepted {
        repository: RepositoryName,
        id: UploadId,
        offset: u64,
        min_chunk: Option<u64>,
    },
    /// 204: the offset of a session.
    UploadStatus {
        repository: RepositoryName,
        id: UploadId,
        offset: u64,
    },
    /// 201.
    BlobCreated {
        repository: RepositoryName,
        digest: Digest,
    },
    /// 201; `tags` are those of the query. With `keeps_referrers`, a warning states that the client need
    /// not store an index of referrers under a tag.
    ManifestCreated {
        repository: RepositoryName,
        digest: Digest,
        subject: Option<AnyDigest>,
        tags: Vec<Tag>,
        keeps_referrers: bool,
    },
    /// 202: the content was deleted.
    Deleted,
    /// 204: the session was cancelled.
    Cancelled { id: UploadId },
}

impl Response {
    /// Returns status and headers. `Content-Length` is set to the body size of a `GET` if the body itself
    /// does not show it.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table: one arm for each response")]
    pub fn head(&self, links: &Links) -> (StatusCode, HeaderMap) {
        let mut headers = Headers::new();
        let status = match self {
            Self::Options { allowed } => {
                headers.allow(allowed);
                StatusCode::NO_CONTENT
            }
            Self::Pong => {
                headers.set(header::CONTENT_TYPE, "application/json");
                StatusCode::OK
            }
            Self::List { next } => {
                headers.set(header::CONTENT_TYPE, "application/json");
                headers.next(links, next.as_ref());
                StatusCode::OK
            }
            Self::Referrers { filtered, next } => {
                headers.set(header::CONTENT_TYPE, MediaType::OCI_INDEX);
                headers.next(links, next.as_ref());
                if *filtered {
                    headers.set(OCI_FILTERS_APPLIED, "artifactType");
                }
                StatusCode::OK
            }
            Self::Blob { digest, size, part } => headers.blob(digest, *size, part.as_ref()),
            Self::BlobParts { parts } => {
                headers.of_blob(parts.digest());
                headers.set(header::CONTENT_TYPE, parts.media_type());
                headers.set(header::CONTENT_LENGTH, parts.length());
                StatusCode::PARTIAL_CONTENT
            }
            Self::Redirect { digest, to } => {
                headers.content(digest);
                headers.set(header::LOCATION, to);
                // The URL may contain a signature for this client, which expires.
                headers.set(header::CACHE_CONTROL, "no-store");
                StatusCode::TEMPORARY_REDIRECT
            }
            Self::Manifest {
                digest,
                media_type,
                size,
            } => {
                headers.content(digest);
                headers.set(header::CONTENT_TYPE, media_type);
                headers.set(header::CONTENT_LENGTH, size);
                StatusCode::OK
            }
            Self::NotModified { digest } => {
                headers.content(digest);
                StatusCode::NOT_MODIFIED
            }
            Self::Accepted {
                repository,
                id,
                offset,
                min_chunk,
            } => {
                headers.session(links, repository, *id, *offset);
                if let Some(least) = min_chunk {
                    headers.set(OCI_CHUNK_MIN_LENGTH, least);
                }
                StatusCode::ACCEPTED
            }
            Self::UploadStatus {
                repository,
                id,
                offset,
            } => {
                headers.session(links, repository, *id, *offset);
                StatusCode::NO_CONTENT
            }
            Self::BlobCreated { repository, digest } => {
                headers.content(digest);
                headers.set(
                    header::LOCATION,
                    links.to(&Endpoint::Blob(repository.clone(), *digest)),
                );
                StatusCode::CREATED
            }
            Self::ManifestCreated {
                repository,
                digest,
                subject,
                tags,
                keeps_referrers,
            } => {
                headers.content(digest);
                let location = Endpoint::Manifest(repository.clone(), Reference::Digest(*digest));
                headers.set(header::LOCATION, links.to(&location));
                if let Some(subject) = subject {
                    headers.set(OCI_SUBJECT, subject);
                }
                for tag in tags {
                    headers.add(OCI_TAG, tag);
                }
                if *keeps_referrers {
                    headers.set(header::WARNING, KEEPS_REFERRERS);
                }
                StatusCode::CREATED
            }
            Self::Deleted => StatusCode::ACCEPTED,
            Self::Cancelled { id } => {
                headers.set(UPLOAD_UUID, id);
                StatusCode::NO_CONTENT
            }
        };
        (status, headers.into_map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Algorithm,
        protocol::{Answer, PageQuery},
    };

    fn repository() -> RepositoryName {
        RepositoryName::parse("team/app").unwrap()
    }

    #[test]
    fn a_session_says_where_it_goes_on_and_its_last_byte() {
        let id = UploadId::from_random([3; 16]);
        let links = Links::below("/registry").unwrap();
        for (offset, last) in [(0, 0), (1, 0), (5, 4)] {
            let response = Response::Accepted {
                repository: repository(),
                id,
                offset,
                min_chunk: None,
            };
            let (status, headers) = response.head(&links);
            let answer = Answer::new(status, &headers);

            assert_eq!(
                answer.location().unwrap(),
                format!("/registry/v2/team/app/blobs/uploads/{id}")
            );
            assert_eq!(answer.last_byte(), Some(last));
            assert_eq!(headers["range"], format!("0-{last}"), "docker fails on a unit");
        }
    }

    #[test]
    fn what_was_created_is_read_back() {
        let digest = Digest::of(Algorithm::Sha512, b"m");
        let subject = AnyDigest::from(Digest::of(Algorithm::Sha256, b"s"));
        let tags = ["a", "b"].map(|tag| Tag::parse(tag).unwrap()).to_vec();
        let response = Response::ManifestCreated {
            repository: repository(),
            digest,
            subject: Some(subject.clone()),
            tags: tags.clone(),
            keeps_referrers: false,
        };
        let (status, headers) = response.head(&Links::default());
        let answer = Answer::new(status, &headers);

        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.digest(), Some(digest));
        assert_eq!(answer.subject(), Some(subject));
        assert_eq!(answer.tags(), tags);
        assert_eq!(
            answer.location().unwrap(),
            format!("/v2/team/app/manifests/{digest}")
        );
    }

    #[test]
    fn the_next_page_is_a_link_without_an_encoded_slash() {
        let page = PageQuery::first(2).after(repository());
        let (status, headers) = Response::List {
            next: Some(Request::Catalog { page }),
        }
        .head(&Links::default());
        assert_eq!(
            Answer::new(status, &headers).next(),
            Some("/v2/_catalog?n=2&last=team/app")
        );
    }

    #[test]
    fn the_next_page_is_a_path_wherever_the_registry_is_found() {
        for (base, path) in [
            ("/registry", "/registry"),
            ("https://hub.example:8443", ""),
            ("https://hub.example/registry", "/registry"),
        ] {
            let page = PageQuery::first(2).after(repository());
            let next = Some(Request::Catalog { page });
            let (status, headers) = Response::List { next }.head(&Links::below(base).unwrap());
            let next = Answer::new(status, &headers).next().map(str::to_owned);
            assert_eq!(
                next,
                Some(format!("{path}/v2/_catalog?n=2&last=team/app")),
                "{base}"
            );
        }
    }

    #[test]
    fn a_part_says_which() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let (status, headers) = Response::Blob {
            digest,
            size: 2048,
            part: Some(500..1500),
        }
        .head(&Links::default());
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(headers["content-range"], "bytes 500-1499/2048");
        assert_eq!(headers["content-length"], "1000");
    }
}
