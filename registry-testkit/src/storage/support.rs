//! What the cases share: names, content, bodies that break off, and the steps of a push.

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, RepositoryName, Tag,
    hash::Hasher,
    storage::{
        BlobBody, BlobInfo, BlobRead, BoxError, Content, IngestError, Listing, Need, Needed, NewUpload, Page,
        PutManifest, PutOutcome, ReadBlob, Result, Storage, StorageAdmin, StorageError, StorageWrite,
        StoredManifest, TagExpect, TagMove, UploadBody, UploadState, Verified, ingest,
    },
    upload_id::UploadId,
};
use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::sync::oneshot;

pub(super) fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

pub(super) fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

pub(super) fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap()
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `bound`, exclusive.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// `len` bytes without a pattern, so that a part in the wrong place is noticed.
pub(super) fn content(seed: u64, len: usize) -> Bytes {
    let mut random = Random::new(seed);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes());
    words.flatten().take(len).collect()
}

pub(super) fn writer(storage: &dyn Storage) -> &dyn StorageWrite {
    storage
        .write()
        .expect("the suite is for backends that can be written to")
}

pub(super) fn maintenance(storage: &dyn Storage) -> &dyn StorageAdmin {
    storage
        .admin()
        .expect("a backend that declares `admin` has the plane")
}

/// A request body that goes by a script.
#[derive(Default)]
pub(super) struct Incoming(VecDeque<Step>);

enum Step {
    Chunk(Bytes),
    Break,
    Wait(Option<oneshot::Sender<()>>, oneshot::Receiver<()>),
}

/// The other end of a body that waits.
pub(super) struct Waiting {
    reached: oneshot::Receiver<()>,
    resume: oneshot::Sender<()>,
}

impl Incoming {
    /// Chunks of at most `len` bytes.
    pub(super) fn in_chunks(bytes: &Bytes, len: usize) -> Self {
        let mut rest = bytes.clone();
        let mut steps = VecDeque::new();
        while !rest.is_empty() {
            steps.push_back(Step::Chunk(rest.split_to(rest.len().min(len))));
        }
        Self(steps)
    }

    pub(super) fn whole(bytes: &Bytes) -> Self {
        Self::in_chunks(bytes, usize::MAX)
    }

    /// Then the connection breaks.
    pub(super) fn then_breaks(mut self) -> Self {
        self.0.push_back(Step::Break);
        self
    }

    /// Then nothing comes for a while.
    pub(super) fn then_waits(mut self) -> (Self, Waiting) {
        let (tell, reached) = oneshot::channel();
        let (resume, go) = oneshot::channel();
        self.0.push_back(Step::Wait(Some(tell), go));
        (self, Waiting { reached, resume })
    }

    pub(super) fn then(mut self, bytes: &Bytes) -> Self {
        self.0.push_back(Step::Chunk(bytes.clone()));
        self
    }
}

impl Waiting {
    /// Until the backend has taken all that came before and asks for more.
    pub(super) async fn reached(&mut self) {
        (&mut self.reached)
            .await
            .expect("the body was read to where it waits");
    }

