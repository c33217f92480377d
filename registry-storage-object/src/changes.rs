//! Notes of tags and repositories that come and go, by which other replicas bring their indexes up to date.
//!
//! A note is written before the change that it is about, and only says where to look: the change may fail, and of two
//! changes at once either may be the later one. It is an object without content of interest, named for the time of the view on which the change
//! rests, by the store's clock. The change has happened by then plus [`settled`](Store::settled), or never happens: its
//! requests expire. So whoever has read the notes up to a time, and reads all from that much earlier on the next time,
//! misses no change that was acknowledged in between.
//!
//! Requests: 1 for a tag that is created or removed. 2 for a repository, at most once in [`REMEMBERED`]. A tag that moves
//! needs none. A listing reads the notes of one repository, and of the last quarter of an hour, with 1 to 3.

use crate::{
    bucket::{Condition, Fence, Sent, StoreTime},
    gate::{View, now},
    keys,
    nonce::nonce,
    noted::{Change, REMEMBERED, Slot},
    store::Store,
    tags::Link,
};
use registry_core::{
    RepositoryName, Tag,
    storage::{Result, StorageError},
};
use std::time::Duration;

/// Time for which the last request of a change is on its way at least, whatever the store.
const ON_ITS_WAY: Duration = Duration::from_secs(10 * 60);

/// Number of directories that are kept. No index reads older ones.
const KEPT: u64 = 200;

/// Content of a note, which is not read: some stores have no empty objects.
const CONTENT: &str = "changes";

impl Store {
    /// Returns the time from a view to the last moment at which a change that was noted then takes effect.
    pub(crate) fn settled(&self) -> Duration {
        self.gate.delay().max(ON_ITS_WAY) + REMEMBERED
    }

    /// Notes that a tag is about to be created or removed. Called before the request that does so, whose fence is that of the
    /// view.
    pub(crate) async fn note_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        change: Change,
        view: &View,
    ) -> Result<()> {
        let directory = keys::tag_changes(Slot::of(view.told()).0, repository);
        let key = keys::change(&directory, change == Change::Comes, tag.as_str());
        self.bucket.put(&key, CONTENT).await
    }

    /// Records that a repository exists, before its first manifest is published.
    pub(crate) async fn note_repository(&self, repository: &RepositoryName, view: &View) -> Result<()> {
        if self.noted.is_recent(repository, view.told()) {
            return Ok(());
        }
        let note = self.repository_change(repository, Change::Comes, view.told());
        let marker = keys::marker(repository);
        let content = nonce()?;
        tokio::try_join!(self.bucket.put(&note, CONTENT), self.bucket.put(&marker, content))?;
        self.noted.add(repository, view.told());
        Ok(())
    }

    /// Removes the marker of a repository in which nothing is left, so that it does not exist. Returns false if it has a
    /// manifest or a tag.
    pub(crate) async fn forget_repository(
        &self,
        repository: &RepositoryName,
        fence: Option<Fence>,
    ) -> Result<bool> {
        let told = fence.map_or_else(|| now(&self.bucket), |fence| fence.told);
        self.noted.remove(repository);
        let note = self.repository_change(repository, Change::Goes, told);
        self.bucket.put(&note, CONTENT).await?;
        let key = keys::marker(repository);
        let marker = self.bucket.head(&key).await?;
        // After the marker: one that is written now is another one.
        if self.has_manifests(repository).await? {
            return Ok(false);
        }
        let Some(marker) = marker else {
            return Ok(true);
        };
        let condition = Condition::Is(marker.version);
        match self.bucket.delete_once(&key, &condition, fence).await? {
            Sent::Done(_) | Sent::Refused => {}
            Sent::Expired | Sent::Unclear => {
                let context = format!("cannot tell if {key} was removed from the object store");
                return Err(StorageError::unavailable(context, None, None));
            }
        }
        if self.has_manifests(repository).await? {
            self.bucket.put(&key, nonce()?).await?;
            return Ok(false);
        }
        Ok(true)
    }

    fn repository_change(&self, repository: &RepositoryName, change: Change, told: StoreTime) -> String {
        let directory = keys::repository_changes(Slot::of(told).0);
        keys::change(&directory, change == Change::Comes, &keys::flat(repository))
    }

    /// Removes notes that no index reads any more, and what an inspection has found that processes have left. 1 request, and
    /// 1 for each of them.
    pub(crate) async fn trim_changes(&self) -> Result<()> {
        for ((repository, tag), entries) in self.leftovers.take() {
            // Somebody may have created the tag since, or the link is missing of a tag that is in a log.
            match self.pointer(&repository, &tag).await?.link {
                Link::None => self.remove_tag_entries(&repository, &tag, entries).await?,
                Link::To(_) => self.tidy_link(&repository, &tag).await?,
                Link::Garbled => {}
            }
        }
        for link in self.left_marks.take() {
            // On other stores, a link could come back that is removed meanwhile. Its content is read nevertheless.
            if self.has_marks()
                && let Err(error) = self.keep_link(&link).await
            {
                tracing::warn!(
                    link,
                    error = &error as &dyn std::error::Error,
                    "cannot take the mark of a deletion off a link; the next collection tries again"
                );
            }
        }
        let now = Slot::of(now(&self.bucket));
        for directory in self.bucket.directory(keys::CHANGES).await?.directories {
            let slot = keys::name_in(keys::CHANGES, &directory).and_then(keys::number);
            if slot.is_some_and(|slot| Slot(slot).distance(now) > KEPT) {
                let old = self.list_all(&directory).await?;
                self.bucket
                    .delete_all(old.into_iter().map(|object| object.key))
                    .await?;
            }
        }
        Ok(())
    }
}
