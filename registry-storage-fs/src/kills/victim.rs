//! The process that is killed: it performs a script, while others push.

use super::{
    content::{self, Image, MOUNTED, Name, STEPS},
    journal::{Entry, Journal},
    script::{Script, Step},
};
use crate::{
    FsStorage,
    pauses::Point,
    support::{collections::collect_all, tag},
};
use registry_core::{
    Algorithm, BoxError, Error, Reference, Registry, RepositoryName, Tag, UploadId,
    maintenance::{
        CollectEvent, FindingKind, Repaired, VerifyEvent, VerifyOptions, expire_histories, expire_trash,
        retention::{Keep, RepositoryPattern, Retain, Rule, Rules, TagPattern},
    },
    protocol::PageQuery,
    service::{ManifestPush, Repository, Restore, RestoreError},
    storage::{self, Deletion, Page, Reclaimed, StorageError, StorageRepair},
};
use rustix::process::{Signal, getpid, kill_process};
use std::{
    fmt::Debug,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};
use tokio::task::JoinHandle;

/// Number of clients that push beside the script.
pub(super) const WORKERS: usize = 2;
/// Number of tags of such a client, which it moves in turn.
pub(super) const TAGS: usize = 4;

/// Maximum number of collections of a step.
const RUNS: usize = 100;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the repository of a client.
pub(super) fn repository_of(worker: usize) -> String {
    format!("load/{worker}")
}

/// Reason why a step was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("{0} is not there, or not any more")]
    Absent(&'static str),
    #[error(transparent)]
    Failed(BoxError),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        match error {
            Error::MissingReferences(_) => Self::Absent("a reference"),
            Error::UploadUnknown => Self::Absent("an upload session"),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<StorageError> for StepError {
    fn from(error: StorageError) -> Self {
        Error::from(error).into()
    }
}

impl From<RestoreError> for StepError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::NotDeleted { .. } => Self::Absent("a record of a deletion"),
            RestoreError::Gone(_) => Self::Absent("deleted content"),
            other => Self::Failed(other.into()),
        }
    }
}

/// Fails if something is not there.
const fn found(is_there: bool, what: &'static str) -> Result<(), StepError> {
    match is_there {
        true => Ok(()),
        false => Err(StepError::Absent(what)),
    }
}

/// Fails if a part of some work has failed.
fn complete(is_complete: bool, report: &dyn Debug) -> Result<(), StepError> {
    match is_complete {
        true => Ok(()),
        false => Err(StepError::Failed(format!("{report:?}").into())),
    }
}

/// The storage of a victim, with its clients.
#[derive(Clone)]
pub(super) struct Victim {
    pub(super) storage: FsStorage,
    pub(super) registry: Registry,
    journal: Journal,
    /// Number of operations that have begun and not ended.
    running: Arc<AtomicUsize>,
    /// True once the script has ended.
    has_ended: Arc<AtomicBool>,
}

impl Victim {
    pub(super) fn open(root: &Path, journal: Journal) -> Self {
        // Otherwise a full disk costs records of deletions.
        let storage = FsStorage::options()
            .reserve_for_records(1 << 20)
            .open(root)
            .unwrap();
        Self {
            registry: Registry::builder(storage.clone()).build(),
            storage,
            journal,
            running: Arc::default(),
            has_ended: Arc::default(),
        }
    }

    /// Performs a script. Dies when the work comes to a point after having passed there so often; otherwise writes down how
    /// often it came to each.
    pub(super) async fn perform(&self, script: &Script, death: Option<(Point, usize)>) {
        let (mut upload, mut load) = (None, Vec::new());
        for (number, step) in script.steps().enumerate() {
            if number == script.before.len() {
                load = self.begin_load(death);
            }
            self.journal.write(Entry::Begun(number));
            self.running.fetch_add(1, Ordering::SeqCst);
            self.step(step, &mut upload).await.unwrap();
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.journal.write(Entry::Done(number));
        }
        self.has_ended.store(true, Ordering::SeqCst);
        for worker in load {
            worker.await.unwrap();
        }
        for (point, passes) in self.storage.store().pauses.take_passed() {
            self.journal.write(Entry::Passed(point, passes));
        }
    }

    /// Ends the work in this process.
    pub(super) async fn close(self) {
        drop(self.registry);
        assert!(self.storage.close().await);
    }

    fn begin_load(&self, death: Option<(Point, usize)>) -> Vec<JoinHandle<()>> {
        let pauses = &self.storage.store().pauses;
        pauses.take_passed();
        if let Some((point, passes)) = death {
            let victim = self.clone();
            pauses.after(point, passes, move || victim.die());
        }
        let workers = (0..WORKERS).map(|worker| {
            let victim = self.clone();
            tokio::spawn(async move { victim.load(worker).await })
        });
        workers.collect()
    }

