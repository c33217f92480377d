//! Conditional requests: `ETag` and its rules in RFC 9110.

use super::{
    list::List,
    steps::{push, pushed_blob, serves, tag, tagged_image},
};
use crate::wire::{
    client::{Answer, Request},
    content::DataSet,
    failure::{Failure, Outcome},
    session::{Repository, Session},
};

pub(super) fn add(list: &mut List) {
    for (name, condition) in CONDITIONS {
        list.add(&format!("conditional/manifest-{name}"), move |session| {
            manifest_unchanged(session, condition)
        });
        list.add(&format!("conditional/blob-{name}"), move |session| {
            blob_unchanged(session, condition)
        });
    }
    list.add("conditional/304-repeats-etag", repeats_etag);
    list.add("conditional/changed-tag", changed_tag);
    list.add("conditional/other-etag", other_etag);
    list.add("extra/conditional/put-tag-if-none-match", put_if_none_match);
    list.add("extra/conditional/put-tag-if-match", put_if_match);
}

/// Forms of "only if it is not this one", all of which match the stored content.
const CONDITIONS: [(&str, &str); 4] = [
    ("if-none-match", "{etag}"),
    ("if-none-match-weak", "W/{etag}"),
    ("if-none-match-any", "*"),
    ("if-none-match-list", "\"other\", {etag}"),
];

fn etag(answer: &Answer) -> Result<String, Failure> {
    let is_strong = |etag: &&str| etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"');
    let etag = answer.header("etag").filter(is_strong);
    etag.map(str::to_owned)
        .ok_or_else(|| answer.fail("a strong ETag in quotes"))
}

/// The content is tied to a digest, so a condition that matches answers 304 without a body.
async fn unchanged<F>(session: &Session, request: F, condition: &str) -> Outcome
where
    F: Fn(&'static str) -> Request + Send,
{
    let etag = etag(&session.send(request("GET")).await?.is(200)?)?;
    for method in ["GET", "HEAD"] {
        let conditional = request(method).header("If-None-Match", condition.replace("{etag}", &etag));
        session.send(conditional).await?.is(304)?;
    }
    Ok(())
}

async fn manifest_unchanged(session: Session, condition: &'static str) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    unchanged(
        &session,
        |method| repository.manifest_request(method, "tagged"),
        condition,
    )
    .await?;
    let digest = set.top().digest;
    unchanged(
        &session,
        |method| repository.manifest_request(method, digest),
        condition,
    )
    .await
}

async fn blob_unchanged(session: Session, condition: &'static str) -> Outcome {
    let (repository, blob) = pushed_blob(&session, 100).await?;
    unchanged(
        &session,
        |method| repository.blob_request(method, &blob.digest),
        condition,
    )
    .await
}

async fn repeats_etag(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    let etag = etag(&repository.get_manifest("tagged").await?.is(200)?)?;
    let request = repository
        .manifest_request("GET", "tagged")
        .header("If-None-Match", &etag);
    repository.send(request).await?.is(304)?.has("etag", &etag)?;
    Ok(())
}

/// The ETag of a tag is that of its manifest: after a move it does not match any more.
async fn changed_tag(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["moved"]).await?;
    let etag = etag(&repository.get_manifest("moved").await?.is(200)?)?;
    let second = DataSet::image(&session);
    push(&repository, &second).await?;
    tag(&repository, "moved", second.top()).await?;
    let request = repository
        .manifest_request("GET", "moved")
        .header("If-None-Match", etag);
    repository
        .send(request)
        .await?
        .is(200)?
        .body_is(&second.top().body)?;
    Ok(())
}

async fn other_etag(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let request = repository
        .manifest_request("GET", "tagged")
        .header("If-None-Match", "\"other\", W/\"another\"");
    repository
        .send(request)
        .await?
        .is(200)?
        .body_is(&set.top().body)?;
    Ok(())
}

async fn put_conditionally(
    repository: &Repository,
    reference: &str,
    set: &DataSet,
    condition: (&str, &str),
) -> Result<Answer, Failure> {
    let request = repository.put_request(reference, &set.top().media_type, &set.top().body);
    repository.send(request.header(condition.0, condition.1)).await
}

/// The condition "only if the tag does not exist" makes a tag immutable for one client.
async fn put_if_none_match(session: Session) -> Outcome {
    let (repository, first) = tagged_image(&session, &["taken"]).await?;
    let second = DataSet::image(&session);
    push(&repository, &second).await?;
    let absent = ("If-None-Match", "*");
    put_conditionally(&repository, "taken", &second, absent)
        .await?
        .is(412)?
        .json_error()?;
    serves(&repository, "taken", first.top()).await?;
    put_conditionally(&repository, "free", &second, absent)
        .await?
        .is(201)?;
    serves(&repository, "free", second.top()).await
}

/// The condition "only if the tag is still what the client saw" is a compare-and-swap.
async fn put_if_match(session: Session) -> Outcome {
    let (repository, first) = tagged_image(&session, &["moved"]).await?;
    let second = DataSet::image(&session);
    push(&repository, &second).await?;
    let etag = etag(&repository.get_manifest("moved").await?.is(200)?)?;
    let same = ("If-Match", etag.as_str());
    // The tag does not exist. A registry that supports `*` answers 412, any other 400, and none creates the tag.
    let any = put_conditionally(&repository, "absent", &second, ("If-Match", "*")).await?;
    any.one_of(&[400, 412])?.json_error()?;
    put_conditionally(&repository, "moved", &second, same)
        .await?
        .is(201)?;
    put_conditionally(&repository, "moved", &first, same)
        .await?
        .is(412)?
        .json_error()?;
    serves(&repository, "moved", second.top()).await?;
    repository.head_manifest("absent").await?.is(404)?;
    Ok(())
}
