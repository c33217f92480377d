//! Tests of redirects to blobs, and of parts of blobs.

use crate::{ByHeader, digest, filled, logging::Failing, send, wrapped::Wrapped};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use registry_core::{
    Digest, Registry, Storage,
    service::ResponseBody,
    storage::{Abilities, BlobBody, BlobRead, Content, MemoryStorage, StorageError},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Redirects callers that can follow.
fn redirecting(storage: MemoryStorage) -> impl Storage {
    Wrapped::new(storage, |how, opened| {
        let mut opened = opened?;
        if let (Some(read), true) = (&mut opened, how.allow_redirect) {
            read.body = BlobBody::Redirect("https://bucket.example/blob?signature=1".parse().unwrap());
        }
        Ok(opened)
    })
    .declaring(Abilities::none().with_redirects(true))
}

/// Checks that a redirect is not cached, because its URL is signed for one client and a limited time.
#[tokio::test]
async fn a_redirect_is_never_kept() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let target = format!("/v2/a/blobs/{}", digest());
    let open = Registry::builder(redirecting(storage.clone())).build();
    let closed = Registry::builder(redirecting(storage))
        .authenticator(ByHeader)
        .build();
    for (registry, user) in [(open, None), (closed, Some("ann"))] {
        let answer = send(&registry, user, Method::GET, &target, "").await;

        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(
            answer.headers[header::LOCATION],
            "https://bucket.example/blob?signature=1"
        );
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}

const CONTENT: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

async fn with_content(storage: &MemoryStorage) -> Digest {
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("a").unwrap();
    let pushed = repository.push_blob(String::from(CONTENT), None).await;
    pushed.unwrap().digest
}

async fn ask(registry: &Registry, digest: &Digest, range: &str) -> http::Response<ResponseBody> {
    let mut request = Request::get(format!("/v2/a/blobs/{digest}"))
        .body(String::new())
        .unwrap();
    if !range.is_empty() {
        request
            .headers_mut()
            .insert(header::RANGE, range.parse().unwrap());
    }
    registry.handle(request).await
}

/// Reads the next frame as text.
async fn next(body: &mut ResponseBody) -> Option<Result<String, StorageError>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().into()).unwrap()))
}

#[tokio::test]
async fn several_ranges_are_answered_here_part_by_part() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let registry = Registry::builder(redirecting(storage)).build();

    let answer = ask(&registry, &digest, "bytes=30-, 0-2,99-,2-4").await;

    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    let boundary = digest.hex();
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        format!("multipart/byteranges; boundary={boundary}")
    );
    assert!(!answer.headers().contains_key(header::CONTENT_RANGE));
    let length = answer.headers()[header::CONTENT_LENGTH].clone();
    assert_eq!(answer.headers()[header::ACCEPT_RANGES], "bytes");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "max-age=31536000");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let part = |range: &str, bytes: &str| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/36\r\n\r\n{bytes}\r\n"
        )
    };
    let expected = [part("30-35", "uvwxyz"), part("0-2", "012"), part("2-4", "234")].concat();
    assert_eq!(body, format!("{expected}--{boundary}--\r\n"));
    assert_eq!(length, body.len().to_string());
}

#[tokio::test]
async fn what_is_left_of_several_ranges_decides() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let registry = Registry::builder(redirecting(storage)).build();
    let many = |count| format!("bytes={}", vec!["0-0"; count].join(","));
    for (range, status, content) in [
        ("bytes=99-,0-2", 206, "012"),
        ("bytes=99-,-0", 416, ""),
        ("bytes=0-,0-0", 200, CONTENT),
        (&*many(37), 200, CONTENT),
        (&*many(1025), 200, CONTENT),
    ] {
        let answer = ask(&registry, &digest, range).await;
        assert_eq!(answer.status(), status, "{range}");
        let media_type = answer.headers().get(header::CONTENT_TYPE);
        assert!(media_type.is_none_or(|value| value == "application/octet-stream"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, content, "{range}");
    }
}

