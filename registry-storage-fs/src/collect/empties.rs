//! Removal of empty directories, each of which was for the file of one digest.
//!
//! A deletion by a client leaves the directory of the link. As long as a manifest names the digest, or a tag points at it,
//! that directory tells a repair that the link was [not lost](crate::repair). Then it goes.
//!
//! Only a directory without entries is removed, under the lock of its digest. A put that has just found it creates it again.

use super::{nearby::Item, places::Empty, touches::Idle};
use crate::{closures::named_by, links::Link, moves::is_there, store::Store};
use registry_core::{
    Algorithm, Digest, RepositoryName,
    manifest::Manifest,
    storage::{Document, Need, Result, StoredManifest, Terms},
};
use std::collections::{BTreeSet, HashSet};

impl Store {
    /// Removes the directory of a blob or manifest that is gone.
    pub(super) fn remove_empty_data(&self, digest: &Digest) {
        let key = self.digest_locks.key(digest);
        if let Some(_locks) = self.digest_locks.try_exclusive([key]) {
            // Nobody quarantines it meanwhile, which changes the same directory.
            let _lock = self.blobs.lock(*digest);
            self.remove_empty_directory(&Item::by_path(self.layout.blob(digest)));
        }
    }

    /// Removes the directories of links that are gone, unless one tells a repair that its link was deleted.
    pub(super) fn remove_empty_records(
        &self,
        repository: &RepositoryName,
        empty: Vec<Empty>,
        began: u64,
    ) -> Result<()> {
        let digests = empty.iter().filter_map(Empty::record);
        let mut unnamed: BTreeSet<Digest> = digests.collect();
        if unnamed.is_empty() || !Naming::new(self, repository, &mut unnamed).read()? {
            return Ok(());
        }
        for empty in empty {
            let Some(digest) = empty.record().filter(|digest| unnamed.contains(digest)) else {
                continue;
            };
            let key = self.digest_locks.key(&digest);
            let Some(_locks) = self.digest_locks.try_exclusive([key]) else {
                continue;
            };
            // A manifest that was put since the run began, and was not read, has touched what it names.
            if self.collecting.is_idle(&[key], &Terms::new(), Some(began)) == Idle::Yes {
                let link = match &empty {
                    Empty::Revision(..) => self.layout.revision(repository, &digest),
                    _ => self.layout.layer(repository, &digest),
                };
                self.remove_empty_directory(&Item::by_path(link));
            }
        }
        Ok(())
    }

    /// Removes the directory of an item, if it has no entries. The caller holds the lock of its digest exclusively.
    fn remove_empty_directory(&self, item: &Item) {
        if let Err(error) = self.disk.remove_directory_alone(item) {
            tracing::debug!(%error, "cannot remove an empty directory");
        }
    }
}

impl Empty {
    /// Returns the digest of a link that is gone.
    const fn record(&self) -> Option<Digest> {
        match self {
            Self::Data(_) => None,
            Self::Layer(_, digest) | Self::Revision(_, digest) => Some(*digest),
        }
    }
}

/// A look at all manifests of a repository, for those of some digests that none of them names.
struct Naming<'a> {
    store: &'a Store,
    repository: &'a RepositoryName,
    unnamed: &'a mut BTreeSet<Digest>,
    visited: HashSet<Digest>,
    /// Manifests that an index names, and that may be absent.
    children: Vec<Digest>,
}

impl<'a> Naming<'a> {
    fn new(store: &'a Store, repository: &'a RepositoryName, unnamed: &'a mut BTreeSet<Digest>) -> Self {
        Self {
            store,
            repository,
            unnamed,
            visited: HashSet::new(),
            children: Vec::new(),
        }
    }

    /// Reads the manifests. Returns false if something that cannot be read may name any digest.
    fn read(mut self) -> Result<bool> {
        Ok(self.read_tagged()? && self.read_linked()? && self.read_children()?)
    }

    /// Reads the targets of the tags. Their links may be lost.
    fn read_tagged(&mut self) -> Result<bool> {
        for tag in self.store.tag_names(self.repository, None)? {
            let target = match self
                .store
                .pointer(&self.store.layout.tag(self.repository, &tag))?
            {
                Link::To(target) => target,
                Link::Garbled => return Ok(false),
                Link::None => continue,
            };
            self.unnamed.remove(&target);
            if self.visited.insert(target) && !self.read_manifest(&target, true)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_linked(&mut self) -> Result<bool> {
        for algorithm in Algorithm::ALL {
            for digest in self.store.revision_digests(self.repository, algorithm)? {
                if is_there(&self.store.layout.revision(self.repository, &digest))?
                    && self.visited.insert(digest)
                    && !self.read_manifest(&digest, true)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Reads the entries of indexes whose links are lost. A repair may bring them back.
    fn read_children(&mut self) -> Result<bool> {
        while let Some(child) = self.children.pop() {
            if self.visited.insert(child) && !self.read_manifest(&child, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_manifest(&mut self, digest: &Digest, must_exist: bool) -> Result<bool> {
        self.store.require_open()?;
        let document = match self.store.document(self.repository, digest)? {
            Some(document) => document,
            None => self.store.unrecorded_document(self.repository, digest)?,
        };
        match document {
            Document::Whole(stored) => Ok(self.take_named(&stored)),
            _ => Ok(!must_exist),
        }
    }

    /// Takes what a manifest names from the digests. Returns false for one of an unknown kind.
    fn take_named(&mut self, stored: &StoredManifest) -> bool {
        for named in named_by(stored) {
            self.unnamed.remove(&named.item.digest);
            if named.item.need == Need::Manifest {
                self.children.push(named.item.digest);
            }
        }
        Manifest::parse_stored(&stored.bytes, &stored.media_type).is_ok()
    }
}
