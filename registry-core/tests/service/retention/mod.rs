//! Retention over a storage in memory, with times that the names of the tags state: `day-07` was moved on day 7.

mod concurrent;
mod interrupted;
mod recurring;
mod restored;

use async_trait::async_trait;
use registry_core::{
    Digest, Registry, Repository, RepositoryName, Storage, StorageWrite, Tag, forward_storage,
    maintenance::retention::{Keep, RepositoryPattern, Retain, Retained, Rule, Rules, TagPattern, survey},
    service::ManifestPush,
    storage::{
        Document, Listing, MemoryStorage, Page, Result, Seen, StorageCollect, StorageError, StorageInspect,
        TagTarget, Terms,
    },
};
use serde_json::json;
use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Storage that knows the times of tags by their names.
#[derive(Clone, Debug)]
struct Dated(MemoryStorage);

impl Storage for Dated {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.0.collect()
    }
}

#[async_trait]
impl StorageInspect for Dated {
    forward_storage! { StorageInspect: self => self.0.inspect(); except tag_targets }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let mut listed = self.0.inspect().unwrap().tag_targets(repository, page).await?;
        for seen in &mut listed.items {
            let Seen::Whole(target) = seen else { continue };
            let day = target.tag.as_str().strip_prefix("day-");
            target.moved = day.map(|day| on_day(day.parse().unwrap()));
            if target.tag.as_str() == "unreadable" {
                *seen = Seen::unreadable(target.tag.clone(), "a test");
            }
        }
        Ok(listed)
    }
}

fn on_day(day: u32) -> SystemTime {
    UNIX_EPOCH + 10_000 * DAY + day * DAY
}

fn registry() -> (MemoryStorage, Registry) {
    let storage = MemoryStorage::new();
    (storage.clone(), Registry::builder(Dated(storage)).build())
}

fn newest(number: usize) -> Rules {
    let everywhere = RepositoryPattern::parse("**").unwrap();
    Rules::new([Rule::new(
        [everywhere],
        Keep::Newest(NonZeroUsize::new(number).unwrap()),
    )])
}

async fn run(registry: &Registry, rules: &Rules) -> Retained {
    registry
        .retain(&Retain::new(rules, None).force(true))
        .await
        .unwrap()
}

async fn preview(registry: &Registry, rules: &Rules) -> Retained {
    let retain = Retain::new(rules, None).force(true).dry_run(true);
    registry.retain(&retain).await.unwrap()
}

/// Puts an index with these manifests, whose bytes differ by `note`.
async fn put(
    repository: &Repository,
    reference: Option<&str>,
    note: &str,
    entries: &[Digest],
    subject: Option<Digest>,
) -> Digest {
    let descriptor = |digest: &Digest, size: usize| json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.to_string(), "size": size});
    let mut described = Vec::new();
    for entry in entries {
        let size = repository.manifest(*entry).await.unwrap().unwrap().bytes.len();
        described.push(descriptor(entry, size));
    }
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": described,
        "annotations": {"note": note},
    });
    if let Some(subject) = subject {
        document["subject"] = descriptor(&subject, 2);
    }
    let bytes = document.to_string();
    let digest = Digest::of(registry_core::Algorithm::Sha256, bytes.as_bytes());
    let mut push = ManifestPush::new(digest, bytes);
    push.tags = reference
        .map(|tag| Tag::parse(tag).unwrap())
        .into_iter()
        .collect();
    repository.put_manifest(push).await.unwrap().digest
}

async fn tagged(repository: &Repository, day: u32) -> Digest {
    let tag = format!("day-{day:02}");
    put(repository, Some(&tag), &tag, &[], None).await
}

/// Returns a repository with a tag of each of eight days.
async fn eight_days() -> (MemoryStorage, Registry, Repository) {
    let (storage, registry) = registry();
    let repository = registry.repository("team/app").unwrap();
    for day in 1..=8 {
        tagged(&repository, day).await;
    }
    (storage, registry, repository)
}

async fn is_there(repository: &Repository, digest: &Digest) -> bool {
    repository.manifest(*digest).await.unwrap().is_some()
}

