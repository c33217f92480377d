//! Tags whose deletion was undone: a restore is no push.

use super::{DAY, newest, put, tags};
use registry_core::{
    Registry, Repository, Tag,
    maintenance::retention::{Keep, RepositoryPattern, Retain, Rule, Rules, Verdict, survey},
    service::Restore,
    storage::{MemoryStorage, Storage},
};
use std::time::SystemTime;

/// Returns a repository with tags that were pushed in this order.
async fn pushed(names: &[&str]) -> (MemoryStorage, Registry, Repository) {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    for name in names {
        put(&repository, Some(name), name, &[], None).await;
    }
    (storage, registry, repository)
}

async fn delete_and_restore(repository: &Repository, name: &str, under: Option<&str>) {
    let tag = Tag::parse(name).unwrap();
    assert!(repository.delete_manifest(&tag).await.unwrap());
    let under = under.map(|tag| Tag::parse(tag).unwrap());
    repository.restore(Restore::new(tag).under(under)).await.unwrap();
}

/// Returns the verdicts about all tags at a time, with the times of their last pushes.
async fn decided(
    storage: &dyn Storage,
    rules: &Rules,
    now: Option<SystemTime>,
) -> Vec<(String, Verdict, Option<SystemTime>)> {
    let mut decided = Vec::new();
    survey(storage, &Retain::new(rules, now), &mut |_, decision| {
        let tag = decision.state.tag.to_string();
        decided.push((tag, decision.verdict, decision.state.moved));
    })
    .await
    .unwrap();
    decided
}

fn dropped(decided: &[(String, Verdict, Option<SystemTime>)]) -> Vec<&str> {
    let dropped = decided.iter().filter(|(_, verdict, _)| verdict.drops());
    dropped.map(|(tag, ..)| &**tag).collect()
}

#[tokio::test]
async fn a_restored_tag_keeps_its_age_and_takes_no_place_from_a_newer_one() {
    let (storage, _, repository) = pushed(&["v1", "v2", "v3", "v4"]).await;
    let rules = newest(2);
    let before = decided(&storage, &rules, None).await;
    let now = before[3].2.unwrap();
    assert_eq!(dropped(&before), ["v1", "v2"]);

    delete_and_restore(&repository, "v1", None).await;

    // An operator restored it on purpose, so the next runs keep it.
    for now in [None, Some(now - DAY), Some(now), Some(now + 6 * DAY)] {
        let after = decided(&storage, &rules, now).await;
        assert_eq!(dropped(&after), ["v2"], "{now:?}");
        assert_eq!(after[0].1, Verdict::Restored);
        assert_eq!(after[0].2, before[0].2, "the age is that of the push");
    }
    let after = decided(&storage, &rules, Some(now + 8 * DAY)).await;
    assert_eq!(dropped(&after), ["v1", "v2"]);
}

#[tokio::test]
async fn a_restore_does_not_make_a_tag_young() {
    let (storage, _, repository) = pushed(&["v1"]).await;
    delete_and_restore(&repository, "v1", None).await;
    // Twice, so that the move before the deletion is a restore itself.
    delete_and_restore(&repository, "v1", None).await;
    let pattern = RepositoryPattern::parse("**").unwrap();
    let rules = Rules::new([Rule::new([pattern], Keep::Younger(3 * DAY))]);
    let pushed = decided(&storage, &rules, None).await[0].2.unwrap();
    let in_days = async |days: u32| decided(&storage, &rules, Some(pushed + days * DAY)).await[0].1;

    assert_eq!(in_days(2).await, Verdict::Younger(Some(2 * DAY)));
    assert_eq!(in_days(3).await, Verdict::Restored);
    assert!(in_days(8).await.drops());
}

#[tokio::test]
async fn a_push_of_a_restored_tag_is_a_push() {
    let (storage, _, repository) = pushed(&["v1", "v2"]).await;
    delete_and_restore(&repository, "v1", None).await;
    put(&repository, Some("v1"), "v1", &[], None).await;

    let after = decided(&storage, &newest(1), None).await;

    assert_eq!(after[0].1, Verdict::Newest(1));
    assert_eq!(dropped(&after), ["v2"]);
    assert!(after[0].2 > after[1].2);
}

#[tokio::test]
async fn the_age_of_a_tag_that_never_had_the_manifest_is_unknown() {
    let (storage, _, repository) = pushed(&["v1", "v2"]).await;
    delete_and_restore(&repository, "v1", Some("v1-old")).await;

    let pushed = decided(&storage, &newest(1), None).await[1].2.unwrap();
    let after = decided(&storage, &newest(1), Some(pushed + 1000 * DAY)).await;

    assert_eq!(tags(&repository).await, ["v1-old", "v2"]);
    assert_eq!((after[0].1, after[0].2), (Verdict::UnknownTime, None));
    assert_eq!(after[1].1, Verdict::Newest(1));
}
