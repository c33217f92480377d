//! The compare-and-swap of a tag.

use super::{
    Link,
    pointer::{Place, Pointer, Swapped, contended},
};
use crate::{
    bucket::{Condition, Fence, Sent, Version},
    keys,
    nonce::nonce,
    rung::Rung,
    store::Store,
};
use bytes::Bytes;
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Result, StorageError},
};
use std::time::{Duration, SystemTime};

impl Store {
    /// Reads the record of a tag.
    pub(crate) async fn pointer(&self, repository: &RepositoryName, tag: &Tag) -> Result<Pointer> {
        if self.rung == Rung::Log {
            let head = self.head(repository, tag).await?;
            return Ok(Pointer {
                link: head.link,
                modified: None,
                is_marked: false,
                at: Place::Log(head),
            });
        }
        let object = self.bucket.get_link(&keys::tag(repository, tag)).await?;
        let link = Link::of_tag(object.as_ref().map(|object| &object.bytes[..]));
        Ok(Pointer {
            link,
            modified: object.as_ref().map(|object| object.modified),
            is_marked: object.as_ref().is_some_and(|object| object.bytes.contains(&b' ')),
            at: Place::Object(object.map(|object| object.version)),
        })
    }

    /// Moves a tag from where it was read to a manifest.
    pub(crate) async fn repoint(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        from: &Pointer,
        to: &Digest,
        fence: Option<Fence>,
    ) -> Result<Swapped> {
        let text = to.to_string();
        match &from.at {
            Place::Object(_) => self.replace(repository, tag, from, text.into(), fence).await,
            Place::Log(head) => self.append_to_log(repository, tag, head, Some(to), fence).await,
        }
    }

    /// Removes a tag that is as it was read.
    pub(crate) async fn unlink(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        from: &Pointer,
        fence: Option<Fence>,
    ) -> Result<Swapped> {
        let version = match &from.at {
            Place::Log(head) => return self.append_to_log(repository, tag, head, None, fence).await,
            Place::Object(None) => return Ok(Swapped::Done),
            Place::Object(Some(version)) => version,
        };
        let (key, fence) = (keys::tag(repository, tag), self.sooner(fence));
        let sent = self
            .bucket
            .delete_once(&key, &self.condition(Some(version)), fence)
            .await?;
        match sent {
            Sent::Done(_) => return Ok(Swapped::Done),
            Sent::Refused => return Ok(Swapped::Refused),
            Sent::Expired => return Ok(Swapped::Expired),
            Sent::Unclear => {}
        }
        self.wait_for(fence, &key).await?;
        Ok(match self.bucket.get_link(&key).await? {
            None => Swapped::Done,
            // It had no effect: the caller reads again.
            Some(link) if link.version == *version => Swapped::Refused,
            Some(_) => Swapped::Replaced,
        })
    }

    /// Marks the link of a tag, whose target stays. Returns the tag as it is then, or `None` if it has changed.
    ///
    /// A mark makes a link that nobody else can make. Who puts the tag meanwhile, also with the same manifest, replaces
    /// it: a removal of the marked link is refused then, also one that a replica has sent which has died. Another deletion
    /// may have marked it before. The other two means tell each put from the one before.
    pub(crate) async fn mark(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        from: &Pointer,
        fence: Option<Fence>,
    ) -> Result<Option<Pointer>> {
        let (Place::Object(_), Link::To(target), Rung::Conditional) = (&from.at, from.link, self.rung) else {
            return Ok(Some(from.clone()));
        };
        if from.is_marked {
            return Ok(Some(from.clone()));
        }
        let text = Bytes::from(format!("{target} {}", nonce()?));
        match self.replace(repository, tag, from, text.clone(), fence).await? {
            Swapped::Done => {}
            Swapped::Refused | Swapped::Replaced => return Ok(None),
            Swapped::Expired => return Err(contended(repository, tag)),
        }
        let object = self.bucket.get_link(&keys::tag(repository, tag)).await?;
        Ok(object
            .filter(|object| object.bytes == text)
            .map(|object| Pointer {
                link: from.link,
                modified: Some(object.modified),
                is_marked: true,
                at: Place::Object(Some(object.version)),
            }))
    }