    /// Lets the rest come.
    pub(super) fn resume(self) {
        let _ = self.resume.send(());
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(Step::Wait(tell, go)) = self.0.front_mut() {
            if let Some(tell) = tell.take() {
                let _ = tell.send(());
            }
            let _ = ready!(Pin::new(go).poll(context));
            self.0.pop_front();
        }
        Poll::Ready(match self.0.pop_front() {
            None => None,
            Some(Step::Chunk(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Step::Break) => Some(Err("the client has gone".into())),
            Some(Step::Wait(..)) => unreachable!("a script waits once at a time"),
        })
    }
}

pub(super) async fn open(
    storage: &dyn Storage,
    repository: &RepositoryName,
    algorithm: Algorithm,
) -> UploadState {
    let opened = writer(storage)
        .open_upload(repository, NewUpload::hashed_by(algorithm))
        .await;
    opened.unwrap()
}

/// One append, and the running hash if the backend gave it back.
pub(super) async fn append(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) -> (Result<UploadState>, Option<Hasher>) {
    let body = pin!(body);
    let mut upload = UploadBody::new(body, state, None);
    let result = writer(storage)
        .append(repository, state.clone(), &mut upload)
        .await;
    (result, upload.finish())
}

/// An append that shall succeed.
pub(super) async fn appended(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    bytes: &Bytes,
) -> UploadState {
    let (result, _) = append(storage, repository, state, Incoming::whole(bytes)).await;
    result.unwrap()
}

/// An append whose future is dropped once the backend has taken all of `body` and asks for more.
pub(super) async fn append_and_drop(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: &UploadState,
    body: Incoming,
) {
    let (body, mut waiting) = body.then_waits();
    tokio::select! {
        biased;
        (result, _) = append(storage, repository, state, body) => {
            panic!("an append ended before its body: {result:?}");
        }
        () = waiting.reached() => {}
    }
}

/// Drives a future to its wait of that number, counted from 0, and drops it there: what it returned if it
/// ended before.
pub(super) async fn dropped_at<F: Future>(wait: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = wait;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Where a session stands, if there is one.
pub(super) async fn state_of(
    storage: &dyn Storage,
    repository: &RepositoryName,
    id: &UploadId,
) -> Option<UploadState> {
    writer(storage).upload(repository, id).await.unwrap()
}

/// Where a session stands when nothing is under way any more: what a dropped append left to a thread may end
/// a little later. Found by appending nothing, which is refused until then.
pub(super) async fn settled(
    storage: &dyn Storage,
    repository: &RepositoryName,
    id: &UploadId,
) -> UploadState {
    loop {
        let state = state_of(storage, repository, id)
            .await
            .expect("the session is there");
        match append(storage, repository, &state, Incoming::default()).await.0 {
            Ok(state) => return state,
            Err(StorageError::UploadConflict { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("an append of nothing failed: {error:?}"),
        }
    }
}

/// The proof for a session, from its checkpoint, or by hashing it again where that is of no use.
pub(super) async fn prove(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: UploadState,
    algorithm: Algorithm,
) -> (UploadState, Verified) {
    let usable = state
        .checkpoint
        .as_ref()
        .filter(|kept| kept.algorithm() == algorithm && kept.offset() == state.offset);
    let (state, hasher) = match usable {
        Some(checkpoint) => {
            let hasher = Hasher::resume(checkpoint);
            (state, hasher)
        }
        None => {
            let fresh = Hasher::new(algorithm);
            writer(storage).rehash(repository, state, fresh).await.unwrap()
        }
    };
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    (state, proof)
}

/// Proves and commits.
pub(super) async fn close(
    storage: &dyn Storage,
    repository: &RepositoryName,
    state: UploadState,
    algorithm: Algorithm,
) -> BlobInfo {
    let (state, proof) = prove(storage, repository, state, algorithm).await;
    writer(storage).commit(repository, state, proof).await.unwrap()
}

pub(super) async fn try_push(
    storage: &dyn Storage,
    repository: &RepositoryName,
    bytes: &Bytes,
    expected: Digest,
) -> Result<BlobInfo, IngestError> {
    let body = pin!(Incoming::in_chunks(bytes, 100_000));
    ingest(writer(storage), repository, body, Some(expected)).await
}

/// Pushes a blob under its sha256.
pub(super) async fn push(storage: &dyn Storage, repository: &RepositoryName, bytes: &Bytes) -> BlobInfo {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    try_push(storage, repository, bytes, digest).await.unwrap()
}

pub(super) async fn holds(storage: &dyn Storage, repository: &RepositoryName, digest: &Digest) -> bool {
    let found = storage.blob(repository, digest).await.unwrap();
    let opened = storage
        .open_blob(repository, digest, ReadBlob::default())
        .await
        .unwrap();
    assert_eq!(found.is_some(), opened.is_some(), "asking and opening disagree");
    found.is_some()
}

/// The whole blob, as every way of reading it gives it.
pub(super) async fn read(
    storage: &dyn Storage,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<Bytes> {
    let opened = storage
        .open_blob(repository, digest, ReadBlob::default())
        .await
        .unwrap()?;
    assert_eq!(opened.info.digest, *digest);
    assert_eq!(opened.range, 0..opened.info.size);
    Some(drain(opened).await)
}

/// The bytes of a read; a file that is offered must have the same ones.
pub(super) async fn drain(read: BlobRead) -> Bytes {
    let BlobBody::Content(content) = read.body else {
        panic!("a redirect for a caller who cannot follow it");
    };
    let offered = offered(&content);
    let bytes = content.into_stream().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, read.range.end - read.range.start);
    if let Some(offered) = offered {
        assert!(
            offered == bytes,
            "the file that is offered has other bytes than the stream"
        );
    }
    bytes
}

/// Read by the offered handle alone, without moving its position.
#[cfg(unix)]
fn offered(content: &Content) -> Option<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let file = content.file()?;
    let len = file.range.end - file.range.start;
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    file.file.read_exact_at(&mut bytes, file.range.start).unwrap();
    Some(bytes.into())
}

#[cfg(not(unix))]
const fn offered(_: &Content) -> Option<Bytes> {
    None
}

/// A manifest to be put: a document that says of itself what the storage is told of it.
#[derive(Clone)]
pub(super) struct Image {
    algorithm: Algorithm,
    media_type: MediaType,
    seed: u64,
    artifact_type: Option<MediaType>,
    subject: Option<Digest>,
    needs: Vec<Needed>,
}

impl Image {
    /// One that needs nothing; other than those of other seeds.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            media_type: media_type(MediaType::OCI_MANIFEST),
            seed,
            artifact_type: None,
            subject: None,
            needs: Vec::new(),
        }
    }

    pub(super) fn hashed_by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(super) fn of_type(self, text: &str) -> Self {
        let media_type = media_type(text);
        Self { media_type, ..self }
    }

    /// One that lists manifests is an index.
    pub(super) fn needing(mut self, digest: Digest, size: u64, need: Need) -> Self {
        if need == Need::Manifest {
            self.media_type = media_type(MediaType::OCI_INDEX);
        }
        self.needs.push(Needed { digest, size, need });
        self
    }

    pub(super) fn referring_to(self, subject: Digest, artifact_type: &str) -> Self {
        Self {
            subject: Some(subject),
            artifact_type: Some(media_type(artifact_type)),
            ..self
        }
    }

    fn annotations(&self) -> String {
        format!(r#"{{"seed":"{}"}}"#, self.seed)
    }

    pub(super) fn bytes(&self) -> Bytes {
        let entry = |media_type: &str, digest: &Digest, size: u64| serde_json::json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size });
        let entries = self.needs.iter();
        let entries: Vec<_> = entries
            .map(|needed| match needed.need {
                Need::Blob => entry("application/octet-stream", &needed.digest, needed.size),
                Need::Manifest => entry(MediaType::OCI_MANIFEST, &needed.digest, needed.size),
            })
            .collect();
        let mut document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": self.media_type.as_str(),
            "annotations": { "seed": self.seed.to_string() },
        });
        if [MediaType::OCI_INDEX, MediaType::DOCKER_LIST].contains(&self.media_type.as_str()) {
            document["manifests"] = entries.into();
        } else {
            let empty = Digest::of(Algorithm::Sha256, b"{}");
            document["config"] = entry("application/vnd.oci.empty.v1+json", &empty, 2);
            document["layers"] = entries.into();
        }
        if let Some(artifact_type) = &self.artifact_type {
            document["artifactType"] = artifact_type.as_str().into();
        }
        if let Some(subject) = &self.subject {
            document["subject"] = entry(MediaType::OCI_MANIFEST, subject, 2);
        }
        Bytes::from(document.to_string())
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.algorithm, &self.bytes())
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    pub(super) const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// How the listing of its subject's referrers shows it.
    pub(super) fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::new(self.media_type.clone(), self.digest(), self.size());
        descriptor.artifact_type.clone_from(&self.artifact_type);
        descriptor.annotations = Some(
            serde_json::value::RawValue::from_string(self.annotations())
                .unwrap()
                .into(),
        );
        descriptor
    }

    /// With tags that may stand anywhere.
    pub(super) fn tagged(&self, tags: &[&str]) -> PutManifest {
        self.expecting(tags.iter().map(|name| (*name, TagExpect::Any)))
    }

    pub(super) fn expecting<'a>(&self, tags: impl IntoIterator<Item = (&'a str, TagExpect)>) -> PutManifest {
        let mut put = PutManifest::new(
            Verified::of(self.algorithm, self.bytes()),
            self.media_type.clone(),
        );
        put.tags = tags
            .into_iter()
            .map(|(name, expect)| TagMove {
                tag: tag(name),
                expect,
            })
            .collect();
        put.needs.clone_from(&self.needs);
        put.referrer = self.subject.map(|subject| (subject, self.descriptor()));
        put
    }
}

