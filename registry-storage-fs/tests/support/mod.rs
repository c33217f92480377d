//! Shared parts of the tests: the steps of a push, and the paths of the layout, spelled out.
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod collections;
pub(crate) mod log;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage, StorageWrite, Tag, UploadId,
    storage::{
        BlobBody, BlobInfo, BoxError, NewUpload, Page, PutManifest, PutOutcome, ReadBlob, Result, TagMove,
        UploadBody, UploadState, Verified, ingest,
    },
};
use registry_storage_fs::FsStorage;
use std::{
    path::{Path, PathBuf},
    pin::pin,
};

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

pub(crate) const fn all<'a, K>() -> Page<'a, K> {
    Page::first(usize::MAX)
}

/// Bytes without a short period, the same in every run.
pub(crate) fn content(length: usize) -> Bytes {
    let mut state = 1u64;
    let word = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56).to_le_bytes()[0]
    };
    std::iter::repeat_with(word).take(length).collect()
}

pub(crate) fn writer(storage: &FsStorage) -> &dyn StorageWrite {
    storage.write().unwrap()
}

fn body(bytes: &Bytes) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send {
    Full::new(bytes.clone()).map_err(|never| match never {})
}

pub(crate) async fn push(storage: &FsStorage, repository: &RepositoryName, bytes: &Bytes) -> BlobInfo {
    push_as(storage, repository, bytes, Algorithm::Sha256).await
}

pub(crate) async fn push_as(
    storage: &FsStorage,
    repository: &RepositoryName,
    bytes: &Bytes,
    algorithm: Algorithm,
) -> BlobInfo {
    let digest = Digest::of(algorithm, bytes);
    let body = pin!(body(bytes));
    ingest(writer(storage), repository, body, Some(digest))
        .await
        .unwrap()
}

pub(crate) async fn read(storage: &FsStorage, repository: &RepositoryName, digest: &Digest) -> Option<Bytes> {
    let read = storage
        .open_blob(repository, digest, ReadBlob::default())
        .await
        .unwrap()?;
    let BlobBody::Content(content) = read.body else {
        panic!("a directory redirects nobody");
    };
    Some(content.into_stream().collect().await.unwrap().to_bytes())
}

pub(crate) async fn open_upload(storage: &FsStorage, repository: &RepositoryName) -> UploadState {
    let new = NewUpload::hashed_by(Algorithm::Sha256);
    writer(storage).open_upload(repository, new).await.unwrap()
}

pub(crate) async fn append(
    storage: &FsStorage,
    repository: &RepositoryName,
    state: UploadState,
    bytes: &Bytes,
) -> Result<UploadState> {
    let body = pin!(body(bytes));
    let mut body = UploadBody::new(body, &state, None);
    writer(storage).append(repository, state, &mut body).await
}

/// Returns the state of a session, which must exist.
pub(crate) async fn standing(storage: &FsStorage, repository: &RepositoryName, id: &UploadId) -> UploadState {
    writer(storage).upload(repository, id).await.unwrap().unwrap()
}

/// Commits a session, proved by its checkpoint alone, or by reading all bytes if there is none.
pub(crate) async fn close(
    storage: &FsStorage,
    repository: &RepositoryName,
    state: UploadState,
) -> Result<BlobInfo> {
    let (state, proof) = prove(storage, repository, state).await;
    writer(storage).commit(repository, state, proof).await
}

pub(crate) async fn prove(
    storage: &FsStorage,
    repository: &RepositoryName,
    state: UploadState,
) -> (UploadState, Verified) {
    use registry_core::hash::Hasher;
    let (state, hasher) = match &state.checkpoint {
        Some(checkpoint) => {
            let hasher = Hasher::resume(checkpoint);
            (state, hasher)
        }
        None => {
            let hasher = Hasher::new(Algorithm::Sha256);
            writer(storage).rehash(repository, state, hasher).await.unwrap()
        }
    };
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    (state, proof)
}

pub(crate) fn manifest(seed: &str) -> Verified<Bytes> {
    let document =
        format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[],"annotations":{{"seed":"{seed}"}}}}"#);
    Verified::of(Algorithm::Sha256, document.into())
}

/// Puts a manifest that needs nothing and names no media type.
pub(crate) async fn put(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: Verified<Bytes>,
    tags: &[&str],
) -> PutOutcome {
    try_put(storage, repository, manifest, tags).await.unwrap()
}

pub(crate) async fn try_put(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: Verified<Bytes>,
    tags: &[&str],
) -> Result<PutOutcome> {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let mut put = PutManifest::new(manifest, media_type);
    put.tags = tags.iter().map(|text| TagMove::new(tag(text))).collect();
    writer(storage).put_manifest(repository, put).await
}

pub(crate) fn top(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

pub(crate) fn blob_data(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let algorithm = digest.algorithm().as_str();
    top(root).join(format!("blobs/{algorithm}/{}/{hex}/data", &hex[..2]))
}

pub(crate) fn in_repository(root: &Path, repository: &RepositoryName, rest: &str) -> PathBuf {
    top(root).join(format!("repositories/{repository}/{rest}"))
}

pub(crate) fn layer_link(root: &Path, repository: &RepositoryName, digest: &Digest) -> PathBuf {
    let rest = format!("_layers/{}/{}/link", digest.algorithm(), digest.hex());
    in_repository(root, repository, &rest)
}

pub(crate) fn revision_link(root: &Path, repository: &RepositoryName, digest: &Digest) -> PathBuf {
    let rest = format!(
        "_manifests/revisions/{}/{}/link",
        digest.algorithm(),
        digest.hex()
    );
    in_repository(root, repository, &rest)
}

pub(crate) fn session(root: &Path, repository: &RepositoryName, id: &UploadId) -> PathBuf {
    in_repository(root, repository, &format!("_uploads/{id}"))
}

/// Returns every directory without entries below a directory, relative to it, in order.
pub(crate) fn empty_directories(directory: &Path) -> Vec<String> {
    fn visit(directory: &Path, top: &Path, found: &mut Vec<String>) {
        let mut entries = std::fs::read_dir(directory).unwrap().peekable();
        if entries.peek().is_none() {
            found.push(directory.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
        }
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, top, found);
            }
        }
    }
    let mut found = Vec::new();
    visit(directory, directory, &mut found);
    found.sort();
    found
}

/// Returns every file below a directory, relative to it, in order.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    fn visit(directory: &Path, top: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, top, found);
            } else {
                found.push(path.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    visit(directory, directory, &mut found);
    found.sort();
    found
}
