use super::{
    FindingKind, Remedy, Repaired, VerifyEvent, VerifyOptions, VerifySchedule, VerifyStatus,
    affected::References, verify,
};
use crate::{
    Algorithm, Digest, MediaType, Registry, RepositoryName, Storage, StorageWrite, Tag, UploadId,
    forward_storage,
    maintenance::Clock,
    service::ManifestPush,
    storage::{
        Checked, Evidence, Fault, FaultKind, HeldManifest, Listing, LostTag, MemoryStorage, Page, Record,
        Result, Seen, StorageCollect, StorageError, StorageExpire, StorageHealth, StorageInspect,
        StorageRepair, StorageTrash, UploadState,
    },
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Clock that advances while somebody sleeps, up to an end.
#[derive(Debug)]
struct Advancing {
    now: Mutex<SystemTime>,
    end: SystemTime,
    ended: Notify,
}

impl Advancing {
    fn until(start: SystemTime, length: Duration) -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(start),
            end: start + length,
            ended: Notify::new(),
        })
    }
}

#[async_trait]
impl Clock for Advancing {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        let later = self.now() + duration;
        if later > self.end {
            self.ended.notify_one();
            std::future::pending::<()>().await;
        }
        *self.now.lock().unwrap() = later;
        // The other work of the upkeep has its turn.
        tokio::task::yield_now().await;
    }
}

/// A storage in memory that records when content is checked, and of which some is corrupt.
#[derive(Debug)]
struct Watched {
    memory: MemoryStorage,
    clock: Mutex<Arc<Advancing>>,
    checked: Mutex<HashMap<Digest, Vec<SystemTime>>>,
    corrupt: Option<Digest>,
}

impl Storage for Watched {
    forward_storage! { Storage: self => &self.memory }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.memory.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.memory.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        None
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        None
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        None
    }
}

#[async_trait]
impl StorageRepair for Watched {
    forward_storage! { StorageRepair: self => self.memory.repair(); except check }

    async fn check(&self, digest: &Digest) -> Result<Checked> {
        let now = self.clock.lock().unwrap().now();
        self.checked.lock().unwrap().entry(*digest).or_default().push(now);
        if self.corrupt == Some(*digest) {
            let evidence = Evidence::new(*digest, "a place", "3600 bytes with another digest", "");
            return Ok(Checked::Corrupt(evidence));
        }
        self.memory.check(digest).await
    }
}

/// Midnight of some day.
fn midnight() -> SystemTime {
    UNIX_EPOCH + 20_000 * DAY
}

/// Makes a storage with ten blobs that take an hour each at one byte in a second.
async fn watched() -> Watched {
    let memory = MemoryStorage::new();
    let registry = Registry::builder(memory.clone()).build();
    for number in 0..10 {
        let content = format!("{number:03600}");
        registry
            .repository("a")
            .unwrap()
            .push_blob(content, None)
            .await
            .unwrap();
    }
    Watched {
        memory,
        clock: Mutex::new(Advancing::until(midnight(), Duration::ZERO)),
        checked: Mutex::default(),
        corrupt: None,
    }
}

/// Runs the schedule for some time. Returns the time at the end.
async fn run(
    storage: &Arc<Watched>,
    status: &VerifyStatus,
    start: SystemTime,
    length: Duration,
) -> SystemTime {
    let schedule = VerifySchedule::new(30 * DAY)
        .window(Some("01:00-05:00".parse().unwrap()))
        .rate(1);
    let clock = Advancing::until(start, length);
    *storage.clock.lock().unwrap() = Arc::clone(&clock);
    let registry = Registry::builder(Arc::clone(storage) as Arc<dyn Storage>).build();
    let upkeep = registry
        .upkeep()
        .uploads(None)
        .verify(Some(schedule), status.clone());
    tokio::select! {
        never = upkeep.run(&*clock) => match never {},
        () = clock.ended.notified() => {}
    }
    clock.now()
}

fn counts(storage: &Watched) -> Vec<usize> {
    storage.checked.lock().unwrap().values().map(Vec::len).collect()
}

