//! [`Walk`]: one repository, with its records, its manifests and everything that they name, and its tags.

use super::{
    affected::{Affected, References},
    finding::{Finding, FindingKind, Remedy, Repaired},
    options::PAGE,
    run::{Run, with_causes},
};
use crate::{
    digest::{AnyDigest, Digest},
    manifest::{Child, Manifest},
    name::RepositoryName,
    reference::Tag,
    storage::{
        Deletion, Document, Fault, FaultKind, Page, Record, Seen, Storage, StorageError, StorageInspect,
        StoredManifest, TagExpect, TagTarget,
    },
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Number of failures to read a repository in a storage that works, after which it counts as unreadable.
const FAILURES: usize = 3;

/// Verifies a repository. A failure to read it is a finding, unless the storage as a whole does not work.
pub(super) async fn verify(run: &mut Run<'_>, name: &RepositoryName) -> Result<(), StorageError> {
    verify_in_tries(run, name, true).await
}

/// Verifies a repository that does not exist: its histories may know tags. What is put back is verified.
pub(super) async fn verify_gone(run: &mut Run<'_>, name: &RepositoryName) -> Result<(), StorageError> {
    verify_in_tries(run, name, false).await
}

async fn verify_in_tries(run: &mut Run<'_>, name: &RepositoryName, exists: bool) -> Result<(), StorageError> {
    let mut repaired = Vec::new();
    for failed in 0.. {
        let before = run.position();
        let mut walk = Walk::new(run, name);
        walk.is_last_try = failed + 1 == FAILURES;
        let walked = match exists {
            true => walk.walk().await,
            false => walk.walk_gone().await,
        };
        let Err(StorageError::Unavailable { .. }) = &walked else {
            walk.end(repaired, walked);
            break;
        };
        // The storage as a whole may not have worked, or does not work now.
        let works = works(walk.run.inspect).await;
        if works.is_ok() && walk.is_last_try {
            walk.end(repaired, walked);
            break;
        }
        // What was found is found again, except what a repair has changed.
        let is_changed =
            |finding: &Finding| !matches!(finding.repaired, Repaired::NotTried | Repaired::Stopped);
        repaired.extend(walk.findings.into_iter().filter(is_changed));
        run.return_to(before);
        if works.is_err() {
            repaired.iter().for_each(|finding| run.found(finding));
            return works;
        }
    }
    Ok(())
}

/// Fails if the storage as a whole does not work.
async fn works(inspect: &dyn StorageInspect) -> Result<(), StorageError> {
    inspect.all_repositories(Page::first(1)).await.map(drop)
}

/// Passes on that the storage does not work now, unless this is the last try and it works for everything else.
async fn unless_unavailable(
    inspect: &dyn StorageInspect,
    is_last_try: bool,
    error: StorageError,
) -> Result<StorageError, StorageError> {
    let is_outage = match error {
        StorageError::Unavailable { .. } => !is_last_try || works(inspect).await.is_err(),
        _ => false,
    };
    match is_outage {
        true => Err(error),
        false => Ok(error),
    }
}

/// Walk through a repository.
struct Walk<'r, 'a> {
    run: &'r mut Run<'a>,
    name: &'r RepositoryName,
    /// Blobs of which the repository has a record, even a faulty one.
    held: HashSet<Digest>,
    /// Digests by which the storage has content, where they are others than those of the records.
    stored: HashMap<Digest, Digest>,
    /// Manifests of which it has a record, even a faulty one.
    manifests: BTreeSet<Digest>,
    references: References,
    findings: Vec<Finding>,
    /// Position of the finding about a record.
    about: HashMap<Record, usize>,
    /// True if a storage that does not work now is a finding.
    is_last_try: bool,
}

impl<'r, 'a> Walk<'r, 'a> {
    fn new(run: &'r mut Run<'a>, name: &'r RepositoryName) -> Self {
        Self {
            run,
            name,
            held: HashSet::new(),
            stored: HashMap::new(),
            manifests: BTreeSet::new(),
            references: References::default(),
            findings: Vec::new(),
            about: HashMap::new(),
            is_last_try: false,
        }
    }

    /// Reports the findings, and the repairs of earlier tries.
    fn end(self, mut repaired: Vec<Finding>, walked: Result<(), StorageError>) {
        repaired.retain(|repaired| {
            let is_same = |found: &Finding| (found.kind, &found.place) == (repaired.kind, &repaired.place);
            !self.findings.iter().any(is_same)
        });
        for finding in repaired.iter().chain(&self.findings) {
            self.run.found(finding);
        }
        if let Err(error) = walked {
            self.run.unreadable_repository(self.name, with_causes(&error));
        }
    }

    async fn walk(&mut self) -> Result<(), StorageError> {
        // First, because the manifests of those that are put back are then read like the others.
        if let Err(error) = self.lost_tags().await {
            let error = unless_unavailable(self.run.inspect, self.is_last_try, error).await?;
            // The rest of the repository does not depend on them.
            let place = format!("{}: the histories of its tags", self.name);
            self.findings.push(Finding {
                repository: Some(self.name.clone()),
                ..Finding::new(FindingKind::Unreadable, place, with_causes(&error))
            });
        }
        self.list_blobs().await?;
        self.list_manifests().await?;
        // Records before manifests, because those that are mended are then read like the others.
        self.records().await?;
        self.run.report.manifests += self.manifests.len() as u64;
        for digest in self.manifests.clone() {
            self.manifest(digest).await?;
        }
        self.name_what_is_needed();
        let affected = self.references.spread();
        for items in affected.values() {
            for item in items {
                if let Some(affected) = self.affected_by(item) {
                    affected.manifest_count += 1;
                }
            }
        }
        self.tags(&affected).await?;
        self.sessions().await
    }

    async fn walk_gone(&mut self) -> Result<(), StorageError> {
        self.lost_tags().await?;
        if self.findings.iter().any(|found| found.repaired == Repaired::Done) {
            self.walk().await?;
        }
        Ok(())
    }

    /// Looks for lost tags, and puts them back.
    async fn lost_tags(&mut self) -> Result<(), StorageError> {
        let Some(trash) = self.run.storage.trash() else {
            return Ok(());
        };
        let mut after: Option<Tag> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = trash.lost_tags(self.name, page).await?;
            for seen in listed.items {
                let (tag, digest, fault) = match seen {
                    Seen::Whole(lost) => {
                        // It may have been pushed or deleted while it was looked at.
                        let record = Record::Tag(lost.tag.clone());
                        let fault = self.run.repair.fault(self.name, &record).await?;
                        (lost.tag, Some(lost.digest), fault)
                    }
                    Seen::Unreadable { key, reason } => {
                        let (record, place) = (Record::Tag(key.clone()), format!("{}:{key}", self.name));
                        (
                            key,
                            None,
                            Some(Fault::new(record, FaultKind::Unreadable, place, reason)),
                        )
                    }
                };
                let fault = fault.filter(|fault| fault.kind != FaultKind::Missing);
                if let Some(fault) = fault.filter(|fault| !self.about.contains_key(&fault.record)) {
                    self.faulty(fault).await;
                    if let Some(finding) = self.findings.last_mut() {
                        finding.digest = digest;
                    }
                }
                after = Some(tag);
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Looks for faulty records, and mends them.
    async fn records(&mut self) -> Result<(), StorageError> {
        let mut after: Option<Record> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.run.repair.faults(self.name, page).await?;
            after = listed.items.last().map(|last| last.record.clone());
            for fault in listed.items {
                match &fault.record {
                    Record::Blob(digest) => drop(self.held.insert(*digest)),
                    Record::Manifest(digest) => drop(self.manifests.insert(*digest)),
                    Record::Tag(_) | Record::Referrers => {}
                }
                // It may have come or gone while it was looked at.
                let again = self.run.repair.fault(self.name, &fault.record).await?;
                if let Some(fault) = again.filter(|fault| fault.kind != FaultKind::Missing) {
                    self.faulty(fault).await;
                }
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Reports a faulty record, unless its content is reported.
    async fn faulty(&mut self, fault: Fault) {
        let record = fault.record.clone();
        let is_damage = fault.kind != FaultKind::Marked;
        if is_damage {
            self.references.damage(record.clone());
        }
        let content = content_of(&record);
        if fault.kind == FaultKind::Dangling
            && content.is_some_and(|content| self.run.contents.is_damaged(content))
        {
            return;
        }
        let remedy = match (&record, fault.mendable) {
            (Record::Tag(_), true) if fault.kind == FaultKind::Lost => Remedy::PutBack,
            (Record::Tag(_), true) if is_damage => Remedy::DeleteTag,
            (_, true) => Remedy::Rewrite,
            (_, false) => Remedy::None,
        };
        let mut finding = Finding {
            repository: Some(self.name.clone()),
            digest: content.copied(),
            remedy,
            ..Finding::new(kind_of(&fault), fault.place, fault.reason)
        };
        if let Record::Tag(tag) = &record {
            if is_damage {
                finding.affected.add_tag(self.name, tag);
            }
            finding.tag = Some(tag.clone());
        }
        if fault.mendable {
            let mend = self.run.repair.mend(self.name, &record);
            finding.repaired = self.run.repairs().attempt(mend).await;
        }
        self.about.insert(record, self.findings.len());
        self.findings.push(finding);
    }

    async fn list_blobs(&mut self) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.run.inspect.held_blobs(self.name, page).await?;
            for seen in listed.items {
                let digest = match seen {
                    Seen::Whole(held) => self.known_as(held.digest, held.stored),
                    Seen::Unreadable { key, .. } => key,
                };
                self.held.insert(digest);
                after = Some(digest);
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    async fn list_manifests(&mut self) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.run.inspect.manifests(self.name, page).await?;
            for seen in listed.items {
                let digest = match seen {
                    Seen::Whole(held) => self.known_as(held.digest, held.stored),
                    Seen::Unreadable { key, .. } => key,
                };
                self.manifests.insert(digest);
                after = Some(digest);
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Looks for upload sessions that cannot be read: they keep everything in the repository. A directory that cannot be
    /// listed ends every collection.
    async fn sessions(&mut self) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.run.inspect.uploads(self.name, page).await?;
            for seen in listed.items {
                after = Some(match seen {
                    Seen::Whole(session) => session.id,
                    Seen::Unreadable { key, reason } => {
                        let place = format!("{}: upload session {key}", self.name);
                        self.findings.push(Finding {
                            repository: Some(self.name.clone()),
                            ..Finding::new(FindingKind::Unreadable, place, reason)
                        });
                        key
                    }
                });
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    fn known_as(&mut self, digest: Digest, stored: Digest) -> Digest {
        if stored != digest {
            self.stored.insert(digest, stored);
        }
        digest
    }

    /// Returns the digest by which the storage has some content.
    fn stored(&self, digest: &Digest) -> Digest {
        self.stored.get(digest).copied().unwrap_or(*digest)
    }

    /// Returns true if this content was found damaged.
    fn is_content_damaged(&self, digest: &Digest) -> bool {
        self.run.contents.is_damaged(&self.stored(digest))
    }

    /// Reads a manifest, and looks for everything that it names.
    async fn manifest(&mut self, digest: Digest) -> Result<(), StorageError> {
        let record = Record::Manifest(digest);
        match self.run.inspect.document(self.name, &digest).await {
            Ok(Document::Whole(stored)) => self.document(&stored).await,
            Ok(Document::Damaged(_)) => {
                self.references.damage(record);
                if !self.is_content_damaged(&digest) {
                    // Content is not read in this run, or has changed since.
                    let stored = self.stored(&digest);
                    let checked = self.run.repair.check(&stored).await?;
                    self.run.contents.add(stored, checked);
                }
                Ok(())
            }
            Ok(Document::Lost) => {
                if self.is_content_damaged(&digest) {
                    self.references.damage(record);
                    return Ok(());
                }
                self.look_at(record).await
            }
            Err(error) => {
                let error = unless_unavailable(self.run.inspect, self.is_last_try, error).await?;
                if !self.references.is_damaged(&record) {
                    let place = format!("{}@{digest}", self.name);
                    let reason = with_causes(&error);
                    self.faulty(Fault::new(record, FaultKind::Unreadable, place, reason))
                        .await;
                }
                Ok(())
            }
        }
    }

    /// Reports a record that could not be used, unless it is gone or was reported.
    async fn look_at(&mut self, record: Record) -> Result<(), StorageError> {
        if self.references.is_damaged(&record) {
            return Ok(());
        }
        let fault = self.run.repair.fault(self.name, &record).await?;
        if let Some(fault) = fault.filter(|fault| fault.kind != FaultKind::Missing) {
            self.faulty(fault).await;
        }
        Ok(())
    }

    async fn document(&mut self, stored: &StoredManifest) -> Result<(), StorageError> {
        let manifest = match Manifest::parse_stored(&stored.bytes, &stored.media_type) {
            Ok(manifest) => manifest,
            Err(error) => {
                // registry:2 accepted obsolete kinds of manifests.
                tracing::debug!(repository = %self.name, digest = %stored.digest, %error, "cannot parse a stored manifest; what it names is not verified");
                return Ok(());
            }
        };
        for child in manifest.blobs().iter().filter(|child| must_be_here(child)) {
            if let AnyDigest::Known(blob) = &child.digest {
                self.needs_blob(stored.digest, *blob).await?;
            }
        }
        for child in manifest.manifests().iter().filter(|child| must_be_here(child)) {
            if let AnyDigest::Known(entry) = &child.digest {
                self.contains(stored.digest, *entry, child.is_manifest()).await?;
            }
        }
        Ok(())
    }

    /// Looks for an entry of an index: a manifest, or in some cases a blob.
    async fn contains(
        &mut self,
        index: Digest,
        entry: Digest,
        is_manifest: bool,
    ) -> Result<(), StorageError> {
        if self.manifests.contains(&entry) {
            self.references.contain(index, entry);
            return Ok(());
        }
        if !is_manifest && self.held.contains(&entry) {
            return self.needs_blob(index, entry).await;
        }
        if self.run.options.sparse_indexes {
            return Ok(());
        }
        let record = match is_manifest {
            true => Record::Manifest(entry),
            false => Record::Blob(entry),
        };
        self.missing(index, record).await
    }

    async fn needs_blob(&mut self, manifest: Digest, blob: Digest) -> Result<(), StorageError> {
        let record = Record::Blob(blob);
        if self.references.is_damaged(&record) || self.is_content_damaged(&blob) {
            self.references.need(manifest, record);
            return Ok(());
        }
        if self.held.contains(&blob) {
            return Ok(());
        }
        self.missing(manifest, record).await
    }

    /// Reports that something is missing which a manifest names.
    async fn missing(&mut self, manifest: Digest, record: Record) -> Result<(), StorageError> {
        if !self.references.is_damaged(&record) {
            let fault = self.run.repair.fault(self.name, &record).await?;
            let Some(fault) = fault else {
                // It was pushed meanwhile.
                return Ok(());
            };
            let naming = Record::Manifest(manifest);
            let naming = self.run.repair.fault(self.name, &naming).await?;
            if naming.is_some_and(|naming| naming.kind == FaultKind::Missing) {
                // Both were deleted meanwhile.
                return Ok(());
            }
            self.faulty(fault).await;
        }
        self.references.need(manifest, record);
        Ok(())
    }

    /// Tells lost blobs that a manifest needs from those that nothing needs.
    fn name_what_is_needed(&mut self) {
        for (record, position) in &self.about {
            if let Some(finding) = self.findings.get_mut(*position)
                && finding.kind == FindingKind::LostBlob
                && !self.references.is_needed(record)
            {
                finding.kind = FindingKind::Leftover;
            }
        }
    }

    /// Returns the images that a damaged item affects.
    fn affected_by(&mut self, item: &Record) -> Option<&mut Affected> {
        match self.about.get(item) {
            Some(position) => {
                let finding = self.findings.get_mut(*position);
                finding.map(|finding| &mut finding.affected)
            }
            None => {
                let stored = self.stored(content_of(item)?);
                self.run.contents.affected(&stored)
            }
        }
    }

    /// Looks for tags that point nowhere, and names those that damage affects.
    async fn tags(&mut self, affected: &HashMap<Digest, Vec<Record>>) -> Result<(), StorageError> {
        let mut after: Option<Tag> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listed = self.run.inspect.tag_targets(self.name, page).await?;
            for seen in listed.items {
                self.run.report.tags += 1;
                let before = after.take();
                match seen {
                    Seen::Whole(TagTarget {
                        tag, digest: target, ..
                    }) => {
                        for item in affected.get(&target).into_iter().flatten() {
                            let name = self.name;
                            if let Some(affected) = self.affected_by(item) {
                                affected.add_tag(name, &tag);
                            }
                        }
                        if !self.manifests.contains(&target) {
                            self.dangling(before, &tag, target).await?;
                        }
                        after = Some(tag);
                    }
                    Seen::Unreadable { key, reason, .. } => {
                        let record = Record::Tag(key.clone());
                        if !self.about.contains_key(&record) {
                            let place = format!("{}:{key}", self.name);
                            let fault = Fault::new(record, FaultKind::Unreadable, place, reason);
                            self.faulty(fault).await;
                        }
                        after = Some(key);
                    }
                }
            }
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// Reports a tag whose manifest the repository does not have. `before` is the tag listed before it.
    async fn dangling(&mut self, before: Option<Tag>, tag: &Tag, target: Digest) -> Result<(), StorageError> {
        let record = Record::Manifest(target);
        let missing = self.run.repair.fault(self.name, &record).await?;
        let Some(missing) = missing.filter(|missing| missing.kind == FaultKind::Missing) else {
            // The manifest was pushed meanwhile.
            return Ok(());
        };
        let page = Page::first(1).after(before.as_ref());
        let now = self.run.inspect.tag_targets(self.name, page).await?.items;
        let is_there = |seen: &Seen<TagTarget, Tag>| matches!(seen, Seen::Whole(now) if now.tag == *tag && now.digest == target);
        if !now.first().is_some_and(is_there) {
            // The tag was moved or deleted meanwhile.
            return Ok(());
        }
        let mut finding = Finding {
            repository: Some(self.name.clone()),
            digest: Some(target),
            tag: Some(tag.clone()),
            ..Finding::new(
                FindingKind::DanglingTag,
                format!("{}:{tag}", self.name),
                format!("it points at {target}; {}: {}", missing.place, missing.reason),
            )
        };
        finding.affected.add_tag(self.name, tag);
        let storage = self.run.storage;
        if missing.mendable {
            finding.remedy = Remedy::Rewrite;
            let mend = self.run.repair.mend(self.name, &record);
            finding.repaired = self.run.repairs().attempt(mend).await;
            self.findings.push(finding);
            return Ok(());
        }
        // Without a trash, the digest that the tag names would be lost.
        if storage.trash().is_some() && storage.abilities().conditional_tags {
            finding.remedy = Remedy::DeleteTag;
            let delete = delete_tag(storage, self.name, tag, target);
            finding.repaired = self.run.repairs().attempt(delete).await;
        }
        self.findings.push(finding);
        Ok(())
    }
}

/// Deletes a tag. Returns false if it does not point at `target` any more.
async fn delete_tag(
    storage: &dyn Storage,
    repository: &RepositoryName,
    tag: &Tag,
    target: Digest,
) -> Result<bool, StorageError> {
    let write = storage.write().ok_or(StorageError::ReadOnly)?;
    let expect = TagExpect::Is(target);
    match write.delete_tag(repository, tag, expect, Deletion::new()).await {
        Ok(deleted) => Ok(deleted.is_some()),
        Err(StorageError::TagConflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns true if this content has to be in the repository. Some layers are elsewhere.
fn must_be_here(child: &Child) -> bool {
    !child.is_nondistributable() && child.urls.is_empty()
}

/// Returns the digest of the content that a record is about.
const fn content_of(record: &Record) -> Option<&Digest> {
    match record {
        Record::Blob(digest) | Record::Manifest(digest) => Some(digest),
        Record::Tag(_) | Record::Referrers => None,
    }
}

const fn kind_of(fault: &Fault) -> FindingKind {
    match (fault.kind, &fault.record) {
        (FaultKind::Unreadable, _) => FindingKind::Unreadable,
        (FaultKind::Marked, _) => FindingKind::LeftMark,
        (FaultKind::Lost, Record::Tag(_)) => FindingKind::LostTag,
        (_, Record::Referrers) => FindingKind::Referrers,
        (_, Record::Tag(_)) => FindingKind::GarbledTag,
        (FaultKind::Garbled, Record::Blob(_)) => FindingKind::GarbledBlob,
        (FaultKind::Garbled, Record::Manifest(_)) => FindingKind::GarbledManifest,
        (FaultKind::Missing | FaultKind::Lost, Record::Blob(_)) => FindingKind::MissingBlob,
        (FaultKind::Missing | FaultKind::Lost, Record::Manifest(_)) => FindingKind::MissingManifest,
        (FaultKind::Dangling, Record::Blob(_)) => FindingKind::LostBlob,
        (FaultKind::Dangling, Record::Manifest(_)) => FindingKind::LostManifest,
    }
}
