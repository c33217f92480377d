//! Tests of requests, in both directions.

use super::*;
use crate::{error::ErrorCode, protocol::error::InvalidRequest};
use http::{HeaderMap, HeaderName, HeaderValue, header};
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
fn a_malformed_tag_is_an_unknown_one_unless_it_is_pushed() {
    let code = |method: &Method| parse(method, "/v2/a/manifests/.x", &[]).unwrap_err().wire().1;
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        assert_eq!(code(&method), ErrorCode::ManifestUnknown, "{method}");
    }
    assert_eq!(code(&Method::PUT), ErrorCode::ManifestInvalid);
    let digest = parse(&Method::GET, "/v2/a/manifests/sha256:bad", &[]).unwrap_err();
    assert_eq!(digest.wire().1, ErrorCode::DigestInvalid);
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
