//! Changes while a run drops tags, and hooks.

use super::{Dated, is_there, newest, put, run, tagged, tags};
use async_trait::async_trait;
use registry_core::{
    Digest, Event, Hooks, Registry, Repository, Tag,
    hooks::{Context, EventKind, HookError, Target},
    maintenance::retention::Retained,
    storage::MemoryStorage,
};
use std::sync::{Arc, Mutex};

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
async fn a_manifest_that_an_index_needs_meanwhile_stays() {
    let (report, _, repository, oldest) = run_with(|_, oldest| Some(Meddling::PushIndexOf(oldest))).await;

    assert_eq!((report.tags, report.manifests, report.left), (2, 1, 1));
    assert!(is_there(&repository, &oldest).await);
}
