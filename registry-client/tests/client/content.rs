//! Listings, referrers and deletions.

use crate::support::{Scripted, Tapped, builder, reply};
use http::Method;
use registry_client::Error;
use registry_core::{Algorithm, Digest, Tag};
use registry_test::{
    image,
    tap::{Fault, Rule, Side},
};

#[tokio::test]
async fn tags_and_repositories_are_listed() {
    let tapped = Tapped::start();
    for name in ["team/app:v1", "team/app:v2", "team/web:v1"] {
        tapped.registry.seed(name, image().files([("a", name)]));
    }
    let repository = tapped.repository("team/app");

    let tags = repository.tags().all(10).await.unwrap();
    assert_eq!(tags, ["v1", "v2"].map(|tag| Tag::parse(tag).unwrap()));
    let v1 = Tag::parse("v1").unwrap();
    assert_eq!(repository.tags_after(v1).all(1).await.unwrap(), tags[1..]);
    let error = repository.tags().all(1).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { limit: 1, .. }), "{error:?}");
    let address = tapped.tap.address();
    assert_eq!(
        error.to_string(),
        format!("{address}/v2/team/app/tags/list: the listing has more than 1 items")
    );

    let client = builder().build().unwrap();
    let names = client.catalog(repository.host()).all(10).await.unwrap();
    assert_eq!(
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["team/app", "team/web"]
    );
    client.ping(repository.host()).await.unwrap();
}

#[tokio::test]
async fn pages_are_followed_within_the_registry_only() {
    let registry = Scripted::start(|received| match &*received.target {
        "/v2/a/tags/list" => reply(200)
            .header("link", r#"</v2/a/tags/list?last=b>; rel="next""#)
            .body(r#"{"tags":["a","b"]}"#),
        "/v2/a/tags/list?last=b" => reply(200).body(r#"{"tags":null}"#),
        "/v2/elsewhere/tags/list" => reply(200)
            .header("link", r#"<http://127.0.0.2/>; rel="next""#)
            .body(r#"{"tags":["a"]}"#),
        target => reply(200)
            .header("link", format!("<{target}>; rel=next"))
            .body(r#"{"tags":["a"]}"#),
    });

    assert_eq!(registry.repository("a").tags().all(10).await.unwrap().len(), 2);
    for name in ["elsewhere", "circle"] {
        let error = registry.repository(name).tags().all(10).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn malformed_listings_are_errors() {
    for body in [
        "",
        "[]",
        r#"{"tags":[1]}"#,
        r#"{"tags":["a/../b"]}"#,
        &format!(r#"{{"tags":{}"#, "[".repeat(9999)),
    ] {
        let body = body.to_owned();
        let registry = Scripted::start(move |_| reply(200).body(body.clone()));
        let error = registry.repository("a").tags().all(10).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn referrers_are_read_from_the_tag_if_there_is_no_list() {
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let other = Digest::of(Algorithm::Sha256, b"other");
    let tag = Tag::of_referrers(&subject);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{other}","size":1,"artifactType":"a/b"}},
        {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{other}","size":1,"artifactType":"c/d"}}]}}"#
    );
    for without in [404, 405, 200] {
        let (tag, index) = (tag.clone(), index.clone());
        let registry = Scripted::start(move |received| {
            if received.path().ends_with(tag.as_str()) {
                reply(200).body(index.clone())
            } else if received.path().contains("/manifests/") {
                reply(404)
            } else {
                reply(without).header("content-type", "text/html").body("<html>")
            }
        });
        let repository = registry.repository("a");
        assert_eq!(repository.referrers(&subject, None).await.unwrap().len(), 2);
        assert_eq!(
            repository.referrers(&subject, Some("a/b")).await.unwrap().len(),
            1
        );
        assert!(repository.referrers(&other, None).await.unwrap().is_empty());
        assert_eq!(repository.abilities().referrers, Some(false));
    }
    // Only a missing list is replaced by the tag.
    let (path, type_of_list) = (
        format!("/v2/a/referrers/{subject}"),
        "application/vnd.oci.image.index.v1+json",
    );
    for status in [400, 404, 422] {
        let (first, list) = (path.clone(), index.clone());
        let broken = Scripted::start(move |received| match received.target == first && status != 422 {
            true => reply(200)
                .header("content-type", type_of_list)
                .header("link", format!("<{first}?page=2>; rel=next"))
                .body(list.clone()),
            false => reply(status),
        });
        let repository = broken.repository("a");
        assert!(repository.referrers(&subject, None).await.is_err(), "{status}");
    }
    let down = Scripted::start(|_| reply(503));
    let error = down.repository("a").referrers(&subject, None).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { .. }),
        "an outage is no empty list: {error:?}"
    );
}

#[tokio::test]
async fn content_is_deleted_also_if_the_answer_is_lost() {
    let tapped = Tapped::start();
    let digest = tapped.registry.seed("team/app:v1", image().files([("a", "1")]));
    tapped.registry.seed("team/app:v2", image().files([("a", "1")]));
    let repository = tapped.repository("team/app");
    let lost = Fault::Cut {
        side: Side::Response,
        after: 0,
    };
    let deletes = |exchange: &registry_test::tap::Exchange| exchange.method == Method::DELETE;
    tapped.tap.add(Rule::new(lost).when(deletes).times(1));

    let tag = Tag::parse("v1").unwrap();
    repository.delete_tag(&tag).await.unwrap();
    assert_eq!(tapped.registry.tags("team/app"), ["v2"]);
    let error = repository.delete_tag(&tag).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    repository.delete_manifest(&digest).await.unwrap();
    assert_eq!(tapped.registry.digest("team/app:v2"), None);
}

#[tokio::test]
async fn a_registry_that_deletes_no_tags_is_unsupported() {
    for status in [400, 405] {
        let registry = Scripted::start(move |_| reply(status));
        let error = registry
            .repository("a")
            .delete_tag(&Tag::parse("v1").unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
}
