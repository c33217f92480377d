//! [`Builder`]: the options of an [`Htpasswd`].

use crate::{
    authenticator::{Counters, Htpasswd, Shared},
    clock::Clock,
    hashing::Hashing,
    limits::{FailureLimit, Failures},
    load::{LoadError, create_if_missing},
    reload::Source,
    remembered::DigestKey,
};
use std::{hash::RandomState, num::NonZeroUsize, path::PathBuf, thread, time::Duration};

/// An [`Htpasswd`] being put together: [`Htpasswd::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    path: PathBuf,
    realm: String,
    strict: bool,
    create: bool,
    look_every: Duration,
    remember_for: Duration,
    failure_limit: Option<FailureLimit>,
    network_failure_limit: Option<FailureLimit>,
    presumed_failure_limit: Option<FailureLimit>,
    threads: NonZeroUsize,
    queue: usize,
}

impl Builder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            path,
            realm: "Registry".into(),
            strict: false,
            create: false,
            look_every: Duration::from_secs(1),
            remember_for: Duration::from_secs(300),
            failure_limit: Some(FailureLimit::default()),
            network_failure_limit: Some(FailureLimit::MANY),
            presumed_failure_limit: Some(FailureLimit::MANY),
            threads: NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN),
            queue: 128,
        }
    }

    /// What people are told they log in to. Default: `Registry`.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            ..self
        }
    }

    /// Lets nobody in whose password is kept otherwise than by bcrypt, as registry:2 does.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// If the file does not exist or is empty, makes it, as registry:2 does: readable by its owner alone, with the user
    /// `docker` and a random password that is logged.
    pub fn create_if_missing(self) -> Self {
        Self { create: true, ..self }
    }

    /// How often the file is looked at, at most. Default: each second.
    pub fn look_every(self, interval: Duration) -> Self {
        Self {
            look_every: interval,
            ..self
        }
    }

    /// How long after its last use a verified password is remembered. Default: 5 minutes.
    ///
    /// A digest of it, with a random key of this process, is kept until then, or until its line in the file changes.
    pub fn remember_for(self, unused: Duration) -> Self {
        Self {
            remember_for: unused,
            ..self
        }
    }

    /// How many wrong passwords may be tried for a user from one address (in IPv6, 64 bits of it); `None` is any number.
    /// 56 bits of an address of IPv6 are allowed 3 times as many, forgiven 3 times faster, and 48 bits 10 times. Default:
    /// [`FailureLimit::default`].
    pub fn failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            failure_limit: limit.into(),
            ..self
        }
    }

    /// How many wrong passwords may be tried from one network (an address, in IPv6 64 bits of it), whatever names come
    /// with them; `None` is any number. 56 bits are allowed 3 times as many, forgiven 3 times faster, and 48 bits 10 times.
    /// Default: 100, of which one is forgiven each 3 seconds.
    ///
    /// Loopback, private and link-local addresses, and those that carriers share (RFC 6598), are not counted: a proxy may
    /// have them, behind which they are everybody's.
    pub fn network_failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            network_failure_limit: limit.into(),
            ..self
        }
    }

    /// How many wrong passwords may be tried for a user through one
    /// [presumed proxy](registry_core::auth::PresumedProxy), whatever client addresses it tells; `None` is any number.
    /// Default: 100, of which one is forgiven each 3 seconds.
    ///
    /// All who try to log in as that user share it, so name the proxies that there are, and none is presumed.
    pub fn presumed_failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            presumed_failure_limit: limit.into(),
            ..self
        }
    }

    /// How many passwords are hashed at once. Default: half of the processors, at least one.
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// How many logins may wait for that, at least one; others are told to come back. Default: 128.
    ///
    /// Networks take turns. Where the queue is full, one that has fewer logins in it than another gets a place of that.
    pub fn queue(self, logins: usize) -> Self {
        Self {
            queue: logins.max(1),
            ..self
        }
    }

    /// Reads the file. This blocks for as long as the file system does.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what is wrong with which file and line.
    pub fn open(self) -> Result<Htpasswd, LoadError> {
        if self.create {
            create_if_missing(&self.path)?;
        }
        Ok(Htpasswd::new(Shared {
            realm: self.realm,
            source: Source::open(self.path, self.strict, self.look_every)?,
            clock: Clock::start(),
            key: DigestKey::random().map_err(LoadError::Random)?,
            stand_ins: RandomState::new(),
            hashing: Hashing::new(self.threads, self.queue),
            failures: Failures::new(
                self.failure_limit,
                self.network_failure_limit,
                self.presumed_failure_limit,
            ),
            remember_for: self.remember_for,
            counters: Counters::default(),
        }))
    }
}
