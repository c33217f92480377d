//! Tests of each bound of `Limits`: a request at the bound is accepted, and one beyond it is refused with its
//! own response.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

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

    // Together, and without a word about the size before.
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
        // It could never be closed.
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
async fn manifest_bytes() {
    let registry = registry(|limits| limits.manifest_bytes = 100);
    let padded = |length: usize| {
        let text = document().to_string();
        text.clone() + &" ".repeat(length - text.len())
    };
    let put = |length: usize| Request::put("/v2/a/manifests/v1").body(padded(length)).unwrap();

    assert_eq!(send(&registry, put(100)).await.status, StatusCode::CREATED);
    assert_eq!(
        send(&registry, put(101)).await.refusal(),
        refused(413, "SIZE_INVALID")
    );
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), padded(101));
    let in_process = registry.repository("a").unwrap().put_manifest(push).await;
    assert_eq!(in_process.unwrap_err().wire().0, 413);
}

#[tokio::test]
async fn manifest_references() {
    let registry = registry(|limits| limits.manifest_references = 3);
    let blob = registry
        .repository("a")
        .unwrap()
        .push_blob("{}", None)
        .await
        .unwrap();
    let descriptor = json!({"mediaType": "a/b", "digest": blob.digest.to_string(), "size": 2});
    let image = |layers: usize| {
        json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor,
            "layers": vec![descriptor.clone(); layers],
        })
    };

    let target = "/v2/a/manifests/v1";
    assert_eq!(
        send(&registry, put(target, &image(2))).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, put(target, &image(3))).await.refusal(),
        refused(400, "MANIFEST_INVALID")
    );
    let mut elsewhere = image(2);
    for (addresses, status) in [(3, StatusCode::CREATED), (4, StatusCode::BAD_REQUEST)] {
        elsewhere["layers"][1]["urls"] = json!(vec![""; addresses]);
        assert_eq!(send(&registry, put(target, &elsewhere)).await.status, status);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": vec![descriptor; 4],
    });
    assert_eq!(
        send(&registry, put(target, &index)).await.refusal(),
        refused(400, "MANIFEST_INVALID")
    );
}

#[tokio::test]
async fn manifest_depth() {
    let registry = registry(|limits| limits.manifest_depth = 5);
    let nested = |depth: usize| {
        let mut document = document();
        document["x"] = (1..depth).fold(json!(1), |inner, _| json!([inner]));
        document
    };

    let target = "/v2/a/manifests/v1";
    assert_eq!(
        send(&registry, put(target, &nested(5))).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, put(target, &nested(6))).await.refusal(),
        refused(400, "MANIFEST_INVALID")
    );
}

#[tokio::test]
async fn a_document_of_brackets_is_refused_before_it_is_parsed() {
    let registry = registry(|_| {});
    for text in ["[".repeat(4 << 20), r#"{"a":"#.repeat(800_000)] {
        let request = Request::put("/v2/a/manifests/v1").body(text).unwrap();
        assert_eq!(
            send(&registry, request).await.refusal(),
            refused(400, "MANIFEST_INVALID")
        );
    }
}

#[tokio::test]
async fn annotations() {
    let registry = registry(|limits| limits.annotations = 3);
    let annotated = |count: usize| {
        let mut document = document();
        for number in 0..count {
            document["annotations"][number.to_string()] = "".into();
        }
        document
    };

    let target = "/v2/a/manifests/v1";
    assert_eq!(
        send(&registry, put(target, &annotated(3))).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, put(target, &annotated(4))).await.refusal(),
        refused(400, "MANIFEST_INVALID")
    );
}

#[tokio::test]
async fn annotation_bytes() {
    let registry = registry(|limits| limits.annotation_bytes = 100);
    let annotated = |bytes: usize| {
        let mut document = document();
        document["annotations"] = json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())});
        document
    };

    let target = "/v2/a/manifests/v1";
    assert_eq!(
        send(&registry, put(target, &annotated(100))).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, put(target, &annotated(101))).await.refusal(),
        refused(400, "MANIFEST_INVALID")
    );
}

