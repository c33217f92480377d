//! A storage that is nearly full: when collections are due, and when records of deletions expire early.

use super::*;
use registry_core::{
    RepositoryName, forward_storage,
    maintenance::{CollectSchedule, Collections, MemoryNotes, Notes, Upkeep},
    storage::{
        Document, Listing, Result, Space, StorageCollect, StorageExpire, StorageHealth, StorageInspect,
        StorageTrash, StorageWrite, TrashId, Trashed,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::{Instant, timeout};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Number of free bytes below which there is pressure.
const BELOW: u64 = 100;

/// Step of the upkeep, with the number of hours since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Collected(u64),
    Shrunk(u64),
}

/// Steps of the upkeep, and the clock of the host: that of the runtime, which advances while all wait.
#[derive(Debug)]
struct Host {
    start: Instant,
    steps: Mutex<Vec<Step>>,
}

/// Time at which the upkeep starts.
fn opened() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

impl Host {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            steps: Mutex::default(),
        })
    }

    /// Adds a step. Records that are forgotten one after the other are one step.
    fn add(&self, step: fn(u64) -> Step) {
        let step = step(self.start.elapsed().as_secs() / HOUR.as_secs());
        let mut steps = self.steps.lock().unwrap();
        if !(matches!(step, Step::Shrunk(_)) && steps.last() == Some(&step)) {
            steps.push(step);
        }
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }
}

#[async_trait]
impl Clock for Host {
    fn now(&self) -> SystemTime {
        opened() + self.start.elapsed()
    }

