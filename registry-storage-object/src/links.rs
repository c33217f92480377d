//! Links: the blobs and manifests that a repository holds.
//!
//! A link is an object that contains the digest under which the bytes are stored, and nothing else. That is the digest
//! of the content, or, for the sha512 blobs of registry:2, the sha256 of the same bytes.
//!
//! Requests: a look for a blob needs 2, in parallel, and one more for such another name. For a pusher who asks for a digest
//! that this process does not know, the link is looked for first: 1 for a new blob. A mount needs 3, and a deletion of a
//! blob 6. A store without preconditions of removals needs 1 more for a mount and for a new blob, beside the link.

use crate::{
    bucket::{Condition, Fence, Meta, Sent, StoreTime},
    error::restart,
    gate::{Promised, View},
    keys,
    marks::is_marked,
    scans::at_once,
    store::Store,
    tags::Link,
};
use bytes::Bytes;
use registry_core::{
    Digest, RepositoryName,
    storage::{BlobInfo, Deletion, Mount, Need, Needed, Result},
};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Number of times a section begins again because its view has become too old.
pub(crate) const SECTIONS: usize = 3;

/// Time for which a link is written again whose write was refused or has no answer, and the first pause, which doubles.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Time for which the clock of a store may stand, or be unknown.
const UNTOLD: Duration = Duration::from_secs(30);

/// Content that a repository holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Digest under which the bytes are stored.
    pub(crate) target: Digest,
    /// The content under the digest by which the repository knows it.
    pub(crate) info: BlobInfo,
    /// Key of the link, if it has the [mark](crate::marks) of a deletion.
    pub(crate) marked: Option<String>,
}

/// A link of some content, as it was read.
#[derive(Clone, Copy, Debug)]
struct Found {
    target: Digest,
    is_marked: bool,
}

impl Found {
    fn held(self, link: &str, digest: &Digest, data: &Meta) -> Held {
        Held {
            target: self.target,
            info: known_as(digest, data),
            marked: self.is_marked.then(|| link.to_owned()),
        }
    }
}

