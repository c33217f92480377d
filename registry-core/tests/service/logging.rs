//! Tests of the log after a storage failure: it names client and request.

use crate::{IMAGE, digest, manifest, outages::Broken};
use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, Registry, RepositoryName, Storage, Tag,
    auth::ClientAddress,
    manifest::Manifest,
    protocol::PageQuery,
    service::ManifestPush,
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, FileRange, Listing, MemoryStorage, Page,
        PutManifest, ReadBlob, Referring, Resource, StorageError, StoredManifest, TagMove, Verified,
    },
};
use serde_json::json;
use std::{
    fs::File,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tracing::{Level, subscriber::DefaultGuard};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Opens blobs whose bytes cannot be read from offset `from` on, and supports nothing else.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) from: usize,
}

fn failure() -> StorageError {
    StorageError::io("cannot read /data", io::Error::other("input/output error"))
}

#[async_trait]
impl Storage for Unreadable {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>, StorageError> {
        Err(failure())
    }

    async fn open_blob(
        &self,
        _: &RepositoryName,
        digest: &Digest,
        _: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        #[expect(clippy::disallowed_methods, reason = "a listener is offered an open file")]
        let file = FileRange::new(Arc::new(File::open("/dev/null").unwrap()), 0..5);
        let content = Content::stream(Box::pin(Failing { left: self.from })).with_file(file);
        let info = BlobInfo::new(*digest, 5);
        Ok(Some(BlobRead::new(info, 0..5, BlobBody::Content(content))))
    }

    async fn manifest(
        &self,
        _: &RepositoryName,
        _: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        Err(failure())
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>, StorageError> {
        Err(failure())
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: Referring<'_>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>, StorageError> {
        Err(failure())
    }

    async fn repositories(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        Err(failure())
    }
}

/// Body of several pieces that ends with an error.
pub(crate) struct Failing {
    pub(crate) left: usize,
}

impl Body for Failing {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let more = self.left.checked_sub(1).ok_or_else(failure);
        Poll::Ready(Some(more.map(|left| {
            self.left = left;
            Frame::data(Bytes::from_static(b"a"))
        })))
    }
}

fn request(target: &str) -> Request<String> {
    let mut request = Request::get(target).body(String::new()).unwrap();
    let client = "[::ffff:192.0.2.7]:50000".parse().unwrap();
    request.extensions_mut().insert(ClientAddress(client));
    request
}

