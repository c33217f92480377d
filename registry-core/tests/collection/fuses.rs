//! Runs that remove nothing, because what they see is not plausible.

use super::{damage::Faulty, *};
use registry_core::maintenance::{Stopped, expire_trash};

/// Pushes four tagged images, and runs once.
async fn four_images() -> (Pushed, Vec<Digest>) {
    let pushed = Pushed::new();
    let mut manifests = Vec::new();
    for number in ["1", "2", "3", "4"] {
        pushed.blob("a", number).await;
        manifests.push(pushed.put("a", Some(number), &image(&[number])).await);
    }
    collected(&pushed.storage, at_once()).await;
    (pushed, manifests)
}

#[tokio::test]
async fn a_run_that_sees_fewer_than_half_of_the_manifests_removes_nothing() {
    let (pushed, manifests) = four_images().await;
    let before = dump(&pushed.storage).await;
    let storage = Faulty::hiding(&pushed, manifests[1..].to_vec());

    for _ in 0..2 {
        let (report, gone) = run(&storage, at_once()).await;
        assert!(
            matches!(
                report.stopped,
                Some(Stopped::ManifestsMissing {
                    found: 1,
                    expected: 4,
                    ..
                })
            ),
            "{report:?}"
        );
        assert!(gone.is_empty());
        assert_eq!(dump(&pushed.storage).await, before);
    }
    let (preview, _) = run(&storage, at_once().dry_run(true)).await;
    assert!(
        matches!(preview.stopped, Some(Stopped::ManifestsMissing { .. })),
        "{preview:?}"
    );

    collected(&Faulty::hiding(&pushed, manifests[2..].to_vec()), at_once()).await;
    collected(&storage, at_once()).await;
}

/// There is no census to compare with.
#[tokio::test]
async fn a_first_run_that_finds_content_and_no_repository_removes_nothing() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;
    let before = dump(&pushed.storage).await;
    let storage = Faulty::without_repositories(&pushed);

    let automatic = CollectOptions::automatic();
    for options in [
        at_once(),
        at_once().dry_run(true),
        CollectOptions::new(),
        automatic,
    ] {
        let (report, gone) = run(&storage, options).await;
        let stopped = report.stopped.expect("the run was stopped");
        assert!(
            matches!(
                stopped,
                Stopped::NoRepository {
                    blobs: 1,
                    bytes: 4,
                    ..
                }
            ),
            "{stopped:?}"
        );
        let said = stopped.to_string();
        assert!(said.contains("all content would go (1 blobs, 4 bytes)"), "{said}");
        assert!(options.is_dry_run() || gone.is_empty());
        assert_eq!(dump(&pushed.storage).await, before);
    }

    collected(&storage, at_once().force(true)).await;
    // The census of that run says that there is none.
    collected(&storage, at_once()).await;
}

#[tokio::test]
async fn a_run_is_forced_although_manifests_are_missing() {
    let (pushed, manifests) = four_images().await;
    // A tag that points at a manifest whose bytes are gone would keep its repository.
    for tag in ["2", "3", "4"] {
        pushed.delete("a", tag).await;
    }
    let storage = Faulty::hiding(&pushed, manifests[1..].to_vec());

    collected(&storage, at_once().force(true)).await;

    assert!(!pushed.storage_has("3").await);
}

