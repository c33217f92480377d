//! [`Request`]: one variant per endpoint and method, with parsed fields.

use super::{
    condition::{EntityTags, Precondition, entity_tags, precondition, text},
    error::InvalidRequest,
    page::PageQuery,
    query::{Query, Target},
    range::{ContentRange, parse_ranges},
    route::Endpoint,
};
use crate::{
    digest::{Algorithm, Digest},
    media_type::MediaType,
    name::RepositoryName,
    range::RangeSpec,
    reference::{Reference, Tag},
    upload_id::UploadId,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::sync::Arc;

/// Parsed request.
///
/// A client builds its requests from the same type:
///
/// ```
/// use registry_core::{Algorithm, Digest, RangeSpec, RepositoryName, protocol::Request};
///
/// let digest = Digest::of(Algorithm::Sha256, b"content");
/// let request = Request::Blob {
///     repository: RepositoryName::parse("team/app")?,
///     digest,
///     head: false,
///     ranges: vec![RangeSpec::From(1 << 20)],
///     known: None,
/// };
///
/// let mut sent = http::Request::builder()
///     .method(request.method())
///     .uri(format!("https://registry.example{}", request.target()));
/// for (name, value) in &request.headers() {
///     sent = sent.header(name, value);
/// }
/// let sent = sent.body(())?;
/// assert_eq!(sent.uri().path(), format!("/v2/team/app/blobs/{digest}"));
/// assert_eq!(sent.headers()["range"], "bytes=1048576-");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are the parameters of the specification, typed"
)]
pub enum Request {
    /// `OPTIONS` of any endpoint
    Options { endpoint: Endpoint },
    /// `GET /v2/` (end-1)
    Ping,
    /// `GET /v2/_catalog`, Docker's list of repositories.
    Catalog { page: PageQuery<RepositoryName> },
    /// `GET /v2/<name>/tags/list` (end-8a, end-8b)
    Tags {
        repository: RepositoryName,
        page: PageQuery<Tag>,
    },
    /// `GET /v2/<name>/referrers/<digest>` (end-12a, end-12b)
    Referrers {
        repository: RepositoryName,
        subject: Digest,
        artifact_type: Option<Arc<str>>,
        page: PageQuery<Digest>,
    },
    /// `GET` or `HEAD` of a blob (end-2), whole, or in part if there are ranges
    Blob {
        repository: RepositoryName,
        digest: Digest,
        head: bool,
        ranges: Vec<RangeSpec>,
        known: Option<EntityTags>,
    },
    /// `DELETE` of a blob (end-10)
    DeleteBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    /// `GET` or `HEAD` of a manifest (end-3)
    Manifest {
        repository: RepositoryName,
        reference: Reference,
        head: bool,
        known: Option<EntityTags>,
    },
    /// `PUT` of a manifest, by tag or digest (end-7a), and with tags as parameters (end-7b)
    PutManifest {
        repository: RepositoryName,
        reference: Reference,
        tags: Vec<Tag>,
        media_type: Option<MediaType>,
        precondition: Option<Precondition>,
    },
    /// `DELETE` of a tag or a manifest (end-9)
    DeleteManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    /// `POST` that opens a session (end-4a, end-4c)
    OpenUpload {
        repository: RepositoryName,
        algorithm: Option<Algorithm>,
    },
    /// `POST` with the whole blob (end-4b)
    PushBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    /// `POST` that mounts, or else opens a session (end-11)
    Mount {
        repository: RepositoryName,
        digest: Digest,
        from: Option<RepositoryName>,
    },
    /// `GET` of a session (end-13)
    UploadStatus {
        repository: RepositoryName,
        id: UploadId,
    },
    /// `PATCH` of a session (end-5)
    Append {
        repository: RepositoryName,
        id: UploadId,
        chunk: Option<ContentRange>,
    },
    /// `PUT` that closes a session, optionally with its last chunk (end-6)
    Close {
        repository: RepositoryName,
        id: UploadId,
        digest: Digest,
        chunk: Option<ContentRange>,
    },
    /// `DELETE` of a session (end-14)
    Cancel {
        repository: RepositoryName,
        id: UploadId,
    },
}

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
    /// assert!(matches!(refused, InvalidRequest::Method { allowed } if allowed.contains(&Method::GET)));
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
        let endpoint = Endpoint::parse(path)?;
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

    /// Returns its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self.clone() {
            Self::Options { endpoint } => endpoint,
            Self::Ping => Endpoint::Base,
            Self::Catalog { .. } => Endpoint::Catalog,
            Self::Tags { repository, .. } => Endpoint::Tags(repository),
            Self::Referrers {
                repository, subject, ..
            } => Endpoint::Referrers(repository, subject),
            Self::Blob {
                repository, digest, ..
            }
            | Self::DeleteBlob { repository, digest } => Endpoint::Blob(repository, digest),
            Self::Manifest {
                repository,
                reference,
                ..
            }
            | Self::PutManifest {
                repository,
                reference,
                ..
            }
            | Self::DeleteManifest {
                repository,
                reference,
            } => Endpoint::Manifest(repository, reference),
            Self::OpenUpload { repository, .. }
            | Self::PushBlob { repository, .. }
            | Self::Mount { repository, .. } => Endpoint::Uploads(repository),
            Self::UploadStatus { repository, id }
            | Self::Append { repository, id, .. }
            | Self::Close { repository, id, .. }
            | Self::Cancel { repository, id } => Endpoint::Upload(repository, id),
        }
    }

    /// Returns its method.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Options { .. } => Method::OPTIONS,
            Self::Blob { head: true, .. } | Self::Manifest { head: true, .. } => Method::HEAD,
            Self::Ping
            | Self::Catalog { .. }
            | Self::Tags { .. }
            | Self::Referrers { .. }
            | Self::Blob { .. }
            | Self::Manifest { .. }
            | Self::UploadStatus { .. } => Method::GET,
            Self::PutManifest { .. } | Self::Close { .. } => Method::PUT,
            Self::DeleteBlob { .. } | Self::DeleteManifest { .. } | Self::Cancel { .. } => Method::DELETE,
            Self::OpenUpload { .. } | Self::PushBlob { .. } | Self::Mount { .. } => Method::POST,
            Self::Append { .. } => Method::PATCH,
        }
    }

    /// Returns true if it may change content. Such a request is finished even if its client disconnects.
    #[must_use]
    pub fn may_change(&self) -> bool {
        !matches!(self.method(), Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Returns its path and query. For an upload session, use the latest `Location` instead, because other
    /// registries keep state there.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = Target::new(self.endpoint().to_string());
        match self {
            Self::Catalog { page } => target.page(page),
            Self::Tags { page, .. } => target.page(page),
            Self::Referrers {
                page, artifact_type, ..
            } => {
                target.set("artifactType", artifact_type.as_deref());
                target.page(page);
            }
            Self::PutManifest { tags, .. } => {
                for tag in tags {
                    target.set("tag", Some(tag.as_str()));
                }
            }
            Self::OpenUpload { algorithm, .. } => {
                target.set("digest-algorithm", algorithm.map(Algorithm::as_str));
            }
            Self::PushBlob { digest, .. } | Self::Close { digest, .. } => {
                target.set("digest", Some(&digest.to_string()));
            }
            Self::Mount { digest, from, .. } => {
                target.set("mount", Some(&digest.to_string()));
                target.set("from", from.as_ref().map(RepositoryName::as_str));
            }
            Self::Options { .. }
            | Self::Ping
            | Self::Blob { .. }
            | Self::DeleteBlob { .. }
            | Self::Manifest { .. }
            | Self::DeleteManifest { .. }
            | Self::UploadStatus { .. }
            | Self::Append { .. }
            | Self::Cancel { .. } => {}
        }
        target.into_text()
    }

    /// Returns its headers, except those of its body.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::Blob { ranges, known, .. } => {
                set(header::RANGE, spell_ranges(ranges));
                set(header::IF_NONE_MATCH, known.as_ref().map(ToString::to_string));
            }
            Self::Manifest { known, .. } => {
                set(header::IF_NONE_MATCH, known.as_ref().map(ToString::to_string))
            }
            Self::PutManifest {
                media_type,
                precondition,
                ..
            } => {
                set(header::CONTENT_TYPE, media_type.as_ref().map(ToString::to_string));
                match precondition {
                    Some(Precondition::Present) => set(header::IF_MATCH, Some("*".into())),
                    Some(Precondition::Absent) => set(header::IF_NONE_MATCH, Some("*".into())),
                    Some(Precondition::Is(digest)) => set(header::IF_MATCH, Some(format!("\"{digest}\""))),
                    None => {}
                }
            }
            Self::Append { chunk, .. } | Self::Close { chunk, .. } => {
                set(header::CONTENT_RANGE, chunk.map(|chunk| chunk.to_string()));
            }
            _ => {}
        }
        headers
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

