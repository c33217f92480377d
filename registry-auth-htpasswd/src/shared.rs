//! [`Shared`]: everything that a login needs.

use crate::{
    clock::Clock,
    digest::DigestKey,
    hashing::Hashing,
    limits::Failures,
    reload::{CheckTurn, Source},
    table::Candidate,
};
use registry_core::auth::BasicLogin;
use std::{
    hash::RandomState,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

/// State that the clones of an [`Htpasswd`](crate::Htpasswd) share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) realm: String,
    pub(crate) source: Source,
    pub(crate) clock: Clock,
    pub(crate) key: DigestKey,
    pub(crate) stand_ins: RandomState,
    pub(crate) hashing: Arc<Hashing>,
    pub(crate) failures: Failures,
    pub(crate) cache_for: Duration,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) cached: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) throttled: AtomicU64,
}

impl Shared {
    /// Checks the file, and drops the verified passwords that were not used lately.
    pub(crate) fn check(&self, turn: &CheckTurn, now: Duration) {
        self.source.check(turn, now);
        self.source.table().drop_unused_passwords(now, self.cache_for);
    }

    /// Returns true if these credentials were verified lately, for the users as last read.
    pub(crate) fn is_verified(&self, credentials: &BasicLogin) -> bool {
        let candidate = self.source.table().candidate(credentials.user(), &self.stand_ins);
        candidate.is_some_and(|Candidate { entry, own }| {
            let digest = self.key.digest(&entry, credentials.password());
            own && entry.verified.is(digest, self.clock.now(), self.cache_for)
        })
    }
}
