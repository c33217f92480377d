//! The life of a test registry: side by side, in any runtime, and its end.

use super::*;
use registry_core::{Algorithm, Digest, MediaType, Tag, service::ManifestPush};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

fn ask(registry: &TestRegistry, request: &str) -> String {
    let mut stream = TcpStream::connect(registry.addr()).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn assert_answers(registry: &TestRegistry) {
    let answer = ask(registry, "GET /v2/");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(registry.take_requests().ping().status(200).count(), 1);
    assert_eq!(registry.requests().count(), 0);
}

#[test]
fn it_answers_as_soon_as_it_has_started() {
    let registry = TestRegistry::start();
    assert_answers(&registry);
    let port = registry.addr().port();
    assert_eq!(registry.url(), format!("http://127.0.0.1:{port}"));
    assert_eq!(registry.reference("a/b:v1"), format!("127.0.0.1:{port}/a/b:v1"));
    assert_eq!(
        registry.transport("a/b:v1"),
        format!("docker://127.0.0.1:{port}/a/b:v1")
    );
}

#[tokio::test]
async fn it_starts_and_ends_in_a_runtime_of_one_thread() {
    assert_answers(&TestRegistry::start());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_and_ends_in_a_runtime_of_several_threads() {
    assert_answers(&TestRegistry::start());
}

#[tokio::test]
async fn its_content_is_read_inside_and_outside_of_a_runtime() {
    let registry = TestRegistry::start();
    let repository = registry.registry().repository("team/app").unwrap();
    let blob = repository.push_blob("content", None).await.unwrap();
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for tag in ["v2", "v1"] {
        let push = ManifestPush::new(Tag::parse(tag).unwrap(), index);
        repository.put_manifest(push).await.unwrap();
    }

    let assert_all = || {
        assert_eq!(
            registry.blob("team/app", &blob.digest).as_deref(),
            Some(&b"content"[..])
        );
        assert_eq!(registry.blob("other", &blob.digest), None);
        assert_eq!(registry.tags("team/app"), ["v1", "v2"]);
        assert_eq!(
            registry.manifest("team/app:v1").as_deref(),
            Some(index.as_bytes())
        );
        let digest = registry.digest("team/app:v2").unwrap();
        assert_eq!(registry.digest(&format!("team/app@{digest}")), Some(digest));
        assert_eq!(registry.digest("team/app:v3"), None);
    };
    assert_all();
    std::thread::scope(|scope| scope.spawn(assert_all).join()).unwrap();
    assert_eq!(registry.requests().count(), 0, "no client has asked");
}

/// Pushes an index with one image, and returns the digests of the image's layer and of the image.
async fn push_index(registry: &Registry) -> [Digest; 2] {
    let repository = registry.repository("team/app").unwrap();
    let blob = async |bytes: &'static str| repository.push_blob(bytes, None).await.unwrap();
    let (config, layer) = (blob("{}").await, blob("layer").await);
    let describe = |media_type: &str, digest: &Digest, size: u64| {
        format!(r#"{{"mediaType":"application/vnd.oci.{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        describe("image.config.v1+json", &config.digest, 2),
        describe("image.layer.v1.tar", &layer.digest, 5),
    );
    let digest = Digest::of(Algorithm::Sha256, image.as_bytes());
    let size = image.len() as u64;
    repository
        .put_manifest(ManifestPush::new(digest, image))
        .await
        .unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        describe("image.manifest.v1+json", &digest, size),
    );
    let tag = Tag::parse("v1").unwrap();
    repository
        .put_manifest(ManifestPush::new(tag, index))
        .await
        .unwrap();
    [layer.digest, digest]
}

#[tokio::test]
async fn an_image_was_pushed_if_all_of_it_is_there() {
    let registry = TestRegistry::start();
    let refused = registry.check_pushed("team/app:v1").unwrap_err().to_string();
    assert!(
        refused.contains("team/app has no tags\nno client has sent a request"),
        "{refused}"
    );
    let [layer, image] = push_index(registry.registry()).await;
    registry.assert_pushed("team/app:v1");
    let refused = registry.check_pushed("team/app:v2").unwrap_err().to_string();
    assert!(refused.contains("has the tags v1"), "{refused}");

    let repository = registry.registry().repository("team/app").unwrap();
    repository.delete_blob(&layer).await.unwrap();
    ask(&registry, "GET /v2/team/app/manifests/v1");

    let refused = registry.check_pushed("team/app:v1").unwrap_err().to_string();
    let missing = format!("\n  blob {layer} of 5 bytes is missing, of manifest {image}\n");
    assert!(refused.contains(&missing), "{refused}");
    assert!(
        refused.ends_with("\n  GET /v2/team/app/manifests/v1 → 200"),
        "{refused}"
    );

    repository.delete_manifest(image).await.unwrap();
    let refused = registry.check_pushed("team/app:v1").unwrap_err().to_string();
    assert!(refused.contains(&format!("manifest {image} of ")), "{refused}");
}

#[test]
fn uploads_that_were_left_open_are_listed() {
    let registry = TestRegistry::start();
    registry.assert_no_open_uploads();
    let opened = ask(&registry, "POST /v2/team/app/blobs/uploads/");
    assert!(opened.starts_with("HTTP/1.1 202"), "{opened}");

    let [open] = &registry.uploads_left_open()[..] else {
        panic!("one session is open");
    };
    assert!(
        opened.contains(&format!("/v2/team/app/blobs/uploads/{}", open.id)),
        "{opened}"
    );
    assert_eq!((open.repository.as_str(), open.offset), ("team/app", 0));
    let failed = std::panic::catch_unwind(|| registry.assert_no_open_uploads()).unwrap_err();
    let message = failed.downcast_ref::<String>().unwrap();
    assert!(message.contains(&open.to_string()), "{message}");

    ask(
        &registry,
        &format!("DELETE /v2/team/app/blobs/uploads/{}", open.id),
    );
    registry.assert_no_open_uploads();
}

#[test]
fn requests_are_selected_by_what_they_are() {
    let registry = TestRegistry::start();
    let digest = Digest::of(Algorithm::Sha256, b"");
    for request in [
        "GET /v2/".to_owned(),
        format!("GET /v2/a/blobs/{digest}"),
        "GET /v2/a/manifests/v1".to_owned(),
        format!("POST /v2/a/blobs/uploads/?digest={digest}"),
        "GET /v2/b/tags/list".to_owned(),
        format!("GET /v2/b/referrers/{digest}"),
        "GET /token?service=x".to_owned(),
    ] {
        ask(&registry, &request);
    }
    let requests = registry.requests();
    assert_eq!(requests.count(), 7);
    let selected = |requests: Requests| requests.iter().map(|one| one.target.clone()).collect::<Vec<_>>();
    assert_eq!(selected(requests.clone().ping()), ["/v2/"]);
    assert_eq!(
        selected(requests.clone().manifest().status(404)),
        ["/v2/a/manifests/v1"]
    );
    assert_eq!(requests.clone().manifest().status(200).count(), 0);
    assert_eq!(requests.clone().blob().repository("a").count(), 1);
    assert_eq!(requests.clone().upload().method("post").status(201).count(), 1);
    assert_eq!(selected(requests.clone().tags()), ["/v2/b/tags/list"]);
    assert_eq!(requests.clone().referrers().repository("b").count(), 1);
    assert_eq!(selected(requests.clone().token()), ["/token?service=x"]);
    assert_eq!(
        format!("{:?}", requests.repository("b").tags()),
        "GET /v2/b/tags/list → 404"
    );
}

#[test]
fn many_run_side_by_side() {
    let registries: Vec<_> = (0..32).map(|_| TestRegistry::start()).collect();
    for registry in &registries {
        assert_answers(registry);
    }
}

#[test]
fn its_port_is_free_after_the_drop() {
    let registry = TestRegistry::start();
    let address = registry.addr();
    // A client keeps its connection, and another one has a request in progress.
    let mut idle = TcpStream::connect(address).unwrap();
    write!(idle, "GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    let mut answered = [0; 12];
    idle.read_exact(&mut answered).unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200");
    let mut pushing = TcpStream::connect(address).unwrap();
    let push = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\n{";
    pushing.write_all(push.as_bytes()).unwrap();
    let begun = Instant::now();

    drop(registry);

    assert!(begun.elapsed() < Duration::from_secs(30), "it waits for nobody");
    TcpListener::bind(address).unwrap();
    let mut rest = Vec::new();
    // Not by the time-out of a silent connection.
    pushing.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    if let Err(error) = pushing.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(rest, b"", "a push in progress ends without an answer");
}

#[test]
fn a_storage_outlives_its_registry() {
    let storage = registry_core::storage::MemoryStorage::new();
    let first = TestRegistry::builder().storage(storage.clone()).start();
    let open = "POST /v2/a/blobs/uploads/?digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(ask(&first, open).starts_with("HTTP/1.1 201"));
    drop(first);

    let second = TestRegistry::builder().storage(storage).start();

    let get = "GET /v2/a/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(ask(&second, get).starts_with("HTTP/1.1 200"));
}

#[test]
fn an_address_that_is_not_of_this_machine_is_an_error() {
    let elsewhere = TestRegistry::builder().bind([192, 0, 2, 1].into());
    assert_eq!(
        elsewhere.try_start().unwrap_err().kind(),
        ErrorKind::AddrNotAvailable
    );

    let everywhere = TestRegistry::builder().bind([0, 0, 0, 0].into()).start();
    assert!(everywhere.host().starts_with("127.0.0.1:"));
    assert_answers(&everywhere);
}
