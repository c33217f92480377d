//! Quirks, as a client sees them.

use super::Quirk;
use crate::{TestRegistry, artifact, image, index};
use http::Method;
use registry_core::Digest;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

fn registry(quirk: Quirk) -> TestRegistry {
    TestRegistry::builder().quirk(quirk).start()
}

/// Sends a request; returns status, head in lower case, and body.
fn ask(
    registry: &TestRegistry,
    method: &Method,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: r\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn get(registry: &TestRegistry, target: &str) -> (u16, String, String) {
    ask(registry, &Method::GET, target, "", "")
}

/// Returns the value of a header, in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn without_referrers_there_is_no_list_and_no_subject() {
    let registry = registry(Quirk::WithoutReferrers);
    let subject = registry.seed("app:v1", image());
    registry.seed("app:report", artifact("application/vnd.a").subject(subject));
    let report = registry.manifest("app:report").unwrap();

    let (list, ..) = get(&registry, &format!("/v2/app/referrers/{subject}"));
    let typed = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let report = String::from_utf8(report).unwrap();
    let (put, head, _) = ask(&registry, &Method::PUT, "/v2/app/manifests/v2", typed, &report);

    assert_eq!((list, put), (404, 201));
    assert_eq!(header(&head, "oci-subject"), None);
    let plain = TestRegistry::start();
    plain.seed("app:v1", image());
    plain.seed("app:report", artifact("application/vnd.a").subject(subject));
    let (put, head, _) = ask(&plain, &Method::PUT, "/v2/app/manifests/v2", typed, &report);
    assert_eq!(
        (put, header(&head, "oci-subject")),
        (201, Some(&*subject.to_string()))
    );
}

#[test]
fn without_mount_a_session_is_opened() {
    let registry = registry(Quirk::WithoutMount);
    registry.seed("source:v1", image());
    let manifest: serde_json::Value =
        serde_json::from_slice(&registry.manifest("source:v1").unwrap()).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap();

    let mount = format!("/v2/target/blobs/uploads/?mount={digest}&from=source");
    let (status, head, _) = ask(&registry, &Method::POST, &mount, "", "");

    assert_eq!(status, 202);
    assert!(header(&head, "location").unwrap().contains("/blobs/uploads/"));
    assert_eq!(registry.blob("target", &Digest::parse(digest).unwrap()), None);
}

#[test]
fn without_ranges_a_blob_comes_whole() {
    let registry = registry(Quirk::WithoutRanges);
    registry.seed(
        "app@sha256",
        artifact("application/vnd.a").file("a", "0123456789"),
    );
    let digest = Digest::of(registry_core::Algorithm::Sha256, b"0123456789");

    let blob = format!("/v2/app/blobs/{digest}");
    let (status, head, body) = ask(&registry, &Method::GET, &blob, "Range: bytes=5-\r\n", "");

    assert_eq!((status, &*body), (200, "0123456789"));
    assert_eq!(header(&head, "accept-ranges"), None);
}

#[test]
fn without_catalog_repositories_are_not_listed() {
    assert_eq!(get(&registry(Quirk::WithoutCatalog), "/v2/_catalog").0, 404);
}

#[test]
fn what_a_client_may_not_see_is_refused_first() {
    let registry = TestRegistry::builder()
        .quirk(Quirk::WithoutCatalog)
        .quirk(Quirk::WithoutReferrers)
        .basic("ann", "secret")
        .start();
    let digest = registry.seed("app:v1", image());

    assert_eq!(get(&registry, "/v2/_catalog").0, 401);
    assert_eq!(get(&registry, &format!("/v2/app/referrers/{digest}")).0, 401);
}

#[test]
fn without_delete_manifests_and_blobs_stay() {
    let registry = registry(Quirk::WithoutDelete);
    let digest = registry.seed("app:v1", image());
    let manifest = format!("/v2/app/manifests/{digest}");
    let (_, opened, _) = ask(&registry, &Method::POST, "/v2/app/blobs/uploads/", "", "");

    assert_eq!(ask(&registry, &Method::DELETE, &manifest, "", "").0, 405);
    assert_eq!(
        ask(
            &registry,
            &Method::DELETE,
            &format!("/v2/app/blobs/{digest}"),
            "",
            ""
        )
        .0,
        405
    );
    assert_eq!(registry.digest("app:v1"), Some(digest));
    let session = header(&opened, "location").unwrap();
    assert_eq!(
        ask(&registry, &Method::DELETE, session, "", "").0,
        204,
        "a session can be cancelled"
    );
}

