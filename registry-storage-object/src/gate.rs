//! [`Gate`]: what a push has to know of a collection that may run on another replica.

use crate::bucket::{Bucket, Dialect, Fence, StoreTime};
use registry_core::{Digest, RepositoryName, storage::Result};
use std::time::{Duration, SystemTime};

/// Age that a view may have.
const FRESH: Duration = Duration::from_secs(30);

/// Time from a view to the last write that rests on it.
const LATEST_PUBLISH: Duration = Duration::from_secs(5 * 60);

/// What this replica knows of the collection of the bucket.
#[derive(Debug, Default)]
pub(crate) struct Gate {}

/// The state of the collection at one time of the store's clock. Promises and publishing writes rest on it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    told: StoreTime,
    dialect: Dialect,
}

/// Content of a repository that a pusher relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promised<'a> {
    /// A blob, with its link in the repository.
    Blob(&'a RepositoryName, &'a Digest),
    /// A manifest, with its record in the repository.
    Manifest(&'a RepositoryName, &'a Digest),
}

impl Gate {
    /// Returns the state of the collection, at most [`FRESH`] old.
    pub(crate) async fn view(&self, bucket: &Bucket) -> Result<View> {
        let told = bucket
            .observed()
            .latest()
            .unwrap_or_else(|| StoreTime::of(SystemTime::now()));
        Ok(View {
            told,
            dialect: bucket.dialect(),
        })
    }

    /// Protects content that a pusher is told to exist. Called before the storage looks for it: what is absent then was
    /// not protected.
    pub(crate) async fn promise(&self, bucket: &Bucket, view: &View, items: &[Promised<'_>]) -> Result<()> {
        let _ = (bucket, view, items);
        Ok(())
    }
}

impl View {
    /// Returns the time until which what rests on this view may be published. `None` where calls cannot be late.
    pub(crate) fn fence(&self) -> Option<Fence> {
        (self.dialect != Dialect::Memory).then_some(Fence {
            told: self.told,
            valid: FRESH + LATEST_PUBLISH,
        })
    }
}
