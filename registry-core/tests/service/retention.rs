//! Retention over a storage in memory, with times that the names of the tags state: `day-07` was moved on day 7.

use async_trait::async_trait;
use registry_core::{
    Digest, Event, Hooks, Registry, Repository, RepositoryName, Storage, StorageWrite, Tag, forward_storage,
    hooks::{Context, EventKind, HookError, Target},
    maintenance::{
        Clock, MemoryNotes,
        retention::{Keep, Recurring, RepositoryPattern, Retain, Retained, Rule, Rules, TagPattern, survey},
    },
    service::ManifestPush,
    storage::{
        Document, Listing, MemoryStorage, Page, Reclaimed, Result, Run, Seen, StorageCollect, StorageError,
        StorageInspect, StorageTrash, TagTarget, Terms, Victim,
    },
};
use serde_json::json;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

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

/// Hooks that act or refuse before a deletion, and record events.
#[derive(Debug, Default)]
struct Recorder {
    events: Mutex<Vec<String>>,
    /// Repository that is changed before the first deletion.
    meddling: Mutex<Option<(Repository, Meddling)>>,
}

#[derive(Debug)]
enum Meddling {
    MoveTag,
    PutTagAgain,
    PushIndexOf(Digest),
    Refuse,
}

#[async_trait]
impl Hooks for Recorder {
    async fn before_delete(&self, _: &Context, _: &Target) -> Result<(), HookError> {
        let meddling = self.meddling.lock().unwrap().take();
        match meddling {
            Some((repository, Meddling::MoveTag)) => {
                put(&repository, Some("day-01"), "moved", &[], None).await;
            }
            Some((repository, Meddling::PutTagAgain)) => {
                tagged(&repository, 1).await;
            }
            Some((repository, Meddling::PushIndexOf(entry))) => {
                put(&repository, Some("day-09"), "index", &[entry], None).await;
            }
            Some((_, Meddling::Refuse)) => return Err(HookError::veto("a test")),
            None => {}
        }
        Ok(())
    }

    fn event(&self, event: &Arc<Event>) {
        let told = match &event.kind {
            EventKind::TagDeleted { tag, .. } => format!("tag {tag}"),
            EventKind::ManifestDeleted { .. } => "manifest".to_owned(),
            _ => return,
        };
        self.events.lock().unwrap().push(told);
    }
}

/// Runs with tags of three days, of which one stays. Returns the report, the events and the oldest manifest.
async fn run_with(
    meddling: impl FnOnce(&Repository, Digest) -> Option<Meddling>,
) -> (Retained, Vec<String>, Repository, Digest) {
    let storage = Dated(MemoryStorage::new());
    let plain = Registry::builder(storage.clone())
        .build()
        .repository("team/app")
        .unwrap();
    let oldest = tagged(&plain, 1).await;
    for day in 2..=3 {
        tagged(&plain, day).await;
    }
    let recorder = Arc::new(Recorder::default());
    if let Some(meddling) = meddling(&plain, oldest) {
        *recorder.meddling.lock().unwrap() = Some((plain.clone(), meddling));
    }
    let registry = Registry::builder(storage).hooks(Arc::clone(&recorder)).build();
    let report = run(&registry, &newest(1)).await;
    let events = recorder.events.lock().unwrap().clone();
    (report, events, plain, oldest)
}

#[tokio::test]
async fn hooks_hear_of_every_deletion_and_can_refuse_one() {
    let (_, events, ..) = run_with(|_, _| None).await;
    assert_eq!(events, ["tag day-01", "tag day-02", "manifest", "manifest"]);

    let (report, events, repository, oldest) = run_with(|_, _| Some(Meddling::Refuse)).await;
    assert_eq!(events, ["tag day-02", "manifest"]);
    assert_eq!((report.tags, report.failures.len()), (1, 1));
    assert_eq!(report.failures[0].tag, Some(Tag::parse("day-01").unwrap()));
    assert!(is_there(&repository, &oldest).await);
}

#[tokio::test]
async fn a_tag_that_moves_meanwhile_stays() {
    let (report, _, repository, _) = run_with(|_, _| Some(Meddling::MoveTag)).await;

    assert_eq!(report.tags, 1);
    assert_eq!(tags(&repository).await, ["day-01", "day-03"]);
}

