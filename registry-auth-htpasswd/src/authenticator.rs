//! [`Htpasswd`]: the authenticator.

use crate::{
    login::{self, Login},
    origin::Origin,
    reload::CheckTurn,
    shared::Shared,
    snapshot::Snapshot,
    thread,
};
use async_trait::async_trait;
use registry_core::auth::{
    Access, AuthError, AuthRequest, Authenticator, Challenge, Identity, MalformedLogin,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The users of an htpasswd file, as an authenticator. Cheap to clone; clones share all state.
///
/// Clients log in by HTTP's Basic scheme. See the [documentation of the crate](crate) for its guarantees.
#[derive(Clone)]
pub struct Htpasswd {
    shared: Arc<Shared>,
}

/// Counters of an [`Htpasswd`] since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Number of passwords hashed. Hashing takes most of the time of a login.
    pub hashed: u64,
    /// Number of requests whose password was verified before and needed no hashing.
    pub cached: u64,
    /// Number of failed logins. Each of them is one line in the log.
    pub failed: u64,
    /// Number of requests refused before the password was hashed: after too many failures, or with too many logins at
    /// once.
    pub throttled: u64,
}

impl Htpasswd {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Checks the file now, and reads it if it has changed and is no longer being written.
    ///
    /// Requests make the same check at intervals. A host that calls this once a second logs a broken file before a user
    /// meets it.
    ///
    /// Only one check runs at a time. If the file system hangs, this waits for the check that hangs.
    ///
    /// # Cancel safety
    ///
    /// Safe: a check that has begun goes on by itself.
    pub async fn check_now(&self) {
        let turn = self.shared.source.turn().await;
        self.start_check(turn).await;
    }

    /// Starts a check on a thread of its own. The check continues even if the returned future is dropped.
    fn start_check(&self, turn: CheckTurn) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let started = thread::start("htpasswd-check", move || shared.check(&turn, now));
        async {
            match started {
                // Without an answer the thread has panicked, and the panic was reported.
                Ok(done) => drop(done.await),
                Err(error) => tracing::error!(%error, "cannot start a thread to check the htpasswd file"),
            }
        }
    }

    /// Returns the number of users who can log in.
    #[must_use]
    pub fn users(&self) -> usize {
        self.shared.source.table().len()
    }

    /// Returns the users who can log in, as the file was last read.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.source.table())
    }

    /// Returns the counters since the file was opened, for metrics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            hashed: self.shared.hashing.done(),
            cached: read(&counters.cached),
            failed: read(&counters.failed),
            throttled: read(&counters.throttled),
        }
    }
}

#[async_trait]
impl Authenticator for Htpasswd {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        let origin = Origin::of(&request);
        let credentials = match request.basic() {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Ok(None),
            Err(MalformedLogin) => {
                return Err(login::unhashed(&self.shared, origin, "", "malformed credentials"));
            }
        };
        if let Some(turn) = self.shared.source.due_turn(self.shared.clock.now()) {
            let checked = self.start_check(turn);
            // Clients with a verified password do not wait for a file system that hangs.
            if !self.shared.is_verified(&credentials) {
                checked.await;
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

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic(self.shared.realm.clone())]
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
        sync::mpsc,
        task::{Context, Waker},
        time::Duration,
    };
    use tokio::time::timeout;

    /// Opens a file with the user `a` and the password `b`, one thread, and room for one waiting login.
    fn users() -> Htpasswd {
        users_checked_every(Duration::MAX)
    }

    fn users_checked_every(interval: Duration) -> Htpasswd {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = hash(b"b", Scheme::Bcrypt { cost: 4 }).unwrap();
        std::fs::write(file.path(), format!("a:{hash}")).unwrap();
        let builder = Htpasswd::builder(file.path()).threads(NonZeroUsize::MIN).queue(1);
        builder.check_every(interval).open().unwrap()
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
            // It may be ready, if the other thread is fast.
            drop(login.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        }

        // The turn is returned when the password was hashed.
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

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_delays_nobody_who_is_verified() {
        let users = users_checked_every(Duration::from_secs(1));
        assert_eq!(ping(&users, RIGHT).await.status(), 200);
        let [(hangs, is_hanging), (end, ends)] = [mpsc::channel(), mpsc::channel()];
        let shared = Arc::clone(&users.shared);
        let hanging = std::thread::spawn(move || shared.source.hang(&hangs, &ends));
        is_hanging.recv().unwrap();

        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let login = timeout(Duration::from_millis(1), ping(&users, RIGHT));
            assert_eq!(login.await.unwrap().status(), 200);
        }
        // One check hangs, and no other login waits for it.
        assert_eq!(ping(&users, WRONG).await.status(), 401);

        end.send(()).unwrap();
        hanging.join().unwrap();
        users.check_now().await;
    }
}
