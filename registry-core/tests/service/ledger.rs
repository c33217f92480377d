//! Tests of the count of open upload sessions, with a storage that is interrupted in the middle of a call.

use async_trait::async_trait;
use registry_core::{
    Algorithm, Error, Limits, Registry, RepositoryName, Storage, StorageWrite, UploadId, UploadLedger,
    forward_storage,
    maintenance::reconcile_uploads,
    storage::{
        Listing, MemoryStorage, NewUpload, Page, Result, Seen, StorageCollect, StorageError, StorageExpire,
        StorageHealth, StorageInspect, StorageRepair, StorageTrash, UploadState,
    },
};
use std::{
    fmt,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

type Step = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Storage that runs a step of a test when it has done a call, before it returns.
#[derive(Default)]
struct Interrupted {
    memory: MemoryStorage,
    is_inspected: bool,
    /// True if no session can be opened.
    is_full: AtomicBool,
    /// After a session was opened.
    opened: Mutex<Option<Step>>,
    /// After the sessions of a repository were listed.
    listed: Mutex<Option<Step>>,
    /// Repository whose sessions cannot be listed.
    unreadable: Mutex<Option<RepositoryName>>,
}

impl Interrupted {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            is_inspected: true,
            ..Self::default()
        })
    }
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupted")
    }
}

async fn run(step: &Mutex<Option<Step>>) {
    let step = step.lock().unwrap().take();
    if let Some(step) = step {
        step.await;
    }
}

fn then(place: &Mutex<Option<Step>>, step: impl Future<Output = ()> + Send + 'static) {
    *place.lock().unwrap() = Some(Box::pin(step));
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Interrupted {
    forward_storage! { Storage: self => &self.memory }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.is_inspected.then_some(self as &dyn StorageInspect)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        None
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.memory.repair()
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.memory.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.memory.trash()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for Interrupted {
    forward_storage! { StorageWrite: self => self.memory.write(); except open_upload }

    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StorageError::internal("no session can be opened"));
        }
        let opened = self.memory.open_upload(repository, new).await;
        run(&self.opened).await;
        opened
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageInspect for Interrupted {
    forward_storage! { StorageInspect: self => self.memory.inspect(); except uploads }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        if self.unreadable.lock().unwrap().as_ref() == Some(repository) {
            return Err(StorageError::internal("it cannot be listed"));
        }
        let listed = self.memory.inspect().unwrap().uploads(repository, page).await;
        run(&self.listed).await;
        listed
    }
}

/// Builds a registry that allows this number of open sessions.
fn registry(storage: &Arc<Interrupted>, uploads: usize) -> Registry {
    let mut limits = Limits::default();
    limits.uploads = uploads;
    Registry::builder(Arc::clone(storage)).limits(limits).build()
}

async fn open(registry: &Registry, name: &str) -> Result<UploadId, Error> {
    let repository = registry.repository(name).unwrap();
    let opened = repository.open_upload(Algorithm::Sha256).await?;
    Ok(opened.id)
}

async fn cancel(registry: &Registry, name: &str, id: &UploadId) {
    let repository = registry.repository(name).unwrap();
    assert!(repository.cancel(id).await.unwrap());
}

/// Opens a session in the storage, as another process does.
async fn open_elsewhere(storage: &Interrupted, name: &str) -> UploadId {
    let repository = RepositoryName::parse(name).unwrap();
    let new = NewUpload::hashed_by(Algorithm::Sha256);
    storage.memory.open_upload(&repository, new).await.unwrap().id
}

fn count(registry: &Registry) -> usize {
    registry.upload_ledger().open_uploads()
}

