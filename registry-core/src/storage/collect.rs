//! [`StorageCollect`]: the contract for removing content that nothing refers to, beside traffic.

use super::{
    StorageError,
    error::Result,
    run::{Census, Run, Terms},
    suspects::Suspect,
    victim::Victim,
};
use crate::digest::Digest;
use async_trait::async_trait;
use std::time::Duration;

/// Removes content that nothing refers to, while clients pull and push. [`collect`](fn@crate::maintenance::collect) decides
/// what that is; a storage only checks what it alone can know.
///
/// # Contract
///
/// A storage makes a *promise* to a pusher when it says that content exists: by [`blob`](super::Storage::blob),
/// [`mount`](super::StorageWrite::mount), [`commit`](super::StorageWrite::commit) and
/// [`put_manifest`](super::StorageWrite::put_manifest). Each promise *touches* the content: the blob with its link,
/// or the manifest with everything that it names, directly or through other manifests.
///
/// - Once `begin` has returned, every promise is recorded, and those that were being made before have ended. Content
///   is therefore either seen by an inspection from then on, with everything that refers to it, or touched.
/// - A storage with a [delay](Waiting::Until) records only promises of announced items, from the announcement on. Those that
///   were being made before have ended when the delay is over, so that the caller looks at everything again then. It need
///   not know what was touched before, nor what was released since.
/// - Content that was touched since the run began, or since it was announced, is not removed in this run, even if it was
///   released since. Neither is a manifest whose subject was touched: a signature stays if its image is pushed again.
/// - A tagged manifest, a blob that a session is being committed to, and a repository that holds anything are not
///   removed.
/// - A removal and a promise for the same content exclude each other: the promise either finds the content and
///   protects it, or finds it absent.
/// - [`put_manifest`](super::StorageWrite::put_manifest) checks its references and publishes under that protection.
/// - One run is open at a time. A run that was dropped without `end` makes room for the next one: a storage that cannot
///   tell takes it over.
/// - An interrupted run leaves nothing but content that the next run removes.
///
/// A wrapper that answers [`blob`](super::Storage::blob) or [`manifest`](super::Storage::manifest) from memory either
/// calls the inner storage as well, or closes this plane: a promise that the storage does not see protects nothing.
///
/// # Cancel safety
///
/// Each future can be dropped at any point, which ends the run if it was `begin` or `end`.
///
/// - `reclaim` may have removed some of the victims. None of them is removed without the checks.
/// - `end` may have stored the census. Without it, the next run compares with the numbers before.
///
/// # Example
///
/// ```
/// use registry_core::{
///     Registry, Storage,
///     storage::{Census, MemoryStorage, Reclaimed, StorageError, Terms, Victim},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let repository = Registry::builder(storage.clone()).build().repository("team/app")?;
/// let blob = repository.push_blob("layer", None).await?;
///
/// // No manifest names the blob: first its link goes, then its bytes.
/// let collect = storage.collect().ok_or(StorageError::Unsupported("collect"))?;
/// let run = collect.begin(Terms::new()).await?;
/// for victim in [Victim::Link(repository.name().clone(), blob.digest), Victim::Data(blob.digest)] {
///     collect.condemn(&run, std::slice::from_ref(&victim)).await?;
///     let reclaimed = collect.reclaim(&run, &[victim]).await?;
///     assert!(matches!(reclaimed[..], [Reclaimed::Removed { .. }]));
/// }
/// collect.end(run, Census::new(0)).await?;
///
/// assert_eq!(repository.blob(&blob.digest).await?, None);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageCollect: Send + Sync {
    /// Returns true if this software created the storage, so that no other program has written to it before, or if a
    /// run that somebody [asked](Terms::asked) for has ended in it. Only then may a run remove that nobody asked for.
    fn is_own(&self) -> bool;

    /// Returns [`Run::expected_manifests`] of a run that began now, for a preview. Changes nothing.
    async fn expected_manifests(&self) -> Result<Option<u64>>;

    /// Begins a run.
    ///
    /// # Errors
    ///
    /// [`Busy`](StorageError::Busy) if another run is open, of whichever handle.
    async fn begin(&self, terms: Terms) -> Result<Run>;

    /// Returns, for each item, if a run that began now could remove it. Changes nothing.
    ///
    /// A preview asks for items that become unused only by the removals before: bytes that still have a link, and
    /// repositories that still hold something. Only touches, tags and upload sessions count.
    async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>>;

    /// Returns, for each blob, true if requests account for the removal of its bytes. Since its last touch, one of these
    /// has happened:
    ///
    /// - the blob was deleted, or a manifest that named it, directly or through other manifests,
    /// - a tag that kept such a manifest was deleted or moved,
    /// - the record of such a deletion was [forgotten](super::StorageTrash::forget).
    ///
    /// It also counts, as if it had happened at the opening, that a record was forgotten, and what was deleted without a
    /// record, before the opening. A run that nobody asked for stops if it would free mostly other bytes. What the
    /// storage cannot know counts as `false`.
    async fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>>;

    /// Announces items that the run is going to remove. A storage that answers [`Waiting::Until`], also if there are no
    /// items, removes no others in this run. It keeps the announcements of a run that was dropped for the next one.
    async fn condemn(&self, run: &Run, victims: &[Victim]) -> Result<Waiting>;

    /// Removes items, each on its own, and returns what became of each, in their order.
    ///
    /// The items are of one kind. The caller has made sure that nothing refers to them among what it has seen since
    /// the run began, and removes kinds in order: manifests, parents before children; then links; then data; then
    /// repositories.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`] if nothing can be removed. A failure with one item is its [`Reclaimed::Failed`].
    async fn reclaim(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>>;

    /// Ends the run, makes its removals durable, and stores what the next run compares with.
    async fn end(&self, run: Run, seen: Census) -> Result<()>;

    /// Lists what requests have released since the opening, in that order, from after the suspect of a number on: the
    /// manifest that a tag has left, and what was deleted, also again when its record is forgotten.
    ///
    /// The list is a hint that tells when a run is worth it, and never a reason for a removal. A suspect may be lost, or be
    /// in use. The storage may drop those up to `after`.
    async fn suspects(&self, after: u64, limit: usize) -> Result<Vec<Suspect>>;
}

/// State of an item for a run that began now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Due {
    /// The run could remove it.
    #[non_exhaustive]
    Now {
        /// Number of bytes that its removal frees. 0 if these are the bytes of another item.
        bytes: u64,
    },
    /// It was touched too recently. It is due after this time, unless it is touched again.
    Later(Duration),
    /// It is tagged, or an upload session needs it.
    InUse,
    /// There is no such item.
    Absent,
}

impl Due {
    /// Describes an item whose removal frees `bytes`.
    #[must_use]
    pub const fn now(bytes: u64) -> Self {
        Self::Now { bytes }
    }
}

/// Time that has to pass between the announcement of removals and the removals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// None.
    Ready,
    /// The removals may begin after this time.
    Until(Duration),
}

/// Result of the removal of one item.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reclaimed {
    /// It was removed.
    #[non_exhaustive]
    Removed {
        /// Number of bytes that this freed.
        bytes: u64,
    },
    /// It is in use: touched since the run began, tagged, committed to, not empty, or busy at the moment.
    InUse,
    /// It was touched too recently. It is due after this time, unless it is touched again.
    Later(Duration),
    /// It had gone already.
    Absent,
    /// It could not be removed.
    Failed(StorageError),
}

impl Reclaimed {
    /// Describes an item whose removal freed `bytes`.
    #[must_use]
    pub const fn removed(bytes: u64) -> Self {
        Self::Removed { bytes }
    }
}
