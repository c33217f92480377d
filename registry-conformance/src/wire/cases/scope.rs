//! Each repository has its own content: another one does not have it until it is mounted or pushed there.

use super::{
    list::List,
    steps::{pushed_blob, serves, serves_blob, tagged_image},
};
use crate::wire::{failure::Outcome, session::Session};

pub(super) fn add(list: &mut List) {
    list.add("scope/blob-of-another-repository", blob_of_another_repository);
    list.add("scope/blob-deleted-in-one", blob_deleted_in_one);
    list.add(
        "scope/manifest-of-another-repository",
        manifest_of_another_repository,
    );
    list.add("scope/needs-blobs-of-its-own", needs_blobs_of_its_own);
    list.add("scope/names-like-endpoints", names_like_endpoints);
    list.add("scope/longest-name", longest_name);
    list.add("scope/nested-names", nested_names);
    list.add("extra/scope/manifest-is-no-blob", manifest_is_no_blob);
}

async fn blob_of_another_repository(session: Session) -> Outcome {
    let (_, blob) = pushed_blob(&session, 512).await?;
    let (other, _) = tagged_image(&session, &["tagged"]).await?;
    other.head_blob(&blob.digest).await?.is(404)?;
    other.get_blob(&blob.digest).await?.is(404)?;
    other.delete_blob(&blob.digest).await?.is(404)?;
    Ok(())
}

async fn blob_deleted_in_one(session: Session) -> Outcome {
    let (first, blob) = pushed_blob(&session, 512).await?;
    let second = session.repository();
    second.push_blob(&blob).await?;
    first.delete_blob(&blob.digest).await?.is(202)?;
    first.head_blob(&blob.digest).await?.is(404)?;
    serves_blob(&second, &blob).await
}

async fn manifest_of_another_repository(session: Session) -> Outcome {
    let (_, set) = tagged_image(&session, &["tagged"]).await?;
    let (other, _) = tagged_image(&session, &["other"]).await?;
    other.get_manifest("tagged").await?.is(404)?;
    other.get_manifest(set.top().digest).await?.is(404)?;
    other.delete_manifest(set.top().digest).await?.is(404)?;
    Ok(())
}

/// A manifest cannot reach blobs that only another repository holds.
async fn needs_blobs_of_its_own(session: Session) -> Outcome {
    let (_, set) = tagged_image(&session, &["tagged"]).await?;
    let other = session.repository();
    let request = other.put_request("stolen", &set.top().media_type, &set.top().body);
    other
        .send(request)
        .await?
        .error(400, &["MANIFEST_BLOB_UNKNOWN"])?;
    Ok(())
}

async fn is_usable(session: &Session, name: &str) -> Outcome {
    let repository = session.repository_named(name);
    let set = crate::wire::content::DataSet::image(session);
    super::steps::push(&repository, &set).await?;
    super::steps::tag(&repository, "tagged", set.top()).await?;
    serves(&repository, "tagged", set.top()).await?;
    for blob in &set.blobs {
        serves_blob(&repository, blob).await?;
    }
    let answer = repository.get("tags/list").await?.is(200)?;
    if answer.strings("tags")? != ["tagged"] {
        return Err(answer.fail("the tag"));
    }
    Ok(())
}

/// The words of the API are legal in names, so paths have to be parsed from their end.
async fn names_like_endpoints(session: Session) -> Outcome {
    for name in [
        "wire-{run}/blobs",
        "wire-{run}/blobs/uploads",
        "wire-{run}/manifests",
        "wire-{run}/manifests/latest",
        "wire-{run}/tags",
        "wire-{run}/tags/list",
        "wire-{run}/referrers",
        "wire-{run}/v2",
    ] {
        is_usable(&session, name).await?;
    }
    Ok(())
}

async fn longest_name(session: Session) -> Outcome {
    let start = "wire-{run}/";
    // `{run}` is replaced by 16 characters.
    let rest = 255 - (start.len() - "{run}".len() + 16);
    is_usable(&session, &format!("{start}{}", "x".repeat(rest))).await
}

async fn nested_names(session: Session) -> Outcome {
    for name in ["wire-{run}", "wire-{run}/a", "wire-{run}/a/b.c_d__e---f/0"] {
        is_usable(&session, name).await?;
    }
    Ok(())
}

/// GET and HEAD agree: the digest of a manifest is not that of a blob.
async fn manifest_is_no_blob(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let digest = &set.top().digest;
    repository.head_blob(digest).await?.is(404)?;
    repository.get_blob(digest).await?.error(404, &["BLOB_UNKNOWN"])?;
    let layer = set.blobs.first().expect("an image has blobs");
    repository
        .get_manifest(layer.digest)
        .await?
        .error(404, &["MANIFEST_UNKNOWN"])?;
    Ok(())
}
