//! [`Quota`]: bounds what a tenant stores, and counts what it stores and pulls, by hooks alone.

use async_trait::async_trait;
use registry_core::{
    Digest, Hooks, Registry, RepositoryName,
    hooks::{Appending, Context, Event, EventKind, HookError},
    manifest::Manifest,
    storage::{Listing, Page, PutManifest, Result, Seen, StorageError, StorageInspect},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Quota and bill of one tenant.
///
/// Content counts once, however many repositories of the tenant hold it, so a mount costs nothing. The exact size of a
/// blob is reserved before the storage publishes it. Pushes at once therefore cannot exceed the quota together.
///
/// Some changes are not in the events, or not in their order: a collection frees content, a call of the storage fails
/// after its effect, and the events of a push and a deletion at once may come in the other order than their commits.
/// [`recount`](Self::recount) at the start, after each collection and from time to time corrects all of them.
///
/// Content that is deleted no longer counts, but takes space until a collection. The bytes of open uploads are not
/// billed. [`Limits`](registry_core::Limits) bound them: the size of a blob, and the number of uploads.
#[derive(Debug)]
pub struct Quota {
    tenant: String,
    limit: u64,
    books: Mutex<Books>,
    /// Held by the one recount that runs.
    recounting: tokio::sync::Mutex<()>,
}

/// Number of bytes that a tenant stores and has pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    pub stored: u64,
    /// Since the last [`Quota::bill`].
    pub pulled: u64,
}

#[derive(Debug, Default)]
struct Books {
    contents: HashMap<Digest, Content>,
    /// Reservation of each running operation.
    reservations: HashMap<u64, Digest>,
    stored: u64,
    pulled: u64,
    /// Changes since a recount began.
    meanwhile: Option<Vec<Change>>,
}

#[derive(Debug)]
struct Content {
    size: u64,
    holders: HashSet<Holder>,
    /// Number of operations that have reserved it.
    reserved: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Blob(RepositoryName),
    Manifest(RepositoryName),
}

#[derive(Clone, Debug)]
enum Change {
    Held(Digest, u64, Holder),
    Deleted(Digest, Holder),
}

impl Books {
    /// Reserves the size of some content for an operation. Fails with the number of missing bytes.
    fn reserve(&mut self, operation: u64, digest: Digest, size: u64, limit: u64) -> Result<(), u64> {
        if !self.contents.contains_key(&digest) {
            self.fits(size, limit)?;
        }
        self.content(digest, size).reserved += 1;
        self.reservations.insert(operation, digest);
        Ok(())
    }

    fn fits(&self, size: u64, limit: u64) -> Result<(), u64> {
        let needed = self.stored.saturating_add(size);
        if needed <= limit {
            Ok(())
        } else {
            Err(needed - limit)
        }
    }

    /// Ends the reservation of an operation, if it has one.
    fn release(&mut self, operation: u64) {
        if let Some(digest) = self.reservations.remove(&operation) {
            if let Some(content) = self.contents.get_mut(&digest) {
                content.reserved -= 1;
            }
            self.forget_unused(digest);
        }
    }

    fn apply(&mut self, change: Change) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.push(change.clone());
        }
        match change {
            Change::Held(digest, size, holder) => {
                self.content(digest, size).holders.insert(holder);
            }
            Change::Deleted(digest, holder) => {
                if let Some(content) = self.contents.get_mut(&digest) {
                    content.holders.remove(&holder);
                }
                self.forget_unused(digest);
            }
        }
    }

    fn content(&mut self, digest: Digest, size: u64) -> &mut Content {
        self.contents.entry(digest).or_insert_with(|| {
            self.stored += size;
            Content {
                size,
                holders: HashSet::new(),
                reserved: 0,
            }
        })
    }

    fn forget_unused(&mut self, digest: Digest) {
        let unused = |content: &Content| content.holders.is_empty() && content.reserved == 0;
        if self.contents.get(&digest).is_some_and(unused)
            && let Some(content) = self.contents.remove(&digest)
        {
            self.stored -= content.size;
        }
    }
}

