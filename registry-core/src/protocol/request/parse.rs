//! A request from its parts.

use super::Request;
use crate::{
    digest::Digest,
    media_type::MediaType,
    name::RepositoryName,
    protocol::{
        condition::{EntityTags, entity_tags, precondition, text},
        error::InvalidRequest,
        query::Query,
        range::{ContentRange, parse_ranges},
        route::Endpoint,
    },
    range::RangeSpec,
    reference::{Reference, Tag},
};
use http::{HeaderMap, Method, header};

impl Request {
    /// Parses method, raw path, query and headers.
    ///
    /// ```
    /// use http::{HeaderMap, Method};
    /// use registry_core::protocol::{InvalidRequest, Request};
    ///
    /// let (path, headers) = ("/v2/team/app/tags/list", HeaderMap::new());
    /// let request = Request::parse(&Method::GET, path, Some("n=50"), &headers)?;
    /// assert!(matches!(request, Request::Tags { page, .. } if page.n == Some(50)));
    ///
    /// let refused = Request::parse(&Method::DELETE, path, None, &headers).unwrap_err();
    /// assert!(matches!(refused, InvalidRequest::Method { allowed, .. } if allowed.contains(&Method::GET)));
    /// # Ok::<(), InvalidRequest>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`] with the first malformed part, or with the methods that the endpoint supports.
    pub fn parse(
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, InvalidRequest> {
        let endpoint = Endpoint::parse(path).map_err(|invalid| match (invalid, method) {
            (InvalidRequest::Tag(invalid), &(Method::GET | Method::HEAD | Method::DELETE)) => {
                InvalidRequest::UnknownTag(invalid)
            }
            (invalid, _) => invalid,
        })?;
        let methods = endpoint.methods();
        if !methods.contains(method) {
            return Err(InvalidRequest::Method { allowed: methods });
        }
        if *method == Method::OPTIONS {
            return Ok(Self::Options { endpoint });
        }
        let query = Query(query.unwrap_or_default());
        let head = *method == Method::HEAD;
        match endpoint {
            Endpoint::Base => Ok(Self::Ping),
            Endpoint::Catalog => catalog(query),
            Endpoint::Tags(repository) => Ok(Self::Tags {
                repository,
                page: query.page("a tag", |last| Tag::parse(last).ok())?,
            }),
            Endpoint::Referrers(repository, subject) => Ok(Self::Referrers {
                repository,
                subject,
                artifact_type: query.text("artifactType"),
                page: query.page("a digest", |last| Digest::parse(last).ok())?,
            }),
            Endpoint::Blob(repository, digest) if *method == Method::DELETE => {
                Ok(Self::DeleteBlob { repository, digest })
            }
            Endpoint::Blob(repository, digest) => Ok(Self::Blob {
                repository,
                digest,
                head,
                ranges: blob_ranges(head, &digest, headers)?,
                known: entity_tags(headers),
            }),
            Endpoint::Manifest(repository, reference) => match *method {
                Method::PUT => put_manifest(repository, reference, query, headers),
                Method::DELETE => Ok(Self::DeleteManifest {
                    repository,
                    reference,
                }),
                _ => Ok(Self::Manifest {
                    repository,
                    reference,
                    head,
                    known: entity_tags(headers),
                }),
            },
            Endpoint::Uploads(repository) => open(repository, query),
            Endpoint::Upload(repository, id) => match *method {
                Method::PATCH => Ok(Self::Append {
                    repository,
                    id,
                    chunk: chunk(headers)?,
                }),
                Method::PUT => Ok(Self::Close {
                    repository,
                    id,
                    digest: query.digest()?,
                    chunk: chunk(headers)?,
                }),
                Method::DELETE => Ok(Self::Cancel { repository, id }),
                _ => Ok(Self::UploadStatus { repository, id }),
            },
        }
    }
}

fn catalog(query: Query<'_>) -> Result<Request, InvalidRequest> {
    let page = query.page("a repository name", |last| RepositoryName::parse(last).ok());
    match page {
        Ok(page) => Ok(Request::Catalog { page }),
        Err(InvalidRequest::Parameter { name, expected }) => {
            Err(InvalidRequest::PageParameter { name, expected })
        }
        Err(other) => Err(other),
    }
}

fn put_manifest(
    repository: RepositoryName,
    reference: Reference,
    query: Query<'_>,
    headers: &HeaderMap,
) -> Result<Request, InvalidRequest> {
    let tags = query
        .all("tag")
        .map(|tag| Tag::parse(&tag))
        .collect::<Result<_, _>>()?;
    let expected = "a media type such as `application/vnd.oci.image.manifest.v1+json`";
    let media_type = text(headers, &header::CONTENT_TYPE)
        .filter(|value| !value.is_empty())
        .map(MediaType::parse)
        .transpose()
        .or(Err(InvalidRequest::Header {
            name: "Content-Type",
            expected,
        }))?;
    Ok(Request::PutManifest {
        repository,
        reference,
        tags,
        media_type,
        precondition: precondition(headers)?,
    })
}

fn open(repository: RepositoryName, query: Query<'_>) -> Result<Request, InvalidRequest> {
    if let Some(digest) = query
        .first("mount")
        .and_then(|digest| Digest::parse(&digest).ok())
    {
        return Ok(mount(repository, digest, query));
    }
    // A `mount` with an unsupported digest counts as no mount, so that the client pushes the blob.
    if query.first("digest").is_some() {
        return Ok(Request::PushBlob {
            repository,
            digest: query.digest()?,
        });
    }
    let algorithm = query
        .first("digest-algorithm")
        .map(|name| name.parse())
        .transpose()?;
    Ok(Request::OpenUpload {
        repository,
        algorithm,
    })
}

/// Parses a mount. An impossible mount opens a normal session: 202, and the client pushes the blob.
fn mount(repository: RepositoryName, digest: Digest, query: Query<'_>) -> Request {
    let from = query.first("from").filter(|from| !from.is_empty());
    match from.map(|from| RepositoryName::parse(&from)).transpose() {
        Ok(from) => Request::Mount {
            repository,
            digest,
            from,
        },
        Err(_no_repository) => Request::OpenUpload {
            repository,
            algorithm: Some(digest.algorithm()),
        },
    }
}

/// Parses `Range` of a blob. It is ignored unless the method is `GET`, and if `If-Range` names other content.
fn blob_ranges(head: bool, digest: &Digest, headers: &HeaderMap) -> Result<Vec<RangeSpec>, InvalidRequest> {
    let same = text(headers, &header::IF_RANGE)
        .is_none_or(|tag| !tag.starts_with("W/") && EntityTags::parse(tag).has(digest));
    match text(headers, &header::RANGE) {
        Some(ranges) if !head && same => parse_ranges(ranges),
        _ => Ok(Vec::new()),
    }
}

fn chunk(headers: &HeaderMap) -> Result<Option<ContentRange>, InvalidRequest> {
    text(headers, &header::CONTENT_RANGE)
        .map(ContentRange::parse)
        .transpose()
}
