//! Referrers: per repository, which manifests name which as their subject.
//!
//! The manifests are the truth. The index is derived from them, lives in memory, and is built when a repository is
//! first asked for it after opening: registry:2 may have written meanwhile, and nothing on disk says whether it has.
//! From then on it changes in one step with the link that makes a manifest visible, under the same lock, so that
//! nobody sees the one without the other.

use crate::{error::FsError, open::Store};
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, RepositoryName,
    manifest::Manifest,
    storage::{Listing, Page, Result, StoredManifest},
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The indexes of all repositories that were asked for theirs.
#[derive(Debug, Default)]
pub(crate) struct ReferrerIndexes(Mutex<HashMap<RepositoryName, Slot>>);

/// `None` until it is built.
type Slot = Arc<Mutex<Option<Index>>>;

#[derive(Debug, Default)]
struct Index {
    /// By subject, then by the digest of the manifest that names it.
    referrers: HashMap<Digest, BTreeMap<Digest, Descriptor>>,
    subjects: HashMap<Digest, Digest>,
}

impl ReferrerIndexes {
    /// Makes a manifest visible by `publish`, and its entry with it.
    pub(crate) fn appear(
        &self,
        repository: &RepositoryName,
        manifest: &Digest,
        referrer: Option<(Digest, Descriptor)>,
        publish: impl FnOnce() -> Result<(), FsError>,
    ) -> Result<()> {
        let Some((subject, descriptor)) = referrer else {
            return Ok(publish()?);
        };
        let slot = self.slot(repository);
        let mut index = lock(&slot);
        publish()?;
        // One that is not built yet will find the manifest.
        if let Some(index) = index.as_mut() {
            index.insert(*manifest, subject, descriptor);
        }
        Ok(())
    }

    /// The reverse.
    pub(crate) fn vanish(
        &self,
        repository: &RepositoryName,
        manifest: &Digest,
        remove: impl FnOnce() -> Result<bool, FsError>,
    ) -> Result<()> {
        let slot = self.slot(repository);
        let mut index = lock(&slot);
        remove()?;
        if let Some(index) = index.as_mut() {
            index.remove(manifest);
        }
        Ok(())
    }

    fn slot(&self, repository: &RepositoryName) -> Slot {
        let mut all = lock(&self.0);
        if let Some(slot) = all.get(repository) {
            return Arc::clone(slot);
        }
        Arc::clone(all.entry(repository.clone()).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    fn insert(&mut self, manifest: Digest, subject: Digest, descriptor: Descriptor) {
        self.subjects.insert(manifest, subject);
        self.referrers
            .entry(subject)
            .or_default()
            .insert(manifest, descriptor);
    }

    fn remove(&mut self, manifest: &Digest) {
        let Some(subject) = self.subjects.remove(manifest) else {
            return;
        };
        if let Some(referrers) = self.referrers.get_mut(&subject) {
            referrers.remove(manifest);
            if referrers.is_empty() {
                self.referrers.remove(&subject);
            }
        }
    }
}

impl Store {
    pub(crate) fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
        page: &Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        // A question about a repository that does not exist leaves nothing in memory.
        if !self.has_manifests(repository)? {
            return Ok(Listing::default());
        }
        let slot = self.referrers.slot(repository);
        let mut index = lock(&slot);
        let index = match &mut *index {
            Some(built) => built,
            none => none.insert(self.build_index(repository)?),
        };
        let Some(referrers) = index.referrers.get(subject) else {
            return Ok(Listing::default());
        };
        let after = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = referrers
            .range((after, Bound::Unbounded))
            .map(|(_, descriptor)| descriptor)
            .filter(|found| artifact_type.is_none() || found.artifact_type.as_ref() == artifact_type);
        Ok(Listing::first(page.limit, wanted.cloned()))
    }

    fn build_index(&self, repository: &RepositoryName) -> Result<Index> {
        let mut index = Index::default();
        for algorithm in Algorithm::ALL {
            for digest in self.revision_digests(repository, algorithm, None)? {
                if let Some(manifest) = self.revision(repository, &digest)?
                    && let Some((subject, descriptor)) = referrer(&manifest)
                {
                    index.insert(digest, subject, descriptor);
                }
            }
        }
        Ok(index)
    }
}

/// A manifest's subject, and how the listing of that one's referrers shows it.
fn referrer(manifest: &StoredManifest) -> Option<(Digest, Descriptor)> {
    match Manifest::parse_stored(&manifest.bytes, &manifest.media_type) {
        Ok(parsed) => parsed.referrer(manifest.digest, manifest.bytes.len() as u64),
        Err(error) => {
            // registry:2 took kinds of manifests that nobody puts any more. Those have no subject.
            tracing::debug!(digest = %manifest.digest, %error, "a stored manifest cannot be read");
            None
        }
    }
}
