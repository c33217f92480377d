//! Referrers: the manifests of a repository that name another one as their subject.
//!
//! `_index/<name>/_referrers/<subject>/<algorithm>/<hex>.<kind>` is an entry for each of them. The kind is a hash of the
//! artifact type, so that a listing of keys is enough to filter. The manifests are authoritative: each listed one is read
//! for its page, which shows its annotations. What has no record in the repository is not shown, so an entry that is left
//! over does no harm.
//!
//! Whoever puts a manifest writes its entry first. registry:2 writes none: [`complete`] adds those when a process is
//! first asked for referrers in a repository.
//!
//! Requests to the store: a page costs a listing of all entries of the subject, with 1,000 keys each, and two for each
//! manifest that it shows, or one if its content is [kept](crate::known_manifests).

mod complete;
mod completed;
mod entry;
#[cfg(test)]
mod tests;

pub(crate) use self::completed::Completed;
use self::entry::{Entry, Kind, referrer};
use crate::{
    gate::View,
    keys,
    marks::{Marked, is_marked},
    scans::at_once,
    store::Store,
    tags::Link,
};
use registry_core::{
    Descriptor, Digest, RepositoryName,
    storage::{Listing, Page, PutManifest, Referring, Result, StoredManifest},
};
use std::sync::Arc;

impl Store {
    /// Writes the entry of a manifest that names a subject. Returns false if the view has become too old.
    pub(crate) async fn add_referrer(
        &self,
        repository: &RepositoryName,
        put: &PutManifest,
        view: &View,
    ) -> Result<bool> {
        match Entry::of_put(put) {
            Some(entry) => {
                let key = entry.key(repository);
                self.publish(&key, entry.content(), view).await
            }
            None => Ok(true),
        }
    }

    /// Writes the entry of a manifest whose record is about to be written again. Returns false if the view has become too old.
    pub(crate) async fn restore_referrer(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
        view: &View,
    ) -> Result<bool> {
        match Entry::of(manifest) {
            Some(entry) => {
                let key = entry.key(repository);
                self.publish(&key, entry.content(), view).await
            }
            None => Ok(true),
        }
    }

    /// Writes the entries that the index lacks. Returns false if there are none.
    pub(crate) async fn mend_referrers(&self, repository: &RepositoryName) -> Result<bool> {
        let missing = self.missing_referrers(repository).await?;
        let writes = missing.iter().map(|entry| async move {
            let key = entry.key(repository);
            self.bucket.put(&key, entry.content()).await
        });
        at_once(writes).await?;
        Ok(!missing.is_empty())
    }

    /// Returns the number of entries that the index lacks.
    pub(crate) async fn count_missing_referrers(&self, repository: &RepositoryName) -> Result<usize> {
        Ok(self.missing_referrers(repository).await?.len())
    }

    /// Returns true if a manifest that names a subject has its entry, and no deletion removes it.
    pub(crate) async fn has_referrer(&self, repository: &RepositoryName, put: &PutManifest) -> Result<bool> {
        match Entry::of_put(put) {
            Some(entry) => {
                let found = self.bucket.get(&entry.key(repository)).await?;
                Ok(found.is_some_and(|found| !is_marked(&found.bytes)))
            }
            None => Ok(true),
        }
    }

    /// Marks the entry of a manifest that is about to be deleted, if it has one.
    pub(crate) async fn mark_referrer(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
    ) -> Result<Option<Marked>> {
        match Entry::of(manifest) {
            Some(entry) => self.mark_link(&entry.key(repository)).await,
            None => Ok(None),
        }
    }

    /// Removes the entry of a manifest whose record was removed. If somebody has put the manifest meanwhile, the entry is
    /// put back.
    pub(crate) async fn remove_referrer(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
    ) -> Result<()> {
        let Some(entry) = Entry::of(manifest) else {
            return Ok(());
        };
        let key = entry.key(repository);
        self.remove_link(&key).await?;
        if self.revision_link(repository, &manifest.digest).await? != Link::None {
            let content = entry.content();
            // Whoever has put it looks at the entry after the record: one of the two sees what the other one did.
            self.bucket.put(&key, content).await?;
        }
        Ok(())
    }

    pub(crate) async fn referrer_page(
        self: &Arc<Self>,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let completed = self.complete_referrers(repository).await?;
        let mut candidates = self.entries_of(repository, of.subject).await?;
        candidates.extend(completed.of(of.subject));
        candidates.sort_unstable();
        let kind = of.artifact_type.map(|wanted| Kind::of(Some(wanted)));
        candidates.retain(|entry| {
            page.after.is_none_or(|after| entry.referrer > *after)
                && kind.is_none_or(|kind| kind == entry.kind)
        });
        // A manifest that was put with another type before has two entries.
        candidates.dedup_by_key(|entry| entry.referrer);
        let mut found = Vec::new();
        // One item beyond the page shows that there are more.
        for candidates in candidates.chunks(page.limit.saturating_add(1)) {
            let manifests = candidates
                .iter()
                .map(|entry| self.revision(repository, &entry.referrer));
            let manifests = at_once(manifests).await?.into_iter().flatten();
            let shown = manifests.filter_map(|manifest| referrer(&manifest));
            found.extend(
                shown
                    .filter(|(subject, descriptor)| {
                        subject == of.subject && descriptor.is_of(of.artifact_type)
                    })
                    .map(|(_, descriptor)| descriptor),
            );
            if found.len() > page.limit {
                break;
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Lists the entries of a subject, in any order.
    async fn entries_of(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Entry>> {
        let directory = keys::referrers_of(repository, subject);
        let (mut entries, mut token) = (Vec::new(), None);
        loop {
            let page = self.bucket.page(&directory, token).await?;
            let names = page.objects.iter().filter_map(|meta| {
                let name = meta.key.strip_prefix(&directory)?;
                Entry::parse(subject, name.get(1..)?)
            });
            entries.extend(names);
            token = page.next;
            if token.is_none() {
                return Ok(entries);
            }
        }
    }
}
