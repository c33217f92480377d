//! Tools of a case: a [`Session`] with one registry, [`Repository`] names of its own, unique [`Blob`]s, and the
//! [`Upload`] that it has opened.

use super::{
    client::{Answer, Client, Exchange, Request},
    failure::Failure,
};
use bytes::Bytes;
use registry_core::{Algorithm, Digest};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    sync::{Arc, Mutex, PoisonError},
};

/// Media types that a client accepts for a manifest, one header line each.
const MANIFEST_TYPES: [&str; 4] = [
    super::media_types::OCI_MANIFEST,
    super::media_types::OCI_INDEX,
    super::media_types::DOCKER_MANIFEST,
    super::media_types::DOCKER_LIST,
];

/// The requests of one case to one registry. Clones belong to the same case.
#[derive(Clone, Debug)]
pub(super) struct Session {
    client: Client,
    /// Algorithm that the case uses; sha256 if it does not matter.
    pub(super) algorithm: Algorithm,
    /// Distinguishes this run from earlier ones against the same registry.
    run: String,
    repositories: Arc<AtomicU32>,
    trace: Arc<Mutex<Vec<String>>>,
}

/// Content, and its digest in the session's algorithm.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
}

/// A repository that no other case and no earlier run has used.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    session: Session,
    pub(super) name: String,
}

/// An upload session, at its latest `Location`.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    session: Session,
    pub(super) target: String,
}

impl Session {
    pub(super) fn new(client: Client, algorithm: Algorithm) -> Self {
        Self {
            client,
            algorithm,
            run: hex(&random(8)),
            repositories: Arc::default(),
            trace: Arc::default(),
        }
    }

    /// Returns a name that does not exist yet; the names of one session sort in the order of their creation.
    pub(super) fn repository(&self) -> Repository {
        let number = self.repositories.fetch_add(1, Ordering::Relaxed);
        self.repository_named(&format!("wire-{}/{number:03}", self.run))
    }

    /// Returns a repository under a name that the case chooses; `{run}` in it is replaced by text that distinguishes
    /// runs.
    pub(super) fn repository_named(&self, name: &str) -> Repository {
        Repository {
            session: self.clone(),
            name: name.replace("{run}", &self.run),
        }
    }

    /// Returns a blob of random bytes.
    pub(super) fn blob(&self, length: usize) -> Blob {
        self.blob_of(random(length))
    }

    /// Returns a blob of these bytes.
    pub(super) fn blob_of(&self, bytes: impl Into<Bytes>) -> Blob {
        Blob::new(self.algorithm, bytes)
    }

    /// Returns the digest of content that was never pushed.
    pub(super) fn unknown_digest(&self) -> Digest {
        self.blob(32).digest
    }

    /// Sends a request; the trace records its method, target and status, or 0 if there was no answer.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let answer = self.client.send(&request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        self.note(format!("{} → {status}", request.line()));
        answer
    }

    /// Sends the head of a request only.
    pub(super) async fn begin(&self, request: Request) -> Result<Exchange, Failure> {
        self.note(format!("{} (body held)", request.line()));
        self.client.begin(&request).await
    }

    fn note(&self, line: String) {
        self.trace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// Returns the earlier requests, without the one that a failure itself describes.
    pub(super) fn trace(&self) -> Vec<String> {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trace.pop();
        trace
    }

    /// Returns the target of a path under the base URL.
    pub(super) fn target(&self, path: &str) -> String {
        self.client.target(path)
    }

    /// Returns a request without a body, for a path under the base URL.
    pub(super) fn request(&self, method: &'static str, path: &str) -> Request {
        Request::new(method, self.target(path))
    }

    /// Sends a GET for a path under the base URL.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request("GET", path)).await
    }

    /// Returns the target of an answer's `Location`.
    pub(super) fn location(&self, answer: &Answer) -> Result<String, Failure> {
        let target = answer
            .header("location")
            .and_then(|location| self.client.resolve(location));
        target.ok_or_else(|| answer.fail("Location: a path, or a URL of this registry"))
    }

    /// Returns the target of a `Link`, relative to the request as links are.
    pub(super) fn follow(&self, answer: &Answer, link: &str) -> Result<String, Failure> {
        self.client
            .resolve(link)
            .ok_or_else(|| answer.fail("a link to a path, or to a URL of this registry"))
    }

    /// Collects the strings under `key` from every page, following `Link` to the end.
    pub(super) async fn pages(&self, path: &str, key: &str) -> Result<Vec<Vec<String>>, Failure> {
        let mut pages = Vec::new();
        let mut target = self.target(path);
        loop {
            let answer = self.send(Request::new("GET", target)).await?.is(200)?;
            pages.push(answer.strings(key)?);
            match answer.next_link()? {
                Some(_) if pages.len() > 1000 => return Err(answer.fail("an end of the pages")),
                Some(link) => target = self.follow(&answer, &link)?,
                None => return Ok(pages),
            }
        }
    }
}

