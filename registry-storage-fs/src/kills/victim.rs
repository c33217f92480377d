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
    Algorithm, Error, Reference, Registry, RepositoryName, Tag, UploadId,
    maintenance::{
        VerifyOptions, expire_histories, expire_trash,
        retention::{Keep, RepositoryPattern, Retain, Rule, Rules, TagPattern},
    },
    protocol::PageQuery,
    service::{ManifestPush, Repository, Restore},
    storage::{Deletion, Page, StorageRepair},
};
use rustix::process::{Signal, getpid, kill_process};
use std::{
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

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the repository of a client.
pub(super) fn repository_of(worker: usize) -> String {
    format!("load/{worker}")
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
        let storage = FsStorage::open(root).unwrap();
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
            self.step(step, &mut upload).await;
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

    async fn step(&self, step: Step, upload: &mut Option<UploadId>) {
        let repository = self.registry.repository(STEPS).unwrap();
        let later = SystemTime::now() + 2 * DAY;
        match step {
            Step::Push(name, tagged) => push(&repository, name, tagged).await,
            Step::PushStray => {
                repository.push_blob(content::stray(), None).await.unwrap();
            }
            Step::DeleteStray => {
                let digest = content::digest_of(&content::stray());
                assert!(repository.delete_blob(&digest).await.unwrap());
            }
            Step::Mount => {
                let digest = content::digest_of(&content::stray());
                let target = self.registry.repository(MOUNTED).unwrap();
                let from = RepositoryName::parse(STEPS).unwrap();
                assert!(target.mount(&digest, Some(&from)).await.unwrap().is_some());
            }
            Step::Look => look(&repository).await,
            Step::OpenUpload => {
                let id = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
                repository.append(&id, None, content::stray()).await.unwrap();
                self.journal.write(Entry::Upload(id));
                *upload = Some(id);
            }
            Step::CancelUpload => {
                assert!(repository.cancel(&upload.take().unwrap()).await.unwrap());
            }
            Step::DeleteTag(name) => {
                let name = tag(name);
                let target = repository.manifest(name.clone()).await.unwrap().unwrap();
                let deleted = repository.delete_tag_at(&name, target.digest, Deletion::new());
                assert!(deleted.await.unwrap());
            }
            Step::DeleteManifest(name) => {
                assert!(repository.delete_manifest(name.image().digest).await.unwrap());
            }
            Step::Restore(name, names) => {
                let restored = repository.restore(Restore::new(tag(name))).await.unwrap();
                assert_eq!(restored.digest, names[0].image().digest);
            }
            Step::LengthenHistory(name) => self.lengthen_history(&tag(name)),
            Step::ExpireHistories => {
                let expired = expire_histories(&self.storage, later).await.unwrap();
                assert!(expired.expired > 0 && expired.failed == 0, "{expired:?}");
            }
            Step::ExpireTrash => {
                let expired = expire_trash(&self.storage, later).await.unwrap();
                assert!(expired.expired > 0 && expired.failed == 0, "{expired:?}");
            }
            Step::Collect => {
                let report = collect_all(&self.registry, &|_| {}).await.unwrap();
                assert!(report.stopped.is_none(), "{report:?}");
            }
            Step::Damage => self.damage(),
            Step::Repair => {
                let options = VerifyOptions::new().repair(true);
                let report = self.registry.verify(options, &mut |_| {}).await.unwrap();
                assert!(report.repaired >= 4, "{report:?}");
            }
            Step::RemoveQuarantined => {
                let items = StorageRepair::quarantined(&self.storage, Page::first(10)).await;
                let items = items.unwrap().items;
                assert_eq!(items.len(), 1);
                for item in items {
                    assert!(self.storage.remove_quarantined(&item.id).await.unwrap());
                }
            }
            Step::Retain => self.retain(later).await,
        }
    }

    async fn retain(&self, later: SystemTime) {
        let everywhere = RepositoryPattern::parse("steps/*").unwrap();
        let old = TagPattern::parse("old*").unwrap();
        let rules = Rules::new([Rule::new([everywhere], Keep::Younger(DAY)).tags([old])]);
        let retain = Retain::new(&rules, Some(later)).force(true);
        let retained = self.registry.retain(&retain).await.unwrap();
        assert_eq!((retained.tags, retained.manifests), (2, 1), "{retained:?}");
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
pub(super) async fn push(repository: &Repository, name: Name, tagged: Option<&'static str>) {
    let image = name.image();
    let reference = tagged.map_or_else(|| image.digest.into(), |name| tag(name).into());
    for blob in &image.blobs {
        repository.push_blob(blob.clone(), None).await.unwrap();
    }
    repository.put_manifest(put(&image, reference)).await.unwrap();
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

async fn look(repository: &Repository) {
    let subject = Name::First.image().digest;
    let found = repository.referrers(&subject, None, &PageQuery::default()).await;
    assert_eq!(found.unwrap().items.len(), 1);
    let found = repository.manifest(Name::Index.image().digest).await.unwrap();
    assert!(found.is_some());
    let shared = content::digest_of(&content::shared());
    assert!(repository.blob(&shared).await.unwrap().is_some());
    let read = repository.read_blob(&shared, 100).await;
    assert_eq!(read.unwrap(), Some(content::shared()));
}
