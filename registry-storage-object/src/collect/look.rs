//! Looks at the items that a run may remove.

use crate::{bucket::Meta, gate::now, keys, scans::at_once, store::Store};
use futures_util::FutureExt as _;
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Due, Page, Result, Seen, Terms, Victim},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Digests, by repository.
type InRepositories = BTreeMap<RepositoryName, BTreeSet<Digest>>;

impl Store {
    /// Returns, for each item, if a run that began now could remove it.
    pub(crate) async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        let mut manifests = InRepositories::new();
        for victim in victims {
            if let Victim::Manifest(repository, digest) = victim {
                manifests.entry(repository.clone()).or_default().insert(*digest);
            }
        }
        let mut tagged = InRepositories::new();
        for (repository, digests) in manifests {
            let found = self.tagged_among(&repository, &digests).await?;
            tagged.insert(repository, found);
        }
        let looks = victims
            .iter()
            .map(|victim| self.look_at(terms, victim, &tagged).boxed());
        at_once(looks).await
    }

    async fn look_at(&self, terms: &Terms, victim: &Victim, tagged: &InRepositories) -> Result<Due> {
        match victim {
            Victim::Manifest(repository, digest) => {
                let link = self.bucket.head(&keys::revision(repository, digest)).await?;
                let is_tagged = tagged
                    .get(repository)
                    .is_some_and(|tagged| tagged.contains(digest));
                Ok(match link {
                    Some(_) if is_tagged => Due::InUse,
                    // The bytes are an item of their own.
                    link => self.due_after(terms.grace, link.as_ref(), 0),
                })
            }
            Victim::Link(repository, digest) => {
                let link = self.bucket.head(&keys::layer(repository, digest)).await?;
                let grace = terms.grace.max(terms.uploading);
                Ok(self.due_after(grace, link.as_ref(), 0))
            }
            Victim::Data(digest) => {
                let data = self.bucket.head(&keys::blob(digest)).await?;
                let bytes = data.as_ref().map_or(0, |data| data.size);
                Ok(self.due_after(terms.grace, data.as_ref(), bytes))
            }
            Victim::Repository(repository) => self.repository_due(repository).await,
        }
    }

    /// Decides by the age of an object.
    fn due_after(&self, grace: Duration, object: Option<&Meta>, bytes: u64) -> Due {
        let Some(object) = object else {
            return Due::Absent;
        };
        let age = now(&self.bucket).time().duration_since(object.modified);
        let left = grace.saturating_sub(age.unwrap_or_default());
        match left.is_zero() {
            true => Due::now(bytes),
            false => Due::Later(left),
        }
    }

    async fn repository_due(&self, repository: &RepositoryName) -> Result<Due> {
        let uploads = self.upload_page(repository, Page::first(1)).await?;
        if !uploads.items.is_empty() {
            return Ok(Due::InUse);
        }
        let has_links = self.bucket.any(&keys::all_layers(repository)).await?;
        Ok(match has_links || self.exists(repository).await? {
            true => Due::now(0),
            false => Due::Absent,
        })
    }

    /// Returns those of some manifests that a tag points at.
    ///
    /// Tags that ever pointed at one have an entry of registry:2's list of past targets. Those without any entry were made by
    /// another program.
    async fn tagged_among(
        &self,
        repository: &RepositoryName,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>> {
        let directory = keys::tags(repository);
        let (mut all, mut with_entries, mut candidates) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for object in self.list_all(&directory).await? {
            let name = keys::name_in(&directory, &object.key);
            let Some(tag) = name.and_then(|name| Tag::parse(name).ok()) else {
                continue;
            };
            if object.key == keys::tag(repository, &tag) {
                all.insert(tag);
                continue;
            }
            if keys::past_target(&object.key).is_some_and(|target| digests.contains(&target)) {
                candidates.insert(tag.clone());
            }
            with_entries.insert(tag);
        }
        candidates.extend(all.difference(&with_entries).cloned());
        let looks = candidates
            .iter()
            .map(|tag| self.seen_tag(repository, tag).boxed());
        let targets = at_once(looks).await?.into_iter().flatten();
        Ok(targets
            .filter_map(Seen::whole)
            .map(|target| target.digest)
            .filter(|digest| digests.contains(digest))
            .collect())
    }
}