#[tokio::test]
async fn manifests_that_were_deleted_by_request_are_not_missing() {
    let (pushed, manifests) = four_images().await;
    for manifest in &manifests {
        pushed.delete("a", &manifest.to_string()).await;
    }

    collected(&pushed.storage, at_once()).await;

    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn manifests_that_a_run_removed_are_not_missing_in_the_next_one() {
    let (pushed, _) = four_images().await;
    for tag in ["1", "2", "3", "4"] {
        pushed.delete("a", tag).await;
    }

    let report = collected(&pushed.storage, at_once().untagged(true)).await;
    assert_eq!(report.removed.manifests, 4);
    collected(&pushed.storage, at_once()).await;
}

#[tokio::test]
async fn a_run_that_nobody_asked_for_frees_most_bytes_only_after_deletions() {
    let automatic = CollectOptions::automatic()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .empty_trash(true);
    let pushed = Pushed::new();
    pushed.blob("a", "small").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["small"])).await;
    pushed.blob("a", "larger than the other one").await;

    let (report, gone) = run(&pushed.storage, automatic).await;
    assert!(
        matches!(
            report.stopped,
            Some(Stopped::TooMuch {
                bytes: 25,
                of: 30,
                ..
            })
        ),
        "{report:?}"
    );
    assert!(gone.is_empty());
    let (preview, _) = run(&pushed.storage, automatic.dry_run(true)).await;
    assert!(
        matches!(preview.stopped, Some(Stopped::TooMuch { .. })),
        "{preview:?}"
    );

    let report = collected(&pushed.storage, automatic.force(true)).await;
    assert_eq!(report.removed.bytes, 25);

    // All that is left goes, because a deletion accounts for it.
    pushed.delete("a", &manifest.to_string()).await;
    let report = collected(&pushed.storage, automatic).await;
    assert_eq!(report.removed.bytes, 5);
}

#[tokio::test]
async fn a_run_that_somebody_asked_for_frees_everything() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;

    let report = collected(&pushed.storage, at_once()).await;

    assert_eq!(report.removed.bytes, 4);
}

impl Pushed {
    async fn storage_has(&self, content: &str) -> bool {
        let digest = Digest::of(registry_core::Algorithm::Sha256, content.as_bytes());
        dump(&self.storage).await.contains(&format!("data {digest}"))
    }
}

#[tokio::test]
async fn the_record_of_a_deletion_accounts_for_what_it_names() {
    let automatic = CollectOptions::automatic()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .empty_trash(true);
    let pushed = Pushed::new();
    let blob = pushed.blob("a", "blob").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["blob"])).await;
    pushed.delete("a", &manifest.to_string()).await;
    // Since a client was told of them, the storage no longer knows who released them.
    assert!(
        pushed
            .registry
            .repository("a")
            .unwrap()
            .blob(&blob)
            .await
            .unwrap()
            .is_some()
    );

    let report = collected(&pushed.storage, automatic).await;

    assert!(report.stopped.is_none(), "{report:?}");
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn without_being_asked_a_run_waits_for_the_grace_period_also_after_a_deletion() {
    let pushed = Pushed::new();
    pushed.blob("a", "blob").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["blob"])).await;
    pushed.delete("a", &manifest.to_string()).await;

    let automatic = CollectOptions::automatic().empty_trash(true);
    let report = collected(&pushed.storage, automatic).await;
    assert_eq!((report.removed.items(), report.later.items), (0, 1), "{report:?}");

    let report = collected(&pushed.storage, CollectOptions::new()).await;
    assert_eq!(report.removed.links, 1, "{report:?}");
}

#[tokio::test]
async fn a_forgotten_record_accounts_for_what_was_used_since_its_deletion() {
    let pushed = Pushed::new();
    let blob = pushed.blob("a", "blob").await;
    let manifest = pushed.put("a", Some("v1"), &image(&["blob"])).await;
    pushed.delete("a", &manifest.to_string()).await;
    let repository = pushed.registry.repository("a").unwrap();
    assert!(repository.blob(&blob).await.unwrap().is_some());
    let in_2262 = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::MAX / 2);
    let expired = expire_trash(&pushed.storage, in_2262).await.unwrap();
    assert_eq!(expired.expired, 1);

    let kept = collected(&pushed.storage, CollectOptions::new()).await;
    assert_eq!((kept.removed.items(), kept.later.items), (0, 1), "{kept:?}");
    let automatic = CollectOptions::automatic()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO);
    let report = collected(&pushed.storage, automatic).await;

    assert!(report.stopped.is_none(), "{report:?}");
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}