    fn since_boot(&self) -> Option<Duration> {
        Some(DAY + self.start.elapsed())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A storage with little space, and with records of deletions of any age.
#[derive(Debug)]
struct Tight {
    memory: MemoryStorage,
    host: Arc<Host>,
    free: Arc<AtomicU64>,
    is_own: Arc<AtomicBool>,
    records: Mutex<BTreeMap<TrashId, Trashed>>,
}

impl Tight {
    /// Describes a storage with records of these ages, in days.
    fn new(host: &Arc<Host>, days: impl IntoIterator<Item = u32>) -> Self {
        let digest = Digest::of(registry_core::Algorithm::Sha256, b"deleted");
        let ids = days.into_iter().map(|days| TrashId::at(opened() - days * DAY));
        let records = ids.map(|id| (id, Trashed::manifest(id, digest, Vec::new())));
        Self {
            memory: MemoryStorage::new(),
            host: Arc::clone(host),
            free: Arc::default(),
            is_own: Arc::new(true.into()),
            records: Mutex::new(records.collect()),
        }
    }
}

impl Storage for Tight {
    forward_storage! { Storage: self => &self.memory }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.memory.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.memory.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        Some(self)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
impl StorageCollect for Tight {
    forward_storage! { StorageCollect: self => self.memory.collect(); except is_own }

    fn is_own(&self) -> bool {
        self.is_own.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl StorageHealth for Tight {
    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(Some(Space::new(self.free.load(Ordering::Relaxed), 1000)))
    }

    async fn accepts_uploads(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl StorageTrash for Tight {
    forward_storage! {
        StorageTrash: self => self.memory.trash();
        except with_deleted, deleted, deleted_document, forget
    }

    async fn with_deleted(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let name = RepositoryName::parse("a").unwrap();
        let is_there = page.after.is_none() && !self.records.lock().unwrap().is_empty();
        Ok(Listing::first(page.limit, is_there.then_some(Seen::Whole(name))))
    }

    async fn deleted(
        &self,
        _: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        let records = self.records.lock().unwrap();
        let records = records.iter().filter(|(id, _)| Some(*id) > page.after);
        let records = records.map(|(_, record)| Seen::Whole(record.clone()));
        Ok(Listing::first(page.limit, records))
    }

    async fn deleted_document(&self, _: &RepositoryName, _: &TrashId) -> Result<Document> {
        Ok(Document::Lost)
    }

    async fn forget(&self, _: &RepositoryName, id: &TrashId) -> Result<bool> {
        self.host.add(Step::Shrunk);
        Ok(self.records.lock().unwrap().remove(id).is_some())
    }
}

fn schedule() -> CollectSchedule {
    CollectSchedule::new(30 * DAY).options(
        CollectOptions::automatic()
            .grace(Duration::ZERO)
            .uploading(Duration::ZERO),
    )
}

/// Returns the upkeep of a host that has run before.
async fn upkeep(registry: &Registry, host: &Arc<Host>) -> Upkeep {
    let notes = MemoryNotes::default();
    let seen = opened().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let note = json!({ "seen": seen }).to_string();
    notes.set_note("clock", note.into()).await.unwrap();
    let told = Arc::clone(host);
    registry
        .upkeep()
        .notes(Arc::new(notes))
        .trash(Some(30 * DAY))
        .shrinking_trash(Some(BELOW))
        .on_collected(move |_| told.add(Step::Collected))
}

/// Runs an upkeep for some time.
async fn run_for(time: Duration, upkeep: &Upkeep, host: &Host) {
    timeout(time, upkeep.run(host)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn the_trash_shrinks_by_one_step_for_each_collection() {
    let host = Host::start();
    let registry = Registry::builder(Tight::new(&host, 1..=9)).build();
    let upkeep = upkeep(&registry, &host).await;
    let upkeep = upkeep.collect(Some(schedule()), Collections::default());

    run_for(10 * HOUR, &upkeep, &host).await;

    let shrunk = |hour| [Step::Shrunk(hour), Step::Collected(hour)];
    let mut expected = vec![Step::Collected(0)];
    // 9 and 8 days, then 7 and 6, and then one day at a time.
    expected.extend((1..=6).flat_map(shrunk));
    assert_eq!(host.steps(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_trash_does_not_shrink_while_no_collection_can_free_what_it_keeps() {
    let none: fn() -> Option<CollectSchedule> = || None;
    let dry_run = || Some(schedule().options(CollectOptions::automatic().dry_run(true)));
    for (schedule, is_own, is_paused, runs) in [
        (none, true, false, 0),
        (dry_run, true, false, 1),
        (|| Some(schedule()), false, false, 1),
        (|| Some(schedule()), true, true, 0),
    ] {
        let host = Host::start();
        let storage = Tight {
            is_own: Arc::new(is_own.into()),
            ..Tight::new(&host, [9])
        };
        let registry = Registry::builder(storage).build();
        let collections = Collections::default();
        let paused = match is_paused {
            true => Some(collections.pause().await),
            false => None,
        };
        let upkeep = upkeep(&registry, &host).await.collect(schedule(), collections);

        run_for(DAY, &upkeep, &host).await;

        drop(paused);
        assert_eq!(
            host.steps(),
            vec![Step::Collected(0); runs],
            "{is_own} {is_paused}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pressure_makes_one_collection_due() {
    let host = Host::start();
    let storage = Tight::new(&host, []);
    let free = Arc::clone(&storage.free);
    free.store(BELOW, Ordering::Relaxed);
    let registry = Registry::builder(storage).build();
    let upkeep = upkeep(&registry, &host).await;
    let upkeep = upkeep.collect(Some(schedule()), Collections::default());
    let full = async {
        for (hours, free_bytes) in [(10, BELOW - 1), (20, BELOW), (30, 0)] {
            tokio::time::sleep_until(host.start + hours * HOUR).await;
            free.store(free_bytes, Ordering::Relaxed);
        }
        std::future::pending().await
    };

    tokio::select! {
        () = run_for(2 * DAY, &upkeep, &host) => {}
        () = full => {}
    }

    let expected = [0, 10, 30].map(Step::Collected);
    assert_eq!(host.steps(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_trash_does_not_shrink_while_content_is_free_later() {
    let host = Host::start();
    let storage = Tight::new(&host, 2..=9);
    let memory = storage.memory.clone();
    let registry = Registry::builder(storage).build();
    registry
        .repository("a")
        .unwrap()
        .push_blob("blob", None)
        .await
        .unwrap();
    let upkeep = upkeep(&registry, &host).await;
    // The time of the storage stands still, so that the blob is never old enough.
    let options = CollectOptions::automatic().grace(3 * HOUR);
    let upkeep = upkeep.collect(Some(schedule().options(options)), Collections::default());

    run_for(4 * HOUR + HOUR / 2, &upkeep, &host).await;

    // A second collection has looked when the blob should have been old enough.
    let (collected, shrunk) = (Step::Collected, Step::Shrunk);
    assert_eq!(
        host.steps(),
        [collected(0), collected(3), shrunk(4), collected(4)]
    );
    assert_eq!(memory.blobs(Page::first(1)).await.unwrap().items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_trash_does_not_shrink_before_content_is_free_that_the_first_collection_has_left() {
    let host = Host::start();
    let registry = Registry::builder(Tight::new(&host, 2..=9)).build();
    let repository = registry.repository("a").unwrap();
    repository.push_blob("blob", None).await.unwrap();
    let upkeep = upkeep(&registry, &host).await;
    // The time of the storage stands still, so that the blob is never old enough.
    let options = CollectOptions::automatic().grace(3 * DAY);
    let daily = CollectSchedule::new(DAY).options(options);
    let upkeep = upkeep.collect(Some(daily), Collections::default());

    run_for(3 * DAY + HOUR + HOUR / 2, &upkeep, &host).await;

    let mut expected: Vec<Step> = [0, 24, 48, 72].map(Step::Collected).to_vec();
    expected.extend([Step::Shrunk(73), Step::Collected(73)]);
    assert_eq!(host.steps(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_pressure_makes_a_collection_due_after_a_dry_run() {
    let host = Host::start();
    let storage = Tight::new(&host, []);
    let is_own = Arc::clone(&storage.is_own);
    is_own.store(false, Ordering::Relaxed);
    let registry = Registry::builder(storage).build();
    let upkeep = upkeep(&registry, &host).await;
    let upkeep = upkeep.collect(Some(schedule()), Collections::default());
    let asked = async {
        tokio::time::sleep_until(host.start + 10 * HOUR).await;
        is_own.store(true, Ordering::Relaxed);
        std::future::pending().await
    };

    tokio::select! {
        () = run_for(DAY, &upkeep, &host) => {}
        () = asked => {}
    }

    assert_eq!(host.steps(), [0, 10].map(Step::Collected));
}
