//! Upload sessions: their state, their refusals, and the bytes that survive an accident.

use super::{
    list::List,
    steps::{serves_blob, wrong_digest},
};
use crate::wire::{
    client::Request,
    failure::{Failure, Outcome},
    session::{Blob, Repository, Session, Upload},
};
use bytes::Bytes;
use registry_core::Algorithm;
use std::time::Duration;

/// Number of times that a resumed chunk is sent again while the server still releases the one that was cut.
const RESUME_TRIES: usize = 500;

pub(super) fn add(list: &mut List) {
    list.add("uploads/opened", opened);
    list.add("uploads/location-holds-uuid", location_holds_uuid);
    list.add("uploads/status", status);
    list.add("uploads/patch-range", patch_range);
    list.add("uploads/closing-put-out-of-order", closing_put_out_of_order);
    list.add("uploads/missing-digest-keeps-session", missing_digest);
    list.add("uploads/malformed-digest-keeps-session", malformed_digest);
    list.add("uploads/wrong-digest-stores-nothing", wrong_digest_stores_nothing);
    list.add("uploads/gone-after-close", gone_after_close);
    list.add("uploads/gone-after-cancel", gone_after_cancel);
    list.add("uploads/unknown", unknown);
    list.add("uploads/of-another-repository", of_another_repository);
    list.add("uploads/cut-body", cut_body);
    list.add("uploads/cut-chunked-body", cut_chunked_body);
    list.add("uploads/cut-thrice", cut_thrice);
    list.each("uploads", "digest-algorithm", digest_algorithm);
    list.add("uploads/digest-algorithm-is-a-hint", digest_algorithm_is_a_hint);
    list.add("uploads/minimum-chunk-length", minimum_chunk_length);
    list.add(
        "extra/uploads/416-says-where-it-stands",
        refusal_says_where_it_stands,
    );
    list.add("extra/uploads/content-range-with-unit", content_range_with_unit);
    list.add("extra/uploads/malformed-content-range", malformed_content_range);
    list.add(
        "extra/uploads/content-range-against-length",
        content_range_against_length,
    );
    list.add(
        "extra/uploads/wrong-digest-drops-session",
        wrong_digest_drops_session,
    );
    list.add("extra/uploads/two-appends-at-once", two_appends_at_once);
    list.add("extra/uploads/append-during-close", append_during_close);
    list.add("extra/uploads/any-content-type", any_content_type);
    list.add("extra/uploads/cut-close-is-sent-again", cut_close_is_sent_again);
    list.add("extra/uploads/digest-algorithm-unknown", digest_algorithm_unknown);
    list.add("extra/uploads/unknown-is-named", unknown_is_named);
}

fn new_upload(session: &Session, length: usize) -> (Repository, Blob) {
    (session.repository(), session.blob(length))
}

async fn opened(session: Session) -> Outcome {
    let repository = session.repository();
    let request = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    let answer = repository.send(request).await?.is(202)?;
    let under = session.target(&repository.path("blobs/uploads/"));
    let target = session.location(&answer)?;
    if target.starts_with(&under) && target.len() > under.len() {
        return Ok(());
    }
    Err(answer.fail("a Location under the blobs/uploads/ of its repository"))
}

fn is_uuid(part: &str) -> bool {
    let groups: Vec<&str> = part.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

async fn location_holds_uuid(session: Session) -> Outcome {
    let repository = session.repository();
    let request = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    let answer = repository.send(request).await?.is(202)?;
    let target = session.location(&answer)?;
    if target.split(['/', '?', '&', '=']).any(is_uuid) {
        return Ok(());
    }
    Err(answer.fail("a UUID in Location"))
}

async fn status(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    let empty = upload.status().await?.is(204)?.has("range", "0-0")?;
    session.location(&empty)?;
    upload.append(0, &blob.bytes).await?;
    let answer = upload.status().await?.is(204)?.has("range", "0-511")?;
    session.location(&answer)?;
    Ok(())
}

async fn patch_range(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 2048);
    let mut upload = repository.open_upload().await?;
    let first = upload.chunk(0, &blob.bytes.slice(..1024)).await?;
    first.is(202)?.has("range", "0-1023")?;
    let second = upload.chunk(1024, &blob.bytes.slice(1024..)).await?;
    second.is(202)?.has("range", "0-2047")?;
    Ok(())
}

/// Closes a session with the part of `blob` from `start` on, and checks the result.
async fn complete(repository: &Repository, upload: &mut Upload, blob: &Blob, start: usize) -> Outcome {
    upload
        .close(&blob.digest, blob.bytes.slice(start..))
        .await?
        .is(201)?;
    serves_blob(repository, blob).await
}

