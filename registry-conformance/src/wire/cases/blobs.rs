//! Pushing, mounting, reading and deleting blobs, in every way and in both algorithms.

use super::{
    list::List,
    steps::{describes, pushed_blob, serves_blob, wrong_digest},
};
use crate::wire::{
    client::Answer,
    content,
    failure::{Failure, Outcome},
    session::{Blob, Repository, Session, Upload},
};
use bytes::Bytes;

/// Lengths of the chunks of a push in several chunks.
const CHUNKS: [usize; 3] = [1024, 1024, 1019];

pub(super) fn add(list: &mut List) {
    list.each("blobs", "get-missing", get_missing);
    list.each("blobs", "post-only", post_only);
    list.each("blobs", "post-put", post_put);
    list.each("blobs", "chunked-single", chunked_single);
    list.each("blobs", "chunked-single-put", chunked_single_put);
    list.each("blobs", "chunked-multi", chunked_multi);
    list.each("blobs", "chunked-multi-put", chunked_multi_put);
    list.each("blobs", "stream", stream);
    list.each("blobs", "stream-put", stream_put);
    list.each("blobs", "chunked-out-of-order", |session| {
        out_of_order(session, LastChunk::InPatch)
    });
    list.each("blobs", "chunked-out-of-order-put", |session| {
        out_of_order(session, LastChunk::InPut)
    });
    list.each("blobs", "mount", mount);
    list.each("blobs", "mount-anonymous", mount_anonymous);
    list.each("blobs", "mount-missing", mount_missing);
    list.each("blobs", "cancel", cancel);
    list.each("blobs", "empty", empty);
    list.each("blobs", "empty-json", empty_json);
    list.each("blobs", "bad-digest-post-only", bad_digest_post_only);
    list.each("blobs", "bad-digest-post-put", bad_digest_post_put);
    list.each("blobs", "bad-digest-chunked", bad_digest_chunked);
    list.each("blobs", "bad-digest-chunked-put", bad_digest_chunked_put);
    list.each("blobs", "bad-digest-stream", bad_digest_stream);
    list.each("blobs", "push-again", push_again);
    list.each("blobs", "push-at-once", push_at_once);
    list.add("blobs/head-equals-get", head_equals_get);
    list.add("blobs/never-compressed", never_compressed);
    list.add("extra/blobs/mount-malformed", mount_malformed);
}

/// Checks that a push was acknowledged correctly, and that the blob can be read and deleted.
async fn lives(session: &Session, repository: &Repository, blob: &Blob, pushed: Answer) -> Outcome {
    let digest = blob.digest.to_string();
    let pushed = pushed.is(201)?.has("docker-content-digest", &digest)?;
    let location = session.location(&pushed)?;
    let request = crate::wire::client::Request::new("GET", location);
    session.send(request).await?.is(200)?.body_is(&blob.bytes)?;
    describes(repository.head_blob(&blob.digest).await?, &digest, blob.len())?;
    describes(repository.get_blob(&blob.digest).await?, &digest, blob.len())?.body_is(&blob.bytes)?;
    repository.delete_blob(&blob.digest).await?.is(202)?;
    repository.head_blob(&blob.digest).await?.is(404)?;
    repository.get_blob(&blob.digest).await?.is(404)?;
    Ok(())
}

async fn get_missing(session: Session) -> Outcome {
    let (repository, digest) = (session.repository(), session.unknown_digest());
    repository.head_blob(&digest).await?.is(404)?;
    repository.get_blob(&digest).await?.is(404)?;
    Ok(())
}

async fn post_blob(repository: &Repository, digest: &str, blob: &Blob) -> Result<Answer, Failure> {
    let request = repository
        .request(
            "POST",
            &format!("blobs/uploads/?digest={}", digest.replace(':', "%3A")),
        )
        .header("Content-Type", "application/octet-stream");
    repository.send(request.sized(blob.bytes.clone())).await
}