    /// Ends this process, as soon as another operation runs, too. Lives on if there will be none.
    fn die(&self) {
        while self.running.load(Ordering::SeqCst) < 2 {
            if self.has_ended.load(Ordering::SeqCst) {
                return;
            }
            thread::yield_now();
        }
        self.journal.write(Entry::Killed);
        kill_process(getpid(), Signal::KILL).unwrap();
    }

    async fn load(&self, worker: usize) {
        let repository = self.registry.repository(repository_of(worker)).unwrap();
        for round in 0.. {
            if self.has_ended.load(Ordering::SeqCst) {
                return;
            }
            self.journal.write(Entry::LoadBegun(worker, round));
            self.running.fetch_add(1, Ordering::SeqCst);
            let name = tag(&format!("v{}", round % TAGS));
            let image = content::of_load(worker, round);
            push_as_clients_do(&repository, &image, name.into(), round).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.journal.write(Entry::LoadDone(worker, round));
        }
    }

    /// Performs a step.
    pub(super) async fn step(&self, step: Step, upload: &mut Option<UploadId>) -> Result<(), StepError> {
        let repository = self.registry.repository(STEPS).unwrap();
        match step {
            Step::Push(name, tagged) => push(&repository, name, tagged).await?,
            Step::PushStray => _ = repository.push_blob(content::stray(), None).await?,
            Step::DeleteStray => {
                let digest = content::digest_of(&content::stray());
                found(repository.delete_blob(&digest).await?, "the stray blob")?;
            }
            Step::Mount => {
                let digest = content::digest_of(&content::stray());
                let target = self.registry.repository(MOUNTED).unwrap();
                let mounted = target.mount(&digest, Some(repository.name())).await?;
                found(mounted.is_some(), "the blob to mount")?;
            }
            Step::Look => look(&repository).await?,
            Step::OpenUpload => {
                let id = repository.open_upload(Algorithm::Sha256).await?.id;
                repository.append(&id, None, content::stray()).await?;
                self.journal.write(Entry::Upload(id));
                *upload = Some(id);
            }
            Step::CancelUpload => {
                let id = upload.as_ref().unwrap();
                found(repository.cancel(id).await?, "the upload session")?;
            }
            Step::DeleteTag(name) => {
                let name = tag(name);
                let target = repository.manifest(name.clone()).await?;
                let target = target.ok_or(StepError::Absent("the tag"))?;
                let deleted = repository.delete_tag_at(&name, target.digest, Deletion::new());
                found(deleted.await?, "the tag")?;
            }
            Step::DeleteManifest(name) => {
                let deleted = repository.delete_manifest(name.image().digest).await?;
                found(deleted, "the manifest")?;
            }
            Step::Restore(name, _) => _ = repository.restore(Restore::new(tag(name))).await?,
            Step::LengthenHistory(name) => self.lengthen_history(&tag(name)),
            Step::Damage => self.damage(),
            Step::ExpireHistories
            | Step::ExpireTrash
            | Step::Collect
            | Step::Repair
            | Step::RemoveQuarantined
            | Step::Retain => self.maintain(step).await?,
        }
        Ok(())
    }

    async fn maintain(&self, step: Step) -> Result<(), StepError> {
        let later = SystemTime::now() + 2 * DAY;
        match step {
            Step::ExpireHistories => {
                let expired = expire_histories(&self.storage, later).await?;
                complete(expired.failed == 0, &expired)?;
                found(expired.expired > 0, "a history")
            }
            Step::ExpireTrash => {
                let expired = expire_trash(&self.storage, later).await?;
                complete(expired.failed == 0, &expired)?;
                found(expired.expired > 0, "a record of a deletion")
            }
            Step::Collect => {
                for _ in 0..RUNS {
                    if !self.collect().await? {
                        return Ok(());
                    }
                }
                complete(false, &"a manifest is in use for every collection")
            }
            Step::Repair => self.repair().await,
            Step::RemoveQuarantined => {
                let items = StorageRepair::quarantined(&self.storage, Page::first(10))
                    .await?
                    .items;
                for item in &items {
                    found(self.storage.remove_quarantined(&item.id).await?, "the item")?;
                }
                found(!items.is_empty(), "an item in quarantine")
            }
            Step::Retain => self.retain(later).await,
            other => panic!("{other:?} is no maintenance"),
        }
    }

