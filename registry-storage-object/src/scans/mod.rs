//! Scans: all keys below a directory, and all repositories. They rely on the store's own tokens alone.
//!
//! No order of a store is trusted, and no common prefix: a store may go on showing the prefix of objects that were removed.
//! A name that is found by a prefix is looked for by a listing of its keys.

use crate::{
    bucket::{MARGIN, Meta, StoreTime},
    keys,
    store::Store,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use registry_core::{
    RepositoryName,
    storage::{Result, StorageError},
};
use std::collections::{BTreeMap, BTreeSet};

/// Number of requests of a scan at a time.
const AT_ONCE: usize = 16;

/// Number of keys in a page of a second listing. It is not a part of the usual 1,000, so that pages end at other keys.
const OTHER_PAGE: usize = 617;

/// Number of further listings, in all of which a key has to be missing, although it is there.
const LISTINGS: usize = 3;

/// Content that a scan has to find in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// A manifest or a tag.
    Manifests,
    /// Anything.
    Anything,
}

impl Store {
    /// Lists all objects below a directory. 1 request for 1,000 objects.
    pub(crate) async fn list_all(&self, directory: &str) -> Result<Vec<Meta>> {
        self.bucket.list(directory).try_collect().await
    }

    /// Lists all objects below a directory twice, and compares. Removals are decided by these listings.
    ///
    /// The pages of the two end at different keys, so that they do not lose the same ones there. 1 request for 380 objects,
    /// and at least 3 for more than one object. An object that was written during the listings is a part of the result.
    ///
    /// # Errors
    ///
    /// Any error if one of the listings lacks an object that exists, and that did already when it began.
    pub(crate) async fn list_twice(&self, directory: &str) -> Result<Vec<Meta>> {
        let began = self.bucket.observed().latest();
        let first = self.list_all(directory).await?;
        let size = OTHER_PAGE.min(first.len() / 2 + 1);
        let second = self.bucket.list_by(directory, size).await?;
        let first: BTreeMap<String, Meta> = by_key(first);
        let incomplete = |key: &str| {
            let context = format!("the object store has left {key} out of a listing of {directory}");
            StorageError::unavailable(context, None, None)
        };
        if let Some(key) = left_out_before(began, &first, &second) {
            return Err(incomplete(key));
        }
        let mut second = by_key(second);
        let mut missing: Vec<Meta> = first
            .into_values()
            .filter(|object| !second.contains_key(&object.key))
            .collect();
        for attempt in 0.. {
            missing = self.still_there(missing, &mut second).await?;
            let Some(object) = missing.first() else { break };
            if attempt == LISTINGS {
                return Err(incomplete(&object.key));
            }
            // It may have been removed and written again within a second, with the same content. So that has to happen each time.
            let again = by_key(self.bucket.list_by(directory, size).await?);
            let (found, left): (Vec<Meta>, Vec<Meta>) = missing
                .into_iter()
                .partition(|object| again.contains_key(&object.key));
            second.extend(found.into_iter().map(|object| (object.key.clone(), object)));
            missing = left;
        }
        Ok(second.into_values().collect())
    }

    /// Looks at objects that a listing lacks. Returns those that are as they were, and adds to the listing what was written
    /// meanwhile.
    async fn still_there(
        &self,
        missing: Vec<Meta>,
        listed: &mut BTreeMap<String, Meta>,
    ) -> Result<Vec<Meta>> {
        let looks = missing.into_iter().map(|object| async move {
            let found = self.bucket.head(&object.key).await?;
            Ok(found.map(|found| (object, found)))
        });
        let mut same = Vec::new();
        for (object, found) in at_once(looks).await?.into_iter().flatten() {
            match object.is_the_same_as(&found) {
                true => same.push(object),
                false => drop(listed.insert(found.key.clone(), found)),
            }
        }
        Ok(same)
    }

    /// Returns true if a repository has a manifest or a tag. 1 request.
    pub(crate) async fn has_manifests(&self, name: &RepositoryName) -> Result<bool> {
        self.bucket.any(&keys::manifests(name)).await
    }

    /// Returns the repositories that have a marker. 1 request for 1,000.
    pub(crate) async fn marked_repositories(&self) -> Result<BTreeSet<RepositoryName>> {
        let mut objects = self.bucket.list(keys::MARKERS);
        let mut marked = BTreeSet::new();
        while let Some(object) = objects.try_next().await? {
            marked.extend(keys::marked(&object.key));
        }
        Ok(marked)
    }

