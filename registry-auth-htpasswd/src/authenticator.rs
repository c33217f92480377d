//! [`Htpasswd`]: the authenticator.

use crate::{
    builder::Builder,
    clock::Clock,
    credentials::{Credentials, Malformed},
    hashing::Hashing,
    limits::Failures,
    load::LoadError,
    login::{self, Login},
    origin::Origin,
    reload::{LookTurn, Source},
    remembered::DigestKey,
    snapshot::Snapshot,
    table::Candidate,
    thread,
};
use async_trait::async_trait;
use registry_core::auth::{AuthError, AuthRequest, Authenticator, Challenge, Identity};
use std::{
    fmt,
    hash::RandomState,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The users of an htpasswd file. Cheap to clone; clones share everything.
///
/// Clients log in by HTTP's Basic scheme. See the [documentation of the crate](crate) for what is promised.
#[derive(Clone)]
pub struct Htpasswd {
    shared: Arc<Shared>,
}

/// What clones share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) realm: String,
    pub(crate) source: Source,
    pub(crate) clock: Clock,
    pub(crate) key: DigestKey,
    pub(crate) stand_ins: RandomState,
    pub(crate) hashing: Arc<Hashing>,
    pub(crate) failures: Failures,
    pub(crate) remember_for: Duration,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) remembered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) throttled: AtomicU64,
}

/// What an [`Htpasswd`] did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many passwords were hashed, which is where the time goes.
    pub hashed: u64,
    /// How many requests showed a password that was remembered.
    pub remembered: u64,
    /// How many logins failed: each is a line in the log.
    pub failed: u64,
    /// How many requests were refused without a look at the password: too many wrong ones before, or too many at once.
    pub throttled: u64,
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

    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Looks at the file now, and reads it if it has changed and nobody is writing it any more.
    ///
    /// Requests do the same every now and then. A host that calls this once in a second learns from the log that a
    /// new file is broken before a user does.
    ///
    /// One look is under way at a time: where the file system hangs, this waits for the look that hangs with it.
    pub async fn refresh(&self) {
        let turn = self.shared.source.turn().await;
        self.look(turn).await;
    }

    /// Starts a look, on a thread of its own, which goes on if nobody waits for its end.
    fn look(&self, mut turn: LookTurn) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let looked = thread::start("htpasswd-look", move || {
            shared.look(&mut turn, now);
        });
        async {
            match looked {
                // An end without an answer is a panic, and has been told of as such.
                Ok(done) => drop(done.await),
                Err(error) => tracing::error!(%error, "no thread to look at the htpasswd file"),
            }
        }
    }

    /// How many users can log in.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shared.source.table().len()
    }

    /// Returns who can log in, as the file was last read.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.source.table())
    }

    /// What was done since the file was opened, for metrics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            hashed: self.shared.hashing.done(),
            remembered: read(&counters.remembered),
            failed: read(&counters.failed),
            throttled: read(&counters.throttled),
        }
    }
}

impl Shared {
    fn look(&self, turn: &mut LookTurn, now: Duration) {
        self.source.look(turn, now);
        self.source.table().forget(now, self.remember_for);
    }

    /// Whether these credentials are remembered, going by the users as last read.
    fn is_verified(&self, credentials: &Credentials) -> bool {
        let candidate = self.source.table().candidate(credentials.user(), &self.stand_ins);
        candidate.is_some_and(|Candidate { entry, own }| {
            let digest = self.key.digest(&entry, credentials.password());
            own && entry.remembered.is(digest, self.clock.now(), self.remember_for)
        })
    }
}

#[async_trait]
impl Authenticator for Htpasswd {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        let origin = Origin::of(&request);
        let credentials = match Credentials::of(request.headers) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Ok(None),
            Err(Malformed) => {
                return Err(login::unhashed(&self.shared, origin, "", "malformed credentials"));
            }
        };
        if let Some(turn) = self.shared.source.due_turn(self.shared.clock.now()) {
            let looked = self.look(turn);
            // A file system that hangs holds up nobody who is at work.
            if !self.shared.is_verified(&credentials) {
                looked.await;
            }
        }
        let table = self.shared.source.table();
        let Some(candidate) = table.candidate(credentials.user(), &self.shared.stand_ins) else {
            let user = credentials.user();
            return Err(login::unhashed(&self.shared, origin, user, "unknown user"));
        };
        Login::new(Arc::clone(&self.shared), credentials, candidate, origin)
            .verify()
            .await
            .map(Some)
    }

    fn challenges(&self) -> Vec<Challenge> {
        vec![Challenge::Basic {
            realm: self.shared.realm.clone(),
        }]
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd")
            .field("realm", &self.shared.realm)
            .field("users", &self.users())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FailureLimit, Scheme, hash, limits::Party};
    use http::{Request, header};
    use registry_core::{Registry, storage::MemoryStorage};
    use std::{
        future::Future,
        num::NonZeroUsize,
        pin::pin,
        task::{Context, Waker},
    };

    /// The user `a` with the password `b`, one thread, and place for one who waits.
    fn users() -> Htpasswd {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = hash(b"b", Scheme::Bcrypt { cost: 4 }).unwrap();
        std::fs::write(file.path(), format!("a:{hash}")).unwrap();
        let builder = Htpasswd::builder(file.path()).threads(NonZeroUsize::MIN).queue(1);
        builder.look_every(Duration::MAX).open().unwrap()
    }

    async fn ping(users: &Htpasswd, credentials: &str) -> http::Response<()> {
        let registry = Registry::builder(MemoryStorage::new())
            .authenticator(users.clone())
            .build();
        let request = Request::get("/v2/").header(header::AUTHORIZATION, format!("Basic {credentials}"));
        let response = registry.handle(request.body(String::new()).unwrap()).await;
        response.map(|_| ())
    }

    const RIGHT: &str = "YTpi";
    const WRONG: &str = "YTpj";

    #[tokio::test(start_paused = true)]
    async fn when_the_queue_is_full_only_those_who_were_not_verified_are_refused() {
        let users = users();
        assert_eq!(ping(&users, RIGHT).await.status(), 200);
        let hashing = &users.shared.hashing;
        let _turn = hashing.turn(Origin::new(None).path()).await.unwrap();
        let mut waits = pin!(hashing.turn(Origin::new(None).path()));
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );

        let refused = ping(&users, WRONG).await;

        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "2");
        assert_eq!(ping(&users, RIGHT).await.status(), 200);
        assert_eq!(users.statistics().hashed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_wait_for_the_answer_is_counted() {
        let users = users();
        ping(&users, RIGHT).await;
        {
            let mut login = pin!(ping(&users, WRONG));
            // Ready as well, where the other thread is quick.
            drop(login.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        }

        // The turn comes back when the password was hashed.
        users.shared.hashing.turn(Origin::new(None).path()).await.unwrap();

        assert_eq!(users.statistics().failed, 1);
        let failures = &users.shared.failures;
        let party = || Party::user("a", Origin::new(None));
        let most = FailureLimit::default().failures;
        for _ in 1..most {
            failures.count(party(), Duration::ZERO);
        }
        assert!(failures.wait(party(), Duration::ZERO).is_some());
    }
}
