//! Rules about what stays and what goes.

use super::*;
use registry_core::{
    Algorithm,
    storage::{Deletion, StorageWrite as _, Terms},
};

/// Pushes an index of one image of two blobs, and returns the digests from the index down.
async fn push_index(pushed: &Pushed, tag: Option<&str>) -> [Digest; 4] {
    let [config, layer] = ["config", "layer"];
    let config = (pushed.blob("a", config).await, config);
    let layer = (pushed.blob("a", layer).await, layer);
    let child = image(&[config.1, layer.1]);
    let child_digest = pushed.put("a", None, &child).await;
    let index = pushed.put("a", tag, &index(&[&child])).await;
    [index, child_digest, config.0, layer.0]
}

#[tokio::test]
async fn everything_that_a_tag_leads_to_stays() {
    let pushed = Pushed::new();
    push_index(&pushed, Some("v1")).await;
    let before = dump(&pushed.storage).await;

    let report = collected(&pushed.storage, at_once().untagged(true)).await;

    assert_eq!(dump(&pushed.storage).await, before);
    assert_eq!((report.repositories, report.manifests), (1, 2));
    assert_eq!(report.removed, Default::default());
}

#[tokio::test]
async fn what_only_a_deleted_manifest_named_goes_at_once_and_the_rest_later() {
    let pushed = Pushed::new();
    let [index, child, config, layer] = push_index(&pushed, None).await;
    let fresh = pushed.blob("a", "pushed without a manifest").await;
    pushed.delete("a", &index.to_string()).await;
    pushed.delete("a", &child.to_string()).await;

    let report = collected(&pushed.storage, CollectOptions::new().empty_trash(true)).await;

    assert!(!pushed.holds("a", &config).await && !pushed.holds("a", &layer).await);
    assert!(pushed.holds("a", &fresh).await);
    assert_eq!((report.removed.links, report.removed.data), (2, 2));
    assert_eq!(report.removed.bytes, 11);
    assert_eq!(report.later.items, 1);
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(report.later.first.is_some_and(|first| first <= day), "{report:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_ten_years_frees_nothing_that_may_be_in_use() {
    let years = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    for is_ahead in [true, false] {
        let pushed = Pushed::new();
        push_index(&pushed, Some("v1")).await;
        pushed.blob("a", "pushed without a manifest").await;
        pushed.put("a", None, &image(&["config"])).await;
        pushed.put("a", Some("v2"), &image(&["layer"])).await;
        pushed.delete("a", "v2").await;
        let other = pushed.repository("b");
        let session = other.open_upload(Algorithm::Sha256).await.unwrap().id;
        other.append(&session, None, String::from("a")).await.unwrap();
        let right = other.upload(&session).await.unwrap().unwrap().touched.unwrap();
        let now = if is_ahead { right + years } else { right - years };
        let before = dump(&pushed.storage).await;

        for options in [CollectOptions::new().untagged(true), CollectOptions::automatic()] {
            let report = collect(&pushed.storage, &options, &Counting::at(now), &|_| {}).await;
            assert_eq!(report.unwrap().removed, Default::default());
        }

        assert_eq!(dump(&pushed.storage).await, before);
    }
}

#[tokio::test]
async fn untagged_manifests_stay_unless_the_options_say_so() {
    let pushed = Pushed::new();
    let [index, child, ..] = push_index(&pushed, None).await;

    let report = collected(&pushed.storage, at_once()).await;
    assert_eq!(report.removed, Default::default());
    assert_eq!(report.untagged, 2);

    let gone = collected(&pushed.storage, at_once().untagged(true)).await;
    assert!(!pushed.holds("a", &index).await && !pushed.holds("a", &child).await);
    assert_eq!(gone.removed.manifests, 2);
    assert_eq!(gone.removed.bytes, report.untagged_bytes);
    assert_eq!(dump(&pushed.storage).await, [""; 0], "the repository is empty");
}

#[tokio::test]
async fn referrers_of_what_stays_stay_and_the_others_are_untagged() {
    let pushed = Pushed::new();
    for content in ["config", "1", "2", "3"] {
        pushed.blob("a", content).await;
    }
    let subject = pushed.put("a", Some("v1"), &image(&["config"])).await;
    let signature = pushed
        .put("a", None, &referring_to(image(&["1"]), &subject))
        .await;
    let of_signature = pushed
        .put("a", None, &referring_to(image(&["2"]), &signature))
        .await;
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let orphan = pushed.put("a", None, &referring_to(image(&["3"]), &absent)).await;

    collected(&pushed.storage, at_once()).await;
    assert!(pushed.holds("a", &orphan).await, "every manifest stays");
    collected(&pushed.storage, at_once().untagged(true)).await;

    for kept in [subject, signature, of_signature] {
        assert!(pushed.holds("a", &kept).await, "{kept}");
    }
    assert!(!pushed.holds("a", &orphan).await);
    assert_eq!(pushed.storage_blobs().await, 3);
}

#[tokio::test]
async fn tags_of_the_referrers_schema_are_tags_like_others() {
    let pushed = Pushed::new();
    for content in ["config", "signature"] {
        pushed.blob("a", content).await;
    }
    let subject = pushed.put("a", None, &image(&["config"])).await;
    let signature = image(&["signature"]);
    let signature_digest = pushed.put("a", None, &signature).await;
    let schema = Tag::of_referrers(&subject);
    let list = pushed
        .put("a", Some(schema.as_str()), &index(&[&signature]))
        .await;
    let cosign = format!("{schema}.sig");
    pushed.put("a", Some(&cosign), &signature).await;

    collected(&pushed.storage, at_once().untagged(true)).await;

    assert!(pushed.holds("a", &list).await && pushed.holds("a", &signature_digest).await);
    assert!(!pushed.holds("a", &subject).await, "no tag leads to it");
}

#[tokio::test]
async fn an_index_keeps_the_blobs_that_it_lists() {
    let pushed = Pushed::new();
    let cache = pushed.blob("a", "cache").await;
    let list = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &cache, 5)],
    });
    pushed.put("a", Some("cache"), &list).await;

    collected(&pushed.storage, at_once().untagged(true)).await;

    assert!(pushed.holds("a", &cache).await);
}