async fn tags(repository: &Repository) -> Vec<String> {
    let listed = repository
        .tags(&registry_core::protocol::PageQuery::default())
        .await
        .unwrap()
        .unwrap();
    listed.items.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_manifest_goes_with_its_last_tag_and_not_before() {
    let (_, registry) = registry();
    let repository = registry.repository("team/app").unwrap();
    let gone = tagged(&repository, 1).await;
    let shared = put(&repository, Some("day-02"), "shared", &[], None).await;
    put(&repository, Some("day-04"), "shared", &[], None).await;
    let kept = tagged(&repository, 3).await;
    let untagged = put(&repository, None, "untagged", &[], None).await;

    let preview = preview(&registry, &newest(2)).await;
    assert_eq!(tags(&repository).await.len(), 4);
    let report = run(&registry, &newest(2)).await;

    assert_eq!(preview, report);

    assert_eq!(tags(&repository).await, ["day-03", "day-04"]);
    assert_eq!((report.tags, report.manifests, report.left), (2, 1, 0));
    assert_eq!(report.failures, []);
    assert!(!is_there(&repository, &gone).await);
    for digest in [shared, kept, untagged] {
        assert!(is_there(&repository, &digest).await);
    }
}

#[tokio::test]
async fn entries_referrers_and_signatures_go_with_their_index_and_no_others() {
    let (_, registry) = registry();
    let repository = registry.repository("team/app").unwrap();
    let [shared, own] = ["shared", "own"].map(|note| note.to_owned());
    let shared = put(&repository, None, &shared, &[], None).await;
    let own = put(&repository, None, &own, &[], None).await;
    let old = put(&repository, Some("day-01"), "old", &[shared, own], None).await;
    let new = put(&repository, Some("day-02"), "new", &[shared], None).await;
    let sbom = put(&repository, None, "sbom", &[], Some(own)).await;
    let kept_sbom = put(&repository, None, "kept sbom", &[], Some(shared)).await;
    let signature = |digest: &Digest| format!("sha256-{}.sig", digest.hex());
    let signed = put(&repository, Some(&signature(&own)), "signature", &[], None).await;
    let kept_signed = put(&repository, Some(&signature(&new)), "kept signature", &[], None).await;

    let preview = preview(&registry, &newest(1)).await;
    let report = run(&registry, &newest(1)).await;

    assert_eq!(preview, report);
    assert_eq!(report.left, 0);
    for digest in [old, own, sbom, signed] {
        assert!(!is_there(&repository, &digest).await);
    }
    for digest in [new, shared, kept_sbom, kept_signed] {
        assert!(is_there(&repository, &digest).await);
    }
    assert_eq!(tags(&repository).await, ["day-02".to_owned(), signature(&new)]);
}

#[tokio::test]
async fn a_run_beside_a_collection_says_so_and_drops_nothing() {
    let (storage, registry) = registry();
    let repository = registry.repository("team/app").unwrap();
    for day in 1..=2 {
        tagged(&repository, day).await;
    }
    let collection = storage.collect().unwrap().begin(Terms::new()).await.unwrap();

    let refused = registry.retain(&Retain::new(&newest(1), None)).await.unwrap_err();

    assert!(matches!(refused, StorageError::Busy { .. }), "{refused:?}");
    assert_eq!(tags(&repository).await.len(), 2);
    drop(collection);
    assert_eq!(run(&registry, &newest(1)).await.tags, 1);
}

#[tokio::test]
async fn a_run_that_would_drop_more_than_half_of_a_rules_tags_drops_none() {
    let (_, registry) = registry();
    let repository = registry.repository("team/app").unwrap();
    for day in 1..=4 {
        tagged(&repository, day).await;
    }
    let pattern = |text| RepositoryPattern::parse(text).unwrap();
    let harmless = Rule::new([pattern("**")], Keep::Always).tags([TagPattern::parse("latest").unwrap()]);
    let rules = |number| Rules::new([harmless.clone(), newest(number).rules()[0].clone()]);

    let refused = registry.retain(&Retain::new(&rules(1), None)).await.unwrap();
    assert_eq!((refused.excessive, refused.tags), (Some(1), 0));
    assert_eq!(tags(&repository).await.len(), 4);

    let half = registry.retain(&Retain::new(&rules(2), None)).await.unwrap();
    assert_eq!((half.excessive, half.tags), (None, 2));
}

#[tokio::test]
async fn nothing_is_dropped_where_something_cannot_be_read() {
    let (_, registry) = registry();
    let [broken, whole] = ["broken", "whole"].map(|name| registry.repository(name).unwrap());
    for repository in [&broken, &whole] {
        tagged(repository, 1).await;
        tagged(repository, 2).await;
    }
    put(&broken, Some("unreadable"), "unreadable", &[], None).await;

    let report = run(&registry, &newest(1)).await;

    assert_eq!(report.tags, 1);
    let failed: Vec<_> = report.all_failures().collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0].repository, &failed[0].tag), (broken.name(), &None));
    assert!(failed[0].reason.contains("unreadable"), "{failed:?}");
    assert_eq!(tags(&broken).await.len(), 3);
    assert_eq!(tags(&whole).await, ["day-02"]);
}

