//! Additions of the Docker Registry HTTP API V2: its headers, and the catalog.

use super::{
    list::List,
    steps::{pushed_blob, tagged_image},
};
use crate::wire::{
    content::DataSet,
    failure::{Failure, Outcome},
    session::{Repository, Session},
};
use bytes::Bytes;

pub(super) fn add(list: &mut List) {
    list.add("ping/v2", ping);
    list.add("docker/api-version", api_version);
    list.add("docker/api-version-on-errors", api_version_on_errors);
    list.add("docker/upload-uuid", upload_uuid);
    list.add("docker/upload-uuid-on-416", upload_uuid_on_refusal);
    list.add("docker/opening-headers", opening_headers);
    list.add("docker/etag-is-the-digest", etag_is_the_digest);
    list.add("docker/catalog-lists", catalog_lists);
    list.add("docker/catalog-link", catalog_link);
    list.add("docker/catalog-n-zero", catalog_n_zero);
    list.add("docker/catalog-malformed-n", catalog_malformed_n);
    list.add("extra/docker/catalog-byte-order", catalog_byte_order);
    list.add("extra/docker/v2-without-slash", v2_without_slash);
    list.add("extra/docker/uploads-without-slash", uploads_without_slash);
}

const API_VERSION: (&str, &str) = ("docker-distribution-api-version", "registry/2.0");

async fn ping(session: Session) -> Outcome {
    session.get("/v2/").await?.is(200)?;
    Ok(())
}

/// The header is also on answers without a body, and on those for content that does not exist.
async fn api_version(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let blob = set.blobs.first().expect("an image has blobs").clone();
    let mut upload = repository.open_upload().await?;
    let answers = [
        session.get("/v2/").await?.is(200)?,
        session.get("/v2/_catalog").await?.is(200)?,
        repository.get("tags/list").await?.is(200)?,
        repository.head_manifest("tagged").await?.is(200)?,
        repository.get_blob(&blob.digest).await?.is(200)?,
        repository.push_blob(&blob).await?,
        upload.status().await?.is(204)?,
        upload.chunk(0, &blob.bytes).await?.is(202)?,
        upload.cancel().await?.is(204)?,
        repository.delete_manifest(set.top().digest).await?.is(202)?,
    ];
    for answer in answers {
        answer.has(API_VERSION.0, API_VERSION.1)?;
    }
    Ok(())
}

async fn api_version_on_errors(session: Session) -> Outcome {
    let repository = session.repository();
    let answers = [
        repository.get_manifest("missing").await?.is(404)?,
        repository.get_blob(&session.unknown_digest()).await?.is(404)?,
        repository.head_blob(&session.unknown_digest()).await?.is(404)?,
        repository.get("tags/list").await?.is(404)?,
        repository
            .send(repository.request("DELETE", "tags/list"))
            .await?
            .is(405)?,
        session.get("/v2/no/such/endpoint").await?.is(404)?,
    ];
    for answer in answers {
        answer.has(API_VERSION.0, API_VERSION.1)?;
    }
    Ok(())
}

/// Every answer about a session has the same id.
async fn upload_uuid(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let request = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    let opened = repository.send(request).await?.is(202)?;
    let Some(id) = opened.header("docker-upload-uuid").map(str::to_owned) else {
        return Err(opened.fail("a Docker-Upload-UUID"));
    };
    let mut upload = repository.upload(&opened)?;
    upload
        .chunk(0, &blob.bytes)
        .await?
        .is(202)?
        .has("docker-upload-uuid", &id)?;
    upload.status().await?.is(204)?.has("docker-upload-uuid", &id)?;
    upload.cancel().await?.is(204)?.has("docker-upload-uuid", &id)?;
    Ok(())
}

async fn upload_uuid_on_refusal(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(512));
    let mut upload = repository.open_upload().await?;
    let refused = upload.chunk(100, &blob.bytes).await?.is(416)?;
    refused.check("a Docker-Upload-UUID", |answer| {
        answer.headers.contains_key("docker-upload-uuid")
    })?;
    Ok(())
}

async fn opening_headers(session: Session) -> Outcome {
    let repository = session.repository();
    let request = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    let opened = repository.send(request).await?.is(202)?;
    opened.has("range", "0-0")?.has("content-length", "0")?;
    Ok(())
}

async fn etag_is_the_digest(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let quoted = format!("\"{}\"", set.top().digest);
    repository
        .head_manifest("tagged")
        .await?
        .is(200)?
        .has("etag", &quoted)?;
    let (repository, blob) = pushed_blob(&session, 10).await?;
    let quoted = format!("\"{}\"", blob.digest);
    repository
        .head_blob(&blob.digest)
        .await?
        .is(200)?
        .has("etag", &quoted)?;
    Ok(())
}

