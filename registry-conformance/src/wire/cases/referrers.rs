//! Manifests that refer to another: listed, filtered, paged, removed when deleted.

use super::{
    list::List,
    steps::{push, put, tagged_image},
};
use crate::wire::{
    client::{Answer, Request},
    content::{self, DataSet, Document, OCI_INDEX, OCI_MANIFEST, artifact},
    failure::{Failure, Outcome},
    session::{Repository, Session},
};
use serde_json::{Value, json};

pub(super) fn add(list: &mut List) {
    list.add("referrers/empty", empty);
    list.add("referrers/empty-in-known-repository", empty_in_known_repository);
    list.add("referrers/malformed-digest", malformed_digest);
    list.add("referrers/filter", filter);
    list.add("referrers/filter-without-match", filter_without_match);
    list.add(
        "referrers/filter-that-is-no-media-type",
        filter_that_is_no_media_type,
    );
    list.add("referrers/put-again-lists-once", put_again_lists_once);
    list.add("referrers/gone-after-delete", gone_after_delete);
    list.add("referrers/of-one-repository", of_one_repository);
    list.add("referrers/subject-pushed-later", subject_pushed_later);
    list.add("referrers/many", many);
    list.add(
        "extra/referrers/kept-when-subject-is-deleted",
        kept_when_subject_is_deleted,
    );
    list.add("extra/referrers/kept-under-a-tag", kept_under_a_tag);
    list.add("extra/referrers/keeping-is-warned-of", keeping_is_warned_of);
    list.add("extra/referrers/pages", pages);
    list.add("extra/referrers/pages-of-a-filter", pages_of_a_filter);
}

/// Checks that the answer is a referrers list; returns its entries.
fn entries(answer: Answer) -> Result<(Answer, Vec<Value>), Failure> {
    let answer = answer.is(200)?.has("content-type", OCI_INDEX)?;
    let index = answer.json()?;
    let is_index = index["schemaVersion"] == 2 && index["mediaType"] == OCI_INDEX;
    match index["manifests"].as_array() {
        Some(entries) if is_index => Ok((answer, entries.clone())),
        _ => Err(answer.fail("an image index: schemaVersion 2, its mediaType, a list of manifests")),
    }
}

fn same_entries(answer: &Answer, found: &[Value], expected: &[Value]) -> Outcome {
    let same = found.len() == expected.len() && expected.iter().all(|entry| found.contains(entry));
    if same {
        return Ok(());
    }
    Err(answer.fail(&format!("exactly {}", json!(expected))))
}

/// Checks that the list of a subject holds exactly those of `documents` that refer to it, also filtered by each type.
pub(super) async fn lists(repository: &Repository, subject: &str, documents: &[Document]) -> Outcome {
    let referring: Vec<&Document> = documents
        .iter()
        .filter(|document| document.subject().as_deref() == Some(subject))
        .collect();
    let (answer, found) = entries(repository.get(&format!("referrers/{subject}")).await?)?;
    let expected: Vec<Value> = referring.iter().map(|document| document.referrer()).collect();
    same_entries(&answer, &found, &expected)?;

    for artifact_type in referring.iter().filter_map(|document| document.artifact_type()) {
        let of_type = |document: &&&Document| document.artifact_type().as_ref() == Some(&artifact_type);
        let expected: Vec<Value> = referring
            .iter()
            .filter(of_type)
            .map(|document| document.referrer())
            .collect();
        let (answer, found) = filtered(repository, subject, &artifact_type).await?;
        same_entries(&answer, &found, &expected)?;
    }
    Ok(())
}

async fn filtered(
    repository: &Repository,
    subject: &str,
    artifact_type: &str,
) -> Result<(Answer, Vec<Value>), Failure> {
    let artifact_type = artifact_type.replace('+', "%2B").replace('/', "%2F");
    let path = format!("referrers/{subject}?artifactType={artifact_type}");
    entries(
        repository
            .get(&path)
            .await?
            .is(200)?
            .has("oci-filters-applied", "artifactType")?,
    )
}

/// Returns an artifact of this type that refers to a subject; `name` makes it unique.
fn referrer(session: &Session, subject: &Value, artifact_type: &str, name: &str) -> Document {
    let mut value = artifact(artifact_type, &content::empty_json(session));
    value["subject"] = subject.clone();
    value["annotations"] = json!({ "org.example.name": name });
    Document::new(session.algorithm, value)
}

const SBOM: &str = "application/vnd.example.sbom";
const SIGNATURE: &str = "application/vnd.example.signature+json";

