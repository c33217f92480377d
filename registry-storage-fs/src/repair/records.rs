//! The records of a repository: the links to its blobs and manifests, the pointers of its tags, and the index of
//! referrers.
//!
//! The name of a link's directory is its digest, so that a garbled link can be written again. The pointer of a tag
//! cannot: only its content says where it points. Such a tag is removed, with a record of where it pointed last. So is a
//! tag that has only the history left that registry:2 keeps, too. A tag that is gone altogether is put back where its
//! own history points.
//!
//! A deletion by a client removes the file `link`, and leaves its directory. A blob that a manifest names, and whose
//! link is missing together with its directory, was therefore not deleted by a client. Its link was lost. The same holds
//! for a manifest that a tag points at. Collections [keep](crate::collect) such a directory as long as anything names the
//! digest.

use crate::{
    changes::Changes,
    error::{Context as _, FsError},
    links::{self, Link},
    moves::parent,
    pauses::Point,
    referrer_entry::Entry,
    sections::Section,
    store::Store,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Fault, FaultKind, Listing, Page, Record, Result, StorageError},
};
use std::{fs, path::Path};

impl Store {
    pub(super) fn faults(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Record>,
    ) -> Result<Listing<Fault>> {
        let mut found = Vec::new();
        let records = self.records(repository)?;
        for record in records.filter(|record| page.after.is_none_or(|after| record > after)) {
            // One item beyond the page shows that there are more.
            if found.len() > page.limit {
                break;
            }
            self.require_open()?;
            let fault = self.fault(repository, &record)?;
            // A directory without a link is no record.
            found.extend(fault.filter(|fault| !matches!(fault.kind, FaultKind::Missing | FaultKind::Lost)));
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns everything that has a directory, in order.
    fn records(&self, repository: &RepositoryName) -> Result<impl Iterator<Item = Record> + use<>, FsError> {
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        for algorithm in Algorithm::ALL {
            blobs.push(self.layer_digests(repository, algorithm)?);
            manifests.push(self.revision_digests(repository, algorithm)?);
        }
        let blobs = blobs.into_iter().flatten().map(Record::Blob);
        let manifests = manifests.into_iter().flatten().map(Record::Manifest);
        let tags = self.tag_names(repository, None)?.map(Record::Tag);
        Ok(blobs.chain(manifests).chain(tags).chain([Record::Referrers]))
    }

    pub(super) fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<Fault>> {
        match record {
            Record::Blob(digest) => {
                let path = self.layout.layer(repository, digest);
                Ok(self.fault_of_link(repository, record, digest, &path))
            }
            Record::Manifest(digest) => {
                let path = self.layout.revision(repository, digest);
                Ok(self.fault_of_link(repository, record, digest, &path))
            }
            Record::Tag(tag) => match self.fault_of_tag(repository, record, tag) {
                Some(missing) if missing.kind == FaultKind::Missing => {
                    Ok(self.fault_of_lost_tag(repository, tag)?.or(Some(missing)))
                }
                fault => Ok(fault),
            },
            Record::Referrers => self.fault_of_referrers(repository),
            _ => Err(StorageError::Unsupported("look at this kind of record")),
        }
    }

    fn fault_of_link(
        &self,
        repository: &RepositoryName,
        record: &Record,
        digest: &Digest,
        path: &Path,
    ) -> Option<Fault> {
        let fault =
            |kind, reason: String| Fault::new(record.clone(), kind, path.display().to_string(), reason);
        let is_stored = || self.stored(digest).is_ok_and(|stored| stored.is_some());
        let target = match links::look_of(path, digest) {
            Ok(Link::To(target)) => target,
            Ok(Link::Garbled) => {
                let garbled = fault(
                    FaultKind::Garbled,
                    "the link contains no digest, or a wrong one".into(),
                );
                return Some(garbled.with_mendable(is_stored()));
            }
            Ok(Link::None) => {
                let (reason, was_lost) = match has_directory(path) {
                    true => (
                        "there is no link, but its directory: the record was deleted",
                        false,
                    ),
                    false => ("there is no link", true),
                };
                let is_there = || match record {
                    Record::Manifest(_) => self.is_whole_document(repository, digest),
                    _ => is_stored(),
                };
                let missing = fault(FaultKind::Missing, reason.into());
                return Some(missing.with_mendable(was_lost && is_there()));
            }
            Err(error) => return Some(unreadable(record, &error)),
        };
        match self.stored(&target) {
            Ok(Some(_)) => None,
            Ok(None) => {
                let data = self.layout.blob(&target);
                let reason = format!("the content is gone: {}", data.display());
                Some(fault(FaultKind::Dangling, reason))
            }
            Err(error) => Some(unreadable(record, &error)),
        }
    }

    fn fault_of_tag(&self, repository: &RepositoryName, record: &Record, tag: &Tag) -> Option<Fault> {
        let paths = self.layout.tag(repository, tag);
        let path = paths.current();
        let (kind, reason) = match self.pointer(&paths) {
            Ok(Link::To(_)) => return None,
            Ok(Link::Garbled) => (FaultKind::Garbled, "the link is lost or contains no digest"),
            Ok(Link::None) => (FaultKind::Missing, "there is no link"),
            Err(error) => return Some(unreadable(record, &error)),
        };
        let fault = Fault::new(record.clone(), kind, path.display().to_string(), reason);
        Some(fault.with_mendable(kind == FaultKind::Garbled))
    }

    /// Compares the index with the manifests, if it counts now. Otherwise it is built again before its next use.
    fn fault_of_referrers(&self, repository: &RepositoryName) -> Result<Option<Fault>> {
        let missing = self.missing_entries(repository)?.len();
        let place = self.layout.referrers(repository).display().to_string();
        let fault = || {
            let reason = format!("the index lacks {missing} referrers");
            Fault::new(Record::Referrers, FaultKind::Garbled, place, reason).with_mendable(self.is_owned())
        };
        Ok((missing > 0).then(fault))
    }

    /// Returns the referrers that the index should name. Others in it do no harm, since each is read before it is
    /// listed.
    fn missing_entries(&self, repository: &RepositoryName) -> Result<Vec<Entry>> {
        let index = self.referrer_index();
        if !index.is_complete(repository)? {
            return Ok(Vec::new());
        }
        let scanned = self.scan_manifests(repository)?;
        let there = index.all_entries(repository)?;
        let mut missing = Vec::new();
        for entry in scanned.all().filter(|entry| !there.contains(entry)) {
            // It may come or go at this moment. Its entry exists as long as the manifest is visible.
            let _lock = self.manifests.lock((repository.clone(), entry.referrer));
            let is_visible = || -> Result<bool> {
                let manifest = self.revision(repository, &entry.referrer)?;
                Ok(manifest.as_ref().and_then(Entry::of) == Some(*entry))
            };
            let path = entry.path(&self.layout, repository);
            let has_entry = || fs::symlink_metadata(&path).if_there("read the metadata of", &path);
            // The last look is for readers, whose locks the owner does not know.
            if is_visible()? && has_entry()?.is_none() && is_visible()? {
                missing.push(*entry);
            }
        }
        Ok(missing)
    }

    pub(crate) fn mend(&self, repository: &RepositoryName, record: &Record) -> Result<bool> {
        match record {
            Record::Blob(digest) => {
                let _section = self.mending(repository, digest);
                let link = self.layout.layer(repository, digest);
                let mended = self.mend_link(repository, record, digest, &link)?;
                if mended {
                    self.holders.add(digest, repository);
                }
                Ok(mended)
            }
            Record::Manifest(digest) => {
                let _section = self.mending(repository, digest);
                let _lock = self.manifests.lock((repository.clone(), *digest));
                let link = self.layout.revision(repository, digest);
                let mended = self.mend_link(repository, record, digest, &link)?;
                if mended
                    && let Some(manifest) = self.revision(repository, digest)?
                    && let Some(entry) = Entry::of(&manifest)
                {
                    self.referrer_index().add(repository, &entry)?;
                }
                Ok(mended)
            }
            Record::Tag(tag) => self.mend_tag(repository, tag),
            Record::Referrers => {
                let missing = self.missing_entries(repository)?;
                for entry in &missing {
                    self.referrer_index().add(repository, entry)?;
                }
                Ok(!missing.is_empty())
            }
            _ => Ok(false),
        }
    }

    /// Begins the mending of a record, which nobody removes meanwhile, nor its content.
    pub(crate) fn mending(&self, repository: &RepositoryName, digest: &Digest) -> Section<'_> {
        let locks = &self.digest_locks;
        let section = self.section([locks.key(digest), locks.repository(repository)]);
        section.promise();
        section
    }

    /// Writes a link again, if that mends it.
    fn mend_link(
        &self,
        repository: &RepositoryName,
        record: &Record,
        digest: &Digest,
        link: &Path,
    ) -> Result<bool> {
        let fault = self.fault_of_link(repository, record, digest, link);
        let Some(fault) = fault.filter(|fault| fault.mendable) else {
            return Ok(false);
        };
        let text = digest.to_string();
        let mut changes = self.disk.changes();
        changes.ensure_durable(&self.layout.blob(digest))?;
        let is_missing = fault.kind == FaultKind::Missing;
        if !(is_missing && self.place_link(&mut changes, link, text.as_bytes())?) {
            self.place(digest, link, || changes.ensure(link, text.as_bytes()))?;
        }
        self.pauses.reach(Point::MendLinkWritten);
        changes.settle()?;
        Ok(true)
    }

    /// Publishes a link together with its directory: without a link, that would tell the next repair that the record was
    /// deleted. Returns false if there is already something in the directory.
    fn place_link(&self, changes: &mut Changes<'_>, link: &Path, text: &[u8]) -> Result<bool, FsError> {
        let staged = self.disk.stage()?;
        let inside = staged.path.join(link.file_name().unwrap_or_default());
        changes.fill(&inside, text)?;
        self.pauses.reach(Point::MendLinkStaged);
        changes.place(&staged, &inside, parent(link))
    }
}

/// Returns true if the directory of a link exists, or if that cannot be told.
fn has_directory(link: &Path) -> bool {
    let directory = link.parent().unwrap_or(link);
    !fs::symlink_metadata(directory).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn unreadable(record: &Record, error: &FsError) -> Fault {
    let place = error.path().display().to_string();
    let reason = format!("{error}: {}", error.source());
    Fault::new(record.clone(), FaultKind::Unreadable, place, reason)
}