async fn reconcile(storage: &Arc<Interrupted>, registry: &Registry) {
    reconcile_uploads(storage, registry.upload_ledger())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_that_the_storage_cannot_open_keeps_no_seat() {
    let storage = Interrupted::new();
    storage.is_full.store(true, Ordering::Relaxed);
    let registry = registry(&storage, 1);

    assert!(matches!(open(&registry, "a").await, Err(Error::Storage(_))));

    assert_eq!(count(&registry), 0);
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_opens_a_session_keeps_no_seat() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 1);
    then(&storage.opened, pending());
    {
        let mut opening = pin!(open(&registry, "a"));
        poll_fn(|context| {
            assert!(opening.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(count(&registry), 1);
        assert!(matches!(
            open(&registry, "b").await,
            Err(Error::TooManyUploads { limit: 1, .. })
        ));
    }
    assert_eq!(count(&registry), 0);

    // The storage has opened the session nevertheless.
    reconcile(&storage, &registry).await;
    assert_eq!(count(&registry), 1);
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_listed_is_not_brought_back() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 9);
    let known = open(&registry, "a").await.unwrap();
    let unknown = open_elsewhere(&storage, "a").await;
    let ending = registry.clone();
    then(&storage.listed, async move {
        cancel(&ending, "a", &known).await;
        cancel(&ending, "a", &unknown).await;
    });

    reconcile(&storage, &registry).await;

    assert_eq!(count(&registry), 0);
}

#[tokio::test]
async fn a_session_that_is_opened_after_its_page_was_listed_stays() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 9);
    let first = open(&registry, "a").await.unwrap();
    let opening = registry.clone();
    then(&storage.listed, async move {
        open(&opening, "a").await.unwrap();
        // The repository sorts before the page.
        open(&opening, "0").await.unwrap();
    });

    reconcile(&storage, &registry).await;

    assert_eq!(count(&registry), 3);
    cancel(&registry, "a", &first).await;
    assert_eq!(count(&registry), 2);
}

#[tokio::test]
async fn a_session_that_is_listed_before_its_opening_returns_counts_once() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 2);
    let (listing, ledger) = (Arc::clone(&storage), registry.upload_ledger().clone());
    then(&storage.opened, async move {
        reconcile_uploads(&listing, &ledger).await.unwrap();
        assert_eq!(ledger.open_uploads(), 1);
    });

    let first = open(&registry, "a").await.unwrap();

    assert_eq!(count(&registry), 1);
    open(&registry, "a").await.unwrap();
    assert!(open(&registry, "a").await.is_err());
    reconcile(&storage, &registry).await;
    assert_eq!(count(&registry), 2);
    cancel(&registry, "a", &first).await;
    assert_eq!(count(&registry), 1);
}

#[tokio::test]
async fn sessions_that_cannot_be_listed_still_count() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 9);
    for name in ["a", "b"] {
        let id = open(&registry, name).await.unwrap();
        open(&registry, name).await.unwrap();
        let name = RepositoryName::parse(name).unwrap();
        assert!(storage.memory.cancel(&name, &id).await.unwrap());
    }
    *storage.unreadable.lock().unwrap() = Some(RepositoryName::parse("a").unwrap());

    reconcile(&storage, &registry).await;

    assert_eq!(count(&registry), 3, "two of `a`, one of `b`");
}

#[tokio::test]
async fn a_reconciliation_that_is_dropped_drops_no_session() {
    let storage = Interrupted::new();
    let registry = registry(&storage, 9);
    open(&registry, "a").await.unwrap();
    open(&registry, "b").await.unwrap();
    then(&storage.listed, pending());
    {
        let mut reconciling = pin!(reconcile_uploads(&storage, registry.upload_ledger()));
        poll_fn(|context| {
            assert!(reconciling.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    assert_eq!(count(&registry), 2);
    let ended = open(&registry, "a").await.unwrap();
    cancel(&registry, "a", &ended).await;
    reconcile(&storage, &registry).await;
    assert_eq!(count(&registry), 2);
}

#[tokio::test]
async fn a_storage_that_cannot_be_inspected_is_asked_about_each_session() {
    let storage = Arc::<Interrupted>::default();
    let registry = registry(&storage, 2);
    let ended = open(&registry, "a").await.unwrap();
    open(&registry, "a").await.unwrap();
    open_elsewhere(&storage, "a").await;
    let a = RepositoryName::parse("a").unwrap();
    assert!(storage.memory.cancel(&a, &ended).await.unwrap());
    assert!(open(&registry, "a").await.is_err());

    reconcile(&storage, &registry).await;

    assert_eq!(count(&registry), 1);
    open(&registry, "a").await.unwrap();
}

#[tokio::test]
async fn registries_count_together_if_they_share_a_ledger() {
    let storage = MemoryStorage::new();
    let ledger = UploadLedger::new();
    let shared = || {
        Registry::builder(storage.clone())
            .upload_ledger(ledger.clone())
            .build()
    };
    let (one, two, other) = (shared(), shared(), Registry::builder(storage.clone()).build());

    let id = open(&one, "a").await.unwrap();
    assert_eq!((count(&one), count(&two), count(&other)), (1, 1, 0));
    cancel(&two, "a", &id).await;

    assert_eq!((count(&one), count(&two), count(&other)), (0, 0, 0));
}
