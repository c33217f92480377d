//! Tests of each bound of `Limits`: a request at the bound is accepted, and one beyond it is refused with its
//! own response.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod documents;
mod uploads;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Action, Algorithm, Authorizer, Digest, Identity, Limits, MediaType, Registry, RepositoryName, Tag,
    auth::{AuthError, Authorize, ClientAddress, Decision, FromExtensions},
    service::{BlobSource, ManifestPush, ResponseBody},
    storage::MemoryStorage,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

fn registry(set: impl FnOnce(&mut Limits)) -> Registry {
    let mut limits = Limits::default();
    set(&mut limits);
    Registry::builder(MemoryStorage::new())
        .limits(limits)
        .allow_anonymous_push()
        .build()
}

struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    /// Returns status and code in the form of the tables below.
    fn refusal(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = body["errors"][0]["code"].as_str().unwrap_or_default();
        (self.status.as_u16(), code.to_owned())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn send(registry: &Registry, request: Request<String>) -> Response {
    let (parts, body) = registry.handle(request).await.into_parts();
    Response {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

fn get(target: &str) -> Request<String> {
    Request::get(target).body(String::new()).unwrap()
}

fn put(target: &str, document: &Value) -> Request<String> {
    Request::put(target).body(document.to_string()).unwrap()
}

fn document() -> Value {
    json!({"mediaType": "application/vnd.example+json"})
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn target_bytes() {
    let registry = registry(|limits| limits.target_bytes = 40);
    let target = |length: usize| format!("/v2/_catalog?last={}", "a".repeat(length - 18));
    assert_eq!(target(40).len(), 40);

    assert_eq!(send(&registry, get(&target(40))).await.status, StatusCode::OK);
    assert_eq!(
        send(&registry, get(&target(41))).await.refusal(),
        refused(414, "UNSUPPORTED")
    );
}

#[tokio::test]
async fn header_lines() {
    let registry = registry(|limits| limits.header_lines = 3);
    let accepts = |count: usize| {
        let mut request = get("/v2/");
        for number in 0..count {
            let value = format!("application/x{number}").parse().unwrap();
            request.headers_mut().append(header::ACCEPT, value);
        }
        request
    };

    assert_eq!(send(&registry, accepts(3)).await.status, StatusCode::OK);
    assert_eq!(
        send(&registry, accepts(4)).await.refusal(),
        refused(431, "UNSUPPORTED")
    );
}

#[tokio::test]
async fn header_bytes() {
    let registry = registry(|limits| limits.header_bytes = 100);
    let accept = |bytes: usize| {
        let mut request = get("/v2/");
        let value = "x".repeat(bytes - "accept".len());
        request
            .headers_mut()
            .insert(header::ACCEPT, value.parse().unwrap());
        request
    };

    assert_eq!(send(&registry, accept(100)).await.status, StatusCode::OK);
    assert_eq!(
        send(&registry, accept(101)).await.refusal(),
        refused(431, "UNSUPPORTED")
    );
}

/// Body that does not announce its size.
struct Unannounced(VecDeque<&'static str>);

impl Body for Unannounced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.pop_front();
        Poll::Ready(next.map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))))
    }
}

#[tokio::test]
async fn blob_bytes() {
    let registry = registry(|limits| limits.blob_bytes = Some(8));
    let digest = |bytes: &[u8]| Digest::of(Algorithm::Sha256, bytes);
    let post = |bytes: &str| {
        let target = format!("/v2/a/blobs/uploads/?digest={}", digest(bytes.as_bytes()));
        Request::post(target).body(bytes.to_owned()).unwrap()
    };
    assert_eq!(
        send(&registry, post("12345678")).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, post("123456789")).await.refusal(),
        refused(413, "SIZE_INVALID")
    );

    // Chunks that exceed the limit together, without an announced size.
    for chunk in [
        Unannounced(VecDeque::from(["5678", "9"])),
        Unannounced(VecDeque::from(["56789"])),
    ] {
        let repository = registry.repository("a").unwrap();
        let upload = repository.open_upload(Algorithm::Sha256).await.unwrap();
        repository.append(&upload.id, None, "1234").await.unwrap();
        let refused = repository
            .append(&upload.id, None, BlobSource::body(chunk))
            .await
            .unwrap_err();
        assert_eq!(refused.wire().0, 413);
        // The session is ended, because it could never be closed.
        assert!(repository.upload(&upload.id).await.unwrap().is_none());
    }
    let chunk = BlobSource::body(Unannounced(VecDeque::from(["1234", "5678", "9"])));
    let whole = registry.repository("a").unwrap().push_blob(chunk, None).await;
    assert_eq!(whole.unwrap_err().wire().0, 413);
    let chunk = BlobSource::body(Unannounced(VecDeque::from(["1234", "5678"])));
    let whole = registry.repository("a").unwrap().push_blob(chunk, None).await;
    assert_eq!(whole.unwrap().digest, digest(b"12345678"));
}