    /// Collects. Returns true if a manifest of the steps has stayed because an operation of the load had its lock, which is one
    /// of many manifests: the next run removes it.
    async fn collect(&self) -> Result<bool, StepError> {
        let has_stayed = AtomicBool::new(false);
        let told = |event: &CollectEvent<'_>| {
            if let CollectEvent::Item {
                victim: storage::Victim::Manifest(repository, _),
                result: Reclaimed::InUse,
                ..
            } = event
            {
                has_stayed.fetch_or(repository.as_str() == STEPS, Ordering::SeqCst);
            }
        };
        let report = collect_all(&self.registry, &told).await?;
        complete(report.stopped.is_none() && report.pins.is_empty(), &report)?;
        Ok(has_stayed.into_inner())
    }

    async fn repair(&self) -> Result<(), StepError> {
        let mut failed = Vec::new();
        let mut told = |event: VerifyEvent<'_>| {
            if let VerifyEvent::Finding(finding) = event
                && (finding.kind == FindingKind::Unreadable
                    || matches!(finding.repaired, Repaired::Failed(_)))
            {
                failed.push(finding.to_string());
            }
        };
        let options = VerifyOptions::new().repair(true);
        let report = self.registry.verify(options, &mut told).await?;
        complete(failed.is_empty() && !report.stopped, &failed)?;
        // Only what has to be pushed again is left.
        let first = Name::First.image();
        let mut left = Vec::new();
        let mut told = |event: VerifyEvent<'_>| {
            if let VerifyEvent::Finding(finding) = event {
                left.push(finding.clone());
            }
        };
        self.registry.verify(VerifyOptions::new(), &mut told).await?;
        left.retain(|finding| {
            let lost = [content::digest_of(&first.blobs[0]), first.digest];
            !finding.digest.is_some_and(|digest| lost.contains(&digest))
        });
        complete(left.is_empty(), &left)?;
        found(report.repaired > 0, "damage")
    }

    async fn retain(&self, later: SystemTime) -> Result<(), StepError> {
        let everywhere = RepositoryPattern::parse("steps/*").unwrap();
        let old = TagPattern::parse("old*").unwrap();
        let rules = Rules::new([Rule::new([everywhere], Keep::Younger(DAY)).tags([old])]);
        let retain = Retain::new(&rules, Some(later)).force(true);
        let retained = self.registry.retain(&retain).await?;
        let is_whole = retained.left == 0 && retained.all_failures().next().is_none();
        complete(is_whole, &retained)?;
        found(retained.tags > 0, "an old tag")
    }

    fn lengthen_history(&self, name: &Tag) {
        let repository = RepositoryName::parse(STEPS).unwrap();
        let path = self.storage.store().layout.history(&repository, name);
        fs::write(path, "\n".repeat(128 << 10)).unwrap();
    }

    fn damage(&self) {
        let layout = &self.storage.store().layout;
        let repository = RepositoryName::parse(STEPS).unwrap();
        let link_of = |name: Name| layout.layer(&repository, &content::digest_of(&name.image().blobs[0]));
        let first = content::digest_of(&Name::First.image().blobs[0]);
        fs::write(layout.blob(&first), super::DAMAGED).unwrap();
        fs::write(link_of(Name::Second), "").unwrap();
        fs::write(layout.revision(&repository, &Name::Typed.image().digest), "").unwrap();
        fs::remove_dir_all(link_of(Name::Child).parent().unwrap()).unwrap();
    }
}

/// Pushes an image with all its blobs.
pub(super) async fn push(
    repository: &Repository,
    name: Name,
    tagged: Option<&'static str>,
) -> Result<(), Error> {
    let image = name.image();
    let reference = tagged.map_or_else(|| image.digest.into(), |name| tag(name).into());
    for blob in &image.blobs {
        repository.push_blob(blob.clone(), None).await?;
    }
    repository.put_manifest(put(&image, reference)).await?;
    Ok(())
}

fn put(image: &Image, reference: Reference) -> ManifestPush {
    let mut push = ManifestPush::new(reference, image.document.clone());
    push.media_type.clone_from(&image.media_type);
    push
}

/// Pushes what the registry lacks, and begins again if something is missing.
async fn push_as_clients_do(repository: &Repository, image: &Image, reference: Reference, round: usize) {
    let steps = RepositoryName::parse(STEPS).unwrap();
    for _ in 0..4 {
        for blob in &image.blobs {
            let digest = content::digest_of(blob);
            let is_there = repository.blob(&digest).await.unwrap().is_some()
                || round.is_multiple_of(2)
                    && repository.mount(&digest, Some(&steps)).await.unwrap().is_some();
            if !is_there {
                repository.push_blob(blob.clone(), None).await.unwrap();
            }
        }
        match repository.put_manifest(put(image, reference.clone())).await {
            Ok(_) => return,
            Err(Error::MissingReferences(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("two collections have prevented four tries");
}

async fn look(repository: &Repository) -> Result<(), StepError> {
    let subject = Name::First.image().digest;
    let referrers = repository
        .referrers(&subject, None, &PageQuery::default())
        .await?;
    found(referrers.items.len() == 1, "the referrer")?;
    let index = repository.manifest(Name::Index.image().digest).await?;
    found(index.is_some(), "the index")?;
    let shared = content::digest_of(&content::shared());
    found(repository.blob(&shared).await?.is_some(), "the shared blob")?;
    let read = repository.read_blob(&shared, 100).await?;
    found(read == Some(content::shared()), "the bytes of the shared blob")
}
