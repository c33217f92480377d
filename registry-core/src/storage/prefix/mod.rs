//! [`PrefixStorage`]: the repositories of one tenant in a storage of many.

mod names;
mod read;
mod write;

#[cfg(test)]
mod tests;

use self::names::Prefix;
use super::{content::BlobInfo, read::Storage, recent_holders::RecentHolders};
use crate::name::RepositoryName;
use std::sync::Arc;

/// Number of recently used blobs of a tenant whose holders are remembered.
const HOLDERS: usize = 1024;

/// A wrapper that has only the repositories below a prefix, under their names without it.
///
/// A tenant with the prefix `acme` has the repository `acme/team/app` of the storage as `team/app`. It reads, changes
/// and mounts nothing else. Blobs that several tenants push are still stored once.
///
/// ```
/// use registry_core::{
///     Registry, RepositoryName,
///     storage::{MemoryStorage, PrefixStorage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let [acme, other] = ["acme", "other"].map(RepositoryName::parse);
/// let acme = Registry::builder(PrefixStorage::new(storage.clone(), acme?)).build();
/// let other = Registry::builder(PrefixStorage::new(storage.clone(), other?)).build();
///
/// let blob = acme.repository("team/app")?.push_blob("layer", None).await?;
///
/// // The other tenant can neither pull nor mount the blob. The host has it below the prefix.
/// let (source, copy) = (RepositoryName::parse("acme/team/app")?, other.repository("copy")?);
/// assert!(other.repository(&source)?.blob(&blob.digest).await?.is_none());
/// assert_eq!(copy.mount(&blob.digest, Some(&source)).await?, None);
/// assert_eq!(copy.mount(&blob.digest, None).await?, None);
/// assert!(Registry::builder(storage).build().repository(source)?.blob(&blob.digest).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Isolation
///
/// No answer, error or page of one tenant depends on the content of another:
///
/// - A page of [`repositories`](Storage::repositories) is found by seeking to the prefix. Its cost is bounded by its
///   limit, also if the storage has many other repositories.
/// - [`holders`](Storage::holders) does not ask the storage, whose hint may be full of other tenants. The wrapper
///   remembers recently used blobs of its own, in memory. All its clones share them.
/// - [`BlobInfo::modified`] is `None`, because another tenant may have stored the bytes first.
///
/// The tenants share the space of the storage and its outages. Two prefixes isolate only if none of them is below the
/// other.
///
/// # Names
///
/// The prefix, the slash and the name have at most [255 bytes](crate::name::MAX_NAME) together. A longer name is
/// [`StorageError::NameTooLong`](super::StorageError::NameTooLong) for a push. For a reader it is the name of an
/// absent repository.
///
/// # Maintenance
///
/// [`write`](Storage::write) is the only plane. The host maintains the whole storage by the
/// [upkeep](crate::Registry::upkeep) of a registry of the storage itself. The upkeep of a tenant's registry only corrects its
/// count of open uploads. The other planes are closed:
///
/// - [`inspect`](Storage::inspect), [`collect`](Storage::collect) and [`repair`](Storage::repair) are about bytes that
///   tenants share. A collection that sees only one tenant would remove the content of the others.
/// - [`health`](Storage::health) measures the space that tenants share.
/// - [`expire`](Storage::expire) ends sessions that [`inspect`](Storage::inspect) lists, and [`trash`](Storage::trash)
///   decides what a collection keeps. Neither is of use alone.
#[derive(Clone, Debug)]
pub struct PrefixStorage<S> {
    storage: S,
    prefix: Prefix,
    holders: Arc<RecentHolders>,
}

impl<S: Storage> PrefixStorage<S> {
    /// Wraps a storage. The tenant's repositories are those whose names begin with `prefix` and a slash.
    #[must_use]
    pub fn new(storage: S, prefix: impl Into<RepositoryName>) -> Self {
        Self {
            storage,
            prefix: Prefix::new(&prefix.into()),
            holders: Arc::new(RecentHolders::new(HOLDERS)),
        }
    }

    /// Remembers that a repository of the tenant holds a blob, and removes from the answer what is not its own.
    fn held(&self, repository: &RepositoryName, blob: BlobInfo) -> BlobInfo {
        self.holders.add(&blob.digest, repository);
        undated(blob)
    }
}

/// Removes the time at which the bytes were stored, possibly by another tenant.
fn undated(blob: BlobInfo) -> BlobInfo {
    blob.with_modified(None)
}