    /// Returns the repositories of which there is something in the bucket. 1 request for each directory of a name, and 1 to
    /// 2 for each repository.
    ///
    /// With [`Holding::Anything`], each directory is listed twice, as by [`list_twice`](Self::list_twice): a collection knows
    /// the repositories of other programs by this alone.
    pub(crate) async fn walk_repositories(&self, holding: Holding) -> Result<BTreeSet<RepositoryName>> {
        let mut found = BTreeSet::new();
        let mut above: Vec<Option<RepositoryName>> = vec![None];
        // Level by level.
        while !above.is_empty() {
            let looks = std::mem::take(&mut above).into_iter();
            let looks = looks.map(|name| self.parts(name, holding).boxed());
            for (name, parts) in at_once(looks).await? {
                let may_hold = match holding {
                    Holding::Manifests => parts.has_manifests,
                    Holding::Anything => parts.has_manifests || parts.has_layers,
                };
                found.extend(name.filter(|_| may_hold));
                above.extend(parts.below.into_iter().map(Some));
            }
        }
        let looks = found
            .into_iter()
            .map(|name| self.if_it_holds(name, holding).boxed());
        Ok(at_once(looks).await?.into_iter().flatten().collect())
    }

    async fn if_it_holds(&self, name: RepositoryName, holding: Holding) -> Result<Option<RepositoryName>> {
        let holds = self.holds(&name, holding).await?;
        Ok(holds.then_some(name))
    }

    async fn holds(&self, name: &RepositoryName, holding: Holding) -> Result<bool> {
        let has_manifests = self.has_manifests(name).await?;
        match holding {
            Holding::Manifests => Ok(has_manifests),
            Holding::Anything => Ok(has_manifests || self.bucket.any(&keys::all_layers(name)).await?),
        }
    }

    /// Returns what is directly below the directory of a repository, or of all.
    async fn parts(
        &self,
        name: Option<RepositoryName>,
        holding: Holding,
    ) -> Result<(Option<RepositoryName>, Parts)> {
        let directory = name
            .as_ref()
            .map_or_else(|| keys::REPOSITORIES.to_owned(), keys::repository);
        let mut parts = Parts::default();
        for path in self.directories(&directory, holding).await? {
            match keys::name_in(&directory, &path) {
                Some("_manifests") => parts.has_manifests = true,
                Some("_layers") => parts.has_layers = true,
                Some(segment) => {
                    let below = match &name {
                        Some(name) => format!("{name}/{segment}"),
                        None => segment.to_owned(),
                    };
                    // What is no part of a name was made by another program.
                    parts.below.extend(RepositoryName::parse(&below).ok());
                }
                None => {}
            }
        }
        Ok((name, parts))
    }

    /// Returns the common prefixes directly below a directory.
    async fn directories(&self, directory: &str, holding: Holding) -> Result<BTreeSet<String>> {
        let first = self.bucket.directory(directory);
        let mut found = BTreeSet::new();
        match holding {
            Holding::Manifests => found.extend(first.await?.directories),
            Holding::Anything => {
                let second = self.bucket.directory_by(directory, OTHER_PAGE);
                let (first, second) = tokio::try_join!(first, second)?;
                found.extend(first.directories.into_iter().chain(second.directories));
            }
        }
        Ok(found)
    }
}

/// Returns an object of the second listing that the first one lacks, and that was there when it began.
fn left_out_before<'l>(
    began: Option<StoreTime>,
    first: &BTreeMap<String, Meta>,
    second: &'l [Meta],
) -> Option<&'l str> {
    let was_there = |object: &&Meta| {
        let settled = StoreTime::of(object.modified).after(MARGIN);
        began.is_some_and(|began| settled < began)
    };
    let lacking = second.iter().filter(|object| !first.contains_key(&object.key));
    lacking.filter(was_there).map(|object| object.key.as_str()).next()
}

fn by_key(objects: Vec<Meta>) -> BTreeMap<String, Meta> {
    let objects = objects.into_iter();
    objects.map(|object| (object.key.clone(), object)).collect()
}

/// Parts of the directory of a repository, by its common prefixes. They may be of objects that have gone.
#[derive(Default)]
struct Parts {
    has_manifests: bool,
    has_layers: bool,
    below: Vec<RepositoryName>,
}

/// Runs calls, some at a time, and returns their results in the order of the calls.
///
/// The futures are in memory all the time: a caller with very many passes some of them after the other.
pub(crate) async fn at_once<T, F>(calls: impl IntoIterator<Item = F>) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    let calls: Vec<F> = calls.into_iter().collect();
    stream::iter(calls).buffered(AT_ONCE).try_collect().await
}

/// Sorts listed objects by the names that `name` finds in their keys. One of several objects of a name counts.
pub(crate) fn by_name<K: Ord>(objects: Vec<Meta>, name: impl Fn(&str) -> Option<K>) -> BTreeMap<K, Meta> {
    objects
        .into_iter()
        .filter_map(|object| Some((name(&object.key)?, object)))
        .collect()
}

#[cfg(test)]
mod tests;
