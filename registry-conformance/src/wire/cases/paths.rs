//! Paths that try to reach forbidden places. They reach nothing, and get an answer that a client can read.

use super::{
    list::List,
    steps::{put, serves, serves_blob, tagged_image},
};
use crate::wire::{
    content::OCI_MANIFEST,
    failure::{Failure, Outcome},
    session::{Repository, Session},
};
use bytes::Bytes;

pub(super) fn add(list: &mut List) {
    for (name, repository) in TRICKS {
        list.add(&format!("extra/paths/{name}"), move |session| {
            reaches_nothing(session, repository)
        });
    }
    list.add("extra/paths/in-references", in_references);
    list.add("extra/paths/in-upload-ids", in_upload_ids);
    list.add("extra/paths/in-mount-source", in_mount_source);
    list.add("extra/paths/very-long", very_long);
    list.add("extra/paths/encoded-characters-of-a-name", encoded_characters);
    list.add("extra/paths/encoded-slash-of-a-name", encoded_slash);
    list.add("extra/paths/double-encoded-slash-of-a-name", double_encoded_slash);
}

/// Paths in place of a repository name, next to a repository `{name}` that exists.
const TRICKS: [(&str, &str); 13] = [
    ("dot-dot", "{name}/../{name}"),
    ("dot-dot-to-the-root", "../../../../{name}"),
    ("dot", "{name}/."),
    ("encoded-dot-dot", "{name}/%2e%2e/{name}"),
    ("encoded-slash", "x%2f..%2f{name}"),
    ("encoded-slash-in-dot-dot", "..%2f..%2f..%2fetc"),
    ("double-encoded", "%252e%252e%252f{name}"),
    ("double-slash", "{name}//x"),
    ("leading-slash", "/{name}"),
    ("backslash", "{name}%5c..%5cx"),
    ("nul", "{name}%00"),
    ("bad-utf-8", "{name}/%ff%fe"),
    ("broken-escape", "{name}/%zz"),
];

/// Checks that a request is refused as the client's fault, in JSON: neither served, nor redirected, nor a server
/// error.
async fn refused(session: &Session, method: &'static str, path: &str) -> Outcome {
    let request = session.request(method, path);
    let request = match method {
        "PUT" | "POST" | "PATCH" => request
            .header("Content-Type", OCI_MANIFEST)
            .sized(Bytes::from_static(b"{}")),
        _ => request.header("Accept", OCI_MANIFEST),
    };
    let answer = session.send(request).await?;
    let answer = answer.one_of(&[400, 404, 405, 414])?;
    answer.json_error().map(drop)
}

async fn everywhere(session: &Session, repository: &str) -> Outcome {
    let digest = session.unknown_digest();
    for rest in [
        "manifests/tagged",
        "tags/list",
        &format!("blobs/{digest}"),
        &format!("referrers/{digest}"),
    ] {
        refused(session, "GET", &format!("/v2/{repository}/{rest}")).await?;
    }
    refused(session, "PUT", &format!("/v2/{repository}/manifests/tagged")).await?;
    refused(session, "DELETE", &format!("/v2/{repository}/manifests/tagged")).await?;
    refused(session, "POST", &format!("/v2/{repository}/blobs/uploads/")).await
}

async fn reaches_nothing(session: Session, repository: &'static str) -> Outcome {
    let (existing, _) = tagged_image(&session, &["tagged"]).await?;
    everywhere(&session, &repository.replace("{name}", &existing.name)).await
}

async fn in_references(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    for reference in [
        "..",
        "%2e%2e",
        "..%2ftagged",
        "tagged%2f..%2ftagged",
        "tagged%00",
        "%ff",
        "tagged/",
        "/tagged",
    ] {
        for endpoint in ["manifests", "blobs", "referrers"] {
            refused(
                &session,
                "GET",
                &repository.path(&format!("{endpoint}/{reference}")),
            )
            .await?;
        }
        refused(
            &session,
            "PUT",
            &repository.path(&format!("manifests/{reference}")),
        )
        .await?;
    }
    Ok(())
}