impl Store {
    /// Looks for a blob of a repository. Promises nothing.
    pub(crate) async fn held(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Held>> {
        self.held_by(&keys::layer(repository, digest), digest).await
    }

    /// Looks for a blob of a repository for a pusher, who is promised that it stays. One that is being removed is absent.
    pub(crate) async fn promised(
        &self,
        view: &View,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Held>> {
        let promised = [Promised::Blob(repository, digest)];
        if !self.gate.offer(&self.bucket, view, &promised).await? {
            return Ok(None);
        }
        let held = match self.held_if_linked(repository, digest).await? {
            Some(held) if held.target != *digest => {
                // The bytes are those of another digest. They are looked for again, once they are promised, too.
                let promised = [Promised::Blob(repository, &held.target)];
                if !self.gate.offer(&self.bucket, view, &promised).await? {
                    return Ok(None);
                }
                self.stored(&held.target).await?.map(|_| held)
            }
            held => held,
        };
        let held = match held {
            Some(held) => self.keep(held).await?,
            None => None,
        };
        if held.is_some() {
            self.holders.add(digest, repository);
        }
        Ok(held)
    }

    /// Makes sure that no deletion removes the link of content on which somebody relies. Returns `None` if one has.
    pub(crate) async fn keep(&self, held: Held) -> Result<Option<Held>> {
        Ok(match &held.marked {
            Some(link) if !self.keep_link(link).await? => None,
            _ => Some(held),
        })
    }

    /// Looks for a blob of which a pusher asks. If this process does not know the digest, it is probably new: then the link
    /// tells, and the bytes are not looked for.
    async fn held_if_linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Held>> {
        if self.holders.is_known(digest) {
            return self.held(repository, digest).await;
        }
        let link = keys::layer(repository, digest);
        let Some(found) = self.find_link(&link, digest).await? else {
            return Ok(None);
        };
        let data = self.stored(&found.target).await?;
        Ok(data.map(|meta| found.held(&link, digest, &meta)))
    }

    /// Looks for what a manifest needs. Promises nothing.
    pub(crate) async fn look(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
    ) -> Result<Vec<Option<Held>>> {
        at_once(needs.iter().map(|needed| self.look_for(repository, needed))).await
    }

    async fn look_for(&self, repository: &RepositoryName, needed: &Needed) -> Result<Option<Held>> {
        let layer = keys::layer(repository, &needed.digest);
        let revision = keys::revision(repository, &needed.digest);
        match needed.need {
            Need::Blob => self.held_by(&layer, &needed.digest).await,
            Need::Manifest => self.held_by(&revision, &needed.digest).await,
            _ => {
                let (manifest, blob) = tokio::try_join!(
                    self.held_by(&revision, &needed.digest),
                    self.held_by(&layer, &needed.digest)
                )?;
                Ok(manifest.or(blob))
            }
        }
    }

    /// Looks for content of which the link has this key.
    pub(crate) async fn held_by(&self, link: &str, digest: &Digest) -> Result<Option<Held>> {
        let (found, data) = tokio::try_join!(self.find_link(link, digest), self.stored(digest))?;
        let (found, data) = match found {
            None => return Ok(None),
            Some(found) if found.target == *digest => (found, data),
            // A blob of registry:2 under its other name.
            Some(found) => (found, self.stored(&found.target).await?),
        };
        Ok(data.map(|meta| found.held(link, digest, &meta)))
    }

    /// Reads the target of a link. A link that has no digest, or a wrong one, counts as absent.
    pub(crate) async fn target(&self, link: &str, digest: &Digest) -> Result<Option<Digest>> {
        Ok(self.find_link(link, digest).await?.map(|found| found.target))
    }

    async fn find_link(&self, link: &str, digest: &Digest) -> Result<Option<Found>> {
        let Some(found) = self.bucket.get_link(link).await? else {
            return Ok(None);
        };
        let target = read_link(&found.bytes, digest);
        if target.is_none() {
            tracing::warn!(
                key = link,
                "a link contains no digest, or a wrong one; it counts as absent"
            );
        }
        Ok(target.map(|target| Found {
            target,
            is_marked: is_marked(&found.bytes),
        }))
    }

    /// Looks for the bytes of some content, in whichever repository it is.
    pub(crate) async fn stored(&self, target: &Digest) -> Result<Option<Meta>> {
        let found = self.bucket.head(&keys::blob(target)).await?;
        Ok(found.filter(|meta| is_whole(target, meta)))
    }

    /// Writes an object by which something becomes visible, and whose content depends on its key alone. Returns false
    /// if the view has become too old: the section has to begin again.
    pub(crate) async fn publish(&self, key: &str, bytes: Bytes, view: &View) -> Result<bool> {
        self.check_lease().await?;
        let (began, mut pause, mut tries) = (Instant::now(), PAUSE, 0);
        loop {
            let sent = self
                .bucket
                .put_once(key, bytes.clone(), &Condition::Any, view.fence())
                .await?;
            match sent {
                Sent::Done(_) => return Ok(true),
                Sent::Expired => return Ok(false),
                // Sent again: both writes have the same content. Some stores refuse one while another one is under way.
                Sent::Unclear | Sent::Refused => {}
            }
            tries += 1;
            if tries >= SECTIONS && began.elapsed() + pause > PATIENCE {
                return Err(restart(&format!("write {key}")));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Makes a blob, whose bytes are stored, visible in a repository. Returns false like [`publish`](Self::publish), or if a
    /// deletion has removed it meanwhile.
    pub(crate) async fn link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        view: &View,
    ) -> Result<bool> {
        self.link_to(repository, digest, digest, view).await
    }

    /// Does the same for a blob whose bytes are stored as `target`.
    async fn link_to(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        target: &Digest,
        view: &View,
    ) -> Result<bool> {
        let link = keys::layer(repository, digest);
        let (published, has_waited) = tokio::join!(
            self.publish(&link, target.to_string().into(), view),
            self.outlast_deletion_of_blob(repository, digest)
        );
        let mut published = published?;
        if has_waited? && published {
            published = self.target(&link, digest).await?.is_some();
        }
        if published {
            self.holders.add(digest, repository);
        }
        Ok(published)
    }

    pub(crate) async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let Mount { from, digest, .. } = mount;
        for _ in 0..SECTIONS {
            let view = self.gate.view(&self.bucket).await?;
            let promised = [Promised::Blob(to, digest)];
            self.gate.promise(&self.bucket, &view, &promised).await?;
            let Some(held) = self.promised(&view, from, digest).await? else {
                return Ok(None);
            };
            if self.link_to(to, digest, &held.target, &view).await? {
                return Ok(Some(held.info));
            }
        }
        Err(restart("mount a blob"))
    }

    pub(crate) async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        _: Deletion,
    ) -> Result<bool> {
        let found = self.held(repository, digest).await?;
        // A link without its data, or with another content, is removed as well.
        self.remove_layer(repository, digest).await?;
        self.holders.remove(digest, repository);
        Ok(found.is_some())
    }

    /// Removes an object by request. The call does not return before the removal can no longer take effect late.
    pub(crate) async fn remove_link(&self, key: &str) -> Result<()> {
        for _ in 0..SECTIONS {
            let fence = self.fence_of(self.moving);
            match self.bucket.delete_once(key, &Condition::Any, fence).await? {
                Sent::Done(_) | Sent::Refused => return Ok(()),
                Sent::Expired => {}
                Sent::Unclear => {
                    if let Some(fence) = fence {
                        self.outlast(self.over(fence), key).await?;
                    }
                }
            }
            if self.bucket.head(key).await?.is_none() {
                return Ok(());
            }
        }
        Err(restart(&format!("remove {key}")))
    }

    /// Returns the time until which a request may take effect whose answer was lost: it may have got to a node of the store
    /// whose clock is behind.
    pub(crate) fn over(&self, fence: Fence) -> StoreTime {
        fence.expires().after(self.lateness() + self.gate.times.margin)
    }

    /// Makes sure that no other process has begun to write, where only one may.
    pub(crate) async fn check_lease(&self) -> Result<()> {
        match &self.lease {
            Some(lease) => lease.check(&self.bucket).await,
            None => Ok(()),
        }
    }

    /// Waits until the store's clock has passed a time. Goes on while the store fails, until it has passed here as well: what
    /// was sent before may take effect until then.
    ///
    /// # Errors
    ///
    /// The last error of a store that has not answered all the time, or whose clock stands.
    pub(crate) async fn outlast(&self, time: StoreTime, key: &str) -> Result<()> {
        let latest = || self.bucket.observed().latest();
        let (began, left) = (Instant::now(), latest().map_or(UNTOLD, |told| time.since(told)));
        while latest().is_none_or(|now| now <= time) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Only answers tell the clock.
            match self.bucket.head(key).await {
                Ok(_) if began.elapsed() > 2 * left + UNTOLD => {
                    return Err(restart(&format!("tell the time after a change of {key}")));
                }
                // The time is told in whole seconds.
                Err(error) if began.elapsed() > left + Duration::from_secs(2) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns the time by the store's clock, as its latest answer has told it.
    pub(crate) fn now(&self) -> SystemTime {
        self.bucket
            .observed()
            .latest()
            .map_or_else(SystemTime::now, StoreTime::time)
    }
}

/// Returns the digest in a link of some content, or `None` if it cannot be a link of it.
pub(crate) fn read_link(bytes: &[u8], digest: &Digest) -> Option<Digest> {
    Link::of(digest, Some(bytes)).target()
}

/// Returns false for an object without a byte whose digest is of other content. It counts as absent.
pub(crate) fn is_whole(target: &Digest, meta: &Meta) -> bool {
    let is_whole = meta.size > 0 || *target == Digest::of(target.algorithm(), b"");
    if !is_whole {
        tracing::warn!(
            key = meta.key,
            "a stored blob is empty; it counts as absent until it is pushed again"
        );
    }
    is_whole
}

/// Describes stored bytes under the digest by which a repository knows them.
pub(crate) fn known_as(digest: &Digest, meta: &Meta) -> BlobInfo {
    BlobInfo::new(*digest, meta.size).with_modified(Some(meta.modified))
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::Algorithm;

    #[test]
    fn only_the_bare_text_of_the_digest_or_of_its_other_name_is_a_link() {
        let [sha256, sha512] = Algorithm::ALL.map(|algorithm| Digest::of(algorithm, b"x"));
        let link = |text: String, digest: &Digest| read_link(text.as_bytes(), digest);
        assert_eq!(link(sha256.to_string(), &sha256), Some(sha256));
        assert_eq!(link(sha512.to_string(), &sha512), Some(sha512));
        assert_eq!(link(sha256.to_string(), &sha512), Some(sha256));
        assert_eq!(link(sha512.to_string(), &sha256), None);
        let other = Digest::of(Algorithm::Sha256, b"y");
        for garbage in [
            String::new(),
            format!("{sha256}\n"),
            "sha256:".to_owned(),
            other.to_string(),
        ] {
            assert_eq!(link(garbage.clone(), &sha256), None, "{garbage:?}");
        }
    }
}