async fn closing_put_out_of_order(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 2048);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes.slice(..1024)).await?;
    let last = blob.bytes.slice(1500..);
    upload
        .close_with_chunk(&blob.digest, 1500, &last)
        .await?
        .is(416)?;
    upload.status().await?.is(204)?.keeps(1024)?;
    complete(&repository, &mut upload, &blob, 1024).await
}

async fn kept_after_bad_close(session: Session, query: &str) -> Outcome {
    let (repository, blob) = new_upload(&session, 1024);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes.slice(..512)).await?;
    let separator = if upload.target.contains('?') { '&' } else { '?' };
    let target = if query.is_empty() {
        upload.target.clone()
    } else {
        format!("{}{separator}{query}", upload.target)
    };
    let answer = upload
        .send(Request::new("PUT", target).sized(Bytes::new()))
        .await?;
    answer.error(400, &["DIGEST_INVALID"])?;
    upload.status().await?.is(204)?.keeps(512)?;
    complete(&repository, &mut upload, &blob, 512).await
}

async fn missing_digest(session: Session) -> Outcome {
    kept_after_bad_close(session, "").await
}

async fn malformed_digest(session: Session) -> Outcome {
    kept_after_bad_close(session, "digest=sha256%3Anothex").await
}

async fn close_wrongly(repository: &Repository, blob: &Blob) -> Result<Upload, Failure> {
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes).await?;
    let request = upload.close_request(&wrong_digest(blob)).sized(Bytes::new());
    upload.send(request).await?.error(400, &["DIGEST_INVALID"])?;
    Ok(upload)
}

async fn wrong_digest_stores_nothing(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    close_wrongly(&repository, &blob).await?;
    repository.head_blob(&blob.digest).await?.is(404)?;
    Ok(())
}

async fn wrong_digest_drops_session(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = close_wrongly(&repository, &blob).await?;
    upload.status().await?.error(404, &["BLOB_UPLOAD_UNKNOWN"])?;
    Ok(())
}

/// Checks that no operation is possible on a session that has ended.
async fn is_gone(upload: &mut Upload, blob: &Blob) -> Outcome {
    upload.status().await?.is(404)?;
    upload.chunk(0, &blob.bytes).await?.is(404)?;
    upload.close(&blob.digest, blob.bytes.clone()).await?.is(404)?;
    upload.cancel().await?.is(404)?;
    Ok(())
}

async fn gone_after_close(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes).await?;
    upload.close(&blob.digest, Bytes::new()).await?.is(201)?;
    upload.status().await?.is(404)?;
    upload.chunk(0, &blob.bytes).await?.is(404)?;
    Ok(())
}

async fn gone_after_cancel(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes).await?;
    upload.cancel().await?.is(204)?;
    is_gone(&mut upload, &blob).await
}

/// Returns a session that was never opened: the URL of a real one, with another UUID in it.
async fn never_opened(repository: &Repository) -> Result<Upload, Failure> {
    let mut upload = repository.open_upload().await?;
    let path = upload.target.split('?').next().unwrap_or_default().to_owned();
    let id = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    upload.target = path.replace(id, "01234567-89ab-4def-8123-456789abcdef");
    Ok(upload)
}

async fn unknown(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = never_opened(&repository).await?;
    is_gone(&mut upload, &blob).await
}

async fn unknown_is_named(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = never_opened(&repository).await?;
    let codes = &["BLOB_UPLOAD_UNKNOWN"];
    upload.status().await?.error(404, codes)?;
    upload.chunk(0, &blob.bytes).await?.error(404, codes)?;
    upload
        .close(&blob.digest, blob.bytes.clone())
        .await?
        .error(404, codes)?;
    upload.cancel().await?.error(404, codes)?;
    Ok(())
}

async fn of_another_repository(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    let mut stolen = upload.clone();
    stolen.target = upload
        .target
        .replacen(&repository.name, &session.repository().name, 1);
    is_gone(&mut stolen, &blob).await?;
    upload.status().await?.is(204)?;
    complete(&repository, &mut upload, &blob, 0).await
}

