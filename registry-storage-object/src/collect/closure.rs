//! Content that rescued manifests need.
//!
//! A client that is told that a manifest exists skips everything that the manifest names. So what is rescued is protected
//! with all that it needs, directly or through other manifests.

use crate::{
    gate::{Kind, Mark},
    keys,
    run::Work,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName,
    manifest::Manifest,
    storage::{Document, Result},
};
use std::collections::{BTreeSet, btree_map::Entry};

impl Store {
    /// Returns everything that was rescued in this epoch, with all that it needs.
    pub(super) async fn protected(&self, work: &mut Work) -> Result<BTreeSet<Mark>> {
        let epoch = work.stored.state.epoch;
        let mut protected = BTreeSet::new();
        for sign in self.list_all(&keys::all_rescued(epoch)).await? {
            let name = sign.key.rsplit('/').next();
            let Some(mark) = name.and_then(Mark::parse) else {
                continue;
            };
            protected.insert(mark);
            if mark.kind() != Kind::Manifest {
                continue;
            }
            let needs = match work.needs.entry(mark) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.needs_of(&sign.key).await?),
            };
            protected.extend(needs.iter());
        }
        Ok(protected)
    }

    /// Returns the marks of all that the manifest needs which a sign names.
    async fn needs_of(&self, sign: &str) -> Result<Vec<Mark>> {
        let Some(sign) = self.bucket.get(sign).await? else {
            return Ok(Vec::new());
        };
        let named = str::from_utf8(&sign.bytes).ok().and_then(|text| {
            let (repository, digest) = text.split_once('@')?;
            Some((
                RepositoryName::parse(repository).ok()?,
                Digest::parse(digest).ok()?,
            ))
        });
        let Some((repository, digest)) = named else {
            return Ok(Vec::new());
        };
        let (mut seen, mut above) = (BTreeSet::from([digest]), vec![digest]);
        let mut marks = Vec::new();
        while let Some(digest) = above.pop() {
            marks.push(Mark::manifest(&repository, &digest));
            marks.push(Mark::data(&digest));
            let Some(manifest) = self.parsed(&repository, &digest).await? else {
                continue;
            };
            for named in manifest.blobs().iter().chain(manifest.manifests()) {
                if let Some(named) = named.digest.known() {
                    marks.push(Mark::link(&repository, named));
                    marks.push(Mark::data(named));
                }
            }
            let manifests = manifest.manifests().iter();
            let manifests = manifests.filter_map(|child| child.digest.known().copied());
            above.extend(manifests.filter(|child| seen.insert(*child)));
        }
        Ok(marks)
    }

    /// Reads a manifest. Returns `None` if it has gone or cannot be parsed: then the survey of the run keeps what it may name.
    pub(super) async fn parsed(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Manifest>> {
        Ok(match self.document(repository, digest).await? {
            Document::Whole(stored) => Manifest::parse_stored(&stored.bytes, &stored.media_type).ok(),
            _ => None,
        })
    }
}