impl Blob {
    pub(super) fn new(algorithm: Algorithm, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = Digest::of(algorithm, &bytes);
        Self { bytes, digest }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Repository {
    /// Returns the path of something in this repository.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// Returns a request without a body, for something in this repository.
    pub(super) fn request(&self, method: &'static str, rest: &str) -> Request {
        self.session.request(method, &self.path(rest))
    }

    /// Returns a request for a blob.
    pub(super) fn blob_request(&self, method: &'static str, digest: &Digest) -> Request {
        self.request(method, &format!("blobs/{digest}"))
    }

    /// Returns a request for a manifest by tag or digest, which accepts every type that this suite pushes.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a tag or a digest, as the case has it at hand"
    )]
    pub(super) fn manifest_request(&self, method: &'static str, reference: impl ToString + Send) -> Request {
        let request = self.request(method, &format!("manifests/{}", reference.to_string()));
        MANIFEST_TYPES.into_iter().fold(request, |request, media_type| {
            request.header("Accept", media_type)
        })
    }

    /// Returns a request that puts a manifest, with the length announced.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a tag or a digest, as the case has it at hand"
    )]
    pub(super) fn put_request(
        &self,
        reference: impl ToString + Send,
        media_type: &str,
        body: &Bytes,
    ) -> Request {
        self.request("PUT", &format!("manifests/{}", reference.to_string()))
            .header("Content-Type", media_type)
            .sized(body.clone())
    }

    pub(super) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        self.session.send(request).await
    }

    pub(super) async fn get(&self, rest: &str) -> Result<Answer, Failure> {
        self.send(self.request("GET", rest)).await
    }

    pub(super) async fn get_blob(&self, digest: &Digest) -> Result<Answer, Failure> {
        self.send(self.blob_request("GET", digest)).await
    }

    pub(super) async fn head_blob(&self, digest: &Digest) -> Result<Answer, Failure> {
        self.send(self.blob_request("HEAD", digest)).await
    }

    pub(super) async fn delete_blob(&self, digest: &Digest) -> Result<Answer, Failure> {
        self.send(self.blob_request("DELETE", digest)).await
    }

    pub(super) async fn get_manifest(&self, reference: impl ToString + Send) -> Result<Answer, Failure> {
        self.send(self.manifest_request("GET", reference)).await
    }

    pub(super) async fn head_manifest(&self, reference: impl ToString + Send) -> Result<Answer, Failure> {
        self.send(self.manifest_request("HEAD", reference)).await
    }

    pub(super) async fn delete_manifest(&self, reference: impl ToString + Send) -> Result<Answer, Failure> {
        self.send(self.manifest_request("DELETE", reference)).await
    }

    /// Opens an upload session.
    pub(super) async fn open_upload(&self) -> Result<Upload, Failure> {
        self.open_upload_with("").await
    }

    /// Opens an upload session; `query` is empty or begins with `?`.
    pub(super) async fn open_upload_with(&self, query: &str) -> Result<Upload, Failure> {
        let request = self
            .request("POST", &format!("blobs/uploads/{query}"))
            .sized(Bytes::new());
        let answer = self.send(request).await?.is(202)?;
        self.upload(&answer)
    }

    /// Returns the upload session that an answer opened.
    pub(super) fn upload(&self, answer: &Answer) -> Result<Upload, Failure> {
        Ok(Upload {
            session: self.session.clone(),
            target: self.session.location(answer)?,
        })
    }

    /// Pushes a blob in the way that every registry supports: POST, then PUT.
    pub(super) async fn push_blob(&self, blob: &Blob) -> Result<Answer, Failure> {
        self.open_upload()
            .await?
            .close(&blob.digest, blob.bytes.clone())
            .await?
            .is(201)
    }
}

