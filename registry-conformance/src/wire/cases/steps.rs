//! Steps that cases of several groups share.

use crate::wire::{
    client::Answer,
    content::{DataSet, Document},
    failure::{Failure, Outcome},
    session::{Blob, Repository, Session},
};
use bytes::Bytes;
use registry_core::Algorithm;

/// Pushes the blobs of a set.
pub(super) async fn push_blobs(repository: &Repository, set: &DataSet) -> Outcome {
    for blob in &set.blobs {
        repository.push_blob(blob).await?;
    }
    Ok(())
}

/// Puts a document under a reference; it must be accepted.
pub(super) async fn put(
    repository: &Repository,
    reference: impl ToString + Send,
    document: &Document,
) -> Result<Answer, Failure> {
    let request = repository.put_request(reference, &document.media_type, &document.body);
    repository.send(request).await?.is(201)
}

/// Pushes a whole set by digest.
pub(super) async fn push(repository: &Repository, set: &DataSet) -> Outcome {
    push_blobs(repository, set).await?;
    for document in &set.documents {
        put(repository, document.digest, document).await?;
    }
    Ok(())
}

/// Gives a document a tag: by PUT, or by the parameter of a PUT by digest, which alone can name sha512.
pub(super) async fn tag(repository: &Repository, tag: &str, document: &Document) -> Result<Answer, Failure> {
    match document.digest.algorithm() {
        Algorithm::Sha256 => put(repository, tag, document).await,
        _ => put(repository, format!("{}?tag={tag}", document.digest), document).await,
    }
}

/// Returns a new repository with an image, and tags for it.
pub(super) async fn tagged_image(session: &Session, tags: &[&str]) -> Result<(Repository, DataSet), Failure> {
    let (repository, set) = (session.repository(), DataSet::image(session));
    push(&repository, &set).await?;
    for name in tags {
        tag(&repository, name, set.top()).await?;
    }
    Ok((repository, set))
}

/// Returns a new repository with a blob of this length.
pub(super) async fn pushed_blob(session: &Session, length: usize) -> Result<(Repository, Blob), Failure> {
    let (repository, blob) = (session.repository(), session.blob(length));
    repository.push_blob(&blob).await?;
    Ok((repository, blob))
}

/// Checks that an answer to HEAD or GET describes this content.
pub(super) fn describes(answer: Answer, digest: &str, length: usize) -> Result<Answer, Failure> {
    answer
        .is(200)?
        .has("docker-content-digest", digest)?
        .has("content-length", &length.to_string())
}

/// Checks that a manifest is served whole: bytes, type, digest, length; by HEAD and by GET.
pub(super) async fn serves(repository: &Repository, reference: &str, document: &Document) -> Outcome {
    let (digest, length) = (document.digest.to_string(), document.body.len());
    let head = repository.head_manifest(reference).await?;
    describes(head, &digest, length)?.has("content-type", &document.media_type)?;
    let get = repository.get_manifest(reference).await?;
    describes(get, &digest, length)?
        .has("content-type", &document.media_type)?
        .body_is(&document.body)?;
    Ok(())
}

/// Checks that GET returns the content of a blob.
pub(super) async fn serves_blob(repository: &Repository, blob: &Blob) -> Outcome {
    let answer = repository.get_blob(&blob.digest).await?;
    describes(answer, &blob.digest.to_string(), blob.len())?.body_is(&blob.bytes)?;
    Ok(())
}

/// Returns the digest of other content than `blob`, in its algorithm.
pub(super) fn wrong_digest(blob: &Blob) -> String {
    let other = Blob::new(blob.digest.algorithm(), Bytes::from_static(b"something else"));
    other.digest.to_string()
}

/// Checks that the headers of a HEAD are those of a GET; only the date may differ.
pub(super) fn same_headers(head: &Answer, get: &Answer) -> Outcome {
    let comparable = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers
    };
    let expected = comparable(get);
    if comparable(head) == expected {
        return Ok(());
    }
    Err(head.fail(&format!("the headers of the GET: {expected:?}")))
}
