//! Tags that are gone although nobody deleted them, as after damage to a file system: a collection keeps what they pointed
//! at, a verification reports them, and a repair puts them back.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

mod support;

use registry_core::{
    Digest, MediaType, Registry,
    maintenance::{
        CollectOptions, CollectReport, Finding, FindingKind, PinCause, Remedy, Repaired, VerifyEvent,
        VerifyOptions, collect, expire_histories, verify,
    },
    service::{ManifestPush, Repository, Restore},
    storage::{Deletion, Page, Seen, StorageTrash as _, TagExpect},
};
use registry_storage_fs::{Durability, FsStorage};
use serde_json::json;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};
use support::{collections::Late, *};
use tempfile::TempDir;

/// A directory with the images `team/app:v1`, `team/app:v2` and `other:v1`.
struct Shop {
    root: TempDir,
}

/// A storage that was opened after the damage, so that it knows nothing of what was there before.
struct Opened {
    storage: FsStorage,
    registry: Registry,
}

async fn push(repository: &Repository, tagged: &str, content: &'static str) -> Digest {
    let layer = repository.push_blob(content, None).await.unwrap();
    let layer =
        json!({ "mediaType": "text/plain", "digest": layer.digest.to_string(), "size": content.len() });
    let image = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": layer, "layers": [layer],
    });
    let put = ManifestPush::new(tag(tagged), image.to_string());
    repository.put_manifest(put).await.unwrap().digest
}

impl Shop {
    async fn open() -> Self {
        let root = tempfile::tempdir().unwrap();
        let shop = Self { root };
        let opened = shop.opened();
        for (repository, tagged, content) in [
            ("team/app", "v1", "one"),
            ("team/app", "v2", "two"),
            ("other", "v1", "three"),
        ] {
            push(&opened.repository(repository), tagged, content).await;
        }
        drop(opened);
        shop
    }

    fn opened(&self) -> Opened {
        let options = FsStorage::options().durability(Durability::Relaxed);
        let storage = options.open(self.root.path()).unwrap();
        let registry = Registry::builder(storage.clone()).build();
        Opened { storage, registry }
    }

    /// Returns a path below `repositories`.
    fn path(&self, below: &str) -> PathBuf {
        top(self.root.path()).join("repositories").join(below)
    }
}

impl Opened {
    fn repository(&self, name: &str) -> Repository {
        self.registry.repository(name).unwrap()
    }

    async fn is_pulled(&self, repository: &str, tagged: &str) -> bool {
        let found = self.repository(repository).manifest(tagged).await.unwrap();
        let Some(found) = found else {
            return false;
        };
        let document: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
        let layer = Digest::parse(document["config"]["digest"].as_str().unwrap()).unwrap();
        read(&self.storage, &name(repository), &layer).await.is_some()
    }

    async fn collect(&self) -> CollectReport {
        let options = CollectOptions::new()
            .grace(Duration::ZERO)
            .uploading(Duration::ZERO)
            .untagged(true)
            .empty_trash(true);
        let report = collect(&self.storage, &options, &Late, &|_| {}).await.unwrap();
        assert!(report.stopped.is_none(), "{report:?}");
        report
    }

    async fn verify(&self, options: VerifyOptions<'_>) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut told = |event: VerifyEvent<'_>| {
            if let VerifyEvent::Finding(finding) = event {
                found.push(finding.clone());
            }
        };
        verify(&self.storage, options, &mut told).await.unwrap();
        found
    }

    /// Returns the names of the lost tags of a repository.
    async fn lost(&self, repository: &str) -> Vec<String> {
        let listing = self.storage.lost_tags(&name(repository), all()).await.unwrap();
        let lost = listing.items.into_iter().filter_map(Seen::whole);
        lost.map(|lost| lost.tag.to_string()).collect()
    }
}

/// Returns the tags that pins are about.
fn pinned(report: &CollectReport) -> Vec<String> {
    let tags = report.pins.iter().map(|pin| match &pin.cause {
        PinCause::LostTag(tag) => format!("{}:{tag}", pin.repository),
        cause => panic!("{cause:?}"),
    });
    tags.collect()
}