impl Upload {
    /// Returns a request without a body for the session.
    pub(super) fn request(&self, method: &'static str) -> Request {
        Request::new(method, self.target.clone())
    }

    /// Returns a PATCH that the case can complete.
    pub(super) fn patch_request(&self) -> Request {
        self.request("PATCH")
            .header("Content-Type", "application/octet-stream")
    }

    /// Returns a PATCH of the bytes that begin at `start`, with `Content-Range` and `Content-Length`.
    pub(super) fn chunk_request(&self, start: usize, bytes: &Bytes) -> Request {
        self.patch_request()
            .header("Content-Range", range(start, bytes))
            .sized(bytes.clone())
    }

    /// Sends a request to the session and follows the `Location` of the answer.
    pub(super) async fn send(&mut self, request: Request) -> Result<Answer, Failure> {
        let answer = self.session.send(request).await?;
        if answer.headers.contains_key("location") && answer.status != 201 {
            self.target = self.session.location(&answer)?;
        }
        Ok(answer)
    }

    /// Sends a chunk that begins at `start`.
    pub(super) async fn chunk(&mut self, start: usize, bytes: &Bytes) -> Result<Answer, Failure> {
        self.send(self.chunk_request(start, bytes)).await
    }

    /// Sends the next chunk, and checks that it is stored.
    pub(super) async fn append(&mut self, start: usize, bytes: &Bytes) -> Result<(), Failure> {
        let answer = self
            .chunk(start, bytes)
            .await?
            .is(202)?
            .keeps(start + bytes.len())?;
        self.session.location(&answer).map(drop)
    }

    /// Streams bytes without a range or length.
    pub(super) async fn stream(&mut self, bytes: &Bytes) -> Result<Answer, Failure> {
        self.send(self.patch_request().chunked(bytes.clone())).await
    }

    /// Asks for the state of the session.
    pub(super) async fn status(&mut self) -> Result<Answer, Failure> {
        self.send(self.request("GET")).await
    }

    /// Returns the target with the digest in its query.
    pub(super) fn closing_target(&self, digest: &str) -> String {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{separator}digest={}", self.target, digest.replace(':', "%3A"))
    }

    /// Returns a PUT that closes the session under a digest, without a body yet.
    pub(super) fn close_request(&self, digest: &str) -> Request {
        Request::new("PUT", self.closing_target(digest)).header("Content-Type", "application/octet-stream")
    }

    /// Closes the session with these bytes, or with none.
    pub(super) async fn close(&mut self, digest: &Digest, bytes: Bytes) -> Result<Answer, Failure> {
        self.send(self.close_request(&digest.to_string()).sized(bytes))
            .await
    }

    /// Closes the session with a last chunk that begins at `start`.
    pub(super) async fn close_with_chunk(
        &mut self,
        digest: &Digest,
        start: usize,
        bytes: &Bytes,
    ) -> Result<Answer, Failure> {
        let request = self
            .close_request(&digest.to_string())
            .header("Content-Range", range(start, bytes));
        self.send(request.sized(bytes.clone())).await
    }

    /// Cancels the session.
    pub(super) async fn cancel(&mut self) -> Result<Answer, Failure> {
        self.send(self.request("DELETE")).await
    }

    /// Sends the head of a request only.
    pub(super) async fn begin(&self, request: Request) -> Result<Exchange, Failure> {
        self.session.begin(request).await
    }
}

/// Formats `Content-Range` as the specification does: inclusive, without a unit.
fn range(start: usize, bytes: &Bytes) -> String {
    format!("{start}-{}", (start + bytes.len()).saturating_sub(1))
}

/// Returns random bytes.
pub(super) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
