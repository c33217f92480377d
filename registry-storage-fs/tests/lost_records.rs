//! A tag that has lost its pointer, or whose manifest has lost its record or bytes: nothing that it may need is removed,
//! and what can be restored is.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

mod support;

use async_trait::async_trait;
use registry_core::{
    Digest, MediaType, Registry,
    maintenance::{
        Clock, CollectOptions, CollectReport, FindingKind, PinCause, Remedy, Repaired, VerifyEvent,
        VerifyOptions, collect, verify,
    },
    service::{ManifestPush, Repository, Restore},
    storage::Deletion,
};
use registry_storage_fs::{Durability, FsStorage};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use support::*;
use tempfile::TempDir;

/// A clock that never waits.
struct Now;

#[async_trait]
impl Clock for Now {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, _: Duration) {}
}

/// A tagged image with a layer, and its signature, which has no tag.
struct Fixture {
    root: TempDir,
    storage: FsStorage,
    repository: Repository,
    image: Digest,
    layer: Digest,
    signature: Digest,
}

impl Fixture {
    /// Pushes the image, and removes the record of its manifest, as registry:2 or a disk may do it.
    async fn new() -> Self {
        let fixture = Self::whole().await;
        let link = revision_link(fixture.root.path(), &name("a"), &fixture.image);
        fs::remove_dir_all(link.parent().unwrap()).unwrap();
        fixture
    }

    async fn whole() -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = FsStorage::options().durability(Durability::Relaxed);
        let storage = options.open(root.path()).unwrap();
        let registry = Registry::builder(storage.clone()).build();
        let repository = registry.repository("a").unwrap();
        let layer = repository.push_blob("layer", None).await.unwrap().digest;
        let media_type = MediaType::OCI_MANIFEST;
        let layers = json!([{ "mediaType": "text/plain", "digest": layer.to_string(), "size": 5 }]);
        let image =
            json!({ "schemaVersion": 2, "mediaType": media_type, "config": layers[0], "layers": layers });
        let image = image.to_string();
        let size = image.len();
        let image = repository
            .put_manifest(ManifestPush::new(tag("v1"), image))
            .await
            .unwrap()
            .digest;
        let signature = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": layers[0],
            "layers": [],
            "subject": { "mediaType": media_type, "digest": image.to_string(), "size": size },
        });
        let signature = signature.to_string();
        let digest = Digest::of(registry_core::Algorithm::Sha256, signature.as_bytes());
        let signature = repository
            .put_manifest(ManifestPush::new(digest, signature))
            .await
            .unwrap()
            .digest;
        Self {
            root,
            storage,
            repository,
            image,
            layer,
            signature,
        }
    }

    /// Returns the pointer of the tag.
    fn pointer(&self) -> PathBuf {
        in_repository(self.root.path(), &name("a"), "_manifests/tags/v1/current/link")
    }

    async fn has_layer(&self) -> bool {
        read(&self.storage, &name("a"), &self.layer).await.as_deref() == Some(b"layer")
    }

    async fn is_pulled(&self) -> bool {
        let manifest = self.repository.manifest("v1").await.unwrap();
        manifest.is_some() && self.has_layer().await
    }

    async fn collect(&self) -> CollectReport {
        let options = CollectOptions::new()
            .grace(Duration::ZERO)
            .uploading(Duration::ZERO)
            .untagged(true)
            .empty_trash(true);
        let report = collect(&self.storage, &options, &Now, &|_| {}).await.unwrap();
        assert!(report.stopped.is_none(), "{report:?}");
        report
    }

    /// Verifies and repairs. Returns the kind of each finding with its remedy.
    async fn repair(&self) -> Vec<(FindingKind, Remedy)> {
        let mut found = Vec::new();
        let mut told = |event: VerifyEvent<'_>| {
            if let VerifyEvent::Finding(finding) = event {
                assert_eq!(finding.repaired, Repaired::Done, "{finding}");
                found.push((finding.kind, finding.remedy));
            }
        };
        verify(&self.storage, VerifyOptions::new().repair(true), &mut told)
            .await
            .unwrap();
        found
    }
}

