//! Tests of the log after a storage failure: it names client and request.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Descriptor, Digest, Reference, Registry, RepositoryName, Storage, Tag,
    auth::ClientAddress,
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, FileRange, Listing, Page, ReadBlob, StorageError,
        StoredManifest,
    },
};
use std::{
    fs::File,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tracing::subscriber::DefaultGuard;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Opens blobs whose bytes cannot be read from offset `from` on, and supports nothing else.
#[derive(Debug)]
struct Unreadable {
    from: usize,
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
        _: &Digest,
        _: Option<&str>,
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
        "ERROR registry_core::service::asked: an answer breaks off: cannot read /data: input/output error method=GET \
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

/// Log of this thread, until it is dropped.
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    fn capture() -> Self {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            written,
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