/// Pushes a manifest to each of these repositories of the run.
async fn fill(session: &Session, names: &[&str]) -> Result<Vec<Repository>, Failure> {
    let mut repositories = Vec::new();
    for name in names {
        let repository = session.repository_named(name);
        let set = DataSet::image(session);
        super::steps::push(&repository, &set).await?;
        super::steps::tag(&repository, "tagged", set.top()).await?;
        repositories.push(repository);
    }
    Ok(repositories)
}

fn names(repositories: &[Repository]) -> Vec<&str> {
    repositories
        .iter()
        .map(|repository| repository.name.as_str())
        .collect()
}

/// Returns the path of a page that begins just before the case's own repositories. The registry may hold anything
/// else.
fn from_before(first: &Repository, n: usize) -> String {
    let before = first
        .name
        .trim_end_matches(|last: char| last.is_ascii_alphanumeric());
    format!(
        "/v2/_catalog?last={}&n={n}",
        before.trim_end_matches('/').replace('/', "%2F")
    )
}

async fn catalog_lists(session: Session) -> Outcome {
    let filled = fill(&session, &["wire-{run}/a", "wire-{run}/b", "wire-{run}/c"]).await?;
    let [first, ..] = filled.as_slice() else {
        unreachable!("three were filled");
    };
    let answer = session.get(&from_before(first, 2)).await?.is(200)?;
    if answer.strings("repositories")? != names(&filled)[..2] {
        return Err(answer.fail(&format!("{:?}", &names(&filled)[..2])));
    }
    let path = format!("/v2/_catalog?n=1&last={}", first.name.replace('/', "%2F"));
    let answer = session.get(&path).await?.is(200)?;
    if answer.strings("repositories")? != names(&filled)[1..2] {
        return Err(answer.fail(&format!("{:?}", &names(&filled)[1..2])));
    }
    Ok(())
}

/// Follows the links from the first of our own repositories through all of them.
async fn follow_catalog(session: &Session, filled: &[Repository]) -> Outcome {
    let (first, expected) = (filled.first().expect("some were filled"), names(filled));
    let mut target = session.target(&from_before(first, 1));
    for name in expected {
        let answer = session
            .send(crate::wire::client::Request::new("GET", target))
            .await?
            .is(200)?;
        if answer.strings("repositories")? != [name] {
            return Err(answer.fail(&format!("the repository {name:?}")));
        }
        match answer.next_link()? {
            Some(link) => target = session.follow(&answer, &link)?,
            // In a registry without other repositories, none sorts after the last one.
            None if filled.last().is_some_and(|last| last.name == name) => return Ok(()),
            None => return Err(answer.fail("Link: <…>; rel=\"next\"")),
        }
    }
    Ok(())
}

async fn catalog_link(session: Session) -> Outcome {
    let filled = fill(&session, &["wire-{run}/a", "wire-{run}/b", "wire-{run}/c"]).await?;
    follow_catalog(&session, &filled).await
}

/// `-` sorts before `/`, as bytes do; a walk of directories has the opposite order.
async fn catalog_byte_order(session: Session) -> Outcome {
    let names = ["wire-{run}/a-b", "wire-{run}/a/b", "wire-{run}/a0"];
    let filled = fill(&session, &names).await?;
    let before = format!(
        "/v2/_catalog?n=3&last={}",
        filled.first().map_or("", |first| &first.name[..21])
    );
    let answer = session.get(&before).await?.is(200)?;
    if answer.strings("repositories")? != self::names(&filled) {
        return Err(answer.fail(&format!("{:?}", self::names(&filled))));
    }
    Ok(())
}

async fn catalog_n_zero(session: Session) -> Outcome {
    fill(&session, &["wire-{run}/a"]).await?;
    let answer = session.get("/v2/_catalog?n=0").await?.is(200)?.lacks("link")?;
    if !answer.strings("repositories")?.is_empty() {
        return Err(answer.fail("no repositories"));
    }
    Ok(())
}

async fn catalog_malformed_n(session: Session) -> Outcome {
    for n in ["-1", "abc", "1.5"] {
        let answer = session.get(&format!("/v2/_catalog?n={n}")).await?;
        answer.error(400, &["PAGINATION_NUMBER_INVALID"])?;
    }
    Ok(())
}

/// A redirect would turn a POST into a GET, so both forms are answered.
async fn v2_without_slash(session: Session) -> Outcome {
    session
        .get("/v2")
        .await?
        .is(200)?
        .has(API_VERSION.0, API_VERSION.1)?;
    Ok(())
}

async fn uploads_without_slash(session: Session) -> Outcome {
    let (repository, blob) = (session.repository(), session.blob(64));
    let request = repository.request("POST", "blobs/uploads").sized(Bytes::new());
    let opened = repository.send(request).await?.is(202)?;
    repository
        .upload(&opened)?
        .close(&blob.digest, blob.bytes)
        .await?
        .is(201)?;
    Ok(())
}
