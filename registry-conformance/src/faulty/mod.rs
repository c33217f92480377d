//! [`Faulty`]: a storage that fails by rule, for the tests of a host program.
//!
//! A rule has two parts: [`On`] selects calls, and [`Fault`] says what happens to them. Nothing waits for a time: a call
//! is held by a [`Gate`], which the test opens.
//!
//! ```
//! use registry_conformance::faulty::{Fault, Faulty, On};
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // My service answers 503 while the storage is out, and recovers.
//! let storage = Faulty::new(MemoryStorage::new());
//! let registry = Registry::builder(storage.clone()).build();
//! let pull = || http::Request::get("/v2/team/app/manifests/v1").body(String::new());
//!
//! let outage = storage.inject(On::any().always(), Fault::outage());
//! assert_eq!(registry.handle(pull()?).await.status(), 503);
//!
//! outage.remove();
//! assert_eq!(registry.handle(pull()?).await.status(), 404);
//! # Ok(())
//! # }
//! ```
//!
//! The mutants in the tests of this crate are something else: they break promises, to prove that the suite notices.

mod fault;
mod gate;
mod partial;
mod rules;

pub use self::{
    fault::Fault,
    gate::Gate,
    rules::{Injected, On, Plane},
};

use self::{fault::Effect, rules::Rules};
use async_trait::async_trait;
use registry_core::{
    Digest, RepositoryName, Storage, StorageWrite, forward_storage,
    storage::{
        BlobBody, BlobRead, PutManifest, PutOutcome, ReadBlob, Result, StorageCollect, StorageError,
        StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash, UploadBody, UploadState,
    },
};
use std::{future::Future, sync::Arc};

/// A storage that fails by rule, and otherwise is the storage inside it. All clones share storage and rules.
///
/// It has the planes and abilities of the inner storage. Without rules it passes the storage suite, if the inner
/// storage does.
///
/// ```
/// use registry_conformance::faulty::{Fault, Faulty, On};
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = Faulty::new(MemoryStorage::new());
/// let repository = Registry::builder(storage.clone()).build().repository("team/app")?;
///
/// // The first commit stores the blob, and its answer is lost.
/// storage.inject(On::call("commit"), Fault::outage().answer_lost());
/// assert!(repository.push_blob("content", None).await.is_err());
///
/// // The second push finds the blob.
/// let blob = repository.push_blob("content", None).await?;
/// assert_eq!(blob.size, 7);
/// assert_eq!(storage.count("commit"), 2);
/// storage.assert_fired();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Faulty<S> {
    storage: Arc<S>,
    rules: Rules,
}

impl<S: Storage> Faulty<S> {
    /// Wraps a storage. It does not fail before the first [`inject`](Self::inject).
    #[must_use]
    pub fn new(storage: S) -> Self {
        Self {
            storage: Arc::new(storage),
            rules: Rules::default(),
        }
    }

    /// Adds a rule. If several rules select a call, all of them count it. Faults apply in the order of their rules, until
    /// one fails the call.
    pub fn inject(&self, on: On, fault: Fault) -> Injected {
        self.rules.add(on, fault)
    }

    /// Removes all rules. Calls that are held stay held, until their gates open.
    pub fn heal(&self) {
        self.rules.clear();
    }

    /// Returns the number of calls with this name, including those that failed.
    ///
    /// # Panics
    ///
    /// If no call of a storage has this name.
    #[must_use]
    pub fn count(&self, call: &str) -> usize {
        self.rules.count(call)
    }

    /// Checks that each rule that still exists has applied at least once. A rule that never applies tests nothing.
    ///
    /// # Panics
    ///
    /// If one has not. The message names it, and the calls that were made.
    pub fn assert_fired(&self) {
        self.rules.assert_fired();
    }

    /// Passes a call to the inner storage, as far as the rules let it.
    async fn around<T: Send>(
        &self,
        call: &'static str,
        inner: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Some(fault) = self.before(call).await? else {
            return inner.await;
        };
        inner.await?;
        Err(fault.make_error())
    }

    /// Applies all faults that come before the effect of a call. Returns the fault that comes with it or after it.
    async fn before(&self, call: &'static str) -> Result<Option<Fault>> {
        for (rule, fault) in self.rules.of(call) {
            rule.count();
            if let Some(gate) = fault.gate() {
                gate.pass().await;
            }
            match fault.effect() {
                Effect::Pass => {}
                Effect::Fail => return Err(fault.make_error()),
                Effect::LoseAnswer | Effect::FailAfter(_) => return Ok(Some(fault)),
            }
        }
        Ok(None)
    }

    /// Returns the writing plane of the inner storage.
    fn writer(&self) -> Result<&dyn StorageWrite> {
        self.storage.write().ok_or(StorageError::Unsupported("write"))
    }
}

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self {
            storage: Arc::clone(&self.storage),
            rules: self.rules.clone(),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for Faulty<S> {
    forward_storage! { Storage: self => &*self.storage; around around; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let fault = self.before("open_blob").await?;
        let read = self.storage.open_blob(repository, digest, how).await?;
        match (read, fault) {
            (read, None) => Ok(read),
            (Some(read), Some(fault))
                if let Some(bytes) = fault.amount()
                    && matches!(read.body, BlobBody::Content(_)) =>
            {
                Ok(Some(partial::cut(read, bytes, fault)))
            }
            (_, Some(fault)) => Err(fault.make_error()),
        }
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.storage.write().map(|_| self as &dyn StorageWrite)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.storage.inspect().map(|_| self as &dyn StorageInspect)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.storage.expire().map(|_| self as &dyn StorageExpire)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.storage.collect().map(|_| self as &dyn StorageCollect)
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.storage.repair().map(|_| self as &dyn StorageRepair)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.storage.health().map(|_| self as &dyn StorageHealth)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.storage.trash().map(|_| self as &dyn StorageTrash)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageWrite for Faulty<S> {
    forward_storage! { StorageWrite: self => self.storage.write(); around around; except append, put_manifest }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let fault = self.before("append").await?;
        let write = self.writer()?;
        let Some(fault) = fault else {
            return write.append(repository, state, body).await;
        };
        match fault.amount() {
            Some(bytes) => partial::append(write, repository, state, body, bytes).await?,
            None => drop(write.append(repository, state, body).await?),
        }
        Err(fault.make_error())
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        let fault = self.before("put_manifest").await?;
        let write = self.writer()?;
        let Some(fault) = fault else {
            return write.put_manifest(repository, put).await;
        };
        if let Some(tags) = fault.amount() {
            // The contract moves tags in byte order.
            put.tags.sort_by(|first, second| first.tag.cmp(&second.tag));
            put.tags.truncate(usize::try_from(tags).unwrap_or(usize::MAX));
        }
        write.put_manifest(repository, put).await?;
        Err(fault.make_error())
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageInspect for Faulty<S> {
    forward_storage! { StorageInspect: self => self.storage.inspect(); around around }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageExpire for Faulty<S> {
    forward_storage! { StorageExpire: self => self.storage.expire(); around around }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageCollect for Faulty<S> {
    forward_storage! { StorageCollect: self => self.storage.collect(); around around }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageRepair for Faulty<S> {
    forward_storage! { StorageRepair: self => self.storage.repair(); around around }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageHealth for Faulty<S> {
    forward_storage! { StorageHealth: self => self.storage.health(); around around }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageTrash for Faulty<S> {
    forward_storage! { StorageTrash: self => self.storage.trash(); around around }
}