/// A put of which every part shall succeed.
pub(super) async fn put(storage: &dyn Storage, repository: &RepositoryName, put: PutManifest) -> PutOutcome {
    let outcome = writer(storage).put_manifest(repository, put).await.unwrap();
    assert!(outcome.failed.is_none(), "a tag was not moved: {outcome:?}");
    outcome
}

pub(super) async fn manifest(
    storage: &dyn Storage,
    repository: &RepositoryName,
    reference: impl Into<Reference>,
) -> Option<StoredManifest> {
    storage.manifest(repository, &reference.into()).await.unwrap()
}

/// Where a tag points.
pub(super) async fn resolve(
    storage: &dyn Storage,
    repository: &RepositoryName,
    name: &str,
) -> Option<Digest> {
    manifest(storage, repository, tag(name))
        .await
        .map(|found| found.digest)
}

pub(super) const fn all<K>() -> Page<'static, K> {
    Page {
        after: None,
        limit: 10_000,
    }
}

/// Every tag of a repository that exists.
pub(super) async fn tags(storage: &dyn Storage, repository: &RepositoryName) -> Vec<String> {
    let listing = storage.tags(repository, all()).await.unwrap();
    texts(&listing.expect("the repository exists").items)
}

pub(super) fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Whether a page is what a sorted model of the whole listing says.
pub(super) fn assert_page<T: PartialEq + std::fmt::Debug>(listing: &Listing<T>, beyond: &[T], limit: usize) {
    let expected = &beyond[..limit.min(beyond.len())];
    assert_eq!(listing.items, expected, "a page of {limit}");
    let more = limit > 0 && beyond.len() > limit;
    assert_eq!(
        listing.more,
        more,
        "`more` of a page of {limit} with {} to come",
        beyond.len()
    );
}
