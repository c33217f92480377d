//! Content that a manifest refers to, which must exist before the manifest is visible.

use crate::{
    bucket::{Condition, Fence, Meta, Sent},
    keys,
    rung::Rung,
    scans::at_once,
    store::Store,
};
use futures_util::TryStreamExt as _;
use registry_core::{
    Digest, RepositoryName,
    hash::Hasher,
    storage::{Needed, Result, SizePolicy, StorageError, WrongSize},
};
use std::collections::{HashMap, HashSet};

/// Result of the check of what a manifest refers to.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Items that the policy accepts although their size differs from the descriptor's.
    pub(crate) wrong_sizes: Vec<WrongSize>,
    /// True if one of them is a blob by a link of the repository.
    pub(crate) has_layer: bool,
}

impl Store {
    /// Checks that everything a manifest refers to exists, and stays. The caller has promised it.
    pub(crate) async fn check_needs(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
        sizes: SizePolicy,
        fence: Option<Fence>,
    ) -> Result<Needs> {
        // A manifest may name the same content any number of times.
        let mut seen = HashSet::new();
        let needs: Vec<Needed> = needs
            .iter()
            .filter(|needed| seen.insert((needed.digest, needed.size, needed.need)))
            .copied()
            .collect();
        let found = self.look(repository, &needs).await?;
        let kept = found.into_iter().map(|held| async move {
            match held {
                Some(held) => self.keep(held).await,
                None => Ok(None),
            }
        });
        let found = at_once(kept).await?;
        let (mut checked, mut sound) = (Needs::default(), HashMap::new());
        let (mut missing, mut named) = (Vec::new(), HashSet::new());
        for (needed, held) in needs.iter().zip(found) {
            let is_there = match &held {
                None => false,
                Some(held) if held.info.size == needed.size => true,
                Some(held) => match sound.get(&held.target) {
                    Some(is_sound) => *is_sound,
                    None => {
                        let is_sound = self.is_sound(&held.target, fence).await?;
                        sound.insert(held.target, is_sound);
                        is_sound
                    }
                },
            };
            match held.filter(|_| is_there) {
                None if named.insert(needed.digest) => missing.push(needed.digest),
                None => {}
                Some(held) => {
                    checked.has_layer |= !needed.need.admits_manifest();
                    checked.wrong_sizes.extend(needed.wrong_size(held.info.size));
                }
            }
        }
        if !missing.is_empty() {
            return Err(StorageError::MissingReferences(missing));
        }
        match (sizes, checked.wrong_sizes.first()) {
            (SizePolicy::Any, _) | (_, None) => Ok(checked),
            (_, Some(first)) => Err((*first).into()),
        }
    }

    /// Returns true if the bytes stored under a digest match it. Reads and hashes all of them. Damaged bytes are removed,
    /// so that a push repairs them.
    async fn is_sound(&self, target: &Digest, fence: Option<Fence>) -> Result<bool> {
        let Some((meta, is_sound)) = self.hash(target).await? else {
            return Ok(false);
        };
        if is_sound {
            return Ok(true);
        }
        // The network may have damaged them.
        match self.hash(target).await? {
            Some((again, is_sound)) if is_sound || again.version != meta.version => return Ok(is_sound),
            None => return Ok(false),
            Some(_) => {}
        }
        let key = keys::blob(target);
        tracing::error!(
            digest = %target, size = meta.size,
            "stored content is damaged; it is removed, and absent until it is pushed again"
        );
        let (fence, has_condition) = (self.sooner(fence), self.rung == Rung::Conditional);
        // Otherwise, a store may ignore the condition, and remove what somebody has pushed again.
        let is_same = |found: Option<Meta>| found.is_some_and(|found| found.version == meta.version);
        if !has_condition && !is_same(self.bucket.head(&key).await?) {
            return Ok(false);
        }
        let condition = Condition::Is(meta.version.clone());
        match (self.bucket.delete_once(&key, &condition, fence).await?, fence) {
            (Sent::Unclear, Some(fence)) if !has_condition => {
                self.outlast(self.over(fence), &key).await?;
            }
            // The caller counts it as absent, and the next one finds it if it is still there.
            (Sent::Done(_) | Sent::Refused | Sent::Expired | Sent::Unclear, _) => {}
        }
        Ok(false)
    }

    async fn hash(&self, target: &Digest) -> Result<Option<(Meta, bool)>> {
        let Some((meta, mut chunks)) = self.bucket.read_whole(&keys::blob(target)).await? else {
            return Ok(None);
        };
        let mut hasher = Hasher::new(target.algorithm());
        while let Some(chunk) = chunks.try_next().await? {
            let hashed = tokio::task::spawn_blocking(move || {
                hasher.update(&chunk);
                hasher
            });
            hasher = hashed.await.map_err(|error| {
                StorageError::unavailable("the runtime is shutting down", None, Some(error.into()))
            })?;
        }
        let is_sound = hasher.digest().as_ref() == Some(target);
        Ok(Some((meta, is_sound)))
    }
}
