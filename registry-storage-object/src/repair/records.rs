//! Records: links and tags that name nothing, or content that is gone.
//!
//! A link can be written again from its key. In a bucket, a record that was lost looks like one that was deleted, so that
//! it is not written again, except that of a manifest at which a tag still points: a deletion removes the tags first.

use crate::{
    bucket::{Condition, Object, Sent},
    error::restart,
    gate::Promised,
    keys,
    links::{SECTIONS, read_link},
    marks::is_marked,
    scans::{at_once, by_name},
    store::Store,
    tags::{Link, Moving, Origin, Pointer},
};
use futures_util::FutureExt as _;
use registry_core::{
    Digest, RepositoryName, Tag,
    manifest::Manifest,
    storage::{Deletion, Document, Fault, FaultKind, Listing, Page, Record, Result, StorageError, TagExpect},
};
use std::time::SystemTime;

/// Name by which the history of a tag says that it was repaired.
const REPAIR: &str = "registry:repair";

/// Damage of a link that a deletion has marked.
const LEFT_MARKED: &str =
    "the link has the mark of a deletion that has stopped, which registry:2 cannot read";

/// Number of records that are looked at before the next ones are.
const LOOKS: usize = 256;

impl Store {
    /// Lists the faulty records of a repository, in order.
    pub(super) async fn fault_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Record>,
    ) -> Result<Listing<Fault>> {
        let records = self.records(repository).await?;
        let beyond = |record: &Record| page.after.is_none_or(|after| record > after);
        let records: Vec<Record> = records.into_iter().filter(beyond).collect();
        let mut found = Vec::new();
        for some in records.chunks(LOOKS) {
            let looks = some.iter().map(|record| self.fault(repository, record).boxed());
            let faults = at_once(looks).await?.into_iter().flatten();
            // A missing one was deleted since it was listed.
            found.extend(faults.filter(|fault| !matches!(fault.kind, FaultKind::Missing | FaultKind::Lost)));
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns the records of a repository, in order.
    async fn records(&self, repository: &RepositoryName) -> Result<Vec<Record>> {
        let (layers, revisions, tags) = (
            keys::all_layers(repository),
            keys::all_revisions(repository),
            keys::tags(repository),
        );
        let (blobs, manifests, targets) = tokio::try_join!(
            self.list_all(&layers),
            self.list_all(&revisions),
            self.list_all(&tags)
        )?;
        let blobs = by_name(blobs, |key| keys::linked(&layers, key)).into_keys();
        let manifests = by_name(manifests, |key| keys::linked(&revisions, key)).into_keys();
        let targets = by_name(targets, |key| keys::current_tag(&tags, key)).into_keys();
        let records = blobs.map(Record::Blob);
        let records = records.chain(manifests.map(Record::Manifest));
        let records = records.chain(targets.map(Record::Tag));
        Ok(records.chain([Record::Referrers]).collect())
    }

    pub(crate) async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        let (key, looked) = match record {
            Record::Blob(digest) => {
                let key = keys::layer(repository, digest);
                let looked = self.fault_of_link(record, digest, &key).await;
                (key, looked)
            }
            Record::Manifest(digest) => {
                let key = keys::revision(repository, digest);
                let looked = self.fault_of_manifest(repository, record, digest, &key).await;
                (key, looked)
            }
            Record::Tag(tag) => {
                let key = keys::tag(repository, tag);
                let looked = self.fault_of_tag(repository, record, tag, &key).await;
                (key, looked)
            }
            Record::Referrers => {
                let key = keys::referrers(repository);
                let looked = self.fault_of_referrers(repository, record, &key).await;
                (key, looked)
            }
            _ => return Err(StorageError::Unsupported("look at this kind of record")),
        };
        match looked {
            // The store cannot read this object, and works.
            Err(error @ StorageError::Internal { .. }) => {
                let fault = Fault::new(record.clone(), FaultKind::Unreadable, key, error.to_string());
                Ok(Some(fault))
            }
            looked => looked,
        }
    }

    async fn fault_of_link(&self, record: &Record, digest: &Digest, key: &str) -> Result<Option<Fault>> {
        let fault = |kind, reason: &str| Fault::new(record.clone(), kind, key, reason);
        let (link, own) = tokio::try_join!(self.bucket.get_link(key), self.stored(digest))?;
        let Some(link) = link else {
            return Ok(Some(fault(FaultKind::Missing, "there is no link")));
        };
        let Some(target) = read_link(&link.bytes, digest) else {
            let reason = "the link contains no digest, or a wrong one";
            let garbled = fault(FaultKind::Garbled, reason);
            return Ok(Some(garbled.with_mendable(own.is_some())));
        };
        let data = match target == *digest {
            true => own,
            false => self.stored(&target).await?,
        };
        let dangling = || {
            let reason = format!("the content is gone: {}", keys::blob(&target));
            fault(FaultKind::Dangling, &reason)
        };
        let left = || fault(FaultKind::Marked, LEFT_MARKED).with_mendable(true);
        let is_left = is_marked(&link.bytes) && self.is_left(link.modified);
        Ok(data.is_none().then(dangling).or_else(|| is_left.then(left)))
    }

    async fn fault_of_manifest(
        &self,
        repository: &RepositoryName,
        record: &Record,
        digest: &Digest,
        key: &str,
    ) -> Result<Option<Fault>> {
        let fault = self.fault_of_link(record, digest, key).await?;
        match fault {
            Some(missing) if missing.kind == FaultKind::Missing => {
                let document = self.document(repository, digest).await?;
                let is_manifest = matches!(
                    document,
                    Document::Whole(found) if Manifest::parse_stored(&found.bytes, &found.media_type).is_ok()
                );
                Ok(Some(missing.with_mendable(is_manifest)))
            }
            fault => Ok(fault),
        }
    }

    async fn fault_of_tag(
        &self,
        repository: &RepositoryName,
        record: &Record,
        tag: &Tag,
        key: &str,
    ) -> Result<Option<Fault>> {
        let fault = |kind, reason: &str| Fault::new(record.clone(), kind, key, reason);
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        Ok(match pointer.link {
            Link::To(_) if self.is_left_marked(&pointer) => {
                Some(fault(FaultKind::Marked, LEFT_MARKED).with_mendable(true))
            }
            Link::To(_) => None,
            Link::Garbled => {
                let garbled = fault(FaultKind::Garbled, "the link contains no digest");
                Some(garbled.with_mendable(true))
            }
            Link::None => match self.lost_target(repository, tag, &entries).await? {
                None => Some(fault(FaultKind::Missing, "there is no link")),
                Some(target) => {
                    let is_there = self.revision(repository, &target).await?.is_some();
                    let gone = if is_there {
                        ""
                    } else {
                        "; the manifest is damaged or gone"
                    };
                    let reason =
                        format!("it pointed at {target}, and nobody is known to have deleted it{gone}");
                    Some(fault(FaultKind::Lost, &reason).with_mendable(is_there))
                }
            },
        })
    }

    async fn fault_of_referrers(
        &self,
        repository: &RepositoryName,
        record: &Record,
        key: &str,
    ) -> Result<Option<Fault>> {
        let missing = self.count_missing_referrers(repository).await?;
        let reason = format!("the index lacks {missing} referrers");
        let fault = Fault::new(record.clone(), FaultKind::Garbled, key, reason);
        Ok((missing > 0).then(|| fault.with_mendable(!self.options.read_only)))
    }

    pub(super) async fn mend(&self, repository: &RepositoryName, record: &Record) -> Result<bool> {
        match record {
            Record::Blob(digest) => {
                self.mend_link(repository, record, digest, &keys::layer(repository, digest))
                    .await
            }
            Record::Manifest(digest) => {
                self.mend_link(repository, record, digest, &keys::revision(repository, digest))
                    .await
            }
            Record::Tag(tag) => self.mend_tag(repository, tag).await,
            Record::Referrers => self.mend_referrers(repository).await,
            _ => Ok(false),
        }
    }

    /// Writes a link again, if that mends it, and if nobody has written or removed it meanwhile.
    async fn mend_link(
        &self,
        repository: &RepositoryName,
        record: &Record,
        digest: &Digest,
        key: &str,
    ) -> Result<bool> {
        for _ in 0..SECTIONS {
            let view = self.gate.view(&self.bucket).await?;
            let there = self.bucket.get_link(key).await?;
            let fault = self.fault(repository, record).await?;
            if !fault.is_some_and(|fault| fault.mendable) {
                return Ok(false);
            }
            if let Record::Manifest(_) = record
                && let Document::Whole(manifest) = self.document(repository, digest).await?
                && !self.restore_referrer(repository, &manifest, &view).await?
            {
                continue;
            }
            let is_left = |link: &Object| is_marked(&link.bytes) && read_link(&link.bytes, digest).is_some();
            if there.as_ref().is_some_and(is_left) {
                return self.keep_link(key).await;
            }
            let condition = match &there {
                Some(link) => Condition::Is(link.version.clone()),
                None => Condition::Absent,
            };
            let text = digest.to_string().into();
            match self.bucket.put_once(key, text, &condition, view.fence()).await? {
                Sent::Done(_) => return Ok(true),
                Sent::Refused | Sent::Expired | Sent::Unclear => {}
            }
        }
        Err(restart(&format!("write {key}")))
    }

    /// Returns true if a deletion has marked a tag that cannot be going on any more.
    fn is_left_marked(&self, pointer: &Pointer) -> bool {
        let marked = pointer.modified.filter(|_| pointer.is_marked);
        marked.is_some_and(|marked| self.is_left(marked))
    }

    /// Returns true if a deletion cannot be going on any more that has written a mark at this time.
    pub(crate) fn is_left(&self, marked: SystemTime) -> bool {
        marked + self.settled() < self.now()
    }

    /// Removes a tag that names nothing, or makes a lost one point again where it pointed last.
    async fn mend_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        let (pointer, entries) = self.tag_state(repository, tag).await?;
        match pointer.link {
            Link::To(_) if self.is_left_marked(&pointer) => {
                self.tidy_link(repository, tag).await?;
                Ok(true)
            }
            Link::To(_) => Ok(false),
            // A garbled link has no target, and is there. So nothing else is removed.
            Link::Garbled => {
                let deleted = self.delete_tag(repository, tag, TagExpect::Absent, Deletion::new());
                is_done(deleted.await.map(|_| true))
            }
            Link::None => match self.lost_target(repository, tag, &entries).await? {
                None => Ok(false),
                Some(target) => is_done(self.put_back(repository, tag, &target).await),
            },
        }
    }

    /// Makes a lost tag point at a manifest again. Returns false if the manifest is gone.
    async fn put_back(&self, repository: &RepositoryName, tag: &Tag, target: &Digest) -> Result<bool> {
        for _ in 0..SECTIONS {
            let view = self.gate.view(&self.bucket).await?;
            let promised = [Promised::Manifest(repository, target)];
            self.gate.promise(&self.bucket, &view, &promised).await?;
            if self.revision(repository, target).await?.is_none() {
                return Ok(false);
            }
            let moving = Moving {
                repository,
                tag,
                to: target,
                expect: TagExpect::Absent,
                origin: Origin::restored_by(REPAIR),
                view: &view,
            };
            if self.move_tag(&moving).await?.is_none() {
                continue;
            }
            self.outlast_deletion(repository, target).await?;
            if self.keep_link(&keys::revision(repository, target)).await? {
                return Ok(true);
            }
            // The manifest was deleted meanwhile, with the tags that it had then.
            let expect = TagExpect::Is(*target);
            self.delete_tag(repository, tag, expect, Deletion::new()).await?;
            return Ok(false);
        }
        Err(restart(&format!("restore the tag {tag} of {repository}")))
    }
}

/// Returns false if the tag has changed meanwhile.
fn is_done(mended: Result<bool>) -> Result<bool> {
    match mended {
        Err(StorageError::TagConflict { .. }) => Ok(false),
        mended => mended,
    }
}