#[tokio::test]
async fn catalog_n() {
    let registry = registry(|limits| limits.catalog_n = Some(3));
    for (n, status) in [("0", 200), ("3", 200), ("4", 400), ("100000", 400)] {
        let answer = send(&registry, get(&format!("/v2/_catalog?n={n}"))).await;
        assert_eq!(answer.status, status, "{n}");
        if status == 400 {
            assert_eq!(answer.refusal(), refused(400, "PAGINATION_NUMBER_INVALID"));
        }
    }
}

/// Checks that the setting also applies to pages without `n`, both below and above the default.
#[tokio::test]
async fn catalog_n_is_a_page_without_n() {
    for (catalog_n, sizes) in [(2, vec![2, 2, 1]), (4, vec![4, 1]), (5, vec![5])] {
        let registry = registry(|limits| {
            limits.catalog_n = Some(catalog_n);
            limits.page_default = 3;
            limits.page_max = 3;
        });
        for name in ["a", "b", "c", "d", "e"] {
            let target = format!("/v2/{name}/manifests/v1");
            send(&registry, put(&target, &document())).await;
        }
        let mut target = Some(String::from("/v2/_catalog"));
        for size in sizes {
            let answer = send(&registry, get(&target.unwrap())).await;
            assert_eq!(answer.json()["repositories"].as_array().unwrap().len(), size);
            let link = answer
                .headers
                .get(header::LINK)
                .map(|link| link.to_str().unwrap());
            target = link.map(|link| link.split(['<', '>']).nth(1).unwrap().to_owned());
        }
        assert_eq!(target, None);
    }
}

#[tokio::test]
async fn pages() {
    let registry = registry(|limits| {
        limits.page_default = 2;
        limits.page_max = 3;
    });
    for number in 0..4 {
        for target in [
            format!("/v2/a/manifests/v{number}"),
            format!("/v2/r{number}/manifests/v1"),
        ] {
            assert_eq!(
                send(&registry, put(&target, &document())).await.status,
                StatusCode::CREATED
            );
        }
    }

    for (target, key, expected) in [
        ("/v2/_catalog", "repositories", 2),
        ("/v2/_catalog?n=3", "repositories", 3),
        ("/v2/_catalog?n=4", "repositories", 3),
        ("/v2/_catalog?n=18446744073709551615", "repositories", 3),
        ("/v2/a/tags/list", "tags", 3),
        ("/v2/a/tags/list?n=4", "tags", 3),
    ] {
        let answer = send(&registry, get(target)).await;
        assert_eq!(answer.json()[key].as_array().unwrap().len(), expected, "{target}");
        assert!(answer.headers.contains_key(header::LINK), "{target}");
    }
    for (target, code) in [
        ("/v2/_catalog?n=18446744073709551616", "PAGINATION_NUMBER_INVALID"),
        (
            "/v2/a/tags/list?n=18446744073709551616",
            "PAGINATION_NUMBER_INVALID",
        ),
    ] {
        assert_eq!(send(&registry, get(target)).await.refusal(), refused(400, code));
    }
}

/// Shows `z` only, and counts the calls of `visible`.
#[derive(Debug, Default)]
struct OnlyZ(Mutex<usize>);

#[async_trait]
impl Authorizer for OnlyZ {
    async fn authorize(&self, _: Authorize<'_>) -> Result<Decision, AuthError> {
        Ok(Decision::Allow)
    }

    async fn visible(
        &self,
        _: Authorize<'_>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        *self.0.lock().unwrap() += 1;
        Ok(repositories
            .into_iter()
            .filter(|name| name.as_str() == "z")
            .collect())
    }
}

#[tokio::test]
async fn a_small_page_of_the_catalog_does_not_go_through_what_is_hidden_in_small_steps() {
    let storage = MemoryStorage::new();
    let host = Registry::builder(storage.clone()).build();
    let names = (0..500)
        .map(|number| format!("hidden/{number}"))
        .chain([String::from("z")]);
    for name in names {
        let push = ManifestPush::new(Tag::parse("v1").unwrap(), document().to_string());
        host.repository(&name).unwrap().put_manifest(push).await.unwrap();
    }
    let rules = Arc::new(OnlyZ::default());
    let registry = Registry::builder(storage).authorizer(Arc::clone(&rules)).build();

    let answer = send(&registry, get("/v2/_catalog?n=1")).await;

    assert_eq!(answer.json(), json!({"repositories": ["z"]}));
    let asked = *rules.0.lock().unwrap();
    assert!(asked <= 10, "asked {asked} times for 501 repositories");
}