#[tokio::test]
async fn a_tag_that_is_put_again_meanwhile_stays() {
    let (report, _, repository, oldest) = run_with(|_, _| Some(Meddling::PutTagAgain)).await;

    assert_eq!((report.tags, &report.failures[..]), (1, &[][..]));
    assert_eq!(tags(&repository).await, ["day-01", "day-03"]);
    assert!(is_there(&repository, &oldest).await);
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
async fn a_manifest_that_an_index_needs_meanwhile_stays() {
    let (report, _, repository, oldest) = run_with(|_, oldest| Some(Meddling::PushIndexOf(oldest))).await;

    assert_eq!((report.tags, report.manifests, report.left), (2, 1, 1));
    assert!(is_there(&repository, &oldest).await);
}

/// Storage in which a run ends once it has dropped tags.
#[derive(Clone, Debug)]
struct Interrupted(MemoryStorage);

impl Storage for Interrupted {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.0.trash()
    }
}

/// Puts an index with a tag, an entry and a referrer, and then another tag. The first tag is dropped by a run that removes
/// no manifest. Returns the storage and the three manifests.
async fn left_by_a_run() -> (MemoryStorage, Registry, [Digest; 3]) {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("team/app").unwrap();
    let entry = put(&repository, None, "entry", &[], None).await;
    let index = put(&repository, Some("old"), "index", &[entry], None).await;
    let referrer = put(&repository, None, "referrer", &[], Some(index)).await;
    put(&repository, Some("new"), "new", &[], None).await;
    // An upkeep that ends between the tags and the manifests.
    let ended = Registry::builder(Interrupted(storage.clone())).build();
    let dropped = ended
        .retain(&Retain::new(&newest(1), None).force(true))
        .await
        .unwrap();
    assert_eq!((dropped.tags, dropped.manifests), (1, 0));
    (storage, registry, [index, entry, referrer])
}

#[tokio::test]
async fn a_later_run_removes_what_an_earlier_one_has_left() {
    for keeps_records in [true, false] {
        let (storage, registry, manifests) = left_by_a_run().await;
        let repository = registry.repository("team/app").unwrap();
        if !keeps_records {
            // The history of the tag is left.
            let trash = storage.trash().unwrap();
            let recorded = trash.deleted(repository.name(), Page::first(10)).await.unwrap();
            for record in recorded.items {
                trash
                    .forget(repository.name(), &record.whole().unwrap().id)
                    .await
                    .unwrap();
            }
        }

        let preview = preview(&registry, &newest(1)).await;
        let report = run(&registry, &newest(1)).await;

        assert_eq!(preview, report);
        assert_eq!((report.tags, report.manifests, report.left), (0, 3, 0));
        for digest in manifests {
            assert!(!is_there(&repository, &digest).await);
        }
        assert_eq!(run(&registry, &newest(1)).await.manifests, 0);
    }
}

#[tokio::test]
async fn what_only_a_removed_index_named_goes_later_too() {
    let (storage, registry, [index, entry, referrer]) = left_by_a_run().await;
    let repository = registry.repository("team/app").unwrap();
    // The process ends after the first manifest.
    let collect = storage.collect().unwrap();
    let open = collect.begin(Terms::new()).await.unwrap();
    let victim = Victim::Manifest(repository.name().clone(), index);
    let reclaimed = collect.reclaim(&open, &[victim]).await.unwrap();
    assert!(
        matches!(reclaimed[..], [Reclaimed::Removed { .. }]),
        "{reclaimed:?}"
    );
    drop(open);

    let report = run(&registry, &newest(1)).await;

    assert_eq!((report.manifests, report.left), (2, 0));
    for digest in [entry, referrer] {
        assert!(!is_there(&repository, &digest).await);
    }
}

