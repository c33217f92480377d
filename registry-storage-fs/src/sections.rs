//! [`Section`]: the protected part of an operation that relies on content. It looks for the content and publishes what
//! needs it, while nothing of both can be removed.
//!
//! In a section, a promise to a pusher is recorded: what was promised is not removed by a collection that has begun, nor
//! by a later one for some time.

use crate::{
    digest_locks::{Key, SharedLocks},
    store::Store,
};
use registry_core::{Digest, storage::Result};

/// A section, with the locks of everything that it relies on in shared mode.
///
/// Some keys become known only in the section, such as the target of a link. One that another operation holds blocks the
/// section: it then publishes nothing, and begins again with this key.
pub(crate) struct Section<'a> {
    store: &'a Store,
    locks: SharedLocks<'a>,
    /// Everything that the section relies on.
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

    /// Does `work` in a section, again as long as that is blocked.
    pub(crate) fn in_section<T>(
        &self,
        mut keys: Vec<Key>,
        mut work: impl FnMut(&mut Section<'_>) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut section = self.section(keys.iter().copied());
            let done = work(&mut section)?;
            if section.blocked.is_empty() {
                return Ok(done);
            }
            keys.append(&mut section.blocked);
        }
    }
}

impl Section<'_> {
    /// Adds content that the section relies on, too. Returns false if it cannot be locked now.
    pub(crate) fn add(&mut self, digest: &Digest) -> bool {
        let key = self.store.digest_locks.key(digest);
        let is_locked = self.lock(key);
        if is_locked {
            self.keys.push(key);
        }
        is_locked
    }

    /// Keeps content that the section does not rely on until its end. Returns false if it cannot be locked now.
    pub(crate) fn keep(&mut self, digest: &Digest) -> bool {
        self.lock(self.store.digest_locks.key(digest))
    }

    fn lock(&mut self, key: Key) -> bool {
        let is_locked = self.locks.try_add(key);
        if !is_locked {
            self.blocked.push(key);
        }
        is_locked
    }

    /// Records that all that the section relies on is promised to a pusher.
    pub(crate) fn promise(&self) {
        self.store.collecting.touch(self.keys.iter().copied());
    }

    /// Returns the keys of everything that the section relies on.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns true if something could not be locked.
    pub(crate) const fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Returns the keys that could not be locked.
    pub(crate) fn blocked(&self) -> &[Key] {
        &self.blocked
    }
}