impl Quota {
    /// Allows a tenant to store this number of bytes.
    pub fn new(tenant: impl Into<String>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            tenant: tenant.into(),
            limit,
            books: Mutex::default(),
            recounting: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the bill, and begins a new one for what is pulled.
    pub fn bill(&self) -> Bill {
        let mut books = self.books();
        Bill {
            stored: books.stored,
            pulled: std::mem::take(&mut books.pulled),
        }
    }

    /// Counts again all that the storage of the tenant holds. Requests may run meanwhile. A second recount waits for the
    /// first one.
    pub async fn recount(&self, registry: &Registry) -> Result<()> {
        let inspect = registry.storage().inspect();
        let inspect = inspect.ok_or(StorageError::Unsupported("list what it holds"))?;
        let _one = self.recounting.lock().await;
        let _recording = Recording::start(self);
        let found = held(registry, inspect).await?;
        let mut books = self.books();
        let meanwhile = books.meanwhile.take().unwrap_or_default();

        // Reservations of running operations stay.
        let digests: Vec<Digest> = books.contents.keys().copied().collect();
        for content in books.contents.values_mut() {
            content.holders.clear();
        }
        for change in found.into_iter().chain(meanwhile) {
            books.apply(change);
        }
        for digest in digests {
            books.forget_unused(digest);
        }
        Ok(())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what does not fit. docker shows this message.
    fn refusal(&self, missing: u64) -> HookError {
        let Self { tenant, limit, .. } = self;
        HookError::veto(format!(
            "the quota of {tenant} is used up: this needs {missing} bytes more than the {limit} that are allowed; \
             delete images, or ask for a larger quota"
        ))
    }
}

/// Records changes until it is dropped, also if the recount fails or is dropped itself.
struct Recording<'a>(&'a Quota);

impl<'a> Recording<'a> {
    fn start(quota: &'a Quota) -> Self {
        quota.books().meanwhile = Some(Vec::new());
        Self(quota)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.books().meanwhile = None;
    }
}

/// Lists everything that the repositories of a storage hold.
async fn held(registry: &Registry, inspect: &dyn StorageInspect) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    for name in all(
        |after| async move { inspect.all_repositories(page(after.as_ref())).await },
        Clone::clone,
    )
    .await?
    {
        let name = &name;
        for blob in all(
            |after| async move { inspect.held_blobs(name, page(after.as_ref())).await },
            |blob| blob.digest,
        )
        .await?
        {
            if let Some(info) = registry.storage().blob(name, &blob.digest).await? {
                found.push(Change::Held(info.digest, info.size, Holder::Blob(name.clone())));
            }
        }
        for manifest in all(
            |after| async move { inspect.manifests(name, page(after.as_ref())).await },
            |held| held.digest,
        )
        .await?
        {
            let size = manifest.size.unwrap_or_default();
            found.push(Change::Held(
                manifest.digest,
                size,
                Holder::Manifest(name.clone()),
            ));
        }
    }
    Ok(found)
}

/// Returns the items of all pages. An item that cannot be read is an error, because its size is unknown.
async fn all<T, K, F>(list: impl Fn(Option<K>) -> F, key: impl Fn(&T) -> K) -> Result<Vec<T>>
where
    F: Future<Output = Result<Listing<Seen<T, K>>>>,
{
    let mut items: Vec<T> = Vec::new();
    loop {
        let after = items.last().map(&key);
        let listing = list(after).await?;
        for seen in listing.items {
            let item = seen
                .read()
                .map_err(|(_, reason)| StorageError::internal(reason))?;
            items.push(item);
        }
        if !listing.more {
            return Ok(items);
        }
    }
}

/// Returns the page after an item.
fn page<K>(after: Option<&K>) -> Page<'_, K> {
    Page::first(1000).after(after)
}

#[async_trait]
impl Hooks for Quota {
    /// Refuses bytes that cannot fit before they are sent, unless the client says that they are content that the tenant
    /// has, and they have its size.
    async fn before_append(&self, _: &Context, appending: &Appending) -> Result<(), HookError> {
        let size = appending
            .held
            .saturating_add(appending.announced.unwrap_or_default());
        let books = self.books();
        let claimed = appending.closing.and_then(|digest| books.contents.get(&digest));
        if claimed.is_some_and(|content| content.size == size) {
            return Ok(());
        }
        let fits = books.fits(size, self.limit);
        fits.map_err(|missing| self.refusal(missing))
    }

    /// Reserves the exact size, also of a blob that arrived without an announced size, and of a mount.
    async fn before_add_blob(&self, context: &Context, digest: &Digest, size: u64) -> Result<(), HookError> {
        let reserved = self.books().reserve(context.operation, *digest, size, self.limit);
        reserved.map_err(|missing| self.refusal(missing))
    }

    async fn before_put_manifest(
        &self,
        context: &Context,
        _: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        let (digest, size) = (*put.manifest.digest(), put.manifest.size());
        let reserved = self.books().reserve(context.operation, digest, size, self.limit);
        reserved.map_err(|missing| self.refusal(missing))
    }

    fn event(&self, event: &Arc<Event>) {
        let Context {
            repository,
            operation,
            ..
        } = &event.context;
        let mut books = self.books();
        match &event.kind {
            EventKind::BlobPushed { digest, size, .. } | EventKind::BlobMounted { digest, size, .. } => {
                books.apply(Change::Held(*digest, *size, Holder::Blob(repository.clone())));
                books.release(*operation);
            }
            EventKind::ManifestPushed { digest, size, .. } => {
                books.apply(Change::Held(*digest, *size, Holder::Manifest(repository.clone())));
                books.release(*operation);
            }
            EventKind::Abandoned => books.release(*operation),
            EventKind::BlobDeleted { digest, .. } => {
                books.apply(Change::Deleted(*digest, Holder::Blob(repository.clone())));
            }
            EventKind::ManifestDeleted { digest, .. } => {
                books.apply(Change::Deleted(*digest, Holder::Manifest(repository.clone())));
            }
            EventKind::BlobPulled { bytes, .. } => books.pulled += bytes,
            EventKind::ManifestPulled { size, .. } => books.pulled += size,
            _ => {}
        }
    }
}