#[tokio::test]
async fn lost_tags_keep_their_images_and_are_put_back() {
    for (damaged, lost) in [
        ("team/app/_manifests/tags/v1", &["team/app:v1"][..]),
        ("team/app/_manifests/tags/v1/current", &["team/app:v1"]),
        ("team/app/_manifests/tags", &["team/app:v1", "team/app:v2"]),
        ("team/app/_manifests", &["team/app:v1", "team/app:v2"]),
        ("team/app", &["team/app:v1", "team/app:v2"]),
        ("team", &["team/app:v1", "team/app:v2"]),
    ] {
        let shop = Shop::open().await;
        let is_pointer = damaged.ends_with("current");
        if is_pointer {
            fs::remove_dir_all(shop.path("team/app/_manifests/tags/v1/index")).unwrap();
        }
        fs::remove_dir_all(shop.path(damaged)).unwrap();
        let opened = shop.opened();

        let found = opened.verify(VerifyOptions::new()).await;
        let reported: Vec<_> = found
            .iter()
            .filter(|found| found.kind == FindingKind::LostTag)
            .collect();
        assert_eq!(reported.len(), lost.len(), "{damaged}: {found:?}");
        for finding in &reported {
            assert_eq!(finding.remedy, Remedy::PutBack, "{finding}");
            assert!(finding.to_string().contains("a repair puts it back"), "{finding}");
            assert!(finding.digest.is_some(), "{finding}");
        }
        assert_eq!(pinned(&opened.collect().await), lost, "{damaged}");

        let repaired = opened.verify(VerifyOptions::new().repair(true)).await;
        assert!(
            repaired.iter().all(|found| found.repaired == Repaired::Done),
            "{damaged}: {repaired:?}"
        );
        for image in ["v1", "v2"] {
            assert!(opened.is_pulled("team/app", image).await, "{damaged} {image}");
        }
        assert_eq!(opened.verify(VerifyOptions::new()).await, [], "{damaged}");
        assert_eq!(opened.collect().await.pins, [], "{damaged}");
        assert!(opened.is_pulled("team/app", "v1").await, "{damaged}");
        let history = opened
            .storage
            .history(&name("team/app"), &tag("v1"))
            .await
            .unwrap();
        let last = history.last().unwrap();
        assert_eq!(last.by.as_deref(), Some("registry:repair"), "{damaged}");
    }
}

#[tokio::test]
async fn a_lost_index_stays_lost_until_its_parts_are_there() {
    let shop = Shop::open().await;
    let opened = shop.opened();
    let part = push(&opened.repository("multi"), "part", "part").await;
    let size = opened
        .repository("multi")
        .manifest(part)
        .await
        .unwrap()
        .unwrap()
        .bytes
        .len();
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
        "manifests": [{ "mediaType": MediaType::OCI_MANIFEST, "digest": part.to_string(), "size": size }],
    });
    let put = ManifestPush::new(tag("v1"), index.to_string());
    opened.repository("multi").put_manifest(put).await.unwrap();
    assert!(opened.repository("multi").delete_manifest("part").await.unwrap());
    drop(opened);
    fs::remove_dir_all(shop.path("multi")).unwrap();
    let opened = shop.opened();

    let found = opened.verify(VerifyOptions::new().repair(true)).await;

    assert_eq!(
        (found[0].kind, found[0].remedy),
        (FindingKind::LostTag, Remedy::None),
        "{found:?}"
    );
    assert!(found[0].reason.contains(&part.to_string()), "{}", found[0]);
    assert_eq!(pinned(&opened.collect().await), ["multi:v1"]);
    // Nothing has to be pushed but documents.
    push(&opened.repository("multi"), "part", "part").await;
    let put = ManifestPush::new(tag("v1"), index.to_string());
    opened.repository("multi").put_manifest(put).await.unwrap();
    assert_eq!(opened.collect().await.pins, []);
}

#[tokio::test]
async fn a_deletion_accepts_the_loss_of_a_tag() {
    for damaged in ["team/app/_manifests/tags", "team"] {
        let shop = Shop::open().await;
        fs::remove_dir_all(shop.path(damaged)).unwrap();
        let opened = shop.opened();
        let repository = opened.repository("team/app");
        assert_eq!(opened.lost("team/app").await, ["v1", "v2"]);

        assert!(repository.delete_manifest("v1").await.unwrap());

        assert_eq!(opened.lost("team/app").await, ["v2"]);
        assert!(!repository.delete_manifest("v1").await.unwrap());
        if damaged != "team" {
            let restored = repository.restore(Restore::new(tag("v1"))).await.unwrap();
            assert!(opened.is_pulled("team/app", "v1").await);
            let v1 = tag("v1");
            let deleted = repository.delete_tag_at(&v1, restored.digest, Deletion::new());
            assert!(deleted.await.unwrap());
        }
        assert!(repository.delete_manifest_permanently("v2").await.unwrap());
        assert_eq!(pinned(&opened.collect().await), [""; 0]);
        assert_eq!(
            fs::read_dir(shop.path("")).unwrap().count(),
            1,
            "only the other repository is left"
        );
    }
}

#[tokio::test]
async fn what_was_deleted_is_not_lost() {
    let shop = Shop::open().await;
    let opened = shop.opened();
    let repository = opened.repository("team/app");
    let v2 = repository.manifest("v2").await.unwrap().unwrap().digest;
    assert!(repository.delete_manifest("v1").await.unwrap());
    assert!(repository.delete_manifest(v2).await.unwrap());
    assert!(
        opened
            .repository("other")
            .delete_manifest_permanently("v1")
            .await
            .unwrap()
    );

    for _ in 0..2 {
        assert_eq!(opened.verify(VerifyOptions::new()).await, []);
        assert_eq!(opened.lost("team/app").await, [""; 0]);
        assert_eq!(opened.lost("other").await, [""; 0]);
        opened.collect().await;
    }

    assert!(!shop.path("team").exists() && !shop.path("other").exists());
}

