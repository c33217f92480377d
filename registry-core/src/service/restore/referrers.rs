//! Referrers that are restored with their subjects.

use super::{
    outcome::{NotRestored, RestoreError},
    plan::{Plan, Records},
};
use crate::{
    digest::{AnyDigest, Digest},
    manifest::Manifest,
    reference::Reference,
    service::Repository,
    storage::{Document, StorageTrash, TrashId},
};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
};

/// Deleted referrer of a manifest that is restored.
pub(super) struct Referrer {
    digest: Digest,
    /// The manifests to put, the referrer last.
    manifests: Vec<Digest>,
    /// True if it contains the root, and is put after it: it may be an index with its subject.
    follows_root: bool,
}

impl Referrer {
    pub(super) const fn follows_root(&self) -> bool {
        self.follows_root
    }
}

/// Deleted manifests with a subject, and their newest records, by their subjects.
type Deleted = HashMap<Digest, Vec<(TrashId, Digest)>>;

impl Repository {
    /// Plans the referrers that were deleted with a manifest of the plan: after it, so that their deletion was not a
    /// decision of its own. Adds those that cannot be restored to `left`.
    pub(super) async fn plan_referrers(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        root: Digest,
        plan: &Plan,
        visited: &mut HashSet<Digest>,
        left: &mut Vec<NotRestored>,
    ) -> Result<Vec<Referrer>, RestoreError> {
        let mut subjects = plan.absent.clone();
        let (mut planned, mut after_root) = (Vec::new(), HashSet::from([root]));
        if subjects.is_empty() {
            return Ok(planned);
        }
        let deleted = self.deleted_referrers(trash, records, left).await;
        while let Some(subject) = subjects.pop() {
            let since = records.manifests.get(&subject).map(|(id, _)| *id);
            for (id, digest) in deleted.get(&subject).into_iter().flatten() {
                if Some(*id) < since || visited.contains(digest) {
                    continue;
                }
                let mut more = Plan::default();
                let found = self.plan(trash, records, *digest, &mut more, visited).await;
                let found = found.and_then(|()| match more.gone.is_empty() {
                    true => Ok(()),
                    false => Err(RestoreError::Gone(std::mem::take(&mut more.gone))),
                });
                if let Err(error) = found {
                    self.leave(*digest, &error, left);
                    more.discard(visited);
                    continue;
                }
                if !more.absent.contains(digest) {
                    // It was pushed again.
                    more.discard(visited);
                    continue;
                }
                let follows_root = !more.planned.is_disjoint(&after_root);
                if follows_root {
                    after_root.extend(&more.manifests);
                }
                planned.push(Referrer {
                    digest: *digest,
                    manifests: more.manifests,
                    follows_root,
                });
                subjects.extend(more.absent);
            }
        }
        Ok(planned)
    }

    /// Puts referrers, and adds the manifests that were put to `manifests`. A referrer that is refused is left.
    pub(super) async fn put_referrers(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        referrers: &[Referrer],
        manifests: &mut Vec<Digest>,
        left: &mut Vec<NotRestored>,
    ) {
        for referrer in referrers {
            for digest in &referrer.manifests {
                if let Err(error) = self.put_again(trash, records, digest, &[]).await {
                    self.leave(referrer.digest, &error, left);
                    break;
                }
                manifests.push(*digest);
            }
        }
    }

    /// Reads every manifest that was deleted. Adds those that cannot be read to `left`, because they may be referrers.
    async fn deleted_referrers(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        left: &mut Vec<NotRestored>,
    ) -> Deleted {
        let mut referrers = Deleted::new();
        for (digest, (id, _)) in &records.manifests {
            let stored = match trash.deleted_document(&self.name, id).await {
                Ok(Document::Whole(stored)) => stored,
                Ok(Document::Damaged(_) | Document::Lost) => continue,
                Err(error) => {
                    let reference = Reference::Digest(*digest);
                    if !matches!(self.storage().manifest(&self.name, &reference).await, Ok(Some(_))) {
                        self.leave(*digest, &error, left);
                    }
                    continue;
                }
            };
            let manifest = Manifest::parse_stored(&stored.bytes, &stored.media_type).ok();
            let subject = manifest.as_ref().and_then(Manifest::subject);
            if let Some(AnyDigest::Known(subject)) = subject {
                referrers.entry(*subject).or_default().push((*id, *digest));
            }
        }
        left.sort_unstable_by_key(|left| left.digest);
        for of_subject in referrers.values_mut() {
            of_subject.sort_unstable();
        }
        referrers
    }

    fn leave(&self, digest: Digest, error: &(dyn Error + 'static), left: &mut Vec<NotRestored>) {
        let causes = std::iter::successors(Some(error), |&error| error.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::warn!(repository = %self.name, %digest, reason, "a deleted manifest is not restored with its subject");
        left.push(NotRestored { digest, reason });
    }
}
