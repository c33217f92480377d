//! Bounds on manifests, on their parts, and on documents in memory.

use super::*;

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

    // A single document may have any size.
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

    // A quarter of the budget suffices for one of these documents, and not for two.
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

    // The status does not matter: the budget is free once the document was received.
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
