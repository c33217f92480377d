//! [`Section`]: the protected part of an operation that relies on content. It looks for the content and publishes what
//! needs it, while nothing of both can be removed.

use crate::{
    digest_locks::{Key, SharedLocks},
    store::Store,
};
use registry_core::Digest;

/// A section, with the locks of everything that it relies on in shared mode.
///
/// Some keys become known only in the section, such as the target of a link. One that another operation holds blocks the
/// section: it then publishes nothing, and begins again with this key.
pub(crate) struct Section<'a> {
    store: &'a Store,
    locks: SharedLocks<'a>,
    keys: Vec<Key>,
    blocked: Vec<Key>,
}

impl Store {
    /// Begins a section. The caller holds no other lock of this kind, and none that a section waits for.
    pub(crate) fn section(&self, keys: impl IntoIterator<Item = Key>) -> Section<'_> {
        let keys: Vec<Key> = keys.into_iter().collect();
        Section {
            store: self,
            locks: self.digest_locks.shared(keys.iter().copied()),
            keys,
            blocked: Vec::new(),
        }
    }
}

impl Section<'_> {
    /// Adds content that the section relies on, too. Returns false if it cannot be locked now.
    pub(crate) fn add(&mut self, digest: &Digest) -> bool {
        let key = self.store.digest_locks.key(digest);
        let is_locked = self.locks.try_add(key);
        if is_locked {
            self.keys.push(key);
        } else {
            self.blocked.push(key);
        }
        is_locked
    }

    /// Returns the keys of everything that the section relies on.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the keys that could not be locked.
    pub(crate) fn blocked(&self) -> &[Key] {
        &self.blocked
    }
}
