//! The completion of the index of referrers, with the manifests that registry:2 has put.
//!
//! `_referrers/known` has the manifests that were read for the index so far. A process that is first asked for referrers
//! in a repository lists its manifests, reads those that are not known, writes the entries that are missing, and then
//! the list. Manifests that others put meanwhile have an entry before they are there.
//!
//! Another program may put manifests while no process of this software is open on the bucket, or before the first
//! request for referrers in a repository. After that, its manifests are found once a process is started again.

use super::{
    completed::{Missing, Part},
    entry::Entry,
};
use crate::{bucket::RETRY_AFTER, keys, scans::at_once, store::Store};
use futures_util::TryStreamExt as _;
use registry_core::{
    Algorithm, Digest, RepositoryName,
    storage::{Result, StorageError},
};
use std::{collections::BTreeSet, sync::Arc};

/// Number of manifests whose content is in memory at once.
const READ_AT_ONCE: usize = 64;

/// Number of manifests after which what was read is recorded, for a process that is killed before it has read all. Each next
/// portion is twice as large, because the whole list is written.
const PORTION: usize = if cfg!(test) { 2 } else { 4096 };

/// Bytes of a digest in the list of known manifests. Two of the same bytes would take a collision.
const PREFIX: usize = 20;

impl Store {
    /// Adds the entries that are missing in the index of a repository, once for each process. That goes on if the client does not
    /// wait for it: its next request would begin anew.
    pub(super) async fn complete_referrers(
        self: &Arc<Self>,
        repository: &RepositoryName,
    ) -> Result<Arc<Missing>> {
        let completion = self.completed_referrers.of(repository);
        if let Some(missing) = completion.done.get() {
            return Ok(Arc::clone(missing));
        }
        let attempt = match completion.join() {
            Part::Make(attempt) => attempt,
            Part::Await(mut attempt) => {
                let failed = attempt.wait_for(Option::is_some).await;
                let failed = failed.ok().and_then(|reason| reason.clone());
                return completion.done.get().cloned().ok_or_else(|| {
                    let reason = failed.unwrap_or_else(|| "the attempt has ended".to_owned());
                    let context =
                        format!("the index of the referrers of {repository} was not completed: {reason}");
                    StorageError::unavailable(context, Some(RETRY_AFTER), None)
                });
            }
        };
        let repository = repository.clone();
        self.finish(|store| async move {
            // Another attempt may have ended since.
            if let Some(missing) = completion.done.get() {
                return Ok(Arc::clone(missing));
            }
            let found = store.find_referrers(&repository).await;
            match &found {
                Ok(missing) => _ = completion.done.set(Arc::clone(missing)),
                Err(error) => _ = attempt.send_replace(Some(error.to_string())),
            }
            drop(attempt);
            found
        })
        .await
    }

    async fn find_referrers(&self, repository: &RepositoryName) -> Result<Arc<Missing>> {
        let list = keys::referrers_known(repository);
        let known = self.bucket.get(&list).await?;
        let mut known: BTreeSet<[u8; PREFIX]> = known
            .iter()
            .flat_map(|object| object.bytes.as_chunks().0)
            .copied()
            .collect();
        let mut unknown = self.recorded_manifests(repository).await?;
        unknown.retain(|digest| !known.contains(&prefix(digest)));
        if unknown.is_empty() {
            return Ok(Arc::default());
        }
        let (mut missing, mut unknown, mut size) = (Vec::new(), &unknown[..], PORTION);
        while !unknown.is_empty() {
            let (portion, later) = unknown.split_at(size.min(unknown.len()));
            (unknown, size) = (later, 2 * size);
            let mut entries = Vec::new();
            for some in portion.chunks(READ_AT_ONCE) {
                let manifests = some.iter().map(|digest| self.revision(repository, digest));
                // A damaged one gets its entry when it is put again.
                for manifest in at_once(manifests).await?.into_iter().flatten() {
                    known.insert(prefix(&manifest.digest));
                    entries.extend(Entry::of(&manifest));
                }
            }
            if self.options.read_only {
                missing.extend(entries);
                continue;
            }
            let writes = entries.iter().map(|entry| async move {
                let key = entry.key(repository);
                self.bucket.put(&key, entry.content()).await
            });
            at_once(writes).await?;
            let text: Vec<u8> = known.iter().flatten().copied().collect();
            // Another replica may write its own list: what is lost of this one is read again.
            self.bucket.put(&list, text).await?;
        }
        Ok(Arc::new(Missing(missing)))
    }

    /// Returns the entries that the index lacks although it was completed. Others in it do no harm, since each manifest is read
    /// before it is listed.
    ///
    /// Manifests that were not read for it so far are left out: their entries are added before the next use of the index.
    pub(super) async fn missing_referrers(&self, repository: &RepositoryName) -> Result<Vec<Entry>> {
        let Some(known) = self.bucket.get(&keys::referrers_known(repository)).await? else {
            return Ok(Vec::new());
        };
        let known: BTreeSet<[u8; PREFIX]> = known.bytes.as_chunks().0.iter().copied().collect();
        let mut read = self.recorded_manifests(repository).await?;
        read.retain(|digest| known.contains(&prefix(digest)));
        let objects = self.list_all(&keys::referrers(repository)).await?;
        let there: BTreeSet<String> = objects.into_iter().map(|object| object.key).collect();
        let mut missing = Vec::new();
        for some in read.chunks(READ_AT_ONCE) {
            let manifests = some.iter().map(|digest| self.revision(repository, digest));
            let manifests = at_once(manifests).await?.into_iter().flatten();
            let entries = manifests.filter_map(|manifest| Entry::of(&manifest));
            missing.extend(entries.filter(|entry| !there.contains(&entry.key(repository))));
        }
        // One may have been put since the listing.
        let looks = missing.into_iter().map(|entry| async move {
            let found = self.bucket.head(&entry.key(repository)).await?;
            Ok(found.is_none().then_some(entry))
        });
        Ok(at_once(looks).await?.into_iter().flatten().collect())
    }

    /// Lists the manifests of which a repository has a record, in any order.
    async fn recorded_manifests(&self, repository: &RepositoryName) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = keys::revisions(repository, algorithm);
            let mut listed = self.bucket.list(&directory);
            while let Some(meta) = listed.try_next().await? {
                let hex = meta.key.strip_prefix(&directory).and_then(|rest| rest.get(1..));
                let hex = hex.and_then(|rest| rest.strip_suffix("/link"));
                digests.extend(hex.and_then(|hex| Digest::from_hex(algorithm, hex).ok()));
            }
        }
        Ok(digests)
    }
}

fn prefix(digest: &Digest) -> [u8; PREFIX] {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}