/// Pushes to a repository an image, and `sboms` and `signatures` that refer to it.
async fn referred(
    session: &Session,
    sboms: usize,
    signatures: usize,
) -> Result<(Repository, Document, Vec<Document>), Failure> {
    let (repository, set) = tagged_image(session, &[]).await?;
    repository.push_blob(&content::empty_json(session)).await?;
    let subject = set.top().clone();
    let types = std::iter::repeat_n(SBOM, sboms).chain(std::iter::repeat_n(SIGNATURE, signatures));
    let mut documents = Vec::new();
    for (number, artifact_type) in types.enumerate() {
        let document = referrer(session, &subject.descriptor(), artifact_type, &number.to_string());
        put(&repository, document.digest, &document).await?;
        documents.push(document);
    }
    Ok((repository, subject, documents))
}

async fn empty(session: Session) -> Outcome {
    let repository = session.repository();
    let answer = repository
        .get(&format!("referrers/{}", session.unknown_digest()))
        .await?;
    let (answer, found) = entries(answer)?;
    same_entries(&answer, &found, &[])
}

async fn empty_in_known_repository(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    lists(&repository, &set.top().digest.to_string(), &[]).await
}

async fn malformed_digest(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    for digest in ["sha256:nothex", "tagged", "sha256:", "sha256"] {
        let answer = repository.get(&format!("referrers/{digest}")).await?;
        answer.error(400, &["DIGEST_INVALID"])?;
    }
    Ok(())
}

async fn filter(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 2, 1).await?;
    lists(&repository, &subject.digest.to_string(), &documents).await
}

async fn filter_without_match(session: Session) -> Outcome {
    let (repository, subject, _) = referred(&session, 1, 0).await?;
    let (answer, found) = filtered(&repository, &subject.digest.to_string(), "application/other").await?;
    same_entries(&answer, &found, &[])
}

/// No artifact has such a type, which is not an error.
async fn filter_that_is_no_media_type(session: Session) -> Outcome {
    let (repository, subject, _) = referred(&session, 1, 0).await?;
    for artifact_type in ["%3F%3F%3F", "signature", "a b", "a/b/c"] {
        let artifact_type = artifact_type.replace(' ', "%20");
        let (answer, found) = filtered(&repository, &subject.digest.to_string(), &artifact_type).await?;
        same_entries(&answer, &found, &[])?;
    }
    Ok(())
}

async fn put_again_lists_once(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 1, 0).await?;
    for document in &documents {
        put(&repository, document.digest, document).await?;
        put(&repository, "tagged", document).await?;
    }
    lists(&repository, &subject.digest.to_string(), &documents).await
}

async fn gone_after_delete(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 1, 1).await?;
    for (number, document) in documents.iter().enumerate() {
        repository.delete_manifest(document.digest).await?.is(202)?;
        let rest = documents.get(number + 1..).unwrap_or_default();
        lists(&repository, &subject.digest.to_string(), rest).await?;
    }
    Ok(())
}

async fn of_one_repository(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 1, 0).await?;
    let (other, _) = tagged_image(&session, &["tagged"]).await?;
    lists(&other, &subject.digest.to_string(), &[]).await?;
    lists(&repository, &subject.digest.to_string(), &documents).await
}

async fn subject_pushed_later(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    let empty = content::empty_json(&session);
    repository.push_blob(&empty).await?;
    let subject = set.top().digest.to_string();
    let document = referrer(&session, &set.top().descriptor(), SBOM, "early");
    put(&repository, document.digest, &document)
        .await?
        .has("oci-subject", &subject)?;
    lists(&repository, &subject, std::slice::from_ref(&document)).await?;
    push(&repository, &set).await?;
    lists(&repository, &subject, &[document]).await
}

/// Returns every page of a list, with its entries.
async fn all_pages(session: &Session, first: Request) -> Result<Vec<(Answer, Vec<Value>)>, Failure> {
    let mut pages = Vec::new();
    let mut request = first;
    loop {
        let (answer, found) = entries(session.send(request).await?)?;
        let link = answer.next_link()?;
        pages.push((answer.clone(), found));
        match link {
            Some(_) if pages.len() > 100 => return Err(answer.fail("an end of the pages")),
            Some(link) => request = Request::new("GET", session.follow(&answer, &link)?),
            None => return Ok(pages),
        }
    }
}

