//! [`StorageTrash`]: the contract for records of deletions, and for the history of tags.

use super::{
    error::Result,
    inspect::{Document, Seen},
    page::{Listing, Page},
};
use crate::{digest::Digest, media_type::MediaType, name::RepositoryName, reference::Tag};
use async_trait::async_trait;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Lists what was deleted and can be restored, and the past targets of tags.
///
/// # Contract
///
/// - Each deletion of a manifest or tag leaves a record, unless it is [permanent](super::Deletion::permanent), removes
///   nothing, or the bytes of the manifest are damaged or lost. The record is written before anything is removed. A crash in between leaves a record of something that
///   still exists.
/// - A storage without space for the record deletes without one, because a deletion may be what makes space.
/// - A record exists until it is [forgotten](Self::forget). A storage may bound the number of records.
/// - The bytes of the manifest exist as long as the record, also after the deletion of the manifest. A garbage collector
///   treats a record like a tag: it keeps the manifest, and everything that the manifest refers to. Blobs that are
///   deleted by request have no record.
/// - Each move and deletion of a tag that succeeds is an event of its history. A put with the manifest that the tag
///   already points at is no event of its own, but sets [`TagEvent::put_again`] of the last one. The event of a put that
///   [restores](super::PutManifest::restores) says so, and such a put never counts as put again. A history is bounded: the
///   newest 100 events are always in it. Events may be lost in a crash, and when they cannot be written. They never fail
///   the write.
/// - The history of a tag survives the tag and its repository, until it is [forgotten](Self::forget_history). That of a
///   [lost](Self::lost_tags) tag is not forgotten.
/// - A [deletion](super::StorageWrite::delete_tag) of a lost tag finds it, with the manifest that it pointed at. A deletion of a
///   tag that does not exist, and whose history cannot be read, removes the history, and returns `None`.
/// - The listings are strict, as those of [`StorageInspect`](super::StorageInspect).
///
/// # Cancel safety
///
/// Each future can be dropped at any point. `forget` and `forget_history` finish, or change nothing.
///
/// # Example
///
/// ```
/// use registry_core::{
///     Registry, Tag,
///     service::ManifestPush,
///     storage::{MemoryStorage, Page, Seen, Storage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// let repository = registry.repository("team/app")?;
/// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// let v1 = Tag::parse("v1")?;
/// let pushed = repository.put_manifest(ManifestPush::new(v1.clone(), index)).await?;
/// repository.delete_manifest(pushed.digest).await?;
///
/// let trash = storage.trash().ok_or("the storage keeps no records")?;
/// let deleted = trash.deleted(repository.name(), Page::first(100)).await?;
/// for record in deleted.items.into_iter().filter_map(Seen::whole) {
///     println!("{} with the tags {:?}", record.digest, record.tags);
///     assert_eq!((record.digest, &record.tags[..]), (pushed.digest, &[v1.clone()][..]));
/// }
/// let history = trash.history(repository.name(), &v1).await?;
/// assert_eq!(history.len(), 2, "it was created and deleted");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageTrash: Send + Sync {
    /// Returns every repository that has a record of a deletion. The repository itself need not exist.
    async fn with_deleted(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>>;

    /// Returns the records of a repository, in the order of the deletions.
    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>>;

    /// Reads the manifest that a record names. Returns [`Document::Lost`] if there is no such record, or if another
    /// program has removed the bytes.
    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document>;

    /// Removes a record, even one that cannot be read, and nothing else. Returns false if there was no such record.
    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool>;

    /// Returns every repository that has the history of a tag. The repository itself need not exist.
    async fn with_histories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>>;

    /// Removes the history of a tag that does not exist and is not lost, if it has no event at `ended_before` or later.
    /// Returns false for any other one.
    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool>;

    /// Returns the tags of a repository that have a history, including deleted tags.
    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>>;

    /// Returns the history of a tag, the oldest event first.
    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>>;

    /// Returns the tags of a repository that do not exist although nobody is known to have deleted them: their histories
    /// end with a move, and no record tells of a later deletion. They were lost, or another program has deleted them. The
    /// repository itself need not exist.
    ///
    /// A tag that does not exist, and whose history cannot be read, is [`Seen::Unreadable`].
    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>>;
}