async fn post_only(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let pushed = post_blob(&repository, &blob.digest.to_string(), &blob).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn post_put_of(session: Session, blob: Blob) -> Outcome {
    let repository = session.repository();
    let mut upload = repository.open_upload().await?;
    let pushed = upload.close(&blob.digest, blob.bytes.clone()).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn post_put(session: Session) -> Outcome {
    let blob = session.blob(512);
    post_put_of(session, blob).await
}

async fn empty(session: Session) -> Outcome {
    let blob = session.blob(0);
    post_put_of(session, blob).await
}

async fn empty_json(session: Session) -> Outcome {
    let blob = content::empty_json(&session);
    post_put_of(session, blob).await
}

async fn chunked_single(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes).await?;
    let pushed = upload.close(&blob.digest, Bytes::new()).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn chunked_single_put(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    let pushed = upload.close_with_chunk(&blob.digest, 0, &blob.bytes).await?;
    lives(&session, &repository, &blob, pushed).await
}

/// Returns a blob of three chunks, and each chunk with its start.
fn three_chunks(session: &Session) -> (Blob, [(usize, Bytes); 3]) {
    let blob = session.blob(CHUNKS.iter().sum());
    let mut start = 0;
    let chunks = CHUNKS.map(|length| {
        let chunk = (start, blob.bytes.slice(start..start + length));
        start += length;
        chunk
    });
    (blob, chunks)
}

async fn chunked_multi(session: Session) -> Outcome {
    let (repository, (blob, chunks)) = (session.repository(), three_chunks(&session));
    let mut upload = repository.open_upload().await?;
    for (start, chunk) in &chunks {
        upload.append(*start, chunk).await?;
    }
    let pushed = upload.close(&blob.digest, Bytes::new()).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn chunked_multi_put(session: Session) -> Outcome {
    let (repository, (blob, chunks)) = (session.repository(), three_chunks(&session));
    let [first, second, (start, last)] = &chunks;
    let mut upload = repository.open_upload().await?;
    for (start, chunk) in [first, second] {
        upload.append(*start, chunk).await?;
    }
    let pushed = upload.close_with_chunk(&blob.digest, *start, last).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn stream(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(300_000));
    let mut upload = repository.open_upload().await?;
    upload.stream(&blob.bytes).await?.is(202)?.keeps(blob.len())?;
    let pushed = upload.close(&blob.digest, Bytes::new()).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn stream_put(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(300_000));
    let mut upload = repository.open_upload().await?;
    let request = upload
        .close_request(&blob.digest.to_string())
        .chunked(blob.bytes.clone());
    let pushed = upload.send(request).await?;
    lives(&session, &repository, &blob, pushed).await
}

#[derive(Clone, Copy)]
enum LastChunk {
    InPatch,
    InPut,
}

/// Before every good chunk comes a bad one, which must change nothing.
async fn out_of_order(session: Session, last_chunk: LastChunk) -> Outcome {
    let (repository, (blob, chunks)) = (session.repository(), three_chunks(&session));
    let [first, second, last] = &chunks;
    let mut upload = repository.open_upload().await?;

    // A chunk that leaves a gap in an empty session.
    upload.chunk(second.0, &second.1).await?.is(416)?;
    stands_at(&mut upload, &blob, None).await?;
    upload.append(first.0, &first.1).await?;

    // The last chunk before the second one.
    let early = match last_chunk {
        LastChunk::InPatch => upload.chunk(last.0, &last.1).await?,
        LastChunk::InPut => upload.close_with_chunk(&blob.digest, last.0, &last.1).await?,
    };
    early.is(416)?;
    stands_at(&mut upload, &blob, Some(second.0)).await?;
    upload.append(second.0, &second.1).await?;

    // The first chunk again.
    upload.chunk(first.0, &first.1).await?.is(416)?;
    stands_at(&mut upload, &blob, Some(last.0)).await?;

    let pushed = match last_chunk {
        LastChunk::InPatch => {
            upload.append(last.0, &last.1).await?;
            upload.close(&blob.digest, Bytes::new()).await?
        }
        LastChunk::InPut => upload.close_with_chunk(&blob.digest, last.0, &last.1).await?,
    };
    lives(&session, &repository, &blob, pushed).await
}

/// Checks that the session reports its offset, also with the digest of a failed close still in the URL. The number
/// that an empty session reports after `0-` is not checked.
async fn stands_at(upload: &mut Upload, blob: &Blob, offset: Option<usize>) -> Outcome {
    let with_digest = upload.closing_target(&blob.digest.to_string());
    for target in [upload.target.clone(), with_digest] {
        let request = crate::wire::client::Request::new("GET", target);
        let answer = upload.send(request).await?.is(204)?;
        match offset {
            Some(offset) => drop(answer.keeps(offset)?),
            None => drop(answer.kept()?),
        }
    }
    Ok(())
}

async fn mount_of(session: &Session, query: &str, from: &Repository, blob: &Blob) -> Outcome {
    let to = session.repository();
    let request = to.request("POST", &format!("blobs/uploads/?{query}"));
    let mounted = to.send(request.sized(Bytes::new())).await?;
    lives(session, &to, blob, mounted).await?;
    // `lives` has deleted the blob in the target only.
    from.head_blob(&blob.digest).await?.is(200)?;
    Ok(())
}

async fn mount(session: Session) -> Outcome {
    let (from, blob) = pushed_blob(&session, 512).await?;
    let query = format!("mount={}&from={}", blob.digest, from.name);
    mount_of(&session, &query, &from, &blob).await
}

async fn mount_anonymous(session: Session) -> Outcome {
    let (from, blob) = pushed_blob(&session, 512).await?;
    mount_of(&session, &format!("mount={}", blob.digest), &from, &blob).await
}

/// A mount that is impossible for any registry is answered like any impossible mount: 202, and the client pushes the
/// blob.
async fn mount_malformed(session: Session) -> Outcome {
    let (from, _) = pushed_blob(&session, 10).await?;
    let unknown = session.unknown_digest();
    for query in [
        format!("?mount={unknown}&from=NOT/A..NAME"),
        format!("?mount={unknown}&from=a%252Fb"),
        format!("?mount=&from={}", from.name),
        format!("?mount=sha256:bad&from={}", from.name),
        format!("?mount=md5:d41d8cd98f00b204e9800998ecf8427e&from={}", from.name),
    ] {
        let (to, blob) = (session.repository(), session.blob(100));
        let mut upload = to.open_upload_with(&query).await?;
        upload.close(&blob.digest, blob.bytes.clone()).await?.is(201)?;
        serves_blob(&to, &blob).await?;
    }
    Ok(())
}

async fn mount_missing(session: Session) -> Outcome {
    let (from, _) = pushed_blob(&session, 16).await?;
    let (to, blob) = (session.repository(), session.blob(512));
    let query = format!("?mount={}&from={}", blob.digest, from.name);
    let mut upload = to.open_upload_with(&query).await?;
    let pushed = upload.close(&blob.digest, blob.bytes.clone()).await?;
    lives(&session, &to, &blob, pushed).await
}

async fn cancel(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes).await?;
    upload.cancel().await?.is(204)?;
    repository.head_blob(&blob.digest).await?.is(404)?;
    Ok(())
}

async fn bad_digest_post_only(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    refused(
        &repository,
        &blob,
        post_blob(&repository, &wrong_digest(&blob), &blob).await?,
    )
    .await
}

async fn bad_digest_post_put(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    let request = upload
        .close_request(&wrong_digest(&blob))
        .sized(blob.bytes.clone());
    let answer = upload.send(request).await?;
    refused(&repository, &blob, answer).await
}

async fn bad_digest_chunked(session: Session) -> Outcome {
    let (repository, (blob, chunks)) = (session.repository(), three_chunks(&session));
    let mut upload = repository.open_upload().await?;
    for (start, chunk) in &chunks {
        upload.append(*start, chunk).await?;
    }
    let request = upload.close_request(&wrong_digest(&blob)).sized(Bytes::new());
    let answer = upload.send(request).await?;
    refused(&repository, &blob, answer).await
}

async fn bad_digest_chunked_put(session: Session) -> Outcome {
    let (repository, (blob, chunks)) = (session.repository(), three_chunks(&session));
    let [first, second, (start, last)] = &chunks;
    let mut upload = repository.open_upload().await?;
    for (start, chunk) in [first, second] {
        upload.append(*start, chunk).await?;
    }
    let range = format!("{start}-{}", blob.len() - 1);
    let request = upload
        .close_request(&wrong_digest(&blob))
        .header("Content-Range", range)
        .sized(last.clone());
    let answer = upload.send(request).await?;
    refused(&repository, &blob, answer).await
}

async fn bad_digest_stream(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    upload.stream(&blob.bytes).await?.is(202)?;
    let request = upload.close_request(&wrong_digest(&blob)).sized(Bytes::new());
    let answer = upload.send(request).await?;
    refused(&repository, &blob, answer).await
}

/// Checks that the digest was refused, and nothing was stored under either digest.
async fn refused(repository: &Repository, blob: &Blob, answer: Answer) -> Outcome {
    answer.error(400, &["DIGEST_INVALID"])?;
    repository.head_blob(&blob.digest).await?.is(404)?;
    let wrong = repository.request("HEAD", &format!("blobs/{}", wrong_digest(blob)));
    repository.send(wrong).await?.is(404)?;
    Ok(())
}

async fn push_again(session: Session) -> Outcome {
    let (repository, blob) = pushed_blob(&session, 512).await?;
    let pushed = repository.push_blob(&blob).await?;
    lives(&session, &repository, &blob, pushed).await
}

async fn push_at_once(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(200_000));
    let mut pushes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (repository, blob) = (repository.clone(), blob.clone());
        pushes.spawn(async move { repository.push_blob(&blob).await });
    }
    let mut pushed = None;
    while let Some(push) = pushes.join_next().await {
        pushed = Some(push.expect("a push does not panic")?);
    }
    lives(&session, &repository, &blob, pushed.expect("eight were pushed")).await
}

async fn head_equals_get(session: Session) -> Outcome {
    let (repository, blob) = pushed_blob(&session, 512).await?;
    let head = repository.head_blob(&blob.digest).await?.is(200)?;
    let get = repository.get_blob(&blob.digest).await?.is(200)?;
    super::steps::same_headers(&head, &get)
}

async fn never_compressed(session: Session) -> Outcome {
    let repository = session.repository();
    let blob = session.blob_of(vec![b'a'; 100_000]);
    repository.push_blob(&blob).await?;
    let request = repository
        .blob_request("GET", &blob.digest)
        .header("Accept-Encoding", "gzip, deflate, br, zstd");
    let answer = repository.send(request).await?.lacks("content-encoding")?;
    describes(answer, &blob.digest.to_string(), blob.len())?.body_is(&blob.bytes)?;
    Ok(())
}