fn whole(pages: &[(Answer, Vec<Value>)], documents: &[Document]) -> Outcome {
    let found: Vec<Value> = pages.iter().flat_map(|(_, found)| found.clone()).collect();
    let expected: Vec<Value> = documents.iter().map(Document::referrer).collect();
    let (answer, _) = pages.last().expect("there is a page");
    same_entries(answer, &found, &expected)
}

async fn many(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 30, 10).await?;
    let request = repository.request("GET", &format!("referrers/{}", subject.digest));
    whole(&all_pages(&session, request).await?, &documents)
}

async fn pages(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 5, 2).await?;
    let request = repository.request("GET", &format!("referrers/{}?n=3", subject.digest));
    let pages = all_pages(&session, request).await?;
    let lengths: Vec<usize> = pages.iter().map(|(_, found)| found.len()).collect();
    if lengths != [3, 3, 1] {
        let (answer, _) = pages.last().expect("there is a page");
        return Err(answer.fail(&format!("pages of 3, 3 and 1, not {lengths:?}")));
    }
    whole(&pages, &documents)
}

async fn pages_of_a_filter(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 5, 2).await?;
    let query = format!(
        "referrers/{}?artifactType={}&n=2",
        subject.digest,
        SBOM.replace('/', "%2F")
    );
    let pages = all_pages(&session, repository.request("GET", &query)).await?;
    for (answer, _) in &pages {
        answer.clone().has("oci-filters-applied", "artifactType")?;
    }
    whole(&pages, documents.get(..5).unwrap_or_default())
}

/// The subject is a weak link: its referrers stay.
async fn kept_when_subject_is_deleted(session: Session) -> Outcome {
    let (repository, subject, documents) = referred(&session, 1, 0).await?;
    repository.delete_manifest(subject.digest).await?.is(202)?;
    lists(&repository, &subject.digest.to_string(), &documents).await?;
    let answer = repository
        .get_manifest(documents.first().map_or(subject.digest, |first| first.digest))
        .await?;
    answer.is(200)?.has("content-type", OCI_MANIFEST)?;
    Ok(())
}

/// Pushes an image and two artifacts, of which only the first names the image as its subject. Both are in the index
/// that a client keeps under the tag of the image's referrers. Returns them with the answer to the push of that index.
async fn kept(session: &Session) -> Result<(Repository, Document, Vec<Document>, Answer), Failure> {
    let (repository, subject, mut documents) = referred(session, 1, 0).await?;
    let mut silent = artifact(SIGNATURE, &content::empty_json(session));
    silent["annotations"] = json!({ "org.example.name": "silent" });
    let silent = Document::new(session.algorithm, silent);
    put(&repository, silent.digest, &silent).await?;
    documents.push(silent);
    let mut index = content::index(&documents.iter().collect::<Vec<_>>());
    index["manifests"] = documents.iter().map(Document::referrer).collect();
    let tag = subject.digest.to_string().replace(':', "-");
    let answer = put(&repository, &tag, &Document::new(session.algorithm, index)).await?;
    Ok((repository, subject, documents, answer))
}

/// Entries that clients kept under a tag while there was no list are in the list, once, as long as the tag exists.
async fn kept_under_a_tag(session: Session) -> Outcome {
    let (repository, subject, documents, _) = kept(&session).await?;
    let path = format!("referrers/{}", subject.digest);
    whole(
        &all_pages(&session, repository.request("GET", &path)).await?,
        &documents,
    )?;
    let pages = all_pages(&session, repository.request("GET", &format!("{path}?n=1"))).await?;
    whole(&pages, &documents)?;
    for (document, artifact_type) in documents.iter().zip([SBOM, SIGNATURE]) {
        let (answer, found) = filtered(&repository, &subject.digest.to_string(), artifact_type).await?;
        same_entries(&answer, &found, &[document.referrer()])?;
    }
    for (number, document) in documents.iter().enumerate() {
        repository.delete_manifest(document.digest).await?.is(202)?;
        let rest: Vec<Value> = documents
            .iter()
            .skip(number + 1)
            .map(Document::referrer)
            .collect();
        let (answer, found) = entries(repository.get(&path).await?)?;
        same_entries(&answer, &found, &rest)?;
    }
    Ok(())
}

async fn keeping_is_warned_of(session: Session) -> Outcome {
    let (.., answer) = kept(&session).await?;
    answer.check("a warning of the form 299 - \"text\"", |answer| {
        answer
            .header("warning")
            .is_some_and(|warning| warning.starts_with("299 - \"") && warning.ends_with('"'))
    })?;
    Ok(())
}
