//! Manifests and indexes: the data sets of real use, and refusals.

use super::{
    data_sets::{self, foreign, image_index, index_of_blobs, large, mixed_algorithms, null_lists},
    list::List,
    steps::{push, push_blobs, put, same_headers, serves, tag, tagged_image},
};
use crate::wire::{
    content::{
        DOCKER_MANIFEST, DataSet, Document, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST,
        config, descriptor, image, index,
    },
    failure::Outcome,
    session::{Blob, Repository, Session},
};
use bytes::Bytes;
use registry_core::{Algorithm, Digest};
use serde_json::Value;

pub(super) fn add(list: &mut List) {
    for (name, build) in data_sets::ALL {
        list.each("manifests", name, move |session| {
            let set = build(&session);
            lives(session, set)
        });
    }
    list.each("manifests", "large-manifest", large_manifest);
    list.each("manifests", "tag-param", tag_param);
    list.each("manifests", "tag-param-moves-tags", tag_param_moves_tags);
    list.each("manifests", "bad-digest-image", bad_digest_image);
    list.add("manifests/mixed-algorithms", |session| {
        let set = mixed_algorithms(&session);
        lives(session, set)
    });
    list.add("manifests/null-lists", |session| {
        let set = null_lists(&session);
        lives(session, set)
    });
    list.add("manifests/missing-by-digest", missing_by_digest);
    list.add("manifests/missing-by-tag", missing_by_tag);
    list.add("manifests/invalid-digest-format", invalid_digest_format);
    list.add("manifests/byte-exact", byte_exact);
    list.add("manifests/put-again", put_again);
    list.add("manifests/head-equals-get", head_equals_get);
    list.add("manifests/never-compressed", never_compressed);
    list.add("manifests/content-type-parameters", content_type_parameters);
    list.add(
        "manifests/media-type-from-content-type",
        media_type_from_content_type,
    );
    list.add("manifests/missing-blobs-are-named", missing_blobs_are_named);
    list.add("manifests/missing-children-are-named", missing_children_are_named);
    list.add(
        "manifests/missing-blobs-of-an-index-are-named",
        missing_blobs_of_an_index_are_named,
    );
    list.add("manifests/pushed-at-once-to-one-tag", pushed_at_once_to_one_tag);
    list.add("manifests/delete-again", delete_again);
    list.add("manifests/delete-missing", delete_missing);
    list.add("extra/manifests/accept-is-ignored", accept_is_ignored);
    list.add("extra/manifests/content-type-missing", content_type_missing);
    list.add("extra/manifests/blob-as-child", blob_as_child);
    list.add(
        "extra/manifests/layer-with-urls-is-needed",
        layer_with_urls_is_needed,
    );
}

/// Pushes a set with a tag, reads it in every way, and deletes it, parents first.
async fn lives(session: Session, set: DataSet) -> Outcome {
    let repository = session.repository();
    push_blobs(&repository, &set).await?;
    for document in &set.documents {
        let digest = document.digest.to_string();
        let answer = put(&repository, &digest, document)
            .await?
            .has("docker-content-digest", &digest)?;
        session.location(&answer)?;
        if let Some(subject) = document.subject() {
            answer.has("oci-subject", &subject)?;
        }
    }
    tag(&repository, "tagged", set.top()).await?;
    let tags = repository.get("tags/list").await?.is(200)?;
    if tags.strings("tags")? != ["tagged"] {
        return Err(tags.fail("the tag that was pushed"));
    }

    serves(&repository, "tagged", set.top()).await?;
    for document in &set.documents {
        serves(&repository, &document.digest.to_string(), document).await?;
    }
    let subjects = set.documents.iter().filter_map(Document::subject);
    for subject in subjects {
        super::referrers::lists(&repository, &subject, &set.documents).await?;
    }

    for document in set.documents.iter().rev() {
        repository.delete_manifest(document.digest).await?.is(202)?;
        repository.head_manifest(document.digest).await?.is(404)?;
    }
    repository.head_manifest("tagged").await?.is(404)?;
    for blob in &set.blobs {
        repository.delete_blob(&blob.digest).await?.is(202)?;
        repository.head_blob(&blob.digest).await?.is(404)?;
    }
    Ok(())
}

/// The manifest is sent in chunked encoding: its length is not announced.
async fn large_manifest(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), large(&session, 390));
    push_blobs(&repository, &set).await?;
    let (top, digest) = (set.top(), set.top().digest.to_string());
    let request = repository
        .request("PUT", &format!("manifests/{digest}"))
        .header("Content-Type", OCI_MANIFEST)
        .chunked(top.body.clone());
    repository
        .send(request)
        .await?
        .is(201)?
        .has("docker-content-digest", &digest)?;
    serves(&repository, &digest, top).await?;
    repository.delete_manifest(&digest).await?.is(202)?;
    repository.head_manifest(&digest).await?.is(404)?;
    Ok(())
}