#[tokio::test]
async fn a_blob_of_two_repositories_goes_with_the_last_one_that_names_it() {
    let pushed = Pushed::new();
    for repository in ["a", "b"] {
        pushed.blob(repository, "shared").await;
        pushed.put(repository, Some("v1"), &image(&["shared"])).await;
    }
    let shared = Digest::of(Algorithm::Sha256, b"shared");
    let manifest = pushed
        .repository("a")
        .manifest("v1")
        .await
        .unwrap()
        .unwrap()
        .digest;

    pushed.delete("a", &manifest.to_string()).await;
    let report = collected(&pushed.storage, at_once()).await;
    assert_eq!(
        (
            report.removed.links,
            report.removed.data,
            report.removed.repositories
        ),
        (1, 0, 1)
    );
    assert!(!pushed.holds("a", &shared).await && pushed.holds("b", &shared).await);

    pushed.delete("b", &manifest.to_string()).await;
    collected(&pushed.storage, at_once()).await;
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn bytes_without_a_link_go() {
    let pushed = Pushed::new();
    let blob = pushed.blob("a", "left by an interrupted run").await;
    pushed.blob("b", "blob").await;
    let collect = pushed.storage.collect().unwrap();
    let run = collect.begin(Terms::new()).await.unwrap();
    let name = pushed.repository("a").name().clone();
    let link = registry_core::storage::Victim::Link(name, blob);
    collect.reclaim(&run, &[link]).await.unwrap();
    drop(run);
    assert!(dump(&pushed.storage).await.contains(&format!("data {blob}")));

    collected(&pushed.storage, at_once()).await;

    assert_eq!(pushed.storage_blobs().await, 0);
}

#[tokio::test]
async fn a_young_upload_session_protects_what_nothing_names_yet() {
    let pushed = Pushed::new();
    let layer = pushed.blob("a", "the first layer").await;
    let other = pushed.blob("b", "of another repository").await;
    let repository = pushed.repository("a");
    let session = repository.open_upload(Algorithm::Sha256).await.unwrap();
    let touched = session.touched.unwrap();
    let hour = Duration::from_secs(60 * 60);
    let run_at = async |now| {
        // A deletion releases them, so that only the session keeps one.
        for (repository, layer) in [("a", "the first layer"), ("b", "of another repository")] {
            pushed.blob(repository, layer).await;
            let image = pushed.put(repository, None, &image(&[layer])).await;
            pushed.delete(repository, &image.to_string()).await;
        }
        let options = at_once().uploading(hour);
        let report = collect(&pushed.storage, &options, &Counting::at(now), &|_| {}).await;
        assert!(report.unwrap().stopped.is_none());
    };

    // A clock that was set back makes no session old.
    for now in [
        SystemTime::UNIX_EPOCH,
        touched,
        touched + hour - Duration::from_secs(1),
    ] {
        run_at(now).await;
        assert!(pushed.holds("a", &layer).await && !pushed.holds("b", &other).await);
    }
    run_at(touched + hour).await;
    assert!(!pushed.holds("a", &layer).await);
    assert!(repository.upload(&session.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_dry_run_lists_what_a_run_removes_and_changes_nothing() {
    let pushed = Pushed::new();
    push_index(&pushed, None).await;
    pushed.blob("b", "alone").await;
    let before = dump(&pushed.storage).await;
    let options = at_once().untagged(true);

    let (preview, listed) = run(&pushed.storage, options.dry_run(true)).await;
    assert!(preview.dry_run);
    assert_eq!(dump(&pushed.storage).await, before);

    let (report, removed) = run(&pushed.storage, options).await;
    assert_eq!(removed, listed);
    assert_eq!(report.removed, preview.removed);
}

#[tokio::test]
async fn removals_are_spread_over_the_time_that_the_rate_asks_for() {
    let pushed = Pushed::new();
    for number in 0..30 {
        pushed.blob("a", &number.to_string()).await;
    }
    let clock = Counting::default();
    let options = at_once().rate(std::num::NonZeroU32::new(20));

    let report = collect(&pushed.storage, &options, &clock, &|_| {}).await.unwrap();

    // Links, data and the repository, which the session of none protects.
    let removed = report.removed.links + report.removed.data + report.removed.repositories;
    assert_eq!(removed, 61);
    assert_eq!(clock.slept.into_inner(), 61 * 1000 / 20);
}

#[tokio::test]
async fn a_run_that_is_dropped_makes_room_and_leaves_only_garbage() {
    let pushed = Pushed::new();
    let [index, ..] = push_index(&pushed, Some("v1")).await;
    for number in 0..10 {
        pushed.blob("a", &number.to_string()).await;
    }
    let clock = Counting::default();
    let options = at_once().rate(std::num::NonZeroU32::new(1));
    // The events of the plan come first: it looks at the repository, and so does the removal.
    let (sender, mut removed) = tokio::sync::mpsc::unbounded_channel();
    let told = |event: &CollectEvent<'_>| {
        if let CollectEvent::Item { .. } = event {
            sender.send(()).unwrap();
        }
    };
    {
        let stalled = Stalled(clock);
        tokio::select! {
            biased;
            report = collect(&pushed.storage, &options, &stalled, &told) => panic!("{report:?}"),
            () = async { removed.recv().await.unwrap() } => {}
        }
    }

    collected(&pushed.storage, at_once()).await;

    assert!(pushed.holds("a", &index).await);
    assert_eq!(pushed.storage_blobs().await, 2);
}

/// A clock on which nothing ever wakes.
struct Stalled(Counting);

#[async_trait]
impl Clock for Stalled {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_is_pushed_during_the_run_stays() {
    let pushed = Pushed::new();
    let layer = pushed.blob("a", "layer").await;
    let storage = pushed.storage.clone();
    let name = pushed.repository("a").name().clone();
    // A client asks for the layer once the run has begun.
    let asked = std::sync::Once::new();
    let told = |_: &CollectEvent<'_>| {
        asked.call_once(|| {
            let mut look = std::pin::pin!(storage.blob(&name, &layer));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(look.as_mut().poll(&mut context).is_ready());
        });
    };

    let report = collect(&pushed.storage, &at_once(), &Counting::default(), &told)
        .await
        .unwrap();

    // The link is in use, and so the bytes stay.
    assert_eq!(report.in_use, 1, "{report:?}");
    assert!(pushed.holds("a", &layer).await);
}

#[tokio::test]
async fn a_storage_without_the_plane_does_not_collect() {
    let refused = collect(
        &Plain(MemoryStorage::new()),
        &at_once(),
        &Counting::default(),
        &|_| {},
    )
    .await;
    assert!(matches!(
        refused,
        Err(registry_core::storage::StorageError::Unsupported(_))
    ));
}

#[derive(Debug)]
struct Plain(MemoryStorage);

impl Storage for Plain {
    registry_core::forward_storage! { Storage: self => &self.0 }
}

#[tokio::test]
async fn blobs_that_were_deleted_by_request_need_no_run() {
    let pushed = Pushed::new();
    let blob = pushed.blob("a", "blob").await;
    let name = pushed.repository("a").name().clone();
    let deleted = pushed.storage.delete_blob(&name, &blob, Deletion::new()).await;
    assert!(deleted.unwrap());

    let report = collected(&pushed.storage, at_once()).await;

    assert_eq!((report.removed.links, report.removed.data), (0, 0));
}

impl Pushed {
    pub(super) async fn storage_blobs(&self) -> usize {
        let inspect = self.storage.inspect().unwrap();
        inspect.blobs(Page::first(1000)).await.unwrap().items.len()
    }
}

#[tokio::test]
async fn what_is_free_later_has_the_bytes_that_it_keeps_once_each() {
    let pushed = Pushed::new();
    let document = image(&["layer", "common"]);
    for name in ["a", "b"] {
        pushed.blob(name, "layer").await;
        pushed.blob(name, "common").await;
        pushed.put(name, None, &document).await;
    }
    pushed.blob("a", "unnamed").await;
    pushed.put("a", Some("kept"), &image(&["common"])).await;
    let grace = Duration::from_secs(60 * 60);

    for dry_run in [true, false] {
        let options = at_once().grace(grace).untagged(true).dry_run(dry_run);
        let report = collected(&pushed.storage, options).await;

        assert_eq!(report.removed, Default::default());
        assert_eq!(
            report.later.bytes,
            ("layer".len() + "unnamed".len()) as u64,
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_census_is_complete_unless_somebody_may_be_pushing() {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let a = registry.repository("a").unwrap();
    let session = a.open_upload(Algorithm::Sha256).await.unwrap();
    let touched = session.touched.unwrap();
    let hour = Duration::from_secs(60 * 60);
    let collector = storage.collect().unwrap();
    let is_complete_at = async |now| {
        let options = at_once().uploading(hour);
        let report = collect(&storage, &options, &Counting::at(now), &|_| {}).await;
        assert!(report.unwrap().stopped.is_none());
        let run = collector.begin(Terms::new()).await.unwrap();
        let census = run.previous.unwrap();
        collector.end(run, census).await.unwrap();
        census.complete
    };

    assert!(!is_complete_at(touched).await);
    assert!(is_complete_at(touched + hour).await);
}
