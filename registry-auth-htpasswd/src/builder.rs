//! [`Builder`]: the options of an [`Htpasswd`].

use crate::{
    authenticator::Htpasswd,
    clock::Clock,
    digest::DigestKey,
    failure_limit::FailureLimit,
    formats::Formats,
    hash::Kind,
    hashing::Hashing,
    limits::Failures,
    load::{LoadError, create_if_missing},
    reload::Source,
    shared::{Counters, Shared},
};
use std::{hash::RandomState, num::NonZeroUsize, path::PathBuf, thread, time::Duration};

/// Options of an [`Htpasswd`], made by [`Htpasswd::builder`].
///
/// ```
/// use registry_auth_htpasswd::{FailureLimit, Htpasswd, Kind};
/// use std::time::Duration;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("users");
/// let users = Htpasswd::builder(path)
///     .realm("Our images")
///     .create_if_missing()
///     .formats([Kind::Bcrypt, Kind::Sha512Crypt])
///     .failure_limit(FailureLimit::new(5, Duration::from_secs(60)))
///     .open()?;
/// assert_eq!(users.users(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    path: PathBuf,
    realm: String,
    formats: Formats,
    create: bool,
    check_every: Duration,
    cache_for: Duration,
    failure_limit: Option<FailureLimit>,
    network_failure_limit: Option<FailureLimit>,
    presumed_failure_limit: Option<FailureLimit>,
    threads: NonZeroUsize,
    queue: usize,
}

impl Htpasswd {
    /// Reads the users from a file, with the defaults of [`Self::builder`]. This blocks for as long as the file system
    /// does.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what is wrong with which file and line.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LoadError> {
        Self::builder(path).open()
    }

    /// Starts with the path of a file; the [`Builder`] has the options.
    pub fn builder(path: impl Into<PathBuf>) -> Builder {
        Builder::new(path.into())
    }
}

impl Builder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            path,
            realm: "Registry".into(),
            formats: Formats::default(),
            create: false,
            check_every: Duration::from_secs(1),
            cache_for: Duration::from_secs(300),
            failure_limit: Some(FailureLimit::default()),
            network_failure_limit: Some(FailureLimit::MANY),
            presumed_failure_limit: Some(FailureLimit::MANY),
            threads: NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN),
            queue: 128,
        }
    }

    /// Sets the realm that clients show at the login prompt. Default: `Registry`.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            ..self
        }
    }

    /// Accepts only users whose password has one of these formats. Other users cannot log in, and a warning names
    /// their lines. Default: all formats.
    pub fn formats(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            formats: kinds.into_iter().collect(),
            ..self
        }
    }

    /// Accepts only users whose password is hashed by bcrypt, as registry:2 does.
    pub fn strict(self) -> Self {
        self.formats([Kind::Bcrypt])
    }

    /// Creates the file if it is missing or empty, as registry:2 does. Its owner alone can read it. Its only user is
    /// `docker`, whose random password is logged.
    pub fn create_if_missing(self) -> Self {
        Self { create: true, ..self }
    }

    /// Sets the shortest interval between two checks of the file. Default: 1 second.
    pub fn check_every(self, interval: Duration) -> Self {
        Self {
            check_every: interval,
            ..self
        }
    }

    /// Sets the time after its last use for which a verified password is remembered. Default: 5 minutes.
    ///
    /// Only a digest under a random key of this process is kept. It is dropped earlier if the user's line in the file
    /// changes.
    pub fn cache_for(self, unused: Duration) -> Self {
        Self {
            cache_for: unused,
            ..self
        }
    }

    /// Limits the wrong passwords for a user from one address (in IPv6, from 64 bits of it); `None` sets no limit. 56
    /// bits of an IPv6 address are allowed 3 times as many, forgiven 3 times faster, and 48 bits 10 times. Default:
    /// [`FailureLimit::default`].
    pub fn failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            failure_limit: limit.into(),
            ..self
        }
    }

    /// Limits the wrong passwords from one network (an address, in IPv6 64 bits of it), for all user names together;
    /// `None` sets no limit. 56 bits are allowed 3 times as many, forgiven 3 times faster, and 48 bits 10 times.
    /// Default: 100, of which one is forgiven every 3 seconds.
    ///
    /// Loopback, private, link-local and carrier-grade NAT (RFC 6598) addresses are not counted: a proxy with such an
    /// address stands for all its clients.
    pub fn network_failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            network_failure_limit: limit.into(),
            ..self
        }
    }

    /// Limits the wrong passwords for a user through one [presumed proxy](registry_core::auth::PresumedProxy), for all
    /// client addresses that it forwards; `None` sets no limit. Default: 100, of which one is forgiven every 3 seconds.
    ///
    /// All clients that log in as that user through the proxy share this limit. Configure the real proxies, so that
    /// none is presumed.
    pub fn presumed_failure_limit(self, limit: impl Into<Option<FailureLimit>>) -> Self {
        Self {
            presumed_failure_limit: limit.into(),
            ..self
        }
    }

    /// Sets the number of passwords hashed at once. Default: half of the processors, at least one.
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Sets the number of logins that may wait for hashing, at least one; further ones are refused with `Retry-After`.
    /// Default: 128.
    ///
    /// Networks take turns. In a full queue, a login from a network with fewer waiting logins replaces one from a
    /// network with more.
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
            source: Source::open(self.path, self.formats, self.check_every)?,
            clock: Clock::start(),
            key: DigestKey::random().map_err(LoadError::Random)?,
            stand_ins: RandomState::new(),
            hashing: Hashing::new(self.threads, self.queue),
            failures: Failures::new(
                self.failure_limit,
                self.network_failure_limit,
                self.presumed_failure_limit,
            ),
            cache_for: self.cache_for,
            counters: Counters::default(),
        }))
    }
}
