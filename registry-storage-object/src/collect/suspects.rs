//! Items that the requests of this process have released: hints that tell when a run is worth it.

use crate::{process::lock, store::Store};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Deletion, PutManifest, PutOutcome, Result, SuspectCause, TagExpect, Victim},
};

impl Store {
    /// Remembers a manifest that a request has released.
    pub(crate) fn suspect(&self, repository: &RepositoryName, digest: &Digest, cause: SuspectCause) {
        self.suspect_item(Victim::Manifest(repository.clone(), *digest), cause);
    }

    fn suspect_item(&self, victim: Victim, cause: SuspectCause) {
        lock(&self.gate.process.suspects).add(victim, cause);
    }

    pub(crate) async fn put_manifest_with_hints(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        let digest = *put.manifest.digest();
        let outcome = self.put_manifest(repository, put).await?;
        let left = outcome.moved.iter().filter_map(|moved| moved.previous);
        for previous in left.filter(|previous| *previous != digest) {
            self.suspect(repository, &previous, SuspectCause::Released);
        }
        Ok(outcome)
    }

    pub(crate) async fn delete_tag_with_hints(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let target = self.delete_tag(repository, tag, expect, how).await?;
        if let Some(target) = &target {
            self.suspect(repository, target, SuspectCause::Released);
        }
        Ok(target)
    }

    pub(crate) async fn delete_manifest_with_hints(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let cause = match how.permanent {
            true => SuspectCause::Released,
            false => SuspectCause::Recorded,
        };
        let tags = self.delete_manifest(repository, digest, how).await?;
        if tags.is_some() {
            self.suspect(repository, digest, cause);
        }
        Ok(tags)
    }

    pub(crate) async fn delete_blob_with_hints(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<bool> {
        let is_deleted = self.delete_blob(repository, digest, how).await?;
        if is_deleted {
            let link = Victim::Link(repository.clone(), *digest);
            self.suspect_item(link, SuspectCause::Released);
        }
        Ok(is_deleted)
    }
}