/// Identifies a record in the trash of a repository: the time of the deletion, in nanoseconds.
///
/// Ids sort by time. The text form sorts in the same order.
///
/// ```
/// use registry_core::storage::TrashId;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let id = TrashId::at(UNIX_EPOCH + Duration::from_millis(1_700_000_000_250));
/// assert_eq!(id.to_string(), "1700000000.250000000");
/// assert_eq!(TrashId::parse("1700000000.250000000"), Some(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrashId(u64);

impl TrashId {
    const SECOND: u64 = 1_000_000_000;
    /// The last nanosecond whose seconds have ten digits, in the year 2286.
    const MAX: u64 = 9_999_999_999 * Self::SECOND + 999_999_999;

    /// Returns the id of a deletion at that time. A time outside the years 1970 to 2286 becomes the nearest of them.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(Self::MAX);
        Self(nanoseconds.min(Self::MAX))
    }

    /// Returns the id of a deletion at that time, and later than `last` if that was within the last second. Deletions
    /// that a coarse clock does not distinguish get different ids in this way.
    #[must_use]
    pub fn following(time: SystemTime, last: Option<Self>) -> Self {
        let id = Self::at(time);
        match last {
            Some(last) if id <= last && last.0 - id.0 < Self::SECOND => Self((last.0 + 1).min(Self::MAX)),
            _ => id,
        }
    }

    /// Returns the time of the deletion, by the clock of the storage.
    #[must_use]
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    /// Parses the text form. Returns `None` for other texts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        let number = |digits: &str, count: usize| -> Option<u64> {
            let all_are = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_are.then(|| digits.parse().ok()).flatten()
        };
        Some(Self(
            number(seconds, 10)? * Self::SECOND + number(nanoseconds, 9)?,
        ))
    }
}

/// Writes the text form that [`parse`](TrashId::parse) reads: seconds since 1970 and nanoseconds.
impl fmt::Display for TrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}.{:09}", self.0 / Self::SECOND, self.0 % Self::SECOND)
    }
}

/// Record of a deletion: a manifest with its tags, or a tag alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trashed {
    /// The id of the record, with the time of the deletion.
    pub id: TrashId,
    /// Digest of the manifest that was deleted, or that the deleted tag pointed at.
    pub digest: Digest,
    /// Digest by which the storage has the bytes of that manifest. Most backends have them by `digest`.
    pub stored: Digest,
    /// Media type of the manifest. `None` if the manifest could not be read when it was deleted.
    pub media_type: Option<MediaType>,
    /// Tags that were deleted.
    pub tags: Vec<Tag>,
    /// True if the manifest was deleted. False if only a tag was.
    pub manifest_deleted: bool,
    /// Name of the user who deleted it. `None` for the host itself and for anonymous clients.
    pub by: Option<Arc<str>>,
}

impl Trashed {
    /// Describes the deletion of a manifest, by the host, with these tags.
    #[must_use]
    pub const fn manifest(id: TrashId, digest: Digest, tags: Vec<Tag>) -> Self {
        Self {
            id,
            digest,
            stored: digest,
            media_type: None,
            tags,
            manifest_deleted: true,
            by: None,
        }
    }

    /// Describes the deletion of a tag, by the host, that pointed at this manifest.
    #[must_use]
    pub fn tag(id: TrashId, tag: Tag, target: Digest) -> Self {
        Self {
            manifest_deleted: false,
            ..Self::manifest(id, target, vec![tag])
        }
    }

    /// Sets the digest by which the storage has the bytes.
    #[must_use]
    pub fn stored_as(self, stored: Digest) -> Self {
        Self { stored, ..self }
    }

    /// Sets the media type of the manifest.
    #[must_use]
    pub fn of_type(self, media_type: Option<MediaType>) -> Self {
        Self { media_type, ..self }
    }