#[tokio::test]
async fn all_content_is_read_once_in_each_interval_and_only_in_the_window() {
    let storage = Arc::new(watched().await);
    let status = VerifyStatus::default();

    run(&storage, &status, midnight(), 29 * DAY).await;

    assert_eq!(counts(&storage), [1; 10]);
    for time in storage.checked.lock().unwrap().values().flatten() {
        let of_day = time.duration_since(midnight()).unwrap().as_secs() % DAY.as_secs();
        assert!((HOUR.as_secs()..5 * HOUR.as_secs()).contains(&of_day), "{of_day}");
    }
    let first = status.last().unwrap();
    assert_eq!(first.wrong, 0);
    assert!(first.ended < 20_005 * DAY.as_secs(), "{first:?}");

    run(&storage, &status, midnight() + 29 * DAY, 29 * DAY).await;

    assert_eq!(counts(&storage), [2; 10]);
    assert!(status.last().unwrap().begun >= first.begun + 30 * DAY.as_secs());
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_process_stopped() {
    let storage = Arc::new(watched().await);
    let mut start = midnight();

    // Each process ends in the middle of a window.
    for _ in 0..4 {
        let status = VerifyStatus::default();
        run(&storage, &status, start, 27 * HOUR).await;
        start += DAY;
    }

    let counts = counts(&storage);
    assert_eq!(counts.len(), 10);
    // The progress is saved at the end of a window, and is a hint otherwise.
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
    let later = VerifyStatus::default();
    run(&storage, &later, start, HOUR / 2).await;
    assert!(later.last().is_some(), "known from before");
}

/// Lines of a log.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn damage_is_counted_and_nothing_is_repaired() {
    let mut storage = watched().await;
    let damaged = Digest::of(Algorithm::Sha256, format!("{:03600}", 7).as_bytes());
    storage.corrupt = Some(damaged);
    let registry = Registry::builder(storage.memory.clone()).build();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/octet-stream","digest":"{damaged}","size":3600}},"layers":[]}}"#
    );
    let mut push = ManifestPush::new(Tag::parse("v7").unwrap(), manifest);
    push.media_type = Some(MediaType::parse(MediaType::OCI_MANIFEST).unwrap());
    registry
        .repository("a")
        .unwrap()
        .put_manifest(push)
        .await
        .unwrap();
    let storage = Arc::new(storage);
    let status = VerifyStatus::default();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    // With a single one, `tracing` remembers if another test's thread has logged an event.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _logging = tracing::subscriber::set_default(subscriber.finish());

    run(&storage, &status, midnight(), 20 * DAY).await;

    assert_eq!(status.last().unwrap().wrong, 1);
    let log = log.text();
    assert!(log.contains("affected: a:v7"), "{log}");
    let name = RepositoryName::parse("a").unwrap();
    assert!(storage.blob(&name, &damaged).await.unwrap().is_some());
}

#[tokio::test]
async fn a_registry_without_a_schedule_reads_nothing() {
    let storage = Arc::new(watched().await);
    let clock = Advancing::until(midnight(), 60 * DAY);
    let registry = Registry::builder(Arc::clone(&storage) as Arc<dyn Storage>).build();

    tokio::select! {
        never = async { registry.upkeep().run(&*clock).await } => match never {},
        () = clock.ended.notified() => {}
    }

    assert!(counts(&storage).is_empty());
}

/// A storage in memory that has lost its manifests, but not its tags.
#[derive(Debug)]
struct Lossy(MemoryStorage);

impl Storage for Lossy {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.0.trash()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }
}

#[async_trait]
impl StorageInspect for Lossy {
    forward_storage! { StorageInspect: self => self.0.inspect(); except manifests }

    async fn manifests(
        &self,
        _: &RepositoryName,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        Ok(Listing::default())
    }
}

#[async_trait]
impl StorageRepair for Lossy {
    forward_storage! { StorageRepair: self => self.0.repair(); except fault }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        match record {
            Record::Manifest(_) => {
                let missing = Fault::new(record.clone(), FaultKind::Missing, "a place", "there is none");
                Ok(Some(missing))
            }
            record => self.0.fault(repository, record).await,
        }
    }
}

