//! Referrers: the manifests of a repository that name another one as their subject.
//!
//! The manifests are authoritative: each listed one was read for its page, which shows its annotations.
//! [`referrer_index`](crate::referrer_index) names the candidates. It is completed by reading all manifests of a
//! repository when the first request for referrers after opening arrives, and maintained from then on. If no process
//! maintains it, the manifests are read: [`manifest_scan`](crate::manifest_scan).

use crate::{
    FsStorage,
    error::FsError,
    known_manifests::Scanned,
    pauses::Point,
    referrer_entry::{Entry, Kind, referrer},
    store::Store,
};
use registry_core::{
    Descriptor, Digest, RepositoryName,
    storage::{Listing, Result},
};
use std::{error::Error, sync::Arc};

/// A request for a page of referrers.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) repository: RepositoryName,
    pub(crate) subject: Digest,
    pub(crate) artifact_type: Option<Arc<str>>,
    pub(crate) after: Option<Digest>,
    pub(crate) limit: usize,
}

impl FsStorage {
    pub(crate) async fn list_referrers(&self, question: Question) -> Result<Listing<Descriptor>> {
        let asked = question.clone();
        let listed = self.blocking(move |store| {
            // No index is created for a repository that does not exist.
            if !store.has_manifests(&asked.repository)? {
                return Ok(Some(Listing::default()));
            }
            store.indexed_referrers(&asked, false)
        });
        if let Some(listed) = listed.await? {
            return Ok(listed);
        }
        let repository = question.repository.clone();
        if self.store().is_owned() {
            let (asked, name) = (question.clone(), repository.clone());
            let builds = &self.store().referrer_builds;
            let built = self.build(builds, &repository, move |store| {
                store.build_referrer_index(&name)
            });
            match built.await {
                Ok(_) => {
                    let listed = self.blocking(move |store| store.indexed_referrers(&asked, true));
                    if let Some(listed) = listed.await? {
                        return Ok(listed);
                    }
                }
                Err(error) => warn_of_index(&repository, &error),
            }
        }
        let name = repository.clone();
        let scans = &self.store().scans;
        let scanned = self
            .build(scans, &repository, move |store| store.scan_manifests(&name))
            .await?;
        self.blocking(move |store| store.scanned_referrers(&question, &scanned))
            .await
    }
}

fn warn_of_index(repository: &RepositoryName, error: &(dyn Error + 'static)) {
    tracing::warn!(%repository, error, "cannot use the referrer index; reading every manifest instead");
}

impl Store {
    /// Lists a page by the index; `None` if the index does not name every referrer. `complete` skips that check.
    ///
    /// The index is derived, so a failure to read it is not an outage.
    fn indexed_referrers(&self, question: &Question, complete: bool) -> Result<Option<Listing<Descriptor>>> {
        let Question {
            repository,
            subject,
            after,
            ..
        } = question;
        let entries = || {
            let index = self.referrer_index();
            if complete || index.is_complete(repository)? {
                index.entries(repository, subject, after.as_ref()).map(Some)
            } else {
                Ok(None)
            }
        };
        match entries() {
            Ok(Some(entries)) => self.page_of_referrers(question, entries),
            Ok(None) => Ok(None),
            Err(error) => {
                warn_of_index(repository, &error);
                Ok(None)
            }
        }
    }

    fn scanned_referrers(&self, question: &Question, scanned: &Scanned) -> Result<Listing<Descriptor>> {
        let entries = scanned.of(&question.subject, question.after.as_ref());
        let page = self.page_of_referrers(question, entries.map(Ok))?;
        Ok(page.unwrap_or_default())
    }

    /// Reads candidates until the page is full, and one more to see if there is another page. `None` if the candidates
    /// cannot be read.
    fn page_of_referrers(
        &self,
        question: &Question,
        entries: impl Iterator<Item = Result<Entry, FsError>>,
    ) -> Result<Option<Listing<Descriptor>>> {
        let wanted = question.artifact_type.as_deref();
        let kind = wanted.map(|wanted| Kind::of(Some(wanted)));
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    warn_of_index(&question.repository, &error);
                    return Ok(None);
                }
            };
            // A manifest that was put with another type before has two entries.
            let is_listed = found.last().is_some_and(|last| last.digest == entry.referrer);
            if is_listed || kind.is_some_and(|kind| kind != entry.kind) {
                continue;
            }
            let manifest = self.revision(&question.repository, &entry.referrer)?;
            let Some((subject, descriptor)) = manifest.as_ref().and_then(referrer) else {
                continue;
            };
            if subject == question.subject && descriptor.is_of(wanted) {
                found.push(descriptor);
                if found.len() > question.limit {
                    break;
                }
            }
        }
        Ok(Some(Listing::first(question.limit, found)))
    }

    /// Completes the index of a repository: it names every referrer and nothing else.
    ///
    /// Manifests come and go meanwhile. A new one has an entry before it can be seen here. An entry without a manifest
    /// is checked again under the manifest's lock, since the manifest may be about to appear.
    fn build_referrer_index(&self, repository: &RepositoryName) -> Result<()> {
        let index = self.referrer_index();
        if index.is_complete(repository)? {
            return Ok(());
        }
        let mut leftover = index.all_entries(repository)?;
        let scanned = self.scan_manifests(repository)?;
        self.pauses.reach(Point::ReferrerIndexManifestsRead);
        for entry in scanned.all() {
            if !leftover.remove(entry) {
                self.require_open()?;
                index.add(repository, entry)?;
            }
        }
        for entry in leftover {
            self.require_open()?;
            let _lock = self.manifests.lock((repository.clone(), entry.referrer));
            let manifest = self.revision(repository, &entry.referrer)?;
            if manifest.as_ref().and_then(Entry::of) != Some(entry) {
                index.remove(repository, &entry);
            }
        }
        index.complete(repository)?;
        self.known_manifests.forget(repository);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