#[tokio::test]
async fn a_part_is_opened_when_the_one_before_it_was_sent() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    let counting = Wrapped::new(storage, move |_, opened| {
        counter.fetch_add(1, Ordering::Relaxed);
        opened
    });
    let registry = Registry::builder(counting).build();
    let opened = || opened.load(Ordering::Relaxed);

    let mut body = ask(&registry, &digest, "bytes=0-2,3-5,6-8").await.into_body();

    for (number, expected) in ["012", "345", "678"].iter().enumerate() {
        // The first part is opened before the response, so that a failure is answered with 500.
        let before = number.max(1);
        assert_eq!(opened(), before);
        assert!(next(&mut body).await.unwrap().unwrap().contains("Content-Range"));
        assert_eq!(opened(), number + 1);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), *expected);
    }
    assert!(next(&mut body).await.unwrap().unwrap().ends_with("--\r\n"));
    assert!(next(&mut body).await.is_none());
    assert_eq!(opened(), 3);
}

/// Checks that a missing or short part ends the response early. The client detects this by the announced
/// length.
#[tokio::test]
async fn a_part_that_is_gone_or_short_cuts_the_answer() {
    type Break = fn(Option<BlobRead>) -> Result<Option<BlobRead>, StorageError>;
    let breaks: [Break; 5] = [
        |_| Ok(None),
        |_| Err(StorageError::internal("the disk is gone")),
        |read| {
            Ok(read.map(|mut read| {
                read.body = BlobBody::Content(Content::bytes(Bytes::from_static(b"3")));
                read
            }))
        },
        |read| {
            Ok(read.map(|mut read| {
                read.body = BlobBody::Content(Content::bytes(Bytes::from_static(b"3456")));
                read
            }))
        },
        // The file has another size than when the first part was sent.
        |read| {
            Ok(read.map(|mut read| {
                read.range = 3..5;
                read
            }))
        },
    ];
    for (number, broken) in breaks.into_iter().enumerate() {
        let storage = MemoryStorage::new();
        let digest = with_content(&storage).await;
        let first = AtomicBool::new(true);
        let breaking = Wrapped::new(storage, move |_, opened| {
            match first.swap(false, Ordering::Relaxed) {
                true => opened,
                false => broken(opened?),
            }
        });
        let registry = Registry::builder(breaking).build();

        let answer = ask(&registry, &digest, "bytes=0-2,3-5,6-8").await;

        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        let mut body = answer.into_body();
        let mut read = String::new();
        let error = loop {
            match next(&mut body).await {
                Some(Ok(text)) => read += &text,
                Some(Err(error)) => break error,
                None => panic!("{number}: {read}"),
            }
        };
        assert!(
            read.contains("\r\n\r\n012") && !read.contains("345") && !read.contains("678"),
            "{error}: {read}"
        );
        assert!(next(&mut body).await.is_none(), "{number}");
    }
}

#[tokio::test]
async fn a_first_part_that_cannot_be_read_is_no_success() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let unreadable = Wrapped::new(storage, |_, opened| {
        Ok(opened?.map(|mut read| {
            read.body = BlobBody::Content(Content::stream(Box::pin(Failing { left: 0 })));
            read
        }))
    });
    let registry = Registry::builder(unreadable).build();

    let answer = ask(&registry, &digest, "bytes=0-2,3-5").await;

    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_blob_that_goes_before_its_first_part_is_unknown() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let registry = Registry::builder(Wrapped::new(storage, |_, _| Ok(None))).build();

    let answer = ask(&registry, &digest, "bytes=0-2,3-5").await;

    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

/// Checks that `HEAD` ignores `Range`, also a malformed one (RFC 9110, section 14.2).
#[tokio::test]
async fn a_range_of_a_head_is_not_read() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let registry = Registry::builder(storage).build();
    for range in ["bytes=0-9", "bytes=0-9,20-29", "bytes=none", "bytes=99-"] {
        let request = Request::head(format!("/v2/a/blobs/{digest}"))
            .header(header::RANGE, range)
            .body(String::new());
        let answer = registry.handle(request.unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{range}");
        assert_eq!(
            answer.headers()[header::CONTENT_LENGTH],
            CONTENT.len().to_string()
        );
    }
}

/// Checks that the first piece of a body is read before the head of the response.
#[tokio::test]
async fn a_body_says_how_long_it_is_with_what_has_been_read_of_it() {
    let storage = MemoryStorage::new();
    let digest = with_content(&storage).await;
    let registry = Registry::builder(storage).build();
    for (range, length) in [("", 36), ("bytes=3-9", 7)] {
        let mut body = ask(&registry, &digest, range).await.into_body();
        assert_eq!(body.size_hint().exact(), Some(length), "{range}");
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).await.unwrap().unwrap().len() as u64, length);
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}
