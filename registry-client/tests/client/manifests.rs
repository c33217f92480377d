//! Pushes and deletions of manifests, their tags and their referrers.

use crate::{
    pushing::{cut, image_type, manifest, push_blob, sent, tags},
    support::{Scripted, Tapped, descriptor, reply},
};
use http::{HeaderName, Method};
use registry_client::{Error, RemoteRepository};
use registry_core::{Algorithm, Digest, MediaType, Tag, manifest::Manifest, protocol::Precondition};
use registry_test::{
    Quirk, TestRegistry,
    tap::{Fault, Rule, Side},
};

async fn put(repository: &RemoteRepository, bytes: String, names: &[&str]) -> Digest {
    let put = repository
        .put_manifest(bytes, &image_type(), &tags(names), None)
        .await;
    put.unwrap().digest
}

#[tokio::test]
async fn several_tags_need_one_request_where_the_registry_can() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    for blob in [&b"{}"[..], b"layer"] {
        push_blob(&repository, blob).await.unwrap();
    }
    let _ = tapped.tap.take();
    let put = async |names: &[&str]| {
        let pushed = repository
            .put_manifest(manifest(b"layer"), &image_type(), &tags(names), None)
            .await;
        (pushed.unwrap().digest, tapped.tap.take().len())
    };

    let (digest, requests) = put(&["a", "b", "c"]).await;
    assert_eq!(requests, 1);
    assert_eq!(repository.abilities().tag_parameters, Some(true));
    let (_, requests) = put(&[]).await;
    assert_eq!(requests, 1);
    let without = Fault::RemoveHeader(HeaderName::from_static("oci-tag"));
    tapped.tap.add(Rule::new(without));
    let (_, requests) = put(&["d", "e"]).await;
    assert_eq!(requests, 3);

    assert_eq!(tapped.registry.tags("team/app"), ["a", "b", "c", "d", "e"]);
    assert_eq!(tapped.registry.digest("team/app:e"), Some(digest));
}

#[tokio::test]
async fn a_thousand_long_tags_do_not_make_a_long_url() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    for blob in [&b"{}"[..], b"layer"] {
        push_blob(&repository, blob).await.unwrap();
    }
    let names: Vec<_> = (0..1000).map(|number| format!("{number:0128}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let _ = tapped.tap.take();

    repository
        .put_manifest(manifest(b"layer"), &image_type(), &tags(&names), None)
        .await
        .unwrap();

    assert_eq!(tapped.registry.tags("team/app"), names);
    let longest = tapped
        .tap
        .take()
        .iter()
        .map(|exchange| exchange.target.len())
        .max();
    assert!(longest.unwrap() < 4096, "{longest:?}");
}

#[tokio::test]
async fn an_enormous_type_of_artifact_is_an_error() {
    let registry = Scripted::start(|_| reply(404));
    let subject = descriptor(b"subject").digest;
    let huge = "x".repeat(100_000);

    let error = registry
        .repository("a")
        .referrers(&subject, Some(&huge))
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(registry.received().is_empty());
}

#[tokio::test]
async fn a_condition_holds_or_fails_also_after_a_lost_answer() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    for blob in [&b"{}"[..], b"one", b"two"] {
        push_blob(&repository, blob).await.unwrap();
    }
    let put = async |layer: &[u8], condition| {
        repository
            .put_manifest(manifest(layer), &image_type(), &tags(&["v1"]), Some(condition))
            .await
    };
    tapped
        .tap
        .add(cut(Side::Response, 0, Method::PUT, "/manifests/", 1));

    let first = put(b"one", Precondition::Absent).await.unwrap();
    assert_eq!(
        sent(&tapped, &Method::PUT)
            .iter()
            .filter(|sent| **sent > 400)
            .count(),
        3
    );
    let error = put(b"two", Precondition::Absent).await.unwrap_err();
    assert!(matches!(error, Error::ConditionFailed { .. }), "{error:?}");
    put(b"two", Precondition::Is(first.digest)).await.unwrap();
}

#[tokio::test]
async fn a_condition_of_several_tags_holds_also_after_a_lost_answer() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    for blob in [&b"{}"[..], b"one", b"two"] {
        push_blob(&repository, blob).await.unwrap();
    }
    let put = async |layer: &[u8], names: &[&str], condition| {
        repository
            .put_manifest(manifest(layer), &image_type(), &tags(names), Some(condition))
            .await
    };
    let lost = || cut(Side::Response, 0, Method::PUT, "/manifests/", 1);

    tapped.tap.add(lost());
    let first = put(b"one", &["a", "b"], Precondition::Absent).await.unwrap();
    assert_eq!(tapped.registry.digest("team/app:b"), Some(first.digest));
    // The answer is lost and the condition fails in truth: another manifest has one of the tags.
    put(b"two", &["c"], Precondition::Absent).await.unwrap();
    tapped.tap.add(lost());
    let error = put(b"one", &["a", "c"], Precondition::Absent).await.unwrap_err();
    assert!(matches!(error, Error::ConditionFailed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_with_missing_blobs_is_refused_with_the_code_of_the_registry() {
    let tapped = Tapped::start();

    let put = tapped
        .repository("a")
        .put_manifest(manifest(b"x"), &image_type(), &tags(&["v1"]), None)
        .await;

    let error = put.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { code: Some(code), .. } if code == "MANIFEST_BLOB_UNKNOWN"),
        "{error:?}"
    );
}