#[tokio::test]
async fn a_push_of_the_same_manifest_renews_the_age_of_its_tag() {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    for name in ["renewed", "old", "renewed"] {
        put(&repository, Some(name), name, &[], None).await;
    }
    let (mut moved, rules) = (Vec::new(), newest(1));

    survey(&storage, &Retain::new(&rules, None), &mut |_, decision| {
        moved.push((decision.state.moved, decision.state.tag.to_string()));
    })
    .await
    .unwrap();

    moved.sort();
    let order: Vec<&str> = moved.iter().map(|(_, tag)| tag.as_str()).collect();
    assert_eq!(order, ["old", "renewed"]);
}

#[tokio::test]
async fn an_index_stays_while_a_client_was_just_told_that_its_entry_exists() {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    let entry = put(&repository, None, "entry", &[], None).await;
    let index = put(&repository, Some("old"), "index", &[entry], None).await;
    put(&repository, Some("new"), "new", &[], None).await;
    let rules = newest(1);
    let retain = Retain::new(&rules, None).force(true);

    // The client is going to push an index of its own.
    let graceful = retain.terms(Terms::new().with_grace(HOUR));
    let report = registry.retain(&graceful).await.unwrap();
    assert_eq!((report.tags, report.manifests, report.left), (1, 0, 2));
    for digest in [index, entry] {
        assert!(is_there(&repository, &digest).await);
    }
    let other = put(&repository, Some("new"), "other", &[entry], None).await;

    // An hour later.
    let report = registry.retain(&retain.terms(Terms::new())).await.unwrap();
    assert_eq!((report.manifests, report.left), (1, 0));
    assert!(!is_there(&repository, &index).await);
    assert!(is_there(&repository, &entry).await && is_there(&repository, &other).await);
}

#[tokio::test]
async fn a_damaged_manifest_is_named_before_and_after_a_run() {
    let storage = Damaged(Dated(MemoryStorage::new()));
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    let damaged = tagged(&repository, 1).await;
    tagged(&repository, 2).await;
    let rules = newest(1);
    let mut told = Vec::new();

    let survey = survey(&storage, &Retain::new(&rules, None), &mut |_, decision| {
        told.push(decision.clone());
    })
    .await
    .unwrap();
    let preview = preview(&registry, &rules).await;
    let report = run(&registry, &rules).await;

    assert_eq!(told, [], "nothing is dropped");
    for failures in [&survey.failures, &preview.failures, &report.failures] {
        assert_eq!(failures.len(), 1);
        assert!(failures[0].reason.contains(&damaged.to_string()), "{failures:?}");
    }
    assert_eq!(tags(&repository).await.len(), 2);
}

/// Storage in which the manifest of the first day is damaged.
#[derive(Clone, Debug)]
struct Damaged(Dated);

impl Storage for Damaged {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.0.collect()
    }
}

#[async_trait]
impl StorageInspect for Damaged {
    forward_storage! { StorageInspect: self => self.0.inspect(); except document }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        let found = self.0.inspect().unwrap().document(repository, digest).await?;
        Ok(match found {
            Document::Whole(stored) if stored.bytes.windows(6).any(|text| text == b"day-01") => {
                Document::Damaged(stored.bytes)
            }
            found => found,
        })
    }
}