async fn put_with_tags(repository: &Repository, document: &Document, tags: &[String]) -> Outcome {
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let reference = format!("{}?{}", document.digest, query.join("&"));
    let answer = put(repository, reference, document).await?;
    let answer = answer.has("docker-content-digest", &document.digest.to_string())?;
    // A list in one header, one header for each tag, or both.
    let values = answer
        .headers
        .get_all("oci-tag")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut accepted: Vec<String> = values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().to_owned())
        .collect();
    accepted.sort();
    let mut expected = tags.to_vec();
    expected.sort();
    if accepted == expected {
        return Ok(());
    }
    Err(answer.fail(&format!("OCI-Tag for each of {expected:?}")))
}

/// One PUT by digest sets ten tags; each then returns the same digest.
async fn tag_param(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let tags: Vec<String> = (0..10).map(|number| format!("tag-{number}")).collect();
    put_with_tags(&repository, set.top(), &tags).await?;
    for tag in &tags {
        serves(&repository, tag, set.top()).await?;
    }
    Ok(())
}

async fn tag_param_moves_tags(session: Session) -> Outcome {
    let repository = session.repository();
    let (first, second) = (DataSet::image(&session), DataSet::image(&session));
    push_blobs(&repository, &first).await?;
    push_blobs(&repository, &second).await?;
    put_with_tags(&repository, first.top(), &["moved".into(), "stays".into()]).await?;
    put_with_tags(&repository, second.top(), &["moved".into()]).await?;
    serves(&repository, "moved", second.top()).await?;
    serves(&repository, "stays", first.top()).await
}

async fn bad_digest_image(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let other = session.unknown_digest();
    let request = repository.put_request(other, OCI_MANIFEST, &set.top().body);
    repository.send(request).await?.error(400, &["DIGEST_INVALID"])?;
    repository.head_manifest(other).await?.is(404)?;
    repository.head_manifest(set.top().digest).await?.is(404)?;
    Ok(())
}

async fn missing_by_digest(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    let digest = session.unknown_digest();
    repository.head_manifest(digest).await?.is(404)?;
    repository.get_manifest(digest).await?.is(404)?;
    Ok(())
}

async fn missing_by_tag(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    repository.head_manifest("missing").await?.is(404)?;
    repository.get_manifest("missing").await?.is(404)?;
    Ok(())
}

async fn invalid_digest_format(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let bad = "sha256:baddigeststring";
    let request = repository.put_request(bad, OCI_MANIFEST, &set.top().body);
    repository.send(request).await?.is(400)?;
    repository.get_manifest(bad).await?.one_of(&[400, 404])?;
    Ok(())
}

/// Spaces, the order of the keys, escapes and the last newline are preserved.
async fn byte_exact(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let value = &set.top().value;
    let (config, layers) = (&value["config"], &value["layers"]);
    let text = format!(
        "\n{{ \"layers\" :{layers:#},\r\n\t\"annotations\": {{\"b\":\"\\u00e9\\/\", \"a\":\"é\"}},\
         \"mediaType\":\"{OCI_MANIFEST}\",\"config\":{config}, \"schemaVersion\":2 }}\n\n"
    );
    let body = Bytes::from(text);
    let document = Document {
        media_type: OCI_MANIFEST.into(),
        digest: Digest::of(Algorithm::Sha256, &body),
        value: Value::Null,
        body,
    };
    put(&repository, "exact", &document).await?;
    serves(&repository, "exact", &document).await
}

async fn put_again(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    put(&repository, "tagged", set.top()).await?;
    put(&repository, set.top().digest, set.top()).await?;
    serves(&repository, "tagged", set.top()).await
}

async fn head_equals_get(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    for reference in ["tagged".to_owned(), set.top().digest.to_string()] {
        let head = repository.head_manifest(&reference).await?.is(200)?;
        let get = repository.get_manifest(&reference).await?.is(200)?;
        same_headers(&head, &get)?;
    }
    Ok(())
}

async fn never_compressed(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let request = repository
        .manifest_request("GET", "tagged")
        .header("Accept-Encoding", "gzip, deflate, br, zstd");
    let answer = repository
        .send(request)
        .await?
        .is(200)?
        .lacks("content-encoding")?;
    answer
        .has("content-length", &set.top().body.len().to_string())?
        .body_is(&set.top().body)?;
    Ok(())
}

async fn content_type_parameters(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let with_parameter = format!("{OCI_MANIFEST}; charset=utf-8");
    let request = repository.put_request("tagged", &with_parameter, &set.top().body);
    repository.send(request).await?.is(201)?;
    serves(&repository, "tagged", set.top()).await
}

/// A document that does not name its own type keeps the type from its request.
async fn media_type_from_content_type(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    for (media_type, mut value) in [
        (OCI_MANIFEST, set.top().value.clone()),
        (OCI_INDEX, index(&[set.top()])),
    ] {
        value
            .as_object_mut()
            .expect("a document is an object")
            .remove("mediaType");
        let mut document = Document::new(Algorithm::Sha256, value);
        document.media_type = media_type.into();
        put(&repository, document.digest, &document).await?;
        serves(&repository, &document.digest.to_string(), &document).await?;
    }
    Ok(())
}

