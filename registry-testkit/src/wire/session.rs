//! What a case works with: a [`Session`] with one registry, [`Repository`] names of its own, [`Blob`]s that
//! nobody has seen before, and the [`Upload`] that it has opened.

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

/// The media types that a client asks for when it asks for a manifest, one header line each.
const MANIFEST_TYPES: [&str; 4] = [
    super::content::OCI_MANIFEST,
    super::content::OCI_INDEX,
    super::content::DOCKER_MANIFEST,
    super::content::DOCKER_LIST,
];

/// One case's dealings with one registry. Clones speak for the same case.
#[derive(Clone, Debug)]
pub(super) struct Session {
    client: Client,
    /// The algorithm that the case is to use; sha256 where it does not matter.
    pub(super) algorithm: Algorithm,
    /// Sets this run apart from every earlier one against the same registry.
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

/// An upload session, at the `Location` that was named last.
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

    /// A name that does not exist yet; those of one session sort in the order in which they were made.
    pub(super) fn repository(&self) -> Repository {
        let number = self.repositories.fetch_add(1, Ordering::Relaxed);
        self.repository_named(&format!("wire-{}/{number:03}", self.run))
    }

    /// A repository under a name that is the case's own to choose; `{run}` in it is what sets runs apart.
    pub(super) fn repository_named(&self, name: &str) -> Repository {
        Repository {
            session: self.clone(),
            name: name.replace("{run}", &self.run),
        }
    }

    /// A blob of random bytes.
    pub(super) fn blob(&self, length: usize) -> Blob {
        self.blob_of(random(length))
    }

    /// A blob of these bytes.
    pub(super) fn blob_of(&self, bytes: impl Into<Bytes>) -> Blob {
        Blob::new(self.algorithm, bytes)
    }

    /// The digest of something that nobody has pushed.
    pub(super) fn unknown_digest(&self) -> Digest {
        self.blob(32).digest
    }

    /// Sends a request; its method, target and status go into the trace, 0 if there was no answer.
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

    /// What was done, without the request that a failure itself describes.
    pub(super) fn trace(&self) -> Vec<String> {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trace.pop();
        trace
    }

    /// The target of a path under the base URL.
    pub(super) fn target(&self, path: &str) -> String {
        self.client.target(path)
    }

    /// A request without a body, for a path under the base URL.
    pub(super) fn request(&self, method: &'static str, path: &str) -> Request {
        Request::new(method, self.target(path))
    }

    /// Asks for a path under the base URL.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request("GET", path)).await
    }

    /// The target that an answer's `Location` names.
    pub(super) fn location(&self, answer: &Answer) -> Result<String, Failure> {
        let target = answer
            .header("location")
            .and_then(|location| self.client.resolve(location));
        target.ok_or_else(|| answer.fail("Location: a path, or a URL of this registry"))
    }

    /// The target that a `Link` names, relative to the request as links are.
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
    /// The path of something in this repository.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// A request without a body, for something in this repository.
    pub(super) fn request(&self, method: &'static str, rest: &str) -> Request {
        self.session.request(method, &self.path(rest))
    }

    /// A request for a blob.
    pub(super) fn blob_request(&self, method: &'static str, digest: &Digest) -> Request {
        self.request(method, &format!("blobs/{digest}"))
    }

    /// A request for a manifest by tag or digest, which accepts every type that this suite pushes.
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

    /// A request that puts a manifest, with the length announced.
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

    /// The upload session that an answer opened.
    pub(super) fn upload(&self, answer: &Answer) -> Result<Upload, Failure> {
        Ok(Upload {
            session: self.session.clone(),
            target: self.session.location(answer)?,
        })
    }

    /// Pushes a blob the way every registry knows: POST, then PUT.
    pub(super) async fn push_blob(&self, blob: &Blob) -> Result<Answer, Failure> {
        self.open_upload()
            .await?
            .close(&blob.digest, blob.bytes.clone())
            .await?
            .is(201)
    }
}

impl Upload {
    /// A request without a body for the session.
    pub(super) fn request(&self, method: &'static str) -> Request {
        Request::new(method, self.target.clone())
    }

    /// A PATCH, for the case to add what it likes.
    pub(super) fn patch_request(&self) -> Request {
        self.request("PATCH")
            .header("Content-Type", "application/octet-stream")
    }

    /// A PATCH of the bytes that begin at `start`, with `Content-Range` and `Content-Length`.
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

    /// Sends a chunk in its turn, which must be kept.
    pub(super) async fn append(&mut self, start: usize, bytes: &Bytes) -> Result<(), Failure> {
        let answer = self
            .chunk(start, bytes)
            .await?
            .is(202)?
            .keeps(start + bytes.len())?;
        self.session.location(&answer).map(drop)
    }

    /// Streams bytes: no range, no length.
    pub(super) async fn stream(&mut self, bytes: &Bytes) -> Result<Answer, Failure> {
        self.send(self.patch_request().chunked(bytes.clone())).await
    }

    /// Asks where the session stands.
    pub(super) async fn status(&mut self) -> Result<Answer, Failure> {
        self.send(self.request("GET")).await
    }

    /// The target with the digest in its query.
    pub(super) fn closing_target(&self, digest: &str) -> String {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{separator}digest={}", self.target, digest.replace(':', "%3A"))
    }

    /// A PUT that closes the session under a digest, without a body yet.
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

/// `Content-Range` as the specification has it: inclusive, without a unit.
fn range(start: usize, bytes: &Bytes) -> String {
    format!("{start}-{}", (start + bytes.len()).saturating_sub(1))
}

/// Random bytes.
pub(super) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
