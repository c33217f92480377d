//! Damaged content is moved to quarantine. It is then absent for everybody, and clients push it again.
//!
//! It moves to `_quarantine/<algorithm>/<hex>/<n>/bytes`. A text beside it, `why`, names the key and the damage. The store
//! copies it, and removes the original on condition that it still is what was checked. Where the rung has no such condition,
//! it is looked at just before.

use super::check::version;
use crate::{
    bucket::{Condition, Fence, Meta, Sent},
    error::restart,
    keys,
    links::SECTIONS,
    rung::Rung,
    scans::{at_once, by_name},
    store::Store,
};
use futures_util::FutureExt as _;
use registry_core::storage::{Evidence, Listing, Page, QuarantineId, Quarantined, Result};
use std::time::Duration;

/// Validity of a removal, for whose end a call waits if the answer is lost.
const REMOVAL: Duration = Duration::from_secs(20);

/// Maximum number of other processes that move content of the same digest at the same moment.
const RIVALS: u64 = 16;

impl Store {
    /// Quarantines content if it is still what was checked.
    pub(super) async fn quarantine(&self, evidence: &Evidence) -> Result<bool> {
        let key = keys::blob(&evidence.digest);
        let is_it = |meta: &Meta| version(meta).as_bytes() == evidence.version;
        let Some(found) = self.bucket.head(&key).await?.filter(is_it) else {
            return Ok(false);
        };
        let id = self.reserve(evidence, &key).await?;
        let moved = self.move_aside(&id, &key, &found).await;
        if !matches!(moved, Ok(true)) {
            // Best effort: bytes without their original are listed, and an operator removes them.
            let dropped = self.drop_item(&id).await;
            if let Err(error) = dropped {
                tracing::warn!(digest = %id.digest, number = id.number, error = %error,
                    "cannot remove a copy of content that stays where it is from the quarantine");
            }
            return moved;
        }
        tracing::error!(
            digest = %evidence.digest,
            key,
            damage = evidence.reason,
            quarantine = keys::quarantine(&id),
            "stored content is damaged and was moved to quarantine; it counts as absent until it is pushed again"
        );
        Ok(true)
    }

    /// Takes a free number, and writes there why.
    async fn reserve(&self, evidence: &Evidence, key: &str) -> Result<QuarantineId> {
        let found = jiff::Timestamp::try_from(self.now()).unwrap_or_default();
        let why = format!("path: {key}\nfound: {found}\ndamage: {}\n", evidence.reason);
        let digest = evidence.digest;
        let directory = keys::quarantines(&digest);
        let taken = self.list_all(&directory).await?;
        let number = |object: &Meta| keys::number(keys::name_in(&directory, &object.key)?);
        let first = taken.iter().filter_map(number).max().unwrap_or(0) + 1;
        for number in first..first + RIVALS {
            let id = QuarantineId::new(digest, number);
            let place = format!("{}/why", keys::quarantine(&id));
            let sent = self
                .bucket
                .put_once(&place, why.clone().into(), &Condition::Absent, None)
                .await?;
            if let Sent::Done(_) = sent {
                return Ok(id);
            }
        }
        Err(restart("move damaged content to quarantine"))
    }

    /// Returns false if the content is no longer what was found. It stays then.
    async fn move_aside(&self, id: &QuarantineId, key: &str, found: &Meta) -> Result<bool> {
        let copied = self.bucket.copy(key, &bytes(id)).await;
        let is_same = async || -> Result<bool> {
            let now = self.bucket.head(key).await?;
            Ok(now.is_some_and(|now| version(&now) == version(found)))
        };
        if copied.is_err() && !is_same().await? {
            return Ok(false);
        }
        copied?;
        for _ in 0..SECTIONS {
            if self.rung != Rung::Conditional && !is_same().await? {
                return Ok(false);
            }
            let fence = self
                .bucket
                .observed()
                .latest()
                .map(|told| Fence { told, valid: REMOVAL });
            let condition = match self.rung {
                Rung::Conditional => Condition::Is(found.version.clone()),
                Rung::Log | Rung::Sole => Condition::Any,
            };
            match self.bucket.delete_once(key, &condition, fence).await? {
                Sent::Done(_) => return Ok(true),
                Sent::Refused => return Ok(false),
                Sent::Expired => {}
                Sent::Unclear => {
                    if let Some(fence) = fence {
                        self.outlast(self.over(fence), key).await?;
                    }
                    match self.bucket.head(key).await? {
                        None => return Ok(true),
                        Some(now) if version(&now) != version(found) => return Ok(false),
                        Some(_) => {}
                    }
                }
            }
        }
        Err(restart(&format!("remove {key}")))
    }

    pub(super) async fn quarantined_page(
        &self,
        page: Page<'_, QuarantineId>,
    ) -> Result<Listing<Quarantined>> {
        let items = by_name(self.list_all(keys::QUARANTINE).await?, keys::quarantined);
        let beyond = |id: &QuarantineId| page.after.is_none_or(|after| id > after);
        let listing = Listing::first(page.limit, items.into_iter().filter(|(id, _)| beyond(id)));
        let items = listing
            .items
            .iter()
            .map(|(id, bytes)| self.described(id, bytes).boxed());
        Ok(Listing::new(at_once(items).await?, listing.more))
    }

    async fn described(&self, id: &QuarantineId, bytes: &Meta) -> Result<Quarantined> {
        let place = keys::quarantine(id);
        let why = self.bucket.get(&format!("{place}/why")).await?;
        let why = why.map(|why| String::from_utf8_lossy(&why.bytes).into_owned());
        let damage = why
            .iter()
            .flat_map(|why| why.lines())
            .find_map(|line| line.strip_prefix("damage: "));
        let reason = damage.unwrap_or("there is no record of the damage");
        let item = Quarantined::new(*id, bytes.size, &place, reason);
        Ok(item.with_since(Some(bytes.modified)))
    }

    pub(super) async fn remove_quarantined(&self, id: &QuarantineId) -> Result<bool> {
        let is_there = self.bucket.head(&bytes(id)).await?.is_some();
        if is_there {
            self.drop_item(id).await?;
        }
        Ok(is_there)
    }

    async fn drop_item(&self, id: &QuarantineId) -> Result<()> {
        self.bucket.delete(&bytes(id)).await?;
        self.bucket.delete(&format!("{}/why", keys::quarantine(id))).await
    }
}

fn bytes(id: &QuarantineId) -> String {
    format!("{}/bytes", keys::quarantine(id))
}