async fn in_upload_ids(session: Session) -> Outcome {
    let repository = session.repository();
    repository.open_upload().await?;
    for id in [
        "..",
        "%2e%2e",
        "..%2f..",
        "%00",
        "%ff",
        "not-a-uuid",
        "%2fetc%2fpasswd",
    ] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            refused(&session, method, &repository.path(&format!("blobs/uploads/{id}"))).await?;
        }
    }
    Ok(())
}

/// A mount from an impossible name is answered like any mount that is not possible.
async fn in_mount_source(session: Session) -> Outcome {
    let repository = session.repository();
    let digest = session.unknown_digest();
    for from in ["..%2f..", "%00", "%ff", "Upper", "a%2f..%2fb", &"x".repeat(300)] {
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        let answer = repository
            .send(repository.request("POST", &path).sized(Bytes::new()))
            .await?;
        answer.is(202)?;
    }
    Ok(())
}

async fn very_long(session: Session) -> Outcome {
    for length in [300, 5000] {
        everywhere(&session, &"x".repeat(length)).await?;
        everywhere(&session, &vec!["x"; length / 2].join("/")).await?;
        refused(
            &session,
            "GET",
            &format!("/v2/x/manifests/{}", "x".repeat(length)),
        )
        .await?;
        refused(
            &session,
            "GET",
            &format!("/v2/x/blobs/sha256:{}", "0".repeat(length)),
        )
        .await?;
    }
    Ok(())
}

/// An escaped plain character means that character (RFC 3986, section 6.2.2.2), or is refused; it never means another.
async fn encoded_characters(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let encoded = repository.name.replacen("wire", "%77ire", 1);
    let request = session
        .request("GET", &format!("/v2/{encoded}/manifests/tagged"))
        .header("Accept", OCI_MANIFEST);
    let answer = session.send(request).await?;
    if answer.status == 200 {
        answer.body_is(&set.top().body)?;
        return Ok(());
    }
    answer
        .one_of(&[400, 404])?
        .json_error()
        .map(drop)
        .map_err(|failure: Failure| failure)
}

/// Returns the same repository, with each slash of its name escaped.
fn with_slash_as(session: &Session, repository: &Repository, escape: &str) -> Repository {
    session.repository_named(&repository.name.replace('/', escape))
}

/// Clients generated from descriptions of the API escape the slashes of a name. Every endpoint has to accept that as
/// the same name, and the paths that the registry builds contain no escapes, because some proxies refuse them.
async fn encoded_slash(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    for escape in ["%2F", "%2f"] {
        let encoded = with_slash_as(&session, &repository, escape);
        let blob = session.blob(100);
        let pushed = encoded.push_blob(&blob).await?;
        let put = put(&encoded, "second", set.top()).await?;
        for answer in [pushed, put] {
            answer.check("a Location without encoded slashes", |answer| {
                let location = answer.header("location").unwrap_or_default();
                location.contains(&repository.name)
            })?;
        }
        serves_blob(&repository, &blob).await?;
        serves_blob(&encoded, &blob).await?;
        serves(&encoded, "tagged", set.top()).await?;
        let tags = encoded.get("tags/list?n=1000").await?.is(200)?;
        if tags.strings("tags")?.len() != 2 || tags.json()?["name"] != repository.name.as_str() {
            return Err(tags.fail("the two tags of the repository, and its name"));
        }
        encoded.delete_blob(&blob.digest).await?.is(202)?;
        repository.head_blob(&blob.digest).await?.is(404)?;
    }
    Ok(())
}

/// A slash that is escaped twice is not a slash.
async fn double_encoded_slash(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    let encoded = with_slash_as(&session, &repository, "%252F");
    everywhere(&session, &encoded.name).await
}
