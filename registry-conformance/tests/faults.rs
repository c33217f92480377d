//! [`Faulty`] fails by its rules, and is the storage inside it otherwise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use registry_conformance::{
    faulty::{Fault, Faulty, Gate, On, Plane},
    storage::Backend,
    storage_tests,
};
use registry_core::{
    Algorithm, Digest, Error, Registry, Repository, RepositoryName, Storage, StorageWrite, Tag,
    forward_storage,
    service::ManifestPush,
    storage::{
        BlobBody, BlobRead, Deletion, MemoryStorage, Page, ReadBlob, ReadOnlyStorage, StorageCollect,
        StorageError, StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash,
    },
};
use std::{io, sync::Arc};

/// The whole contract, through a wrapper without rules.
mod without_rules {
    use super::*;

    async fn faulty() -> Backend {
        let storage = Faulty::new(MemoryStorage::new());
        Backend::new(Arc::new(storage.clone()), Arc::new(storage))
    }

    storage_tests!(faulty, collect, expire, health, inspect, repair, trash);
}

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn faulty() -> (Faulty<MemoryStorage>, Repository) {
    let storage = Faulty::new(MemoryStorage::new());
    let registry = Registry::builder(storage.clone()).build();
    (storage, registry.repository("team/app").unwrap())
}

fn content() -> Digest {
    Digest::of(Algorithm::Sha256, b"content")
}

#[tokio::test]
async fn by_default_the_first_call_fails_and_has_no_effect() {
    let (storage, repository) = faulty();
    let rule = storage.inject(On::call("commit"), Fault::outage());

    let refused = repository.push_blob("content", None).await.unwrap_err();

    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert_eq!(repository.blob(&content()).await.unwrap(), None);
    repository.push_blob("content", None).await.unwrap();
    assert_eq!((rule.fired(), storage.count("commit")), (1, 2));
}

#[tokio::test]
async fn a_rule_selects_calls_by_name_plane_and_number() {
    for (on, outcome) in [
        (On::call("blob"), "F..."),
        (On::call("blob").nth(3), "..F."),
        (On::call("blob").first(3), "FFF."),
        (On::plane(Plane::Read).always(), "FFFF"),
        (On::any().nth(2), ".F.."),
        (On::plane(Plane::Write).always(), "...."),
        (On::call("manifest").always(), "...."),
    ] {
        let (storage, repository) = faulty();
        let shown = format!("{on:?}");
        storage.inject(on, Fault::outage());

        let mut seen = String::new();
        for _ in 0..4 {
            let failed = storage.blob(repository.name(), &content()).await.is_err();
            seen.push(if failed { 'F' } else { '.' });
        }

        assert_eq!(seen, outcome, "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_effect() {
    let (storage, repository) = faulty();
    let push = || ManifestPush::new(Tag::parse("v1").unwrap(), INDEX);
    storage.inject(On::call("put_manifest"), Fault::outage().answer_lost());
    storage.inject(On::call("delete_tag"), Fault::outage().answer_lost());

    assert!(repository.put_manifest(push()).await.is_err());
    assert!(repository.manifest("v1").await.unwrap().is_some());
    assert!(repository.delete_manifest("v1").await.is_err());
    assert!(repository.manifest("v1").await.unwrap().is_none());
    storage.assert_fired();
}

#[tokio::test]
async fn an_append_that_fails_midway_leaves_the_first_bytes() {
    let (storage, repository) = faulty();
    let id = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
    storage.inject(On::call("append"), Fault::full().after(3));

    let failed = repository.append(&id, None, "content").await.unwrap_err();

    assert!(matches!(failed, Error::Full { .. }), "{failed:?}");
    assert_eq!(repository.upload(&id).await.unwrap().unwrap().offset, 3);
    let blob = repository.close(&id, &content(), None, "tent").await.unwrap();
    assert_eq!(blob.size, 7);
}

#[tokio::test]
async fn a_manifest_whose_put_fails_midway_has_its_first_tags() {
    let (storage, repository) = faulty();
    storage.inject(On::call("put_manifest"), Fault::outage().after(1));
    let tags = ["c", "a", "b"].map(|tag| Tag::parse(tag).unwrap());

    let mut push = ManifestPush::new(Digest::of(Algorithm::Sha256, INDEX.as_bytes()), INDEX);
    push.tags = tags.into();
    assert!(repository.put_manifest(push).await.is_err());

    let listed = repository.tags(&Default::default()).await.unwrap().unwrap();
    assert_eq!(listed.items, [Tag::parse("a").unwrap()]);
}

#[tokio::test]
async fn a_blob_whose_reading_fails_midway_has_its_first_bytes() {
    let (storage, repository) = faulty();
    repository.push_blob("content", None).await.unwrap();
    storage.inject(On::call("open_blob"), Fault::io(io::ErrorKind::TimedOut).after(3));

    assert_eq!(read(&repository).await, ("con".to_owned(), true, true));
}

#[tokio::test]
async fn the_reading_of_a_blob_fails_before_its_end() {
    for amount in [6, 7, 8, u64::MAX] {
        let (storage, repository) = faulty();
        repository.push_blob("content", None).await.unwrap();
        storage.inject(
            On::call("open_blob"),
            Fault::io(io::ErrorKind::TimedOut).after(amount),
        );

        let expected = (["con", "ten"].concat(), true, true);
        assert_eq!(read(&repository).await, expected, "{amount}");
    }
}

/// Redirects each client.
#[derive(Debug)]
struct Redirecting(MemoryStorage);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Redirecting {
    forward_storage! { Storage: self => &self.0; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        let mut read = self.0.open_blob(repository, digest, how).await?;
        if let Some(read) = &mut read {
            read.body = BlobBody::Redirect("https://bucket.example/blob".parse().unwrap());
        }
        Ok(read)
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.0.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.0.collect()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.0.repair()
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.0.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.0.trash()
    }
}

#[tokio::test]
async fn a_redirect_whose_reading_is_to_fail_midway_is_not_given() {
    let storage = Faulty::new(Redirecting(MemoryStorage::new()));
    let repository = Registry::builder(storage.clone())
        .build()
        .repository("team/app")
        .unwrap();
    repository.push_blob("content", None).await.unwrap();
    storage.inject(On::call("open_blob"), Fault::outage().after(3));
    let digest = content();
    let open = || storage.open_blob(repository.name(), &digest, ReadBlob::default().or_redirect());

    assert!(open().await.is_err());
    assert!(open().await.unwrap().is_some());
}

/// Reads the content. Returns its bytes before it ends, true if that is the injected fault, and true if
/// nothing follows.
async fn read(repository: &Repository) -> (String, bool, bool) {
    let opened = repository
        .open_blob(&content(), ReadBlob::default())
        .await
        .unwrap()
        .unwrap();
    let BlobBody::Content(body) = opened.body else {
        panic!("a redirect");
    };
    let mut stream = body.into_stream();
    let mut bytes = Vec::new();
    loop {
        match stream.frame().await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap()),
            end => {
                let injected = matches!(end, Some(Err(StorageError::Internal { .. })));
                let ended = stream.frame().await.is_none();
                return (String::from_utf8(bytes).unwrap(), injected, ended);
            }
        }
    }
}

