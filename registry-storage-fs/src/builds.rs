//! [`Builds`]: work that reads a whole repository, for requests that wait for its outcome.
//!
//! Such work takes seconds for a large repository, and many requests may need it at the same time. Therefore:
//!
//! - It is done once for all waiting requests.
//! - At most [`AT_ONCE`] builds run at the same time, in all repositories.
//! - A waiting request occupies no thread, so that the blocking pool stays free for reads.
//! - A build continues when no request waits any more, because the next request would start it again. It ends early
//!   only when the storage is closed.

use crate::runtime::{begin, boxed, runtime};
use registry_core::{
    RepositoryName,
    storage::{Result, StorageError},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Semaphore, watch};

/// Number of builds that run at the same time, each on a thread of the blocking pool.
const AT_ONCE: usize = 2;

/// Returns the semaphore that limits builds of all kinds together.
pub(crate) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// Time until which a request may share the work that another request started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Until the work ends: the outcome includes changes made meanwhile.
    WhileItRuns,
    /// Until the work begins to read: later changes may be missing from the outcome.
    UntilItBegins,
}

/// Builds of one kind, by repository.
pub(crate) struct Builds<T> {
    share: Share,
    turns: Arc<Semaphore>,
    shared: Arc<Mutex<HashMap<RepositoryName, Waiting<T>>>>,
}

type Outcome<T> = Result<Arc<T>, Arc<StorageError>>;
type Waiting<T> = watch::Receiver<Option<Outcome<T>>>;

impl<T: Send + Sync + 'static> Builds<T> {
    pub(crate) fn new(share: Share, turns: &Arc<Semaphore>) -> Self {
        Self {
            share,
            turns: Arc::clone(turns),
            shared: Arc::default(),
        }
    }

    /// Returns the outcome of `work` on a repository, or that of another request's work if it may be shared.
    pub(crate) async fn outcome(
        &self,
        repository: &RepositoryName,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Arc<T>> {
        let mut waiting = self.wait_for(repository, Box::new(work))?;
        let outcome = waiting.wait_for(Option::is_some).await;
        let outcome = outcome.as_ref().ok().and_then(|outcome| outcome.as_ref());
        match outcome {
            Some(Ok(value)) => Ok(Arc::clone(value)),
            Some(Err(error)) => Err(StorageError::failed(
                format!("cannot read all of the repository {repository}: {error}"),
                Arc::clone(error),
            )),
            None => Err(ended_early()),
        }
    }

    fn wait_for(
        &self,
        repository: &RepositoryName,
        work: Box<dyn FnOnce() -> Result<T> + Send>,
    ) -> Result<Waiting<T>> {
        let runtime = runtime()?;
        let mut shared = lock(&self.shared);
        // A build whose runtime was shut down will never have an outcome.
        if let Some(waiting) = shared.get(repository)
            && waiting.has_changed().is_ok()
        {
            return Ok(waiting.clone());
        }
        let (tell, waiting) = watch::channel(None);
        shared.insert(repository.clone(), waiting.clone());
        drop(shared);

        let (turns, shared, share) = (Arc::clone(&self.turns), Arc::clone(&self.shared), self.share);
        let repository = repository.clone();
        let span = tracing::Span::current();
        let within = runtime.clone();
        runtime.spawn(boxed(async move {
            let turn = turns.acquire_owned().await;
            if share == Share::UntilItBegins {
                lock(&shared).remove(&repository);
            }
            let work = begin(&within, move || {
                let _turn = turn;
                span.in_scope(work)
            });
            let outcome = match work.await {
                Ok(done) => done.map(Arc::new).map_err(Arc::new),
                Err(_) => Err(Arc::new(ended_early())),
            };
            if share == Share::WhileItRuns {
                lock(&shared).remove(&repository);
            }
            tell.send_replace(Some(outcome));
        }));
        Ok(waiting)
    }
}

impl<T> fmt::Debug for Builds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builds")
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

fn ended_early() -> StorageError {
    StorageError::internal("a storage operation did not run to its end")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage,
        pauses::Point,
        seams,
        support::{manifest, name, put, writer},
    };
    use registry_core::storage::Deletion;
    use std::{
        future::{Future as _, poll_fn},
        pin::pin,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Poll,
    };
    use tempfile::TempDir;
    use tokio::{runtime::Builder, sync::oneshot};

    #[tokio::test]
    async fn few_are_at_work_however_many_repositories_are_asked_for() {
        const ASKED: usize = 40;
        let builds = Arc::new(Builds::new(Share::WhileItRuns, &turns()));
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begun, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let goes_on = Arc::new(Mutex::new(goes_on));
        let asking: Vec<_> = (0..ASKED)
            .map(|number| {
                let builds = Arc::clone(&builds);
                let (at_work, most, begun) = (Arc::clone(&at_work), Arc::clone(&most), begun.clone());
                let goes_on = Arc::clone(&goes_on);
                tokio::spawn(async move {
                    let repository = name(&format!("r{number}"));
                    let work = move || {
                        most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        begun.send(()).unwrap();
                        lock(&goes_on).recv().unwrap();
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        Ok(number)
                    };
                    builds.outcome(&repository, work).await.unwrap()
                })
            })
            .collect();
        let releasing = tokio::task::spawn_blocking(move || {
            for _ in 0..ASKED {
                begins.recv().unwrap();
                go_on.send(()).unwrap();
            }
        });

        for (number, asked) in asking.into_iter().enumerate() {
            assert_eq!(*asked.await.unwrap(), number);
        }

        releasing.await.unwrap();
        assert!(most.load(Ordering::SeqCst) <= AT_ONCE, "{most:?}");
        assert!(lock(&builds.shared).is_empty(), "nothing of it is kept");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends_with_the_storage() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for number in 0..20 {
            let image = manifest(&number.to_string());
            put(&storage, &name("a"), image, &[&format!("t{number}")]).await;
        }
        let (begun, is_begun) = oneshot::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        storage.store().pauses.at(Point::TagIndexBegun, move || {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
        });
        let handle = storage.clone();
        let deleting = tokio::spawn(async move {
            let image = manifest("1");
            writer(&handle)
                .delete_manifest(&name("a"), image.digest(), Deletion::new())
                .await
        });
        is_begun.await.unwrap();
        seams::watch(root.path());

        deleting.abort();
        assert!(deleting.await.is_err());
        let mut closing = pin!(storage.close());
        assert!(poll_fn(|context| Poll::Ready(closing.as_mut().poll(context).is_pending())).await);
        go_on.send(()).unwrap();
        assert!(closing.await);

        assert_eq!(seams::watch(root.path()).files, 0, "no tag was read");
    }

    #[test]
    fn work_whose_runtime_has_ended_is_begun_again() {
        let runtime = || Builder::new_current_thread().build().unwrap();
        let builds = Builds::new(Share::WhileItRuns, &turns());
        let first = runtime();
        first.block_on(async {
            // The runtime ends before the build starts.
            drop(builds.wait_for(&name("a"), Box::new(|| Ok(1))).unwrap());
        });
        drop(first);

        let outcome = runtime().block_on(builds.outcome(&name("a"), || Ok(2)));

        assert_eq!(*outcome.unwrap(), 2);
    }
}