#[test]
fn unsorted_tags_are_all_there_page_by_page() {
    let registry = registry(Quirk::UnsortedTags);
    for tag in ["a", "b", "c"] {
        registry.seed(&format!("app:{tag}"), image());
    }

    let (_, head, first) = get(&registry, "/v2/app/tags/list?n=2");
    let next = header(&head, "link").unwrap().split(['<', '>']).nth(1).unwrap();
    let (_, last_head, second) = get(&registry, next);

    assert_eq!(first, r#"{"name":"app","tags":["b","a"]}"#);
    assert_eq!(second, r#"{"name":"app","tags":["c"]}"#);
    assert_eq!(header(&last_head, "link"), None);
    assert_eq!(get(&registry, "/v2/none/tags/list").0, 404);
}

#[test]
fn a_page_has_no_more_entries_than_the_registry_allows() {
    let registry = registry(Quirk::PageSize(2));
    for repository in ["a", "b", "c"] {
        registry.seed(&format!("{repository}:v1"), image());
        registry.seed(&format!("app:{repository}"), image());
    }

    for (query, tags, more) in [
        ("", r#"["a","b"]"#, true),
        ("?n=100", r#"["a","b"]"#, true),
        ("?n=1", r#"["a"]"#, true),
        ("?last=b&n=9", r#"["c"]"#, false),
    ] {
        let (status, head, body) = get(&registry, &format!("/v2/app/tags/list{query}"));
        assert_eq!(
            (status, body),
            (200, format!(r#"{{"name":"app","tags":{tags}}}"#))
        );
        assert_eq!(header(&head, "link").is_some(), more, "{query}");
    }
    let (_, _, body) = get(&registry, "/v2/_catalog?n=7");
    assert_eq!(body, r#"{"repositories":["a","app"]}"#);
    assert_eq!(get(&registry, "/v2/app/tags/list?n=x").0, 400);
}

#[test]
fn referrers_come_in_pages_too() {
    let registry = registry(Quirk::PageSize(1));
    let subject = registry.seed("app:v1", index([image()]));
    for name in ["a", "b"] {
        registry.seed(
            "app@sha256",
            artifact("application/vnd.a").file(name, name).subject(subject),
        );
    }

    let (_, head, body) = get(&registry, &format!("/v2/app/referrers/{subject}"));

    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert!(header(&head, "link").is_some());
}

/// Opens a session and sends a chunk that is too small; returns the path of the session.
fn small_chunk(registry: &TestRegistry, authorization: &str) -> String {
    let (_, head, _) = ask(
        registry,
        &Method::POST,
        "/v2/app/blobs/uploads/",
        authorization,
        "",
    );
    let session = header(&head, "location").unwrap().to_owned();
    assert_eq!(ask(registry, &Method::PATCH, &session, authorization, "0").0, 202);
    session
}

#[test]
fn a_small_chunk_is_no_news_for_a_client_without_a_login() {
    let registry = TestRegistry::builder()
        .basic("ann", "secret")
        .quirk(Quirk::SmallestChunk(4))
        .start();
    let session = small_chunk(&registry, "Authorization: Basic YW5uOnNlY3JldA==\r\n");

    assert_eq!(ask(&registry, &Method::PATCH, &session, "", "1234").0, 401);
}

#[test]
fn the_end_of_a_session_may_have_an_empty_body_in_chunks() {
    let registry = registry(Quirk::SmallestChunk(4));
    for (chunks, status) in [("0\r\n\r\n", "201"), ("1\r\n1\r\n0\r\n\r\n", "400")] {
        let session = small_chunk(&registry, "");
        let digest = Digest::of(registry_core::Algorithm::Sha256, b"0");
        let mut stream = TcpStream::connect(registry.addr()).unwrap();
        let head = format!("PUT {session}?digest={digest} HTTP/1.1\r\nHost: r\r\nConnection: close");
        write!(stream, "{head}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").unwrap();

        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();

        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
        assert_eq!(answer.contains("had 1 bytes"), status == "400", "{answer}");
    }
}

#[test]
fn nothing_may_follow_a_chunk_that_is_too_small() {
    let registry = registry(Quirk::SmallestChunk(4));
    let open = || {
        let (status, head, _) = ask(&registry, &Method::POST, "/v2/app/blobs/uploads/", "", "");
        assert_eq!((status, header(&head, "oci-chunk-min-length")), (202, Some("4")));
        header(&head, "location").unwrap().to_owned()
    };
    let patch = |session: &str, body: &str| ask(&registry, &Method::PATCH, session, "", body).0;
    let close = |session: &str, content: &str, body: &str| {
        let digest = Digest::of(registry_core::Algorithm::Sha256, content.as_bytes());
        let (status, _, body) = ask(
            &registry,
            &Method::PUT,
            &format!("{session}?digest={digest}"),
            "",
            body,
        );
        (status, body)
    };

    let session = open();
    assert_eq!([patch(&session, "0123"), patch(&session, "45678")], [202, 202]);
    assert_eq!(patch(&session, "9"), 202, "it may be the last one");
    assert_eq!(close(&session, "0123456789", "").0, 201);

    let session = open();
    assert_eq!(patch(&session, "0123"), 202);
    assert_eq!(
        close(&session, "01234", "4").0,
        201,
        "the last one may be smaller"
    );

    let session = open();
    assert_eq!(patch(&session, "012"), 202);
    assert_eq!(patch(&session, "3456"), 400);
    let (status, body) = close(&session, "0123456", "3456");
    assert_eq!(status, 400);
    assert!(
        body.contains("SIZE_INVALID") && body.contains("had 3 bytes"),
        "{body}"
    );
    assert_eq!(
        close(&session, "012", "").0,
        201,
        "what was refused has changed nothing"
    );
}