#[tokio::test]
async fn what_is_pushed_or_deleted_on_purpose_is_not_left_by_a_run() {
    let (_, registry, [index, entry, referrer]) = left_by_a_run().await;
    let repository = registry.repository("team/app").unwrap();
    let by_hand = put(&repository, Some("by-hand"), "by hand", &[], None).await;
    let tag = Tag::parse("by-hand").unwrap();
    assert!(repository.delete_manifest(&tag).await.unwrap());
    put(&repository, None, "index", &[entry], None).await;

    let report = run(&registry, &newest(1)).await;

    assert_eq!((report.tags, report.manifests), (0, 0));
    for digest in [index, entry, referrer, by_hand] {
        assert!(is_there(&repository, &digest).await);
    }
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

/// Clock that advances while somebody sleeps, up to an end.
struct Advancing {
    passed: Mutex<Duration>,
    end: Duration,
    ended: Notify,
    /// Error of the wall clock.
    ahead: Duration,
    /// Collection that ends with the first sleep.
    collection: Mutex<Option<Run>>,
}

#[async_trait]
impl Clock for Advancing {
    fn now(&self) -> SystemTime {
        let passed = *self.passed.lock().unwrap();
        // It is set when it has run for an hour.
        let ahead = if passed > HOUR { self.ahead } else { Duration::ZERO };
        on_day(10) + passed + ahead
    }

    fn since_boot(&self) -> Option<Duration> {
        Some(*self.passed.lock().unwrap())
    }

    async fn sleep(&self, duration: Duration) {
        drop(self.collection.lock().unwrap().take());
        let passed = {
            let mut passed = self.passed.lock().unwrap();
            *passed += duration;
            *passed
        };
        if passed > self.end {
            self.ended.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// Applies rules every day, for that long.
async fn recur(registry: &Registry, rules: &Rules, notes: &MemoryNotes, time: Duration, ahead: Duration) {
    recur_beside(None, registry, rules, notes, time, ahead).await;
}

/// Does the same beside a collection.
async fn recur_beside(
    collection: Option<Run>,
    registry: &Registry,
    rules: &Rules,
    notes: &MemoryNotes,
    time: Duration,
    ahead: Duration,
) {
    let clock = Advancing {
        passed: Mutex::default(),
        end: time,
        ended: Notify::new(),
        ahead,
        collection: Mutex::new(collection),
    };
    let rules = Arc::new(rules.clone());
    let rules = move || Arc::clone(&rules);
    let recurring = Recurring::new(registry, &rules, notes);
    tokio::select! {
        biased;
        never = recurring.run(&clock) => match never {},
        () = clock.ended.notified() => {}
    }
}

#[tokio::test]
async fn the_first_run_of_changed_rules_is_a_dry_run() {
    let (_, registry, repository) = eight_days().await;
    let notes = MemoryNotes::default();
    let count = async || tags(&repository).await.len();

    recur(&registry, &newest(6), &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 8);
    // The note survives the process.
    recur(&registry, &newest(6), &notes, HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 6);
    recur(&registry, &newest(4), &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 6);
    recur(
        &registry,
        &newest(4),
        &MemoryNotes::default(),
        DAY,
        Duration::ZERO,
    )
    .await;
    assert_eq!(count().await, 4);
}

#[tokio::test]
async fn a_run_that_a_collection_prevents_is_tried_again_soon() {
    let (storage, registry, repository) = eight_days().await;
    let notes = MemoryNotes::default();
    recur(&registry, &newest(6), &notes, HOUR, Duration::ZERO).await;
    assert_eq!(tags(&repository).await.len(), 8, "it was a dry run");
    let collection = storage.collect().unwrap().begin(Terms::new()).await.unwrap();

    recur_beside(
        Some(collection),
        &registry,
        &newest(6),
        &notes,
        HOUR / 2,
        Duration::ZERO,
    )
    .await;

    assert_eq!(tags(&repository).await.len(), 6);
}

#[tokio::test]
async fn no_tag_is_too_old_for_a_clock_that_is_not_trusted() {
    let (_, registry, repository) = eight_days().await;
    let pattern = RepositoryPattern::parse("**").unwrap();
    let rules = Rules::new([Rule::new([pattern], Keep::Younger(8 * DAY))]);
    let count = async || tags(&repository).await.len();
    let notes = MemoryNotes::default();

    // Set ten years ahead while it runs.
    recur(&registry, &rules, &notes, 20 * DAY, 3650 * DAY).await;
    assert_eq!(count().await, 8);
    // The note of that time does not count as trusted; a day has to pass.
    recur(&registry, &rules, &notes, DAY - HOUR, Duration::ZERO).await;
    assert_eq!(count().await, 8);
    recur(&registry, &rules, &MemoryNotes::default(), DAY, Duration::ZERO).await;
    assert_eq!(count().await, 5);
}

#[tokio::test]
async fn a_machine_that_is_switched_off_every_night_gets_to_trust_its_clock() {
    let (_, registry, repository) = eight_days().await;
    let pattern = RepositoryPattern::parse("**").unwrap();
    let rules = Rules::new([Rule::new([pattern], Keep::Younger(8 * DAY))]);
    let notes = MemoryNotes::default();

    let mut counts = Vec::new();
    for _day in 0..4 {
        recur(&registry, &rules, &notes, 10 * HOUR, Duration::ZERO).await;
        counts.push(tags(&repository).await.len());
    }

    // The fourth process begins when 24 hours have passed.
    assert_eq!(counts, [8, 8, 8, 6]);
}
