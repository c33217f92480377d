//! Parts of blobs: `Range` on GET.

use super::{List, steps::pushed_blob};
use crate::wire::{
    client::Answer,
    failure::{Failure, Outcome},
    session::{Blob, Repository, Session},
};

/// The length of the blob that parts are asked of.
const LENGTH: usize = 2048;

pub(super) fn add(list: &mut List) {
    list.each("ranges", "first-last", |session| {
        part(session, "bytes=500-1499", 500, 1499)
    });
    list.each("ranges", "open-end", |session| {
        part(session, "bytes=500-", 500, 2047)
    });
    list.each("ranges", "suffix", |session| {
        part(session, "bytes=-500", 1548, 2047)
    });
    list.each("ranges", "past-the-end", |session| {
        part(session, "bytes=2000-5000", 2000, 2047)
    });
    list.each("ranges", "single-byte", |session| {
        part(session, "bytes=0-0", 0, 0)
    });
    list.each("ranges", "reversed", |session| {
        unsatisfiable(session, "bytes=500-0")
    });
    list.each("ranges", "beyond-the-end", |session| {
        unsatisfiable(session, "bytes=5000-10000")
    });
    list.add("ranges/416-names-the-length", names_the_length);
    list.add("ranges/unknown-unit", unknown_unit);
    list.add("ranges/if-range", if_range);
    list.add("ranges/malformed", malformed);
}

async fn ranged(session: &Session, range: &str) -> Result<(Repository, Blob, Answer), Failure> {
    let (repository, blob) = pushed_blob(session, LENGTH).await?;
    let request = repository
        .blob_request("GET", &blob.digest)
        .header("Range", range);
    let answer = repository.send(request).await?;
    Ok((repository, blob, answer))
}

async fn part(session: Session, range: &'static str, first: usize, last: usize) -> Outcome {
    let (_, blob, answer) = ranged(&session, range).await?;
    let length = last - first + 1;
    answer
        .is(206)?
        .has("content-length", &length.to_string())?
        .has("docker-content-digest", &blob.digest.to_string())?
        .check(
            &format!("Content-Range: bytes {first}-{last}/{LENGTH}"),
            |answer| {
                let known = format!("bytes {first}-{last}/{LENGTH}");
                let open = format!("bytes {first}-{last}/*");
                answer
                    .header("content-range")
                    .is_some_and(|range| range == known || range == open)
            },
        )?
        .body_is(&blob.bytes.slice(first..=last))?;
    Ok(())
}

async fn unsatisfiable(session: Session, range: &'static str) -> Outcome {
    ranged(&session, range).await?.2.is(416)?;
    Ok(())
}

async fn names_the_length(session: Session) -> Outcome {
    let (_, _, answer) = ranged(&session, "bytes=5000-10000").await?;
    answer
        .is(416)?
        .has("content-range", &format!("bytes */{LENGTH}"))?;
    Ok(())
}

/// RFC 9110, section 14.2: a unit that is not understood is ignored.
async fn unknown_unit(session: Session) -> Outcome {
    let (_, blob, answer) = ranged(&session, "lines=1-2").await?;
    answer.is(200)?.body_is(&blob.bytes)?;
    Ok(())
}

/// RFC 9110, section 13.1.5: a part only while the content is still the same.
async fn if_range(session: Session) -> Outcome {
    let (repository, blob) = pushed_blob(&session, LENGTH).await?;
    let head = repository.head_blob(&blob.digest).await?.is(200)?;
    let Some(etag) = head.header("etag") else {
        return Err(head.fail("an ETag"));
    };
    let request = |validator: &str| {
        let request = repository.blob_request("GET", &blob.digest);
        request
            .header("Range", "bytes=0-99")
            .header("If-Range", validator)
    };
    repository.send(request(etag)).await?.is(206)?;
    repository
        .send(request("\"other\""))
        .await?
        .is(200)?
        .body_is(&blob.bytes)?;
    Ok(())
}

/// What is no range at all is ignored or refused, and never a fault of the server.
async fn malformed(session: Session) -> Outcome {
    for range in [
        "bytes=a-b",
        "bytes=-",
        "bytes",
        "bytes=99999999999999999999999-",
        "bytes=0-1,a",
    ] {
        ranged(&session, range).await?.2.one_of(&[200, 206, 400, 416])?;
    }
    Ok(())
}