/// A process that ends in the middle of a deletion may leave it like this. A power loss can, too.
#[tokio::test]
async fn the_record_of_a_deletion_tells_that_a_tag_is_not_lost() {
    let shop = Shop::open().await;
    let opened = shop.opened();
    let history = top(shop.root.path()).join("_history/team/app/_tags/v1");
    let before = fs::read(&history).unwrap();
    assert!(opened.repository("team/app").delete_manifest("v1").await.unwrap());
    fs::write(&history, before).unwrap();
    drop(opened);
    let opened = shop.opened();

    assert_eq!(opened.lost("team/app").await, [""; 0]);
    // The collection forgets the record.
    assert_eq!(opened.collect().await.pins, []);

    assert_eq!(opened.lost("team/app").await, [""; 0]);
    assert!(!opened.is_pulled("team/app", "v1").await);
}

/// registry:2 leaves the directory of a revision that it deletes.
#[tokio::test]
async fn a_tag_whose_manifest_was_deleted_is_not_lost() {
    let shop = Shop::open().await;
    let opened = shop.opened();
    let v1 = opened
        .repository("team/app")
        .manifest("v1")
        .await
        .unwrap()
        .unwrap()
        .digest;
    drop(opened);
    fs::remove_dir_all(shop.path("team/app/_manifests/tags/v1")).unwrap();
    fs::remove_file(revision_link(shop.root.path(), &name("team/app"), &v1)).unwrap();

    let opened = shop.opened();

    assert_eq!(opened.lost("team/app").await, [""; 0]);
    assert_eq!(opened.collect().await.pins, []);
}

#[tokio::test]
async fn the_history_of_a_lost_tag_does_not_expire() {
    let shop = Shop::open().await;
    fs::remove_dir_all(shop.path("team/app/_manifests/tags/v1")).unwrap();
    let opened = shop.opened();
    let later = SystemTime::now() + Duration::from_secs(60 * 60);

    expire_histories(&opened.storage, later).await.unwrap();

    assert_eq!(opened.lost("team/app").await, ["v1"]);
    assert!(opened.repository("team/app").delete_manifest("v1").await.unwrap());
    assert_eq!(expire_histories(&opened.storage, later).await.unwrap().expired, 1);
}

#[tokio::test]
async fn pages_of_lost_tags_continue_where_they_ended() {
    let shop = Shop::open().await;
    fs::remove_dir_all(shop.path("team")).unwrap();
    let opened = shop.opened();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = Page::first(1).after(after.as_ref());
        let listing = opened.storage.lost_tags(&name("team/app"), page).await.unwrap();
        listed.extend(
            listing
                .items
                .into_iter()
                .filter_map(Seen::whole)
                .map(|lost| lost.tag),
        );
        after = listed.last().cloned();
        if !listing.more {
            break;
        }
    }
    assert_eq!(listed, [tag("v1"), tag("v2")]);

    // A put makes it a tag again.
    push(&opened.repository("team/app"), "v1", "one").await;
    assert_eq!(opened.lost("team/app").await, ["v2"]);
    let (app, v2, expect) = (name("team/app"), tag("v2"), TagExpect::Absent);
    let refused = writer(&opened.storage).delete_tag(&app, &v2, expect, Deletion::new());
    assert!(refused.await.is_err());
}

#[tokio::test]
async fn tags_whose_histories_cannot_be_read_are_deleted() {
    let shop = Shop::open().await;
    let histories = top(shop.root.path()).join("_history/team/app/_tags");
    // A loop of links.
    let spoil = |tagged: &str| {
        let path = histories.join(tagged);
        _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&path, &path).unwrap();
    };
    spoil("v1");
    spoil("v2");
    let image = shop.opened().repository("team/app").manifest("v2").await;
    let image = image.unwrap().unwrap().digest;
    fs::remove_file(revision_link(shop.root.path(), &name("team/app"), &image)).unwrap();
    fs::write(blob_data(shop.root.path(), &image), "damaged").unwrap();
    let opened = shop.opened();
    let repository = opened.repository("team/app");
    for tagged in ["v1", "v2"] {
        assert!(repository.delete_manifest(tagged).await.unwrap(), "{tagged}");
    }

    spoil("v3");
    let unreadable = opened.storage.lost_tags(&name("team/app"), all()).await.unwrap();
    assert!(matches!(&unreadable.items[..], [Seen::Unreadable { key, .. }] if *key == tag("v3")));
    let (v3, expect) = (tag("v3"), TagExpect::Is(image));
    let refused = writer(&opened.storage).delete_tag(repository.name(), &v3, expect, Deletion::new());
    assert!(refused.await.is_err(), "nobody knows where it pointed");
    // Nobody knows of a tag to delete.
    assert!(!repository.delete_manifest("v3").await.unwrap());
    let left = opened.storage.lost_tags(&name("team/app"), all()).await.unwrap();
    assert_eq!(left.items, []);
}
