//! Content that a manifest refers to: it must exist and be durable before the manifest is visible.

use crate::{
    closures::{Closure, Item},
    links,
    sections::Section,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName,
    storage::{Needed, Result, SizePolicy, StorageError, WrongSize},
};
use std::{collections::HashSet, path::PathBuf};

impl Store {
    /// Makes everything that a manifest refers to durable, before the manifest becomes visible, with what was read of
    /// its closure. Whoever stored it may not have synced it yet, and a client that finds it does not push it again.
    pub(crate) fn ensure_durable(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
        closure: &Closure,
    ) -> Result<()> {
        let mut changes = self.disk.changes();
        let mut seen = HashSet::new();
        let items = needs.iter().map(Item::from).chain(closure.items.iter().copied());
        for item in items {
            let Item { digest, need } = item;
            if !seen.insert((digest, need.admits_blob(), need.admits_manifest())) {
                continue;
            }
            let blob = self.layout.blob(&digest);
            let links = self.links_of(repository, &item);
            if self.disk.is_durable(&blob) && links.iter().any(|link| self.disk.is_durable(link)) {
                continue;
            }
            for link in links {
                changes.ensure_durable(&link)?;
                match links::read_of(&link, &digest)? {
                    Some(target) if target != digest => changes.ensure_durable(&self.layout.blob(&target))?,
                    _ => changes.ensure_durable(&blob)?,
                }
            }
        }
        Ok(changes.settle()?)
    }

    /// Returns the links by which a repository may hold an item.
    fn links_of(&self, repository: &RepositoryName, item: &Item) -> Vec<PathBuf> {
        let Item { digest, need } = item;
        let blob = need.admits_blob().then(|| self.layout.layer(repository, digest));
        let manifest = need
            .admits_manifest()
            .then(|| self.layout.revision(repository, digest));
        blob.into_iter().chain(manifest).collect()
    }

    /// Checks that everything a manifest refers to exists, with all that is below it. Returns the items that the policy
    /// accepts although their size differs from the descriptor's.
    pub(crate) fn check_needs(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        needs: &[Needed],
        closure: &Closure,
        sizes: SizePolicy,
    ) -> Result<Vec<WrongSize>> {
        let mut wrong = Vec::new();
        let mut check = Check {
            store: self,
            section,
            repository,
            sound: HashSet::new(),
            missing: Vec::new(),
            named: HashSet::new(),
        };
        for needed in needs {
            match check.look_for(needed)? {
                Found::Fits => {}
                Found::Missing => check.name(&needed.digest),
                Found::Size(stored) => wrong.extend(needed.wrong_size(stored)),
            }
        }
        for lost in &closure.lost {
            check.name(lost);
        }
        for item in &closure.items {
            if !check.is_there(item)? {
                check.name(&item.digest);
            }
        }
        if !check.missing.is_empty() {
            return Err(StorageError::MissingReferences(check.missing));
        }
        match (sizes, wrong.first()) {
            (SizePolicy::Any, _) | (_, None) => Ok(wrong),
            (_, Some(first)) => Err((*first).into()),
        }
    }
}

/// The check of the content that one manifest refers to.
struct Check<'a, 'b> {
    store: &'a Store,
    section: &'a mut Section<'b>,
    repository: &'a RepositoryName,
    /// Digests whose content was hashed, since a manifest may name a blob many times and hashing takes long.
    sound: HashSet<Digest>,
    missing: Vec<Digest>,
    /// The same digests.
    named: HashSet<Digest>,
}

impl Check<'_, '_> {
    /// Records that content is missing.
    fn name(&mut self, digest: &Digest) {
        if self.named.insert(*digest) {
            self.missing.push(*digest);
        }
    }

    /// Returns true if an item exists, of whatever size.
    fn is_there(&mut self, item: &Item) -> Result<bool> {
        for link in self.store.links_of(self.repository, item) {
            if let Some(target) = links::read_of(&link, &item.digest)? {
                self.add(&item.digest, &target);
                if self.store.stored(&target)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Adds the target of a link to what the section relies on.
    fn add(&mut self, digest: &Digest, target: &Digest) {
        if target != digest {
            self.section.add(target);
        }
    }

    /// Looks for a needed item. If its size differs from the descriptor's, its content is verified: damaged content
    /// counts as missing from then on, so that a push repairs it.
    fn look_for(&mut self, needed: &Needed) -> Result<Found> {
        let mut found = Found::Missing;
        for link in self.store.links_of(self.repository, &needed.into()) {
            let Some(target) = links::read_of(&link, &needed.digest)? else {
                continue;
            };
            self.add(&needed.digest, &target);
            match self.look_at(&target, needed.size)? {
                Found::Fits => {
                    if link == self.store.layout.layer(self.repository, &needed.digest) {
                        self.store.holders.add(&needed.digest, self.repository);
                    }
                    return Ok(Found::Fits);
                }
                Found::Missing => {}
                other @ Found::Size(_) => found = other,
            }
        }
        Ok(found)
    }

    fn look_at(&mut self, target: &Digest, size: u64) -> Result<Found> {
        let stored = || -> Result<Found> {
            Ok(match self.store.stored(target)? {
                Some(found) if found.size == size => Found::Fits,
                Some(found) => Found::Size(found.size),
                None => Found::Missing,
            })
        };
        match stored()? {
            Found::Fits => Ok(Found::Fits),
            _ if self.sound.contains(target) => stored(),
            _ if self.store.is_sound(target)? => {
                self.sound.insert(*target);
                stored()
            }
            _ => Ok(Found::Missing),
        }
    }
}

/// Result of the search for an item that a manifest refers to.
enum Found {
    Fits,
    /// Undamaged, but with this size.
    Size(u64),
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage, seams,
        support::{content, name, push, writer},
    };
    use registry_core::{
        Algorithm, MediaType,
        storage::{Need, PutManifest},
    };

    /// A manifest may name the same one any number of times.
    #[tokio::test]
    async fn what_has_another_size_is_hashed_once_and_what_is_missing_told_once() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let here = push(&storage, &name("a"), &content(1000)).await;
        let absent = Digest::of(Algorithm::Sha256, b"absent");
        let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
        let mut put = PutManifest::new(crate::support::manifest("1"), media_type);
        for (digest, need) in [(here.digest, Need::Blob), (absent, Need::Blob)] {
            let size = 999;
            put.needs
                .extend([(); 50].map(|()| Needed::new(digest, size, need)));
        }
        let data = storage.store().layout.blob(&here.digest);
        seams::watch(data.parent().unwrap());

        let refused = writer(&storage).put_manifest(&name("a"), put).await;

        assert!(
            matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [absent]),
            "{refused:?}"
        );
        assert_eq!(seams::watch(data.parent().unwrap()).files, 1);
    }
}