    /// Takes the mark off the link of a tag, which registry:2 could not read, unless somebody has put the tag meanwhile. A
    /// failure is mended by the next collection.
    pub(crate) async fn take_mark_off(&self, repository: &RepositoryName, tag: &Tag, marked: &Pointer) {
        let Link::To(target) = marked.link else { return };
        if !marked.is_marked {
            return;
        }
        let fence = self.fence_of(self.moving);
        if let Err(error) = self.repoint(repository, tag, marked, &target, fence).await {
            tracing::debug!(
                %repository, %tag, error = &error as &dyn std::error::Error,
                "cannot take the mark of a deletion off a tag; the next collection does"
            );
        }
    }

    /// Writes the link of a tag as it has to be: without a mark that a deletion has left which has stopped, and as the log
    /// says.
    pub(crate) async fn tidy_link(&self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let _turn = self.turns.take(repository, tag).await;
        let pointer = self.pointer(repository, tag).await?;
        match &pointer.at {
            Place::Log(head) => self.derive_last(repository, tag, head).await,
            Place::Object(_) => {
                self.take_mark_off(repository, tag, &pointer).await;
                Ok(())
            }
        }
    }

    async fn replace(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        from: &Pointer,
        text: Bytes,
        fence: Option<Fence>,
    ) -> Result<Swapped> {
        let Place::Object(version) = &from.at else {
            return Err(StorageError::internal("a tag in a log has no link to replace"));
        };
        let (key, fence) = (keys::tag(repository, tag), self.sooner(fence));
        let sent = self
            .bucket
            .put_once(&key, text.clone(), &self.condition(version.as_ref()), fence)
            .await?;
        match sent {
            Sent::Done(_) => return Ok(Swapped::Done),
            Sent::Refused => return Ok(Swapped::Refused),
            Sent::Expired => return Ok(Swapped::Expired),
            Sent::Unclear => {}
        }
        self.wait_for(fence, &key).await?;
        let found = self.bucket.get_link(&key).await?;
        if found.as_ref().is_some_and(|object| object.bytes == text) {
            return Ok(Swapped::Done);
        }
        let target = Link::of_tag(found.as_ref().map(|object| &object.bytes[..])).target();
        Ok(match target.is_some() && target != from.link.target() {
            true => Swapped::Replaced,
            // It had no effect, or its effect is gone: the caller reads again.
            false => Swapped::Refused,
        })
    }

    /// Returns the condition of a write, where the store keeps it.
    fn condition(&self, version: Option<&Version>) -> Condition {
        match (self.rung, version) {
            (Rung::Sole, _) => Condition::Any,
            (_, Some(version)) => Condition::Is(version.clone()),
            (_, None) => Condition::Absent,
        }
    }

    /// Returns a fence that is passed soon, so that a lost answer does not have to be waited for long.
    pub(crate) fn sooner(&self, fence: Option<Fence>) -> Option<Fence> {
        let fence = fence?;
        Some(match self.fence_of(self.moving) {
            Some(soon) if soon.expires() < fence.expires() => soon,
            _ => fence,
        })
    }

    /// Returns a fence for a request that is sent now, and valid for some time. The answer to a look before has told the
    /// time; if the local clock, by which requests are signed, is ahead of it, the fence is passed that much later.
    pub(crate) fn fence_of(&self, valid: Duration) -> Option<Fence> {
        let told = self.bucket.observed().latest()?;
        let ahead = SystemTime::now().duration_since(told.time()).unwrap_or_default();
        Some(Fence {
            told,
            valid: valid + ahead,
        })
    }

    /// Waits until the store's clock has passed a fence. Fails if the store no longer answers, once the time has passed.
    pub(crate) async fn wait_for(&self, fence: Option<Fence>, key: &str) -> Result<()> {
        match fence {
            Some(fence) => self.outlast(fence.expires().after(self.moving / 2), key).await,
            None => Ok(()),
        }
    }
}