#[tokio::test]
async fn a_tag_that_points_nowhere_is_deleted_if_that_can_be_undone() {
    let memory = MemoryStorage::new();
    let registry = Registry::builder(memory.clone()).build();
    let repository = registry.repository("a").unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        MediaType::OCI_INDEX
    );
    for tag in ["v1", "v2"] {
        let push = ManifestPush::new(Tag::parse(tag).unwrap(), index.clone());
        repository.put_manifest(push).await.unwrap();
    }
    let storage = Lossy(memory.clone());
    let run = async |options| {
        let mut found = Vec::new();
        verify(&storage, options, &mut |event| {
            if let VerifyEvent::Finding(finding) = event {
                let tags = finding.affected.tags.clone();
                found.push((finding.kind, finding.remedy, finding.repaired.clone(), tags));
            }
        })
        .await
        .unwrap();
        found
    };
    let expected = |repaired: Repaired| {
        ["a:v1", "a:v2"].map(|tag| {
            let tags = vec![tag.to_owned()];
            (
                FindingKind::DanglingTag,
                Remedy::DeleteTag,
                repaired.clone(),
                tags,
            )
        })
    };

    assert_eq!(run(VerifyOptions::new()).await, expected(Repaired::NotTried));
    assert_eq!(
        run(VerifyOptions::new().repair(true)).await,
        expected(Repaired::Done)
    );

    assert_eq!(run(VerifyOptions::new()).await, []);
    let name = repository.name();
    let deleted = memory
        .trash()
        .unwrap()
        .deleted(name, Page::first(10))
        .await
        .unwrap();
    assert_eq!(deleted.items.len(), 2);
}

/// A storage in memory that cannot list the histories of tags.
#[derive(Debug)]
struct Forgetful(MemoryStorage);

impl Storage for Forgetful {
    forward_storage! { Storage: self => &self.0 }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.0.repair()
    }
}

#[async_trait]
impl StorageTrash for Forgetful {
    forward_storage! { StorageTrash: self => self.0.trash(); except lost_tags }

    async fn lost_tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Listing<Seen<LostTag, Tag>>> {
        Err(StorageError::internal("cannot list the directory"))
    }
}

#[tokio::test]
async fn a_repository_is_verified_although_its_histories_cannot_be_listed() {
    let memory = MemoryStorage::new();
    let registry = Registry::builder(memory.clone()).build();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        MediaType::OCI_INDEX
    );
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), index);
    registry
        .repository("a")
        .unwrap()
        .put_manifest(push)
        .await
        .unwrap();
    let mut found = Vec::new();

    let report = verify(&Forgetful(memory), VerifyOptions::new(), &mut |event| {
        if let VerifyEvent::Finding(finding) = event {
            found.push((finding.kind, finding.place.clone()));
        }
    })
    .await
    .unwrap();

    let place = "a: the histories of its tags".to_owned();
    assert_eq!(found, [(FindingKind::Unreadable, place)]);
    assert_eq!((report.manifests, report.tags, report.wrong), (1, 1, 1));
}

/// A storage that does not work at times.
#[derive(Debug)]
struct Flaky {
    below: Arc<dyn Storage>,
    /// Number of the next looks at the end of a repository that fail.
    failures: AtomicUsize,
    /// True if everything fails while these do.
    is_whole: bool,
}

fn outage<T>() -> Result<T> {
    Err(StorageError::unavailable("the store does not answer", None, None))
}

impl Storage for Flaky {
    forward_storage! { Storage: self => &*self.below }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.below.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.below.trash()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.below.repair()
    }
}

#[async_trait]
impl StorageInspect for Flaky {
    forward_storage! { StorageInspect: self => self.below.inspect(); except all_repositories, uploads }

    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        match page.limit == 1 && self.is_whole && self.failures.load(Ordering::SeqCst) > 0 {
            true => outage(),
            false => self.below.inspect().unwrap().all_repositories(page).await,
        }
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let failed = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match failed {
            Ok(_) => outage(),
            Err(_) => self.below.inspect().unwrap().uploads(repository, page).await,
        }
    }
}

