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
    storage::{Document, StorageError, StorageTrash, TrashId},
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
        let since = subjects
            .iter()
            .filter_map(|subject| records.manifests.get(subject));
        let since = since.map(|(id, _)| *id).min();
        let deleted = self.deleted_referrers(trash, records, since, left).await;
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
                    self.leave(*digest, with_causes(&error), left);
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
                    self.leave(referrer.digest, with_causes(&error), left);
                    break;
                }
                manifests.push(*digest);
            }
        }
    }

    /// Reads every manifest that was deleted. Adds those that cannot be read to `left`, because they may be referrers, unless
    /// they were deleted before `since`: such referrers are not restored.
    async fn deleted_referrers(
        &self,
        trash: &dyn StorageTrash,
        records: &Records,
        since: Option<TrashId>,
        left: &mut Vec<NotRestored>,
    ) -> Deleted {
        let mut referrers = Deleted::new();
        for (digest, (id, _)) in &records.manifests {
            let document = trash.deleted_document(&self.name, id).await;
            let stored = match document {
                Ok(Document::Whole(stored)) => stored,
                unread => {
                    let reference = Reference::Digest(*digest);
                    let exists = matches!(self.storage().manifest(&self.name, &reference).await, Ok(Some(_)));
                    if Some(*id) >= since && !exists {
                        self.leave(*digest, reason_of(unread), left);
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

    fn leave(&self, digest: Digest, reason: String, left: &mut Vec<NotRestored>) {
        tracing::warn!(repository = %self.name, %digest, reason, "a deleted manifest is not restored with its subject");
        left.push(NotRestored { digest, reason });
    }
}

/// Returns the reason why a deleted manifest is not known.
fn reason_of(unread: Result<Document, StorageError>) -> String {
    match unread {
        Err(error) => with_causes(&error),
        Ok(Document::Lost) => "its content is gone; push it again".to_owned(),
        Ok(Document::Damaged(_) | Document::Whole(_)) => "its content is damaged; push it again".to_owned(),
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