#[tokio::test]
async fn tags_per_put() {
    let registry = registry(|limits| limits.tags_per_put = 3);
    let digest = Digest::of(Algorithm::Sha256, document().to_string().as_bytes());
    let target = |tags: usize| {
        let tags: Vec<String> = (0..tags).map(|number| format!("tag=v{number}")).collect();
        format!("/v2/a/manifests/{digest}?{}", tags.join("&"))
    };

    assert_eq!(
        send(&registry, put(&target(3), &document())).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        send(&registry, put(&target(4), &document())).await.refusal(),
        refused(414, "UNSUPPORTED")
    );
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

/// Checks that a response counts until its last byte is sent.
#[tokio::test]
async fn document_bytes_that_are_taken() {
    let registry = registry(|limits| limits.document_bytes = 2 << 20);
    let repository = registry.repository("a").unwrap();
    let mut targets = Vec::new();
    for size in [900 << 10, 3 << 20, 1000] {
        let padding = "x".repeat(size);
        let image = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [], "annotations": {"a": padding},
        });
        let image = image.to_string();
        let digest = Digest::of(Algorithm::Sha256, image.as_bytes());
        repository
            .put_manifest(ManifestPush::new(digest, image))
            .await
            .unwrap();
        targets.push(format!("/v2/a/manifests/{digest}"));
    }
    let get = async |target: &String| {
        let request = Request::get(target).body(String::new()).unwrap();
        registry.handle(request).await
    };
    let refusal = async |target: &String| {
        let request = Request::get(target).body(String::new()).unwrap();
        let refusal = send(&registry, request).await;
        assert!(refusal.headers.contains_key(header::RETRY_AFTER));
        refusal.refusal()
    };
    let [large, larger, small] = &targets[..] else {
        panic!("three were put");
    };

    let first = get(large).await;
    let second = get(large).await;
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!(refusal(large).await, refused(429, "TOOMANYREQUESTS"));
    assert_eq!(get(small).await.status(), StatusCode::OK);
    let frame = first.into_body().frame().await.unwrap().unwrap();
    let rest = frame.into_data().unwrap().slice(..1);
    assert_eq!(refusal(large).await, refused(429, "TOOMANYREQUESTS"));
    drop(rest);
    assert_eq!(get(large).await.status(), StatusCode::OK);
    drop(second);

    // One alone may be of any size.
    let alone = get(larger).await;
    assert_eq!(alone.status(), StatusCode::OK);
    assert_eq!(refusal(large).await, refused(429, "TOOMANYREQUESTS"));
}

/// Checks that a client that reads no response leaves memory for others.
#[tokio::test]
async fn document_bytes_of_one_client() {
    let limits = {
        let mut limits = Limits::default();
        limits.document_bytes = 4 << 20;
        limits
    };
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions)
        .allow_anonymous_push()
        .limits(limits)
        .build();
    let padding = "x".repeat(600 << 10);
    let image = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [], "annotations": {"a": padding},
    });
    let image = image.to_string();
    let digest = Digest::of(Algorithm::Sha256, image.as_bytes());
    let repository = registry.repository("a").unwrap();
    repository
        .put_manifest(ManifestPush::new(digest, image))
        .await
        .unwrap();
    let get = async |user: Option<&str>, address: &str| {
        let target = format!("/v2/a/manifests/{digest}");
        let mut request = Request::get(target).body(String::new()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ClientAddress(address));
        if let Some(user) = user {
            request.extensions_mut().insert(Identity::new(user));
        }
        let answer = registry.handle(request).await;
        (answer.status().as_u16(), answer.into_body())
    };

    // A quarter of the room has one of them, and not two.
    let mut held = Vec::new();
    for (user, address, status) in [
        (None, "192.0.2.1:1", 200),
        (None, "192.0.2.1:2", 429),
        (Some("ann"), "192.0.2.1:1", 200),
        (Some("ann"), "192.0.2.2:1", 429),
        (None, "[2001:db8::1]:1", 200),
        (None, "[2001:db8::2]:1", 429),
        (Some("bob"), "192.0.2.1:1", 200),
    ] {
        let (answered, body) = get(user, address).await;
        assert_eq!(answered, status, "{user:?} {address}");
        if answered == 200 {
            held.push(body);
        }
    }
    held.clear();
    assert_eq!(get(None, "192.0.2.1:1").await.0, 200);
}

/// Checks that a manifest counts from its first bytes until it is stored.
#[tokio::test]
async fn document_bytes_that_are_sent() {
    let registry = registry(|limits| limits.document_bytes = 2 << 20);
    let put = |bytes: usize| {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        sender.send(Bytes::from(vec![b' '; bytes])).unwrap();
        let request = Request::put("/v2/a/manifests/v1").body(Frames(receiver)).unwrap();
        (sender, Box::pin(registry.handle(request)))
    };
    let waits = async |future: &mut (dyn Future<Output = http::Response<ResponseBody>> + Unpin)| {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
    };
    let (first, mut putting) = put(1 << 20);
    assert!(waits(&mut putting).await);
    let (_second, mut fits) = put(900 << 10);
    assert!(waits(&mut fits).await);

    let (_third, refused) = put(200 << 10);
    let refused = refused.await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let (_small, mut does_not_count) = put(100 << 10);
    assert!(waits(&mut does_not_count).await);

    // What it is does not matter: it was received.
    drop(first);
    assert_eq!(putting.await.status(), StatusCode::BAD_REQUEST);
    let (_third, mut fits) = put(200 << 10);
    assert!(waits(&mut fits).await);
}