#[tokio::test]
async fn a_call_is_held_until_its_gate_opens() {
    let (storage, repository) = faulty();
    let gate = Gate::new();
    storage.inject(On::call("commit"), Fault::hold(&gate));
    let pushing = repository.clone();
    let push = tokio::spawn(async move { pushing.push_blob("content", None).await });

    gate.reached(1).await;
    assert_eq!(repository.blob(&content()).await.unwrap(), None);
    assert!(!push.is_finished());

    gate.open();
    assert_eq!(push.await.unwrap().unwrap().size, 7);
}

#[tokio::test]
async fn a_call_that_was_held_loses_its_answer_then() {
    let (storage, repository) = faulty();
    let gate = Gate::new();
    storage.inject(On::call("commit"), Fault::hold(&gate).answer_lost());
    let pushing = repository.clone();
    let push = tokio::spawn(async move { pushing.push_blob("content", None).await });

    gate.reached(1).await;
    assert_eq!(repository.blob(&content()).await.unwrap(), None);

    gate.open();
    assert!(push.await.unwrap().is_err());
    assert!(repository.blob(&content()).await.unwrap().is_some());
}

#[tokio::test]
async fn several_faults_apply_to_one_call_in_their_order() {
    let (storage, repository) = faulty();
    let gate = Gate::new();
    let held = storage.inject(On::call("blob"), Fault::hold(&gate));
    let denied = storage.inject(
        On::call("blob"),
        Fault::error(|| StorageError::denied("by a lock")),
    );
    let outage = storage.inject(On::call("blob"), Fault::outage());
    let name = repository.name().clone();
    let asking = storage.clone();
    let asked = tokio::spawn(async move { asking.blob(&name, &content()).await });

    gate.reached(1).await;
    gate.open();

    let failed = asked.await.unwrap().unwrap_err();
    assert!(matches!(failed, StorageError::Denied { .. }), "{failed:?}");
    let fired = [held, denied, outage].map(|rule| rule.fired());
    assert_eq!(fired, [1, 1, 0], "the call had failed before the last rule");
}

#[tokio::test]
async fn a_healed_storage_works() {
    let (storage, repository) = faulty();
    let first = storage.inject(On::any().always(), Fault::outage());
    storage.inject(On::any().always(), Fault::outage());
    first.remove();
    assert!(repository.blob(&content()).await.is_err());

    storage.heal();

    assert!(repository.blob(&content()).await.is_ok());
    assert_eq!(first.fired(), 0);
}

#[tokio::test]
async fn planes_that_the_inner_storage_lacks_are_lacking() {
    let storage = Faulty::new(ReadOnlyStorage::new(MemoryStorage::new()));

    assert!(storage.write().is_none() && storage.expire().is_none() && storage.collect().is_none());
    assert!(storage.inspect().is_some() && storage.health().is_some());
}

#[tokio::test]
async fn every_plane_fails() {
    let storage: Arc<dyn Storage> = {
        let storage = Faulty::new(MemoryStorage::new());
        storage.inject(On::any().always(), Fault::outage());
        Arc::new(storage)
    };
    let repository = RepositoryName::parse("a").unwrap();

    let failures = [
        storage.repositories(Page::first(1)).await.err(),
        storage
            .write()
            .unwrap()
            .delete_blob(&repository, &content(), Deletion::new())
            .await
            .err(),
        storage.inspect().unwrap().blobs(Page::first(1)).await.err(),
        storage.collect().unwrap().expected_manifests().await.err(),
        storage.repair().unwrap().check(&content()).await.err(),
        storage.health().unwrap().probe().await.err(),
        storage.trash().unwrap().with_deleted(Page::first(1)).await.err(),
    ];

    for failure in failures {
        assert!(
            matches!(failure, Some(StorageError::Unavailable { .. })),
            "{failure:?}"
        );
    }
}

#[test]
#[should_panic(expected = "no call of a storage is named `close`")]
fn a_name_that_no_call_has_is_a_mistake() {
    let _ = On::call("close");
}

#[tokio::test]
#[should_panic(expected = "never applied")]
async fn a_rule_that_never_applies_is_a_mistake() {
    let (storage, repository) = faulty();
    storage.inject(On::call("blob").nth(2), Fault::outage());
    repository.blob(&content()).await.unwrap();

    storage.assert_fired();
}