/// Continues at the offset that the session reports. The server may still be releasing the append that was cut; then
/// it answers 416 with its offset, and is asked again.
async fn resume(upload: &mut Upload, blob: &Blob, end: usize) -> Outcome {
    let mut tries = 0;
    loop {
        let answer = upload.status().await?.is(204)?;
        let kept = answer.kept()?;
        if kept > end {
            return Err(answer.fail(&format!("at most the {end} bytes that were sent")));
        }
        let answer = upload.chunk(kept, &blob.bytes.slice(kept..end)).await?;
        tries += 1;
        if answer.status == 416 && tries < RESUME_TRIES {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        answer.is(202)?.keeps(end)?;
        return Ok(());
    }
}

async fn cut_body(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 1 << 20);
    let mut upload = repository.open_upload().await?;
    let request = upload.patch_request().announced(blob.len());
    let mut exchange = upload.begin(request).await?;
    exchange.write(&blob.bytes.slice(..300_000)).await?;
    exchange.cut().await?;
    resume(&mut upload, &blob, blob.len()).await?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

async fn cut_chunked_body(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 1 << 20);
    let mut upload = repository.open_upload().await?;
    let request = upload.patch_request().header("Transfer-Encoding", "chunked");
    let mut exchange = upload.begin(request).await?;
    exchange.write_chunk(&blob.bytes.slice(..300_000)).await?;
    exchange.write(b"10000\r\nnot sixty-four KiB").await?;
    exchange.cut().await?;

    // The registry may also have stored a part of the last piece, whose bytes differ from those of the blob.
    let answer = upload.status().await?.is(204)?;
    let kept = answer.kept()?;
    if kept > 300_000 + "not sixty-four KiB".len() {
        return Err(answer.fail("at most the bytes that were sent"));
    }
    upload.cancel().await?.is(204)?;
    let mut upload = repository.open_upload().await?;
    complete(&repository, &mut upload, &blob, 0).await
}

/// Three accidents occur, each in the chunk that resumes from the previous one.
async fn cut_thrice(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 1 << 20);
    let mut upload = repository.open_upload().await?;
    let mut end = 0;
    for length in [100_001, 250_007, 70_003] {
        // A small complete chunk follows each cut, at the offset that the session reports.
        end += 1000;
        resume(&mut upload, &blob, end).await?;
        let request = upload
            .patch_request()
            .header("Content-Range", format!("{end}-{}", blob.len() - 1))
            .announced(blob.len() - end);
        let mut exchange = upload.begin(request).await?;
        exchange.write(&blob.bytes.slice(end..end + length)).await?;
        exchange.cut().await?;
        end += length;
    }
    resume(&mut upload, &blob, blob.len()).await?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

/// A client whose closing request broke off sends all of it again, to the same place.
async fn cut_close_is_sent_again(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 1 << 20);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes.slice(..1000)).await?;
    let rest = blob.bytes.slice(1000..);
    for length in [1, 300_000] {
        let close = upload.close_request(&blob.digest.to_string());
        let mut exchange = upload.begin(close.announced(rest.len())).await?;
        exchange.write(&rest.slice(..length)).await?;
        exchange.cut().await?;
        let mut tries = 0;
        // The server may still be processing the request that was cut.
        while upload.stream(&Bytes::new()).await?.status == 416 && tries < RESUME_TRIES {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        upload.status().await?.is(204)?.keeps(1000)?;
    }
    upload.close(&blob.digest, rest).await?.is(201)?;
    serves_blob(&repository, &blob).await
}

async fn digest_algorithm(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 4096);
    let query = format!("?digest-algorithm={}", session.algorithm);
    let mut upload = repository.open_upload_with(&query).await?;
    upload.append(0, &blob.bytes.slice(..1000)).await?;
    upload.append(1000, &blob.bytes.slice(1000..)).await?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

async fn digest_algorithm_is_a_hint(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 4096);
    let query = format!("?digest-algorithm={}", Algorithm::Sha512);
    let mut upload = repository.open_upload_with(&query).await?;
    upload.append(0, &blob.bytes).await?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

async fn digest_algorithm_unknown(session: Session) -> Outcome {
    let repository = session.repository();
    let request = repository
        .request("POST", "blobs/uploads/?digest-algorithm=md5")
        .sized(Bytes::new());
    repository
        .send(request)
        .await?
        .error(400, &["DIGEST_INVALID", "UNSUPPORTED"])?;
    Ok(())
}

/// A minimum is optional. If one is announced, it is a number, and the last chunk may be shorter.
async fn minimum_chunk_length(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 64);
    let request = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    let answer = repository.send(request).await?.is(202)?;
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let answer = answer.check("OCI-Chunk-Min-Length, if any, with a number", |answer| {
        !answer.headers.contains_key("oci-chunk-min-length")
            || answer.header("oci-chunk-min-length").is_some_and(is_number)
    })?;
    let mut upload = repository.upload(&answer)?;
    upload.append(0, &blob.bytes).await?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