/// Verifies a storage that fails for so many times. Returns the numbers of repositories, tags and things that are wrong, and
/// the findings.
async fn verify_flaky(
    below: Arc<dyn Storage>,
    failures: usize,
    is_whole: bool,
    options: VerifyOptions<'_>,
) -> (Result<(u64, u64, u64)>, Vec<(FindingKind, String, Repaired)>) {
    let storage = Flaky {
        below,
        failures: AtomicUsize::new(failures),
        is_whole,
    };
    let mut found = Vec::new();
    let report = verify(&storage, options, &mut |event| {
        if let VerifyEvent::Finding(finding) = event {
            found.push((finding.kind, finding.place.clone(), finding.repaired.clone()));
        }
    })
    .await;
    (
        report.map(|report| (report.repositories, report.tags, report.wrong)),
        found,
    )
}

/// Returns a storage with two repositories, each with a tag.
async fn two_tags() -> MemoryStorage {
    let memory = MemoryStorage::new();
    let registry = Registry::builder(memory.clone()).build();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        MediaType::OCI_INDEX
    );
    for name in ["a", "b"] {
        let push = ManifestPush::new(Tag::parse("v1").unwrap(), index.clone());
        let repository = registry.repository(name).unwrap();
        repository.put_manifest(push).await.unwrap();
    }
    memory
}

#[tokio::test]
async fn an_outage_is_no_damage() {
    let memory = Arc::new(two_tags().await);
    let verified = async |failures, is_whole| {
        let below = Arc::clone(&memory) as Arc<dyn Storage>;
        verify_flaky(below, failures, is_whole, VerifyOptions::new()).await
    };

    for failures in [0, 1, 2] {
        let (report, found) = verified(failures, false).await;
        assert_eq!((report.unwrap(), found), ((2, 2, 0), Vec::new()), "{failures}");
    }
    // The rest of the storage works.
    let (report, found) = verified(3, false).await;
    assert_eq!(report.unwrap(), (2, 2, 1));
    let unreadable = (FindingKind::Unreadable, "a".to_owned(), Repaired::NotTried);
    assert_eq!(found, [unreadable]);
    for failures in [2, 3, 10] {
        let (report, found) = verified(failures, true).await;
        assert!(
            matches!(report, Err(StorageError::Unavailable { .. })),
            "{report:?}"
        );
        assert_eq!(found, []);
    }
}

#[tokio::test]
async fn repairs_before_an_outage_are_reported() {
    for (failures, is_whole, tags) in [(0, false, 2), (1, false, 1), (2, true, 2)] {
        let below = Arc::new(Lossy(two_tags().await));
        let options = VerifyOptions::new().repair(true);

        let (report, found) = verify_flaky(below, failures, is_whole, options).await;

        let repaired = |name: &str| {
            let place = format!("{name}:v1");
            (FindingKind::DanglingTag, place, Repaired::Done)
        };
        match report {
            // The tag is gone when the repository is read again.
            Ok(report) => {
                assert_eq!(
                    (report, found),
                    ((2, tags, 2), vec![repaired("a"), repaired("b")])
                );
            }
            Err(_) => assert_eq!((is_whole, found), (true, vec![repaired("a")])),
        }
    }
}

#[test]
fn damage_spreads_to_everything_above_it_once() {
    let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
    let [top, left, right, other] = ["top", "left", "right", "other"].map(digest);
    let blob = Record::Blob(digest("blob"));
    let mut references = References::default();
    references.contain(top, left);
    references.contain(top, right);
    references.contain(other, other);
    references.need(left, blob.clone());
    references.need(right, blob.clone());
    references.damage(Record::Manifest(right));

    let affected = references.spread();

    assert_eq!(affected.len(), 3);
    assert_eq!(affected[&left], std::slice::from_ref(&blob));
    assert_eq!(affected[&right].len(), 2);
    assert_eq!(affected[&top], [blob, Record::Manifest(right)]);
}
