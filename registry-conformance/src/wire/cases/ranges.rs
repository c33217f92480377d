//! Parts of blobs: `Range` on GET.

use super::{list::List, steps::pushed_blob};
use crate::wire::{
    client::Answer,
    failure::{Failure, Outcome},
    session::{Blob, Repository, Session},
};

/// Length of the blob whose parts are requested.
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
    list.add("ranges/ignored-on-head", ignored_on_head);
    for (name, range, expected) in SEVERAL {
        list.add(&format!("ranges/several/{name}"), move |session| {
            several(session, range, expected)
        });
    }
    list.add("ranges/several/one-left", one_left);
    list.add("ranges/several/none-left", |session| {
        unsatisfiable(session, "bytes=5000-,6000-6001")
    });
    list.add("ranges/several/more-than-the-blob", more_than_the_blob);
    list.add("ranges/several/if-range", several_if_range);
    list.add("extra/ranges/most", most);
    list.add("extra/ranges/too-many", too_many);
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

/// RFC 9110, section 14.2: an unknown unit is ignored.
async fn unknown_unit(session: Session) -> Outcome {
    let (_, blob, answer) = ranged(&session, "lines=1-2").await?;
    answer.is(200)?.body_is(&blob.bytes)?;
    Ok(())
}

/// RFC 9110, section 13.1.5: a part is sent only while the content is unchanged.
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

/// RFC 9110, section 14.2: a HEAD has no part.
async fn ignored_on_head(session: Session) -> Outcome {
    let (repository, blob) = pushed_blob(&session, LENGTH).await?;
    for range in ["bytes=0-9", "bytes=0-9,20-29"] {
        let head = repository
            .blob_request("HEAD", &blob.digest)
            .header("Range", range);
        let answer = repository.send(head).await?;
        answer.is(200)?.has("content-length", &LENGTH.to_string())?;
    }
    Ok(())
}

/// First and last byte of a part.
type Part = (usize, usize);

/// Clients match parts with their request by number and order, so parts are neither sorted nor merged.
const SEVERAL: [(&str, &str, &[Part]); 5] = [
    ("in-order", "bytes=0-9,100-109", &[(0, 9), (100, 109)]),
    (
        "in-the-order-asked",
        "bytes=100-109, 0-9,-5",
        &[(100, 109), (0, 9), (2043, 2047)],
    ),
    (
        "not-merged",
        "bytes=0-9,10-19,15-24",
        &[(0, 9), (10, 19), (15, 24)],
    ),
    ("the-same-twice", "bytes=7-7,7-7", &[(7, 7), (7, 7)]),
    (
        "dropped-without-bytes",
        "bytes=0-9,5000-,2000-5000",
        &[(0, 9), (2000, 2047)],
    ),
];

async fn several(session: Session, range: &'static str, expected: &'static [Part]) -> Outcome {
    let (_, blob, answer) = ranged(&session, range).await?;
    let answer = answer.is(206)?.lacks("content-range")?;
    are_parts(
        &answer.has("docker-content-digest", &blob.digest.to_string())?,
        &blob,
        expected,
    )
}

/// Checks that the body is `multipart/byteranges` with exactly these parts of the blob.
fn are_parts(answer: &Answer, blob: &Blob, expected: &[Part]) -> Outcome {
    let media_type = answer.header("content-type").unwrap_or_default();
    let Some(boundary) = media_type.strip_prefix("multipart/byteranges; boundary=") else {
        return Err(answer.fail("Content-Type: multipart/byteranges with a boundary"));
    };
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut rest = answer.body.clone();
    for (number, &(first, last)) in expected.iter().enumerate() {
        let bytes = blob.bytes.slice(first..=last);
        let line_end = if number == 0 { "" } else { "\r\n" };
        let part = rest
            .strip_prefix(format!("{line_end}{delimiter}\r\n").as_bytes())
            .and_then(split_head)
            .filter(|(head, body)| {
                let head = String::from_utf8_lossy(head).to_lowercase();
                let range = format!("content-range: bytes {first}-{last}/{LENGTH}");
                head.lines().any(|line| line == range)
                    && head.lines().any(|line| line.starts_with("content-type: "))
                    && body.starts_with(&bytes)
            });
        let Some((_, body)) = part else {
            return Err(answer.fail(&format!("bytes {first}-{last} as part {number}")));
        };
        rest = rest.slice_ref(&body[bytes.len()..]);
    }
    let end = format!("\r\n{delimiter}--");
    if rest == end || rest == format!("{end}\r\n") {
        return Ok(());
    }
    Err(answer.fail(&format!("an end after {} parts", expected.len())))
}

/// Returns the header lines of a part, and its content.
fn split_head(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = part.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&part[..end], &part[end + 4..]))
}

async fn one_left(session: Session) -> Outcome {
    part(session, "bytes=5000-,500-1499,6000-6001", 500, 1499).await
}

async fn whole(session: &Session, range: &str) -> Outcome {
    let (_, blob, answer) = ranged(session, range).await?;
    answer
        .is(200)?
        .has("content-length", &LENGTH.to_string())?
        .body_is(&blob.bytes)?;
    Ok(())
}

async fn more_than_the_blob(session: Session) -> Outcome {
    whole(&session, "bytes=0-,0-0").await?;
    whole(&session, "bytes=0-1023,0-1023,0-0").await
}

async fn several_if_range(session: Session) -> Outcome {
    let (repository, blob) = pushed_blob(&session, LENGTH).await?;
    let request = |validator: &str| {
        let request = repository.blob_request("GET", &blob.digest);
        request
            .header("Range", "bytes=0-9,100-109")
            .header("If-Range", validator)
    };
    let same = format!("\"{}\"", blob.digest);
    let answer = repository.send(request(&same)).await?.is(206)?;
    are_parts(&answer, &blob, &[(0, 9), (100, 109)])?;
    let other = repository.send(request("\"other\"")).await?;
    other.is(200)?.body_is(&blob.bytes)?;
    Ok(())
}

/// Returns ranges of one byte each.
fn scattered(count: usize) -> (String, Vec<Part>) {
    let parts: Vec<Part> = (0..count)
        .map(|number| (number % LENGTH, number % LENGTH))
        .collect();
    let ranges: Vec<String> = parts
        .iter()
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    (format!("bytes={}", ranges.join(",")), parts)
}

async fn most(session: Session) -> Outcome {
    let (ranges, parts) = scattered(1024);
    let (_, blob, answer) = ranged(&session, &ranges).await?;
    are_parts(&answer.is(206)?, &blob, &parts)
}

/// With more ranges than that, the whole blob is returned.
async fn too_many(session: Session) -> Outcome {
    whole(&session, &scattered(1025).0).await
}

/// An invalid range is ignored or refused, and never a server error.
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
