//! A foreign registry as a storage.

use crate::support::{Scripted, builder, content, descriptor, reply};
use http_body_util::BodyExt as _;
use registry_client::{Host, Remote};
use registry_core::{
    RangeSpec, Reference, Registry, RepositoryName, Storage, Tag,
    storage::{Abilities, BlobBody, Page, ReadBlob, Referring, StorageError},
};
use registry_test::{TestRegistry, artifact, image};
use std::time::Duration;

fn remote(host: &str) -> Remote {
    Remote::new(builder().build().unwrap(), Host::parse(host).unwrap())
}

fn name(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

async fn part(remote: &Remote, digest: &registry_core::Digest, range: Option<RangeSpec>) -> (Vec<u8>, u64) {
    let read = remote
        .open_blob(&name("team/app"), digest, ReadBlob::part(range))
        .await
        .unwrap()
        .unwrap();
    let BlobBody::Content(content) = read.body else {
        panic!("a redirect was not allowed");
    };
    let bytes = content.into_stream().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, read.range.end - read.range.start);
    (bytes.into(), read.range.start)
}

#[tokio::test]
async fn content_of_a_registry_is_read_as_from_any_storage() {
    let registry = TestRegistry::start();
    let digest = registry.seed("team/app:v1", image().files([("a", "1")]));
    let blob = content(10_000);
    let described = descriptor(&blob);
    registry
        .registry()
        .repository("team/app")
        .unwrap()
        .push_blob(blob.clone(), None)
        .await
        .unwrap();
    let remote = remote(registry.host());
    assert_eq!(remote.abilities(), Abilities::none());
    assert!(remote.write().is_none());

    let manifest = remote
        .manifest(&name("team/app"), &Reference::Digest(digest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(manifest.bytes, registry.manifest("team/app:v1").unwrap());
    let info = remote
        .blob(&name("team/app"), &described.digest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info.size, 10_000);
    for (range, expected) in [
        (None, 0..10_000),
        (Some(RangeSpec::FromTo(10, 19)), 10..20),
        (Some(RangeSpec::From(9_990)), 9_990..10_000),
        (Some(RangeSpec::Last(1)), 9_999..10_000),
    ] {
        let (bytes, start) = part(&remote, &described.digest, range).await;
        assert_eq!(start, expected.start as u64);
        assert!(bytes == blob[expected], "{range:?}");
    }
    let beyond = ReadBlob::part(Some(RangeSpec::From(10_000)));
    let error = remote
        .open_blob(&name("team/app"), &described.digest, beyond)
        .await
        .unwrap_err();
    assert!(
        matches!(error, StorageError::RangeUnsatisfiable { size: 10_000, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn listings_are_in_byte_order_and_in_pages_whatever_the_registry_sends() {
    let tags = r#"{"tags":["b","B","a","c","a"]}"#;
    let registry = Scripted::start(move |_| reply(200).body(tags));
    let remote = remote(&registry.host());
    let tag = |tag: &str| Tag::parse(tag).unwrap();
    let name = name("a");
    let page = async |after: Option<&Tag>| {
        let listing = remote
            .tags(&name, Page::first(2).after(after))
            .await
            .unwrap()
            .unwrap();
        (listing.items, listing.more)
    };

    assert_eq!(page(None).await, (vec![tag("B"), tag("a")], true));
    assert_eq!(page(Some(&tag("a"))).await, (vec![tag("b"), tag("c")], false));
}

#[tokio::test]
async fn referrers_and_repositories_are_listed() {
    let registry = TestRegistry::start();
    let subject = registry.seed("team/app:v1", image().files([("a", "1")]));
    registry.seed("team/app", artifact("application/x").subject(subject));
    let remote = remote(registry.host());

    let referring = Referring::new(&subject);
    let found = remote
        .referrers(&name("team/app"), referring, Page::first(9))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    let none = referring.of_type(Some("application/y"));
    assert!(
        remote
            .referrers(&name("team/app"), none, Page::first(9))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let repositories = remote.repositories(Page::first(9)).await.unwrap();
    assert_eq!(repositories.items, [name("team/app")]);
}

#[tokio::test]
async fn only_certain_absence_is_none() {
    let registry = TestRegistry::start();
    registry.seed("team/app:v1", image().files([("a", "1")]));
    let remote_of = remote;
    let remote = remote_of(registry.host());
    let missing = descriptor(b"missing").digest;
    assert_eq!(remote.blob(&name("team/app"), &missing).await.unwrap(), None);
    assert!(
        remote
            .manifest(&name("team/app"), &missing.into())
            .await
            .unwrap()
            .is_none()
    );

    for (status, body) in [
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
        (404, "gone"),
        (401, ""),
        (403, ""),
    ] {
        let hidden = Scripted::start(move |_| reply(status).body(body));
        let remote = remote_of(&hidden.host());
        let blob = remote.blob(&name("a"), &missing).await.unwrap_err();
        assert!(matches!(blob, StorageError::Denied { .. }), "{blob:?}");
        let manifest = remote.manifest(&name("a"), &missing.into()).await.unwrap_err();
        assert!(matches!(manifest, StorageError::Denied { .. }), "{manifest:?}");
        let tags = remote.tags(&name("a"), Page::first(1)).await.unwrap_err();
        assert!(matches!(tags, StorageError::Denied { .. }), "{tags:?}");
        let referring = Referring::new(&missing);
        let referrers = remote
            .referrers(&name("a"), referring, Page::first(1))
            .await
            .unwrap_err();
        assert!(matches!(referrers, StorageError::Denied { .. }), "{referrers:?}");
    }
    let busy = Scripted::start(|_| reply(429).header("retry-after", "99999"));
    let error = remote_of(&busy.host())
        .blob(&name("a"), &missing)
        .await
        .unwrap_err();
    let after = Some(Duration::from_secs(99_999));
    assert!(
        matches!(error, StorageError::Unavailable { retry_after, .. } if retry_after == after),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_registry_on_a_remote_is_a_mirror() {
    let upstream = TestRegistry::start();
    let digest = upstream.seed("team/app:v1", image().files([("a", "1")]));
    let mirror = Registry::builder(remote(upstream.host())).build();

    let manifest = mirror
        .repository("team/app")
        .unwrap()
        .manifest("v1")
        .await
        .unwrap()
        .unwrap();

    assert_eq!(manifest.digest, digest);
}