#[tokio::test]
async fn a_storage_error_names_the_request_and_the_client() {
    let log = Log::capture();
    let registry = Registry::builder(Unreadable { from: 0 }).build();

    registry.handle(request("/v2/team/app/manifests/v1?x=y")).await;
    registry
        .handle(Request::get("/v2/_catalog").body(String::new()).unwrap())
        .await;

    assert_eq!(
        log.take(),
        [
            "ERROR registry_core::service::asked: the storage failed: cannot read /data: input/output error \
             status=500 Internal Server Error method=GET path=\"/v2/team/app/manifests/v1\" repository=team/app \
             client=192.0.2.7",
            "ERROR registry_core::service::asked: the storage failed: cannot read /data: input/output error \
             status=500 Internal Server Error method=GET path=\"/v2/_catalog\"",
        ]
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_names_the_request_and_the_client() {
    let log = Log::capture();
    let registry = Registry::builder(Unreadable { from: 1 }).build();
    let target = format!("/v2/team/app/blobs/{DIGEST}");

    let streamed = registry.handle(request(&target)).await.into_body();
    let sent = registry.handle(request(&target)).await.into_body();
    assert_eq!(log.take(), [""; 0], "nothing has failed so far");
    streamed.collect().await.unwrap_err();
    sent.file().unwrap().failed(&failure());

    let line = format!(
        "ERROR registry_core::service::asked: a response broke off: cannot read /data: input/output error method=GET \
         path=\"/v2/team/app/blobs/{DIGEST}\" repository=team/app client=192.0.2.7"
    );
    assert_eq!(log.take(), [line.clone(), line]);
}

/// Checks that the status reports the failure, because the head is not sent yet.
#[tokio::test]
async fn an_answer_whose_first_bytes_cannot_be_read_is_a_refusal() {
    let log = Log::capture();
    let registry = Registry::builder(Unreadable { from: 0 }).build();
    for range in [None, Some("bytes=1-3")] {
        let mut request = request(&format!("/v2/team/app/blobs/{DIGEST}"));
        if let Some(range) = range {
            request.headers_mut().insert("range", range.parse().unwrap());
        }

        let answer = registry.handle(request).await;

        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(br#"{"errors":[{"code":"UNKNOWN""#), "{body:?}");
    }
    for line in log.take() {
        assert!(
            line.contains("the storage failed: cannot read /data: input/output error"),
            "{line}"
        );
    }
}

/// Checks that the path in the log is the same for every spelling of a name.
#[tokio::test]
async fn a_path_is_logged_as_it_is_read() {
    let log = Log::at(Level::DEBUG);
    let registry = Registry::builder(Unreadable { from: 1 }).build();

    registry.handle(request("/v2/team%2F%61pp/manifests/v1")).await;
    let target = format!("/v2/team%2Fapp/blobs/{DIGEST}");
    let streamed = registry.handle(request(&target)).await.into_body();
    streamed.collect().await.unwrap_err();

    let [refused, broken_off] = &log.take()[..] else {
        panic!("two lines");
    };
    let span = r#"request{method=GET path="/v2/team/app/manifests/v1"}: "#;
    assert!(refused.contains(span), "{refused}");
    for line in [refused, broken_off] {
        assert!(line.contains(" repository=team/app "), "{line}");
        assert!(line.contains(r#" method=GET path="/v2/team/app/"#), "{line}");
        assert!(!line.contains('%'), "{line}");
    }
}

/// Checks that the log has an error, because an operator has to act, although clients get 403.
#[tokio::test]
async fn what_only_an_operator_can_resolve_is_an_error_in_the_log() {
    let errors: [fn() -> StorageError; 3] = [
        || StorageError::io("cannot write /data", io::ErrorKind::StorageFull.into()),
        || StorageError::full(Resource::Files, "cannot write /data", "no inodes"),
        || StorageError::denied("cannot write /data: locked"),
    ];
    for error in errors {
        let log = Log::capture();
        let registry = Registry::builder(Broken(error)).build();

        registry.handle(request("/v2/team/app/manifests/v1")).await;

        let line = log.take().concat();
        assert!(
            line.starts_with("ERROR ") && line.contains("cannot write /data"),
            "{line}"
        );
        assert!(line.contains("status=403 Forbidden"), "{line}");
    }
}

#[tokio::test]
async fn sizes_that_are_accepted_although_they_are_wrong_are_told() {
    let log = Log::capture();
    let registry = Registry::builder(MemoryStorage::new())
        .allow_wrong_sizes()
        .build();
    let repository = registry.repository("team/app").unwrap();
    repository.push_blob(String::from("{}"), None).await.unwrap();
    let lying = String::from_utf8(manifest("lying").to_vec()).unwrap();
    let lying = lying.replace(r#""size":2"#, r#""size":7"#);

    let push = ManifestPush::new(Tag::parse("v1").unwrap(), lying);
    repository.put_manifest(push).await.unwrap();

    let line = log.take().concat();
    for part in [
        "WARN ",
        "accepted a manifest with wrong sizes in its descriptors",
        "repository=team/app",
        "stored=2 claimed=7 descriptors=1",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

const WITHOUT_ANNOTATIONS: &str = "a manifest is listed without its annotations";

/// Reads a stored manifest, which an earlier version may have accepted.
#[tokio::test]
async fn a_stored_manifest_whose_annotations_cannot_be_listed_is_told() {
    let log = Log::capture();
    let stored = json!({
        "subject": {"mediaType": "a/b", "digest": digest().to_string(), "size": 2},
        "annotations": {"number": 5},
    });
    let media_type = MediaType::parse(IMAGE).unwrap();
    let stored = Manifest::parse_stored(stored.to_string().as_bytes(), &media_type).unwrap();

    let (_, listed) = stored.referrer(Digest::of(Algorithm::Sha256, b"own"), 3).unwrap();

    assert_eq!(listed.annotations, None);
    let line = log.take().concat();
    assert!(
        line.starts_with("WARN ") && line.contains(WITHOUT_ANNOTATIONS),
        "{line}"
    );
    assert!(line.contains(&format!("digest={}", listed.digest)), "{line}");
}

/// Lists a manifest of an index that an older client maintains under a tag.
#[tokio::test]
async fn an_entry_that_was_kept_and_whose_annotations_cannot_be_listed_is_told() {
    let log = Log::capture();
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    repository.push_blob(String::from("{}"), None).await.unwrap();
    let kept = manifest("kept");
    let (of_kept, size) = (Digest::of(Algorithm::Sha256, &kept), kept.len());
    let push = ManifestPush::new(of_kept, kept);
    repository.put_manifest(push).await.unwrap();
    let entry = json!({
        "mediaType": IMAGE, "digest": of_kept.to_string(), "size": size, "annotations": {"number": 5},
    });
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry]});
    let verified = Verified::of(Algorithm::Sha256, index.to_string().into());
    let mut put = PutManifest::new(verified, MediaType::parse(MediaType::OCI_INDEX).unwrap());
    put.tags.push(TagMove::new(Tag::of_referrers(&digest())));
    let write = storage.write().unwrap();
    write.put_manifest(repository.name(), put).await.unwrap();

    let listed = repository.referrers(&digest(), None, &PageQuery::default()).await;

    assert_eq!(listed.unwrap().items.len(), 1);
    let line = log.take().concat();
    assert!(
        line.starts_with("WARN ") && line.contains(WITHOUT_ANNOTATIONS),
        "{line}"
    );
    assert!(line.contains(&format!("digest={of_kept}")), "{line}");
}

/// Log of this thread, until it is dropped.
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    /// With a single subscriber, `tracing` decides whether an event is logged by the thread that reaches it
    /// first, which may be another test's. With two it asks both.
    _second: tracing::Dispatch,
    _guard: DefaultGuard,
}

impl Log {
    fn capture() -> Self {
        Self::at(Level::INFO)
    }

    fn at(level: Level) -> Self {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(level)
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            written,
            _second: tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()),
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Takes the lines since the last call.
    fn take(&self) -> Vec<String> {
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        let text = String::from_utf8(written).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
