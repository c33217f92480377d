//! [`RemoteAbilities`]: the features of a repository that the client has learned.

use std::sync::{Arc, Mutex, PoisonError};

/// Features of a repository, learned from its responses. `None` stands for unknown: nothing needed it yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteAbilities {
    /// The registry lists referrers. Without it, the client keeps them under a tag.
    pub referrers: Option<bool>,
    /// The registry mounts blobs of other repositories. It is unknown if a blob was not mounted: the other repository may
    /// lack it.
    pub mounts: Option<bool>,
    /// A push of a manifest sets several tags at once.
    pub tag_parameters: Option<bool>,
    /// The registry sends parts of blobs.
    pub ranges: Option<bool>,
    /// Smallest chunk that the registry accepts, in bytes.
    pub min_chunk: Option<u64>,
    /// Largest chunk that the client sends, in bytes, because larger ones were refused (413).
    pub max_chunk: Option<u64>,
}

/// Abilities that the clones of a repository share.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned(Arc<Mutex<RemoteAbilities>>);

impl Learned {
    pub(super) fn get(&self) -> RemoteAbilities {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut RemoteAbilities)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
