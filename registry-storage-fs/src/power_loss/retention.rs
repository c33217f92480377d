//! Rules of retention: tags and manifests that are dropped can be restored.

use super::*;
use registry_core::{
    Registry,
    maintenance::retention::{Keep, RepositoryPattern, Retain, Rule, Rules, TagPattern},
    storage::{Census, StorageCollect as _, Terms},
};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Drops all tags of an image. Another image of the same layer stays.
async fn retained(watched: &Watched) -> Vec<Fact> {
    let a = name("a");
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let image_type = media_type(MediaType::OCI_MANIFEST);
    let (first, second) = (image(&[&layer], "first"), image(&[&layer], "second"));
    let storage = &watched.storage;
    push(storage, &a, &layer).await;
    for (document, tagged) in [(&first, "v1"), (&first, "v2"), (&second, "stable")] {
        put_with(storage, &a, document, &image_type, &[&layer], tagged).await;
    }
    let run = storage.begin(Terms::new()).await.unwrap();
    storage.end(run, Census::new(2)).await.unwrap();
    watched.acknowledged(); // 1
    let everywhere = RepositoryPattern::parse("**").unwrap();
    let rule = Rule::new([everywhere], Keep::Younger(DAY)).tags([TagPattern::parse("v*").unwrap()]);
    let (rules, later) = (Rules::new([rule]), SystemTime::now() + 2 * DAY);
    let registry = Registry::builder(storage.clone()).build();
    watched.examine(true);
    let done = registry
        .retain(&Retain::new(&rules, Some(later)).force(true))
        .await;
    watched.examine(false);
    let done = done.unwrap();
    assert_eq!((done.tags, done.manifests), (2, 1));
    watched.acknowledged(); // 2

    let fact = |from, until, what| Fact { from, until, what };
    vec![
        fact(1, END, What::Sound),
        fact(1, END, What::Walkable),
        fact(0, END, What::WalkableAfterKill),
        fact(0, END, What::CompleteLinks),
        fact(2, END, What::Census(1)),
        fact(1, END, What::Own),
        fact(0, END, What::Whole(a.clone(), *first.digest(), digest)),
        fact(0, END, What::WholeRecords(a.clone())),
        fact(1, END, What::Restorable(a.clone(), "v1", first.clone())),
        fact(1, END, What::Restorable(a.clone(), "v2", first.clone())),
        fact(1, END, What::Tag(a.clone(), "stable", Some(*second.digest()))),
        fact(1, END, What::Manifest(a.clone(), second, image_type)),
        fact(2, END, What::Tag(a.clone(), "v1", None)),
        fact(2, END, What::Tag(a.clone(), "v2", None)),
        fact(2, 2, What::NoManifest(a.clone(), *first.digest())),
        fact(2, END, What::Recorded(a, *first.digest(), &[])),
    ]
}

#[tokio::test]
async fn what_rules_drop_stays_away_and_can_be_restored() {
    use Step::{Discard, Rename, Sync};
    assert_necessary(
        &[Scenario::new(|watched| Box::pin(retained(watched)))],
        &[
            (Sync, ""),
            (Sync, "_collect"),
            (Sync, "_collect/state"),
            (Sync, "_trash"),
            (Sync, "_trash/a"),
            (Sync, "_trash/a/_deleted"),
            (Sync, "_trash/a/_deleted/ID"),
            (Sync, "repositories/a/_manifests/revisions/sha256"),
            (Sync, "repositories/a/_manifests/tags"),
            (Rename, "_collect/state"),
            (Rename, "_trash/a/_deleted/ID"),
            (Discard, "repositories/a/_manifests/tags/v1"),
            (Discard, "repositories/a/_manifests/tags/v2"),
        ],
        &[],
    )
    .await;
}