#[tokio::test]
async fn a_collection_keeps_what_the_tag_needs() {
    let fixture = Fixture::new().await;

    fixture.collect().await;

    assert_eq!(
        fixture.repair().await,
        [(FindingKind::DanglingTag, Remedy::Rewrite)]
    );
    assert!(fixture.is_pulled().await);
    assert!(
        fixture
            .repository
            .manifest(fixture.signature)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_deletion_of_the_tag_can_be_undone() {
    let fixture = Fixture::new().await;

    let v1 = tag("v1");
    let deleted = fixture
        .repository
        .delete_tag_at(&v1, fixture.image, Deletion::new());
    assert!(deleted.await.unwrap());

    assert!(!fixture.is_pulled().await);
    let restored = fixture.repository.restore(Restore::new(tag("v1"))).await.unwrap();
    assert_eq!(restored.digest, fixture.image);
    assert!(fixture.is_pulled().await);
}

#[tokio::test]
async fn a_repair_writes_the_record_again() {
    let fixture = Fixture::new().await;

    assert_eq!(
        fixture.repair().await,
        [(FindingKind::DanglingTag, Remedy::Rewrite)]
    );

    assert!(fixture.is_pulled().await);
    assert_eq!(fixture.repair().await, []);
    fixture.collect().await;
    assert!(fixture.is_pulled().await);
}

#[tokio::test]
async fn without_the_bytes_a_repair_deletes_the_tag() {
    let fixture = Fixture::new().await;
    fs::write(blob_data(fixture.root.path(), &fixture.image), "damaged").unwrap();

    let found = fixture.repair().await;

    assert!(
        found.contains(&(FindingKind::DanglingTag, Remedy::DeleteTag)),
        "{found:?}"
    );
}

/// registry:2 does not sync, so that a power loss may leave any bytes in a pointer.
#[tokio::test]
async fn a_tag_at_a_layer_gets_no_record() {
    let fixture = Fixture::whole().await;
    fs::write(fixture.pointer(), fixture.layer.to_string()).unwrap();

    let found = fixture.repair().await;

    assert_eq!(found, [(FindingKind::DanglingTag, Remedy::DeleteTag)]);
    assert!(
        fixture
            .repository
            .manifest(fixture.layer)
            .await
            .unwrap()
            .is_none()
    );
    assert!(fixture.has_layer().await);
    fixture.repository.restore(Restore::new(tag("v1"))).await.unwrap();
    assert!(fixture.is_pulled().await);
}

#[tokio::test]
async fn a_tag_at_an_unknown_manifest_can_be_restored_after_the_repair_has_deleted_it() {
    type Damage = fn(&Fixture);
    let damages: [Damage; 3] = [
        |_| {},
        // One of the histories is enough.
        |fixture| fs::remove_dir_all(top(fixture.root.path()).join("_history")).unwrap(),
        |fixture| fs::remove_dir_all(fixture.pointer().with_file_name("../index")).unwrap(),
    ];
    for damage in damages {
        let fixture = Fixture::whole().await;
        damage(&fixture);
        let unknown = Digest::of(registry_core::Algorithm::Sha256, b"unknown");
        fs::write(fixture.pointer(), unknown.to_string()).unwrap();

        let found = fixture.repair().await;

        assert_eq!(found, [(FindingKind::DanglingTag, Remedy::DeleteTag)]);
        let restored = fixture.repository.restore(Restore::new(tag("v1"))).await.unwrap();
        assert_eq!(restored.digest, fixture.image);
        assert!(fixture.is_pulled().await);
    }
}

/// An older manifest would take its place unnoticed.
#[tokio::test]
async fn a_tag_whose_manifest_is_lost_is_not_restored_as_an_older_one() {
    let fixture = Fixture::whole().await;
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let put = ManifestPush::new(tag("v1"), index);
    let newer = fixture.repository.put_manifest(put).await.unwrap().digest;
    let link = revision_link(fixture.root.path(), &name("a"), &newer);
    fs::remove_dir_all(link.parent().unwrap()).unwrap();
    fs::remove_file(blob_data(fixture.root.path(), &newer)).unwrap();

    let found = fixture.repair().await;

    assert_eq!(found, [(FindingKind::DanglingTag, Remedy::DeleteTag)]);
    assert!(fixture.repository.restore(Restore::new(tag("v1"))).await.is_err());
}

#[tokio::test]
async fn a_tag_without_its_bytes_keeps_what_they_may_name() {
    let fixture = Fixture::new().await;
    fs::remove_file(blob_data(fixture.root.path(), &fixture.image)).unwrap();

    let report = fixture.collect().await;

    let causes: Vec<_> = report.pins.iter().map(|pin| &pin.cause).collect();
    assert_eq!(causes, [&PinCause::Bytes(fixture.image)]);
    assert!(fixture.has_layer().await);
    assert!(
        fixture
            .repository
            .manifest(fixture.signature)
            .await
            .unwrap()
            .is_some()
    );
}

/// registry:2 truncates the pointer when it moves a tag, so that a full disk or a crash leaves it empty.
#[tokio::test]
async fn a_tag_without_its_pointer_keeps_what_it_may_point_at() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |pointer| fs::write(pointer, "").unwrap(),
        |pointer| fs::remove_file(pointer).unwrap(),
        |pointer| fs::remove_dir_all(pointer.parent().unwrap()).unwrap(),
    ];
    for damage in damages {
        let fixture = Fixture::whole().await;
        damage(&fixture.pointer());

        let report = fixture.collect().await;

        let causes: Vec<_> = report.pins.iter().map(|pin| &pin.cause).collect();
        assert_eq!(causes, [&PinCause::Tag(tag("v1"))]);
        assert!(
            fixture
                .repository
                .manifest(fixture.image)
                .await
                .unwrap()
                .is_some()
        );
        assert!(fixture.has_layer().await);

        assert_eq!(
            fixture.repair().await,
            [(FindingKind::GarbledTag, Remedy::DeleteTag)]
        );
        fixture.repository.restore(Restore::new(tag("v1"))).await.unwrap();
        assert!(fixture.is_pulled().await);
        assert_eq!(fixture.collect().await.pins, []);
        assert!(fixture.is_pulled().await);
    }
}
