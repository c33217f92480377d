//! [`FallbackStorage`]: a storage above another one, which it only reads.

mod copy;
mod expect;
mod health;
mod merge;
mod read;
mod write;

#[cfg(test)]
mod tests;

/// A wrapper that reads from an upper storage and, what that does not have, from a lower one. It writes to the upper one.
///
/// A repository has the content of both. If both have a tag, that of the upper storage counts.
///
/// ```
/// use registry_core::{
///     Registry,
///     service::ManifestPush,
///     storage::{FallbackStorage, MemoryStorage, ReadOnlyStorage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Base images, which this registry does not change.
/// let base = MemoryStorage::new();
/// let builder = Registry::builder(base.clone()).build().repository("library/base")?;
/// let layer = builder.push_blob("base layer", None).await?;
///
/// let own = MemoryStorage::new();
/// let storage = FallbackStorage::new(own.clone(), ReadOnlyStorage::new(base));
/// let registry = Registry::builder(storage).build();
/// assert!(registry.repository("library/base")?.blob(&layer.digest).await?.is_some());
///
/// // An image on top of it: the layer is mounted, and so becomes a part of the upper storage.
/// let app = registry.repository("team/app")?;
/// let config = app.push_blob("{}", None).await?;
/// app.mount(&layer.digest, Some(&"library/base".parse()?)).await?;
/// let image = format!(
///     r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
///     "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},
///     "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":10}}]}}"#,
///     config.digest, layer.digest,
/// );
/// app.put_manifest(ManifestPush::new("v1".parse::<registry_core::Tag>()?, image)).await?;
///
/// let own = Registry::builder(own).build().repository("team/app")?;
/// assert!(own.manifest("v1").await?.is_some() && own.blob(&layer.digest).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// The lower storage may be another `FallbackStorage`, for more than two layers.
///
/// # Reads
///
/// - A call falls through if the upper storage answers that it does not have the item. An error of the upper storage is
///   an error.
/// - A listing has the items of both storages in byte order, each once. A page costs one page of each.
///
/// # Writes
///
/// - Upload sessions are in the upper storage only.
/// - A manifest is stored in the upper storage, complete: first, everything that it names and that only the lower
///   storage holds is copied up, and verified. That includes the manifests in an index, with their own content, and what
///   may be absent, such as entries of a sparse index. What may be absent is left out if it is damaged below.
///   No hook is asked about the copies. If the call fails or its future is dropped, finished copies stay; readers see no
///   difference.
/// - A mount from a repository of the lower storage copies the blob up.
/// - A tag can always be moved; the upper storage then has it. Conditions and previous targets are those that readers
///   see. They are exact as long as nobody moves the tag in the lower storage meanwhile.
/// - What the lower storage holds cannot be deleted, because it would still be there:
///   [`StorageError::Unsupported`](super::StorageError::Unsupported), for clients 405. That is also true for a tag that
///   the upper storage has moved, whose old target would come back, and for a manifest with such a tag. The tag can be
///   moved to another manifest. A tag that is moved to a manifest while that is deleted may come back with its
///   target in the lower storage: the check and the deletion are two steps.
///
/// # Maintenance
///
/// [`health`](super::Storage::health) checks both storages, and reports the space of the upper one.
/// [`trash`](super::Storage::trash) has the deletions in the upper one. The other planes are closed. The host maintains
/// each storage by itself: for the expiry of uploads, collections and repairs, it drives the
/// [upkeep](crate::Registry::upkeep) of a registry of the upper storage.
///
/// A [collection](fn@crate::maintenance::collect) of the upper storage does not see the tags of the lower one. If it
/// removes untagged manifests, it removes signatures and other referrers whose subject only the lower storage has, so
/// leave that off (it is by default).
#[derive(Clone, Debug)]
pub struct FallbackStorage<U, L> {
    upper: U,
    lower: L,
}

impl<U, L> FallbackStorage<U, L> {
    /// Puts `upper`, which takes all changes, above `lower`, which is only read.
    #[must_use]
    pub const fn new(upper: U, lower: L) -> Self {
        Self { upper, lower }
    }
}