/// Body whose frames the test sends through a channel.
struct Frames(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn open_uploads_of_one_user() {
    let limits = {
        let mut limits = Limits::default();
        limits.uploads_of_user = 1;
        limits
    };
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions)
        .allow_anonymous_push()
        .limits(limits)
        .build();
    let open = async |user: Option<&str>, address: &str| {
        let mut request = Request::post("/v2/a/blobs/uploads/").body(String::new()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ClientAddress(address));
        if let Some(user) = user {
            request.extensions_mut().insert(Identity::new(user));
        }
        send(&registry, request).await
    };

    assert_eq!(
        open(Some("ann"), "192.0.2.1:1").await.status,
        StatusCode::ACCEPTED
    );
    let refusal = open(Some("ann"), "192.0.2.2:1").await;
    assert_eq!(refusal.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert!(refusal.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(
        open(Some("bob"), "192.0.2.1:1").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(open(None, "192.0.2.1:1").await.status, StatusCode::ACCEPTED);
    assert_eq!(
        open(None, "192.0.2.1:2").await.refusal(),
        refused(429, "TOOMANYREQUESTS")
    );
    assert_eq!(open(None, "[2001:db8::1]:1").await.status, StatusCode::ACCEPTED);
    assert_eq!(
        open(None, "[2001:db8::2]:1").await.refusal(),
        refused(429, "TOOMANYREQUESTS")
    );
    assert_eq!(
        open(None, "[2001:db8:0:1::2]:1").await.status,
        StatusCode::ACCEPTED
    );

    // What the host does in its own name is bounded by the totals alone.
    let repository = registry.repository("a").unwrap();
    for _ in 0..2 {
        repository.open_upload(Algorithm::Sha256).await.unwrap();
    }
}

/// Nobody closes a repository alone.
#[test]
fn a_user_has_a_quarter_of_the_uploads_of_a_repository() {
    let limits = Limits::default();
    assert_eq!(limits.uploads_of_user * 4, limits.uploads_in_repository);
}

#[tokio::test]
async fn components_of_the_name_of_a_new_repository() {
    let storage = MemoryStorage::new();
    let registry = |name_components| {
        let mut limits = Limits::default();
        limits.name_components = name_components;
        Registry::builder(storage.clone())
            .limits(limits)
            .allow_anonymous_push()
            .build()
    };
    let (before, now) = (registry(4), registry(3));
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}).to_string();
    let put = async |registry: &Registry, name: &str| {
        let request = Request::put(format!("/v2/{name}/manifests/v1"))
            .header(header::CONTENT_TYPE, media_type)
            .body(index.clone());
        send(registry, request.unwrap()).await
    };
    let post = async |name: &str, query: &str| {
        let target = format!("/v2/{name}/blobs/uploads/{query}");
        send(&now, Request::post(target).body(String::from("{}")).unwrap()).await
    };
    let digest = Digest::of(Algorithm::Sha256, b"{}");
    let (whole, mount) = (format!("?digest={digest}"), format!("?mount={digest}&from=a/b/c"));

    assert_eq!(put(&before, "a/b/c/there").await.status, StatusCode::CREATED);
    assert_eq!(
        put(&before, "a/b/c/d/e").await.refusal(),
        refused(400, "NAME_INVALID")
    );

    for query in ["", &whole, &mount] {
        assert!(post("a/b/c", query).await.status.is_success(), "{query}");
        assert_eq!(
            post("a/b/c/new", query).await.refusal(),
            refused(400, "NAME_INVALID"),
            "{query}"
        );
        assert!(post("a/b/c/there", query).await.status.is_success(), "{query}");
    }
    assert_eq!(put(&now, "a/b/c").await.status, StatusCode::CREATED);
    assert_eq!(
        put(&now, "a/b/c/new").await.refusal(),
        refused(400, "NAME_INVALID")
    );
    assert_eq!(put(&now, "a/b/c/there").await.status, StatusCode::CREATED);
    let get = Request::get("/v2/a/b/c/there/manifests/v1")
        .body(String::new())
        .unwrap();
    assert_eq!(send(&now, get).await.status, StatusCode::OK);
    assert_eq!(Limits::default().name_components, 32);
}

#[tokio::test]
async fn open_uploads() {
    let registry = registry(|limits| {
        limits.uploads_in_repository = 2;
        limits.uploads = 3;
    });
    let open = async |name: &str, query: &str| {
        let target = format!("/v2/{name}/blobs/uploads/{query}");
        send(&registry, Request::post(target).body(String::from("{}")).unwrap()).await
    };
    let digest = Digest::of(Algorithm::Sha256, b"{}");

    let first = open("a", "").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(open("a", "").await.status, StatusCode::ACCEPTED);
    let refusal = open("a", "").await;
    assert_eq!(refusal.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert!(refusal.headers.contains_key(header::RETRY_AFTER));
    let mount = format!("?mount={digest}&from=b");
    assert_eq!(
        open("a", &mount).await.refusal(),
        refused(429, "TOOMANYREQUESTS"),
        "it would be a session"
    );
    assert_eq!(open("b", "").await.status, StatusCode::ACCEPTED);
    assert_eq!(open("b", "").await.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert_eq!(
        open("b", &format!("?digest={digest}")).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        open("a", &mount).await.status,
        StatusCode::CREATED,
        "it is no session"
    );

    let location = first.headers[header::LOCATION].to_str().unwrap();
    let cancel = Request::delete(location).body(String::new()).unwrap();
    assert_eq!(send(&registry, cancel).await.status, StatusCode::NO_CONTENT);
    assert_eq!(open("b", "").await.status, StatusCode::ACCEPTED);
}

/// Allows everybody to push, and to pull from `d`, and records the repositories of requested pulls.
#[derive(Debug, Default)]
struct OnlyFromD(Mutex<Vec<String>>);

#[async_trait]
impl Authorizer for OnlyFromD {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let access = ask.access;
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        if access.action == Action::Push {
            return Ok(Decision::Allow);
        }
        self.0.lock().unwrap().push(repository.to_owned());
        Ok(if repository == "d" {
            Decision::Allow
        } else {
            Decision::DenyHidden
        })
    }
}

#[tokio::test]
async fn mount_candidates() {
    for (bound, status, asked) in [
        (3, StatusCode::ACCEPTED, &["a", "b", "c"][..]),
        (4, StatusCode::CREATED, &["a", "b", "c", "d"]),
        (9, StatusCode::CREATED, &["a", "b", "c", "d"]),
    ] {
        let storage = MemoryStorage::new();
        let host = Registry::builder(storage.clone()).build();
        let mut digest = None;
        for name in ["e", "d", "c", "b", "a"] {
            let pushed = host
                .repository(name)
                .unwrap()
                .push_blob("{}", None)
                .await
                .unwrap();
            digest = Some(pushed.digest);
        }
        let rules = Arc::new(OnlyFromD::default());
        let mut limits = Limits::default();
        limits.mount_candidates = bound;
        let registry = Registry::builder(storage)
            .limits(limits)
            .authorizer(Arc::clone(&rules))
            .build();

        let target = format!("/v2/to/blobs/uploads/?mount={}", digest.unwrap());
        let answer = send(&registry, Request::post(target).body(String::new()).unwrap()).await;

        assert_eq!(answer.status, status, "{bound}");
        assert_eq!(
            *rules.0.lock().unwrap(),
            asked,
            "one by one, in order, and no more than {bound}"
        );
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

/// Checks that the defaults accept an index of thousands of platforms, each with a long description.
#[tokio::test]
async fn the_defaults_are_not_in_the_way_of_an_index_of_thousands() {
    let registry = registry(|_| {});
    let repository = registry.repository("a").unwrap();
    let child = document().to_string();
    let size = child.len();
    let digest = Digest::of(Algorithm::Sha256, child.as_bytes());
    repository
        .put_manifest(ManifestPush::new(digest, child))
        .await
        .unwrap();
    let entry = json!({
        "mediaType": "application/vnd.example+json", "digest": digest.to_string(), "size": size,
        "platform": {"os": "linux", "architecture": "arm64", "variant": "v8", "os.features": ["a", "b"]},
        "annotations": {"org.opencontainers.image.ref.name": "x".repeat(64), "org.opencontainers.image.version": "1"},
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": vec![entry; 8000],
        "annotations": {"org.opencontainers.image.description": "x".repeat(10_000)},
    });

    let pushed = repository
        .put_manifest(ManifestPush::new(Tag::parse("all").unwrap(), index.to_string()))
        .await;

    assert!(pushed.is_ok(), "{:?}", pushed.err());
}