async fn refusal_says_where_it_stands(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 2048);
    let mut upload = repository.open_upload().await?;
    upload.append(0, &blob.bytes.slice(..1024)).await?;
    let refused = upload.chunk(1500, &blob.bytes.slice(1500..)).await?;
    let refused = refused
        .error(416, &["BLOB_UPLOAD_INVALID"])?
        .has("range", "0-1023")?;
    session.location(&refused)?;
    complete(&repository, &mut upload, &blob, 1024).await
}

/// `Content-Range: bytes 0-511/*` is the form of RFC 9110, which some clients send.
async fn content_range_with_unit(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 1024);
    let mut upload = repository.open_upload().await?;
    for (start, range) in [(0, "bytes 0-511"), (512, "bytes 512-1023/1024")] {
        let request = upload
            .patch_request()
            .header("Content-Range", range)
            .sized(blob.bytes.slice(start..start + 512));
        upload.send(request).await?.is(202)?.keeps(start + 512)?;
    }
    let request = upload
        .patch_request()
        .header("Content-Range", "bytes 0-511/*")
        .sized(blob.bytes.slice(..512));
    upload.send(request).await?.is(416)?;
    complete(&repository, &mut upload, &blob, 1024).await
}

async fn malformed_content_range(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    for range in [
        "a-b",
        "0",
        "-511",
        "511-0",
        "0-99999999999999999999999",
        "bytes=0-511",
    ] {
        let request = upload.patch_request().header("Content-Range", range);
        let answer = upload.send(request.sized(blob.bytes.clone())).await?;
        answer.error(400, &["UNSUPPORTED", "BLOB_UPLOAD_INVALID", "SIZE_INVALID"])?;
        upload.status().await?.is(204)?.keeps(0)?;
    }
    complete(&repository, &mut upload, &blob, 0).await
}

/// If a range and its body differ in length, one of them is wrong, so nothing is stored.
async fn content_range_against_length(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 512);
    let mut upload = repository.open_upload().await?;
    let request = upload.patch_request().header("Content-Range", "0-600");
    let answer = upload.send(request.sized(blob.bytes.clone())).await?;
    answer.one_of(&[400, 416])?.json_error()?;
    upload.status().await?.is(204)?.keeps(0)?;
    complete(&repository, &mut upload, &blob, 0).await
}

/// `100 Continue` shows that the first append is being read; the second is then refused at once.
async fn two_appends_at_once(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 100_000);
    let mut upload = repository.open_upload().await?;
    let request = upload
        .patch_request()
        .header("Expect", "100-continue")
        .announced(blob.len());
    let mut first = upload.begin(request).await?;
    first.continued().await?;
    first.write(&blob.bytes.slice(..50_000)).await?;

    let other = session.blob(10);
    let second = upload.send(upload.patch_request().sized(other.bytes)).await?;
    second.error(416, &["BLOB_UPLOAD_INVALID"])?;

    first.write(&blob.bytes.slice(50_000..)).await?;
    first.answer().await?.is(202)?.keeps(blob.len())?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

/// If a session is closed during an append, the close is refused, and the append continues.
async fn append_during_close(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 100_000);
    let mut upload = repository.open_upload().await?;
    let request = upload
        .patch_request()
        .header("Expect", "100-continue")
        .announced(blob.len());
    let mut append = upload.begin(request).await?;
    append.continued().await?;
    append.write(&blob.bytes.slice(..50_000)).await?;

    upload
        .close(&blob.digest, blob.bytes.clone())
        .await?
        .error(416, &["BLOB_UPLOAD_INVALID"])?;

    append.write(&blob.bytes.slice(50_000..)).await?;
    append.answer().await?.is(202)?.keeps(blob.len())?;
    complete(&repository, &mut upload, &blob, blob.len()).await
}

/// Clients send all kinds of content types with a chunk, or none.
async fn any_content_type(session: Session) -> Outcome {
    let (repository, blob) = new_upload(&session, 30);
    let mut upload = repository.open_upload().await?;
    let types = [
        None,
        Some("application/x-www-form-urlencoded"),
        Some("text/plain; charset=utf-8"),
    ];
    for (number, content_type) in types.into_iter().enumerate() {
        let request = upload.request("PATCH");
        let request = match content_type {
            Some(content_type) => request.header("Content-Type", content_type),
            None => request,
        };
        let start = 10 * number;
        let answer = upload
            .send(request.sized(blob.bytes.slice(start..start + 10)))
            .await?;
        answer.is(202)?.keeps(start + 10)?;
    }
    complete(&repository, &mut upload, &blob, 30).await
}