fn spell_ranges(ranges: &[RangeSpec]) -> Option<String> {
    let spell = |range: &RangeSpec| match range {
        RangeSpec::From(first) => format!("{first}-"),
        RangeSpec::FromTo(first, last) => format!("{first}-{last}"),
        RangeSpec::Last(count) => format!("-{count}"),
    };
    let spelled: Vec<String> = ranges.iter().map(spell).collect();
    (!spelled.is_empty()).then(|| format!("bytes={}", spelled.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use proptest::prelude::*;

    fn parse(method: &Method, target: &str, headers: &[(&str, &str)]) -> Result<Request, InvalidRequest> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        Request::parse(method, path, query, &map)
    }

    fn digest(algorithm: Algorithm) -> Digest {
        Digest::of(algorithm, b"content")
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table: one request of each kind")]
    fn every_request_is_understood_as_it_was_built() {
        let repository = RepositoryName::parse("team/blobs").unwrap();
        let id = UploadId::from_random([1; 16]);
        let digest = digest(Algorithm::Sha512);
        let tag = Tag::parse("v1").unwrap();
        let media_type = MediaType::known(MediaType::OCI_MANIFEST);
        let chunk = ContentRange::of(5, 7);
        for request in [
            Request::Options {
                endpoint: Endpoint::Blob(repository.clone(), digest),
            },
            Request::Ping,
            Request::Catalog {
                page: PageQuery::first(3).after(repository.clone()),
            },
            Request::Tags {
                repository: repository.clone(),
                page: PageQuery::first(0),
            },
            Request::Referrers {
                repository: repository.clone(),
                subject: digest,
                artifact_type: Some("a type & nothing like application/a+json".into()),
                page: PageQuery::default().after(digest),
            },
            Request::Blob {
                repository: repository.clone(),
                digest,
                head: false,
                ranges: vec![RangeSpec::Last(9), RangeSpec::FromTo(0, 3), RangeSpec::From(5)],
                known: Some(EntityTags::These(vec![digest.to_string()])),
            },
            Request::Blob {
                repository: repository.clone(),
                digest,
                head: true,
                ranges: vec![],
                known: None,
            },
            Request::DeleteBlob {
                repository: repository.clone(),
                digest,
            },
            Request::Manifest {
                repository: repository.clone(),
                reference: tag.clone().into(),
                head: true,
                known: Some(EntityTags::Any),
            },
            Request::PutManifest {
                repository: repository.clone(),
                reference: digest.into(),
                tags: vec![tag.clone(), Tag::parse("v2").unwrap()],
                media_type: Some(media_type),
                precondition: Some(Precondition::Is(digest)),
            },
            Request::PutManifest {
                repository: repository.clone(),
                reference: tag.into(),
                tags: vec![],
                media_type: None,
                precondition: Some(Precondition::Absent),
            },
            Request::PutManifest {
                repository: repository.clone(),
                reference: digest.into(),
                tags: vec![],
                media_type: None,
                precondition: Some(Precondition::Present),
            },
            Request::DeleteManifest {
                repository: repository.clone(),
                reference: digest.into(),
            },
            Request::OpenUpload {
                repository: repository.clone(),
                algorithm: Some(Algorithm::Sha512),
            },
            Request::PushBlob {
                repository: repository.clone(),
                digest,
            },
            Request::Mount {
                repository: repository.clone(),
                digest,
                from: Some(repository.clone()),
            },
            Request::Mount {
                repository: repository.clone(),
                digest,
                from: None,
            },
            Request::UploadStatus {
                repository: repository.clone(),
                id,
            },
            Request::Append {
                repository: repository.clone(),
                id,
                chunk,
            },
            Request::Close {
                repository: repository.clone(),
                id,
                digest,
                chunk: None,
            },
            Request::Cancel { repository, id },
        ] {
            let target = request.target();
            let (path, query) = target
                .split_once('?')
                .map_or((&*target, None), |(p, q)| (p, Some(q)));
            let read = Request::parse(&request.method(), path, query, &request.headers()).unwrap();
            assert_eq!(read, request, "{target}");
            assert!(
                !target.contains("%2F"),
                "some proxies refuse encoded slashes: {target}"
            );
        }
    }

    #[test]
    fn clients_spell_the_same_in_many_ways() {
        let digest = digest(Algorithm::Sha256);
        let escaped = digest.to_string().replace(':', "%3A");
        for query in [
            format!("mount={digest}&from=p/x"),
            format!("from=p%2Fx&mount={escaped}"),
        ] {
            let request = parse(&Method::POST, &format!("/v2/a/blobs/uploads?{query}"), &[]).unwrap();
            assert!(
                matches!(request, Request::Mount { from: Some(from), .. } if from.as_str() == "p/x"),
                "{query}"
            );
        }
        let referrers = format!("/v2/a/referrers/{digest}?artifactType=application/a+json");
        assert_eq!(
            parse(&Method::GET, &referrers, &[]).unwrap(),
            parse(&Method::GET, &referrers.replace('+', "%2B"), &[]).unwrap()
        );
    }

    #[test]
    fn a_page_has_so_many_items_as_a_decimal_number_says() {
        let digest = digest(Algorithm::Sha256);
        let lists = [
            "/v2/_catalog".to_owned(),
            "/v2/a/tags/list".to_owned(),
            format!("/v2/a/referrers/{digest}"),
        ];
        let n = |list: &str, query: &str| {
            parse(&Method::GET, &format!("{list}?{query}"), &[]).map(|request| match request {
                Request::Catalog { page } => page.n,
                Request::Tags { page, .. } => page.n,
                Request::Referrers { page, .. } => page.n,
                other => panic!("{other:?}"),
            })
        };
        for list in &lists {
            for (query, expected) in [
                ("", None),
                ("n", None),
                ("n=", None),
                ("n=&last=", None),
                ("n=0", Some(0)),
                ("n=007", Some(7)),
                ("n=100000", Some(100_000)),
                ("n=18446744073709551615", Some(usize::MAX)),
            ] {
                assert_eq!(n(list, query).unwrap(), expected, "{list}?{query}");
            }
            for query in [
                "n=-1",
                "n=+1",
                "n=%2B1",
                "n=1.5",
                "n=x",
                "n=0x10",
                "n=1%00",
                "n=%D9%A1",
                "n=18446744073709551616",
            ] {
                let refused = n(list, query).unwrap_err();
                assert_eq!(
                    refused.wire().1,
                    ErrorCode::PaginationNumberInvalid,
                    "{list}?{query}"
                );
            }
        }
    }

    #[test]
    fn a_mount_that_cannot_be_opens_a_session() {
        let [sha256, sha512] = [Algorithm::Sha256, Algorithm::Sha512].map(digest);
        for (query, expected) in [
            (
                format!("mount={sha512}&from=NOT/A..NAME"),
                Some(Algorithm::Sha512),
            ),
            (format!("mount={sha256}&from=a%252Fb"), Some(Algorithm::Sha256)),
            ("mount=&from=a".into(), None),
            ("mount".into(), None),
            ("mount=sha256:bad&from=a".into(), None),
            ("mount=md5:d41d8cd98f00b204e9800998ecf8427e&from=a".into(), None),
            ("mount=&digest-algorithm=sha512".into(), Some(Algorithm::Sha512)),
        ] {
            let opened = parse(&Method::POST, &format!("/v2/a/blobs/uploads/?{query}"), &[]);
            assert!(
                matches!(opened, Ok(Request::OpenUpload { algorithm, .. }) if algorithm == expected),
                "{query}: {opened:?}"
            );
        }
        let pushed = parse(
            &Method::POST,
            &format!("/v2/a/blobs/uploads/?mount=&digest={sha256}"),
            &[],
        );
        assert!(matches!(pushed, Ok(Request::PushBlob { .. })), "{pushed:?}");
    }

    #[test]
    fn malformed_parameters_are_refused_with_their_code() {
        let upload = format!("/v2/a/blobs/uploads/{}", UploadId::from_random([0; 16]));
        let blob = format!("/v2/a/blobs/{}", digest(Algorithm::Sha256));
        for (method, target, headers, code) in [
            (
                Method::GET,
                "/v2/a/tags/list?last=a/b",
                vec![],
                ErrorCode::Unsupported,
            ),
            (
                Method::GET,
                "/v2/_catalog?n=-1",
                vec![],
                ErrorCode::PaginationNumberInvalid,
            ),
            (
                Method::GET,
                "/v2/_catalog?last=A",
                vec![],
                ErrorCode::PaginationNumberInvalid,
            ),
            (
                Method::GET,
                &blob,
                vec![("range", "bytes=x")],
                ErrorCode::Unsupported,
            ),
            (
                Method::PATCH,
                &upload,
                vec![("content-range", "x")],
                ErrorCode::Unsupported,
            ),
            (Method::PUT, &upload, vec![], ErrorCode::DigestInvalid),
            (
                Method::PUT,
                &format!("{upload}?digest="),
                vec![],
                ErrorCode::DigestInvalid,
            ),
            (
                Method::PUT,
                &format!("{upload}?digest=md5:00"),
                vec![],
                ErrorCode::DigestInvalid,
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?digest=x",
                vec![],
                ErrorCode::DigestInvalid,
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?digest-algorithm=md5",
                vec![],
                ErrorCode::DigestInvalid,
            ),
            (
                Method::PUT,
                "/v2/a/manifests/v1?tag=.",
                vec![],
                ErrorCode::ManifestInvalid,
            ),
            (
                Method::PUT,
                "/v2/a/manifests/v1",
                vec![("content-type", "x")],
                ErrorCode::Unsupported,
            ),
            (Method::POST, "/v2/a/manifests/v1", vec![], ErrorCode::Unsupported),
            (Method::PATCH, "/v2/", vec![], ErrorCode::Unsupported),
        ] {
            let error = parse(&method, target, &headers).unwrap_err();
            assert_eq!(error.wire().1, code, "{target} {headers:?}");
        }
    }

    #[test]
    fn a_range_counts_only_for_the_content_the_client_has_part_of() {
        let digest = digest(Algorithm::Sha256);
        let target = format!("/v2/a/blobs/{digest}");
        let ranges = |if_range: &str| match parse(
            &Method::GET,
            &target,
            &[("range", "bytes=1-,0-0"), ("if-range", if_range)],
        ) {
            Ok(Request::Blob { ranges, .. }) => ranges,
            other => panic!("{other:?}"),
        };
        assert_eq!(ranges(&format!("\"{digest}\"")).len(), 2);
        assert!(ranges("\"other\"").is_empty());
        assert!(ranges(&format!("W/\"{digest}\"")).is_empty());
    }

    proptest! {
        #[test]
        fn no_request_panics(
            method in prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::POST), Just(Method::PATCH)],
            path in "/v2/(a/|blobs/|uploads/|tags/list|manifests/|_catalog|\\PC){0,5}",
            query in "((n|last|digest|mount|from|tag|artifactType|digest-algorithm)(=|&|%|sha256:|\\PC){0,6}){0,4}",
            value in "[ -~]{0,24}",
        ) {
            let headers: HeaderMap = [header::RANGE, header::CONTENT_RANGE, header::IF_NONE_MATCH, header::IF_MATCH,
                header::CONTENT_TYPE, header::IF_RANGE]
                .into_iter()
                .map(|name| (name, HeaderValue::from_str(&value).unwrap()))
                .collect();
            let _ = Request::parse(&method, &path, Some(&query), &headers);
        }
    }
}
