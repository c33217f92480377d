//! The record of a tag as a numbered log, for a store that only knows the creation of absent objects.
//!
//! `_history/<name>/_log/<tag>/<number>` is a target, or a deletion. The entry with the largest number is the tag. Who
//! creates the next number has moved the tag; nobody else can. Numbers never begin again. `current/link` is derived from
//! the last entry, for registry:2 and for listings; a tag without a log is what its link says.
//!
//! The newest entries are kept. An entry that is created late, when its number has been removed, is far below the last
//! one: whoever creates an entry lists the log afterwards, and then knows that it moved nothing.
//!
//! A move costs four requests more than with conditions. A process that only reads, and was not told of the abilities of
//! the store, reads the link.

use super::{
    Link,
    pointer::{Head, Swapped, contended},
};
use crate::{
    bucket::{Condition, Fence, Sent},
    history::last_part,
    keys,
    nonce::nonce,
    store::Store,
};
use bytes::Bytes;
use registry_core::{Digest, RepositoryName, Tag, storage::Result};

/// Number of entries that are kept.
const KEPT: u64 = 100;

/// Number of entries after which older ones are removed.
const TRIM_EVERY: u64 = 16;

/// Number of attempts to derive a link from the last entry, while others add entries.
const ATTEMPTS: usize = 5;

/// Text of an entry in the place of a digest, if the tag was deleted.
const DELETED: &str = "-";

fn key(repository: &RepositoryName, tag: &Tag, number: u64) -> String {
    format!("{}/{number:020}", keys::log(repository, tag))
}

impl Store {
    /// Returns the numbers of the entries, in order.
    async fn numbers(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<u64>> {
        let (mut numbers, mut token) = (Vec::new(), None);
        loop {
            let page = self.bucket.page(&keys::log(repository, tag), token).await?;
            let names = page.objects.into_iter().filter_map(|meta| last_part(&meta.key));
            numbers.extend(names.filter_map(|name| keys::number(&name)));
            token = page.next;
            if token.is_none() {
                numbers.sort_unstable();
                return Ok(numbers);
            }
        }
    }

    /// Reads the last entry of the log of a tag.
    pub(super) async fn head(&self, repository: &RepositoryName, tag: &Tag) -> Result<Head> {
        for _ in 0..ATTEMPTS {
            let Some(number) = self.numbers(repository, tag).await?.pop() else {
                let object = self.bucket.get_link(&keys::tag(repository, tag)).await?;
                let link = Link::of_tag(object.as_ref().map(|object| &object.bytes[..]));
                return Ok(Head { number: 0, link });
            };
            // Otherwise it was removed meanwhile: there are many newer ones.
            if let Some(object) = self.bucket.get_link(&key(repository, tag, number)).await? {
                let link = match object.bytes.starts_with(DELETED.as_bytes()) {
                    true => Link::None,
                    false => Link::of_tag(Some(&object.bytes)),
                };
                return Ok(Head { number, link });
            }
        }
        Err(contended(repository, tag))
    }

    /// Adds an entry after the last one that was read.
    pub(super) async fn append_to_log(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        after: &Head,
        to: Option<&Digest>,
        fence: Option<Fence>,
    ) -> Result<Swapped> {
        let number = after.number + 1;
        let (key, fence) = (key(repository, tag, number), self.sooner(fence));
        let target = to.map_or_else(|| DELETED.to_owned(), Digest::to_string);
        let text = Bytes::from(format!("{target} {}", nonce()?));
        let sent = self
            .bucket
            .put_once(&key, text.clone(), &Condition::Absent, fence)
            .await?;
        match sent {
            Sent::Done(_) => {}
            Sent::Refused => return Ok(Swapped::Refused),
            Sent::Expired => return Ok(Swapped::Expired),
            Sent::Unclear => {
                self.wait_for(fence, &key).await?;
                let found = self.bucket.get_link(&key).await?;
                if found.is_none_or(|found| found.bytes != text) {
                    return Ok(Swapped::Refused);
                }
            }
        }
        let numbers = self.derive_link(repository, tag, number, to.copied()).await?;
        let last = numbers.last().copied().unwrap_or_default();
        if last >= number + KEPT {
            // It was created in a place from which an entry had been removed.
            self.bucket.delete(&key).await?;
            return Ok(Swapped::Refused);
        }
        if number.is_multiple_of(TRIM_EVERY) {
            for old in numbers.iter().take_while(|old| **old + 2 * KEPT <= last) {
                self.bucket.delete(&self::key(repository, tag, *old)).await?;
            }
        }
        Ok(Swapped::Done)
    }

    /// Writes the link of a tag as its last entry says, which was read.
    pub(super) async fn derive_last(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        head: &Head,
    ) -> Result<()> {
        // Without an entry, the link is the tag.
        if head.number > 0 {
            self.derive_link(repository, tag, head.number, head.link.target())
                .await?;
        }
        Ok(())
    }

    /// Writes the link of a tag as its last entry says. Returns the numbers of all entries.
    async fn derive_link(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        number: u64,
        to: Option<Digest>,
    ) -> Result<Vec<u64>> {
        let link = keys::tag(repository, tag);
        let (mut number, mut to) = (number, to);
        for _ in 0..ATTEMPTS {
            // One that lands late would be of an older entry.
            let fence = self.fence_of(self.moving);
            let sent = match to {
                Some(target) => {
                    let text = Bytes::from(target.to_string());
                    self.bucket.put_once(&link, text, &Condition::Any, fence).await?
                }
                None => self.bucket.delete_once(&link, &Condition::Any, fence).await?,
            };
            match sent {
                Sent::Done(_) | Sent::Refused => {}
                Sent::Expired => continue,
                Sent::Unclear => {
                    self.wait_for(fence, &link).await?;
                    continue;
                }
            }
            let numbers = self.numbers(repository, tag).await?;
            if numbers.last().is_none_or(|last| *last <= number) {
                return Ok(numbers);
            }
            let head = self.head(repository, tag).await?;
            (number, to) = (head.number, head.link.target());
        }
        // Others add entries, and the last of them derives the link.
        self.numbers(repository, tag).await
    }
}