    /// Sets the name of the user who deleted it.
    #[must_use]
    pub fn by(self, user: Option<Arc<str>>) -> Self {
        Self { by: user, ..self }
    }
}

/// A tag that does not exist, and that nobody is known to have deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostTag {
    /// The tag.
    pub tag: Tag,
    /// Digest that it pointed at last.
    pub digest: Digest,
}

impl LostTag {
    /// Describes a lost tag that pointed at a digest.
    #[must_use]
    pub const fn new(tag: Tag, digest: Digest) -> Self {
        Self { tag, digest }
    }
}

/// Event in the history of a tag: a new target, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagEvent {
    /// Time of the event, by the clock of the storage. `None` if another program moved the tag, such as registry:2.
    pub at: Option<SystemTime>,
    /// Digest that the tag pointed at from then on. `None` if the tag was deleted.
    pub target: Option<Digest>,
    /// Digest that the tag pointed at until it was deleted, if that is known. `None` for a move.
    pub was: Option<Digest>,
    /// Time of the last put with the same manifest since this event. `None` if there was none.
    pub put_again: Option<SystemTime>,
    /// True if the move undid a deletion. It is no push, so an earlier event has the time of the last one.
    pub restored: bool,
    /// Name of the user who moved or deleted the tag. `None` for the host itself, for anonymous clients, and if it is
    /// unknown.
    pub by: Option<Arc<str>>,
}

impl TagEvent {
    /// Describes a move or, without a target, a deletion.
    #[must_use]
    pub const fn new(at: SystemTime, target: Option<Digest>, by: Option<Arc<str>>) -> Self {
        Self {
            at: Some(at),
            target,
            was: None,
            put_again: None,
            restored: false,
            by,
        }
    }

    /// Sets if the move undid a deletion.
    #[must_use]
    pub fn with_restored(self, restored: bool) -> Self {
        Self { restored, ..self }
    }

    /// Sets the digest that the tag pointed at until it was deleted.
    #[must_use]
    pub fn with_was(self, was: Option<Digest>) -> Self {
        Self { was, ..self }
    }

    /// Describes a move by another program, at an unknown time.
    #[must_use]
    pub const fn undated(target: Digest) -> Self {
        Self {
            at: None,
            target: Some(target),
            was: None,
            put_again: None,
            restored: false,
            by: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn ids_come_back_from_their_texts_and_both_sort_by_time() {
        let times = [
            0,
            1,
            999_999_999,
            1_000_000_000,
            1_700_000_000_000_000_001,
            TrashId::MAX,
        ];
        let ids = times.map(|time| TrashId::at(at(time)));
        let texts = ids.map(|id| id.to_string());

        assert!(ids.is_sorted_by(|a, b| a < b) && texts.is_sorted_by(|a, b| a < b));
        for (id, (text, time)) in ids.iter().zip(texts.iter().zip(times)) {
            assert_eq!(TrashId::parse(text), Some(*id));
            assert_eq!(id.time(), at(time));
        }
        assert_eq!(TrashId::at(at(u64::MAX)), TrashId(TrashId::MAX));
        assert_eq!(TrashId::at(UNIX_EPOCH - Duration::from_secs(1)), TrashId(0));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "1700000000",
            "1700000000.",
            "1700000000.1",
            "700000000.000000001",
            "+700000000.000000001",
            "1700000000.00000000a",
            "1700000000.000000000.0",
            "99999999999.000000000",
        ] {
            assert_eq!(TrashId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn deletions_in_one_tick_of_a_clock_have_ids_in_their_order() {
        let first = TrashId::following(at(5), None);
        let second = TrashId::following(at(5), Some(first));
        let third = TrashId::following(at(5), Some(second));
        assert!(first < second && second < third, "{first} {second} {third}");
        assert_eq!(third.time(), at(7));

        // The time of a clock that was set is taken as it is.
        let before = TrashId::at(at(5_000_000_000));
        assert_eq!(TrashId::following(at(5), Some(before)), first);
    }
}