fn signature(subject: &Digest, number: u32) -> String {
    let config = Digest::of(Algorithm::Sha256, b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{image}","artifactType":"application/x{number}",
        "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[],
        "subject":{{"mediaType":"{image}","digest":"{subject}","size":7}},"annotations":{{"n":"{number}"}}}}"#,
        image = MediaType::OCI_MANIFEST,
    )
}

#[tokio::test]
async fn a_referrer_that_is_deleted_leaves_the_tag_of_its_subject() {
    let tapped = Tapped::before(TestRegistry::builder().quirk(Quirk::WithoutReferrers).start());
    let repository = tapped.repository("team/app");
    push_blob(&repository, b"{}").await.unwrap();
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let mut pushed = Vec::new();
    for number in [1, 2] {
        pushed.push(put(&repository, signature(&subject, number), &[]).await);
    }
    let listed = async || {
        let listed = tapped.repository("team/app").referrers(&subject, None).await;
        listed.unwrap().iter().map(|one| one.digest).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, pushed);

    // A client that knows nothing about the registry does it, too.
    for (repository, left) in [
        (repository, &pushed[1..]),
        (tapped.repository("team/app"), &[][..]),
    ] {
        let digest = pushed[pushed.len() - left.len() - 1];
        repository.delete_manifest(&digest).await.unwrap();
        assert_eq!(listed().await, left);
    }
}

#[tokio::test]
async fn a_deletion_costs_one_request_where_the_registry_lists_referrers() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    push_blob(&repository, b"{}").await.unwrap();
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let digest = put(&repository, signature(&subject, 1), &[]).await;
    let _ = tapped.tap.take();

    repository.delete_manifest(&digest).await.unwrap();

    assert_eq!(tapped.tap.take().len(), 1);
    assert!(repository.referrers(&subject, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_manifest_is_pushed_by_its_sha512_with_and_without_tags() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app").with_algorithm(Algorithm::Sha512);
    for blob in [&b"{}"[..], b"layer"] {
        push_blob(&repository, blob).await.unwrap();
    }
    let expected = Digest::of(Algorithm::Sha512, manifest(b"layer").as_bytes());
    for names in [&[][..], &["a"], &["b", "c"]] {
        assert_eq!(put(&repository, manifest(b"layer"), names).await, expected);
    }

    for tag in ["a", "b", "c"] {
        let digest = tapped.registry.digest(&format!("team/app:{tag}"));
        assert_eq!(digest, Some(expected), "{tag}");
    }
    assert_eq!(repository.manifest(expected).await.unwrap().digest, expected);
}

#[tokio::test]
async fn a_referrer_is_added_to_the_tag_of_its_subject_if_the_registry_does_not_list_it() {
    let tapped = Tapped::start();
    let repository = tapped.repository("team/app");
    push_blob(&repository, b"{}").await.unwrap();
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let signature = |number: u32| signature(&subject, number);

    repository
        .put_manifest(signature(0), &image_type(), &[], None)
        .await
        .unwrap();
    assert_eq!(repository.abilities().referrers, Some(true));
    assert_eq!(tapped.registry.tags("team/app"), [""; 0]);
    let without = Fault::RemoveHeader(HeaderName::from_static("oci-subject"));
    tapped.tap.add(Rule::new(without));
    for number in [1, 2, 2] {
        repository
            .put_manifest(signature(number), &image_type(), &[], None)
            .await
            .unwrap();
    }

    let tag = Tag::of_referrers(&subject);
    let index = tapped.registry.manifest(&format!("team/app:{tag}")).unwrap();
    let index = Manifest::parse(&index, None).unwrap();
    let types: Vec<_> = index
        .manifests()
        .iter()
        .map(|entry| entry.artifact_type.as_deref())
        .collect();
    assert_eq!(types, [Some("application/x1"), Some("application/x2")]);
    // The registry of this test lists all of them, too.
    assert_eq!(repository.referrers(&subject, None).await.unwrap().len(), 3);
    let filtered = repository
        .referrers(&subject, Some("application/x2"))
        .await
        .unwrap();
    assert_eq!(filtered[0].annotations.as_ref().unwrap().to_map()["n"], "2");
    assert_eq!(filtered.len(), 1);
}