async fn names_missing(repository: &Repository, document: &Document, missing: &[String]) -> Outcome {
    let request = repository.put_request("tagged", &document.media_type, &document.body);
    let answer = repository
        .send(request)
        .await?
        .error(400, &["MANIFEST_BLOB_UNKNOWN"])?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.codes().len() != missing.len() || !missing.iter().all(|digest| text.contains(digest)) {
        return Err(answer.fail(&format!("one error for each of {missing:?}")));
    }
    repository.head_manifest("tagged").await?.is(404)?;
    Ok(())
}

async fn missing_blobs_are_named(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    let (present, missing) = set.blobs.split_first().expect("an image has blobs");
    repository.push_blob(present).await?;
    let missing: Vec<String> = missing.iter().map(|blob| blob.digest.to_string()).collect();
    names_missing(&repository, set.top(), &missing).await
}

async fn missing_children_are_named(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), image_index(&session));
    let [first, second, top] = set.documents.as_slice() else {
        unreachable!("two images and their index");
    };
    push_blobs(&repository, &set).await?;
    put(&repository, first.digest, first).await?;
    names_missing(&repository, top, &[second.digest.to_string()]).await
}

async fn missing_blobs_of_an_index_are_named(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), index_of_blobs(&session));
    let [first, rest @ ..] = set.blobs.as_slice() else {
        unreachable!("two layers and a configuration");
    };
    repository.push_blob(first).await?;
    let missing: Vec<String> = rest.iter().map(|blob| blob.digest.to_string()).collect();
    names_missing(&repository, set.top(), &missing).await
}

/// An index declares its entries as manifests, so they have to be manifests.
async fn blob_as_child(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let document = Blob::new(session.algorithm, set.top().body.clone());
    repository.push_blob(&document).await?;
    let top = Document::new(session.algorithm, index(&[set.top()]));
    names_missing(&repository, &top, &[document.digest.to_string()]).await
}

/// The type of a layer decides if it may be absent, not the URLs that it names.
async fn layer_with_urls_is_needed(session: Session) -> Outcome {
    let (repository, config) = (session.repository(), config(&session, "amd64"));
    repository.push_blob(&config).await?;
    let layer = foreign(&session, OCI_LAYER_GZIP);
    let manifest = image(&descriptor(OCI_CONFIG, &config), std::slice::from_ref(&layer));
    let manifest = Document::new(session.algorithm, manifest);
    let missing = layer["digest"].as_str().unwrap_or_default().to_owned();
    names_missing(&repository, &manifest, &[missing]).await
}

/// Whichever push wins, the tag names one of them, whole, and all of them exist.
async fn pushed_at_once_to_one_tag(session: Session) -> Outcome {
    let repository = session.repository();
    let sets: Vec<DataSet> = (0..8).map(|_| DataSet::image(&session)).collect();
    for set in &sets {
        push_blobs(&repository, set).await?;
    }
    let mut pushes = tokio::task::JoinSet::new();
    for set in sets.clone() {
        let repository = repository.clone();
        pushes.spawn(async move { put(&repository, "contended", set.top()).await });
    }
    while let Some(push) = pushes.join_next().await {
        push.expect("a push does not panic")?;
    }
    let answer = repository.get_manifest("contended").await?.is(200)?;
    let winner = sets.iter().find(|set| set.top().body == answer.body);
    let Some(winner) = winner else {
        return Err(answer.fail("one of the manifests that were pushed"));
    };
    answer.has("docker-content-digest", &winner.top().digest.to_string())?;
    for set in &sets {
        serves(&repository, &set.top().digest.to_string(), set.top()).await?;
    }
    Ok(())
}

async fn delete_again(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push(&repository, &set).await?;
    repository.delete_manifest(set.top().digest).await?.is(202)?;
    repository.delete_manifest(set.top().digest).await?.is(404)?;
    put(&repository, set.top().digest, set.top()).await?;
    serves(&repository, &set.top().digest.to_string(), set.top()).await
}

async fn delete_missing(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    let digest = session.unknown_digest();
    repository.delete_manifest(digest).await?.is(404)?;
    session.repository().delete_manifest(digest).await?.is(404)?;
    Ok(())
}

/// A manifest is served as stored, with any `Accept` header.
async fn accept_is_ignored(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    for accept in [None, Some("*/*"), Some(DOCKER_MANIFEST), Some(OCI_EMPTY)] {
        let request = repository.request("GET", "manifests/tagged");
        let request = match accept {
            Some(accept) => request.header("Accept", accept),
            None => request,
        };
        let answer = repository.send(request).await?.is(200)?;
        answer
            .has("content-type", OCI_MANIFEST)?
            .body_is(&set.top().body)?;
    }
    Ok(())
}

/// A document that names its own type needs no `Content-Type`.
async fn content_type_missing(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let request = repository
        .request("PUT", "manifests/tagged")
        .sized(set.top().body.clone());
    repository.send(request).await?.is(201)?;
    serves(&repository, "tagged", set.top()).await
}
