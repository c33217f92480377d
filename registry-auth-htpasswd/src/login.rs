//! One login: answered from a remembered password, hashed when its turn comes, or refused.

use crate::{limits::Party, origin::Origin, shared::Shared, table::Candidate, verified_password::Digest};
use registry_core::auth::{AuthError, BasicLogin, Identity};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Value of `Retry-After` when the queue is full.
const FULL: Duration = Duration::from_secs(2);

/// A name and a password, and the line of the file to verify them against.
#[derive(Debug)]
pub(crate) struct Login {
    shared: Arc<Shared>,
    credentials: BasicLogin,
    candidate: Candidate,
    digest: Digest,
    origin: Origin,
}

impl Login {
    pub(crate) fn new(
        shared: Arc<Shared>,
        credentials: BasicLogin,
        candidate: Candidate,
        origin: Origin,
    ) -> Self {
        // Also for unknown users, so that it takes the same time.
        let digest = shared.key.digest(&candidate.entry, credentials.password());
        Self {
            shared,
            credentials,
            candidate,
            digest,
            origin,
        }
    }

    /// Verifies the password. A remembered password is answered at once and never refused; others wait in the bounded
    /// queue.
    pub(crate) async fn verify(self) -> Result<Identity, AuthError> {
        let identity = Identity::new(Arc::clone(&self.candidate.entry.user));
        if self.is_cached() {
            return Ok(identity);
        }
        self.admit()?;
        let shared = Arc::clone(&self.shared);
        let turn = shared.hashing.turn(self.origin.path()).await;
        let turn = turn.ok_or_else(|| self.throttled(FULL, "too many logins at once"))?;
        // Meanwhile another request may have verified the same password, or failed too often.
        if self.is_cached() {
            return Ok(identity);
        }
        self.admit()?;
        let now = shared.clock.now();
        let hashed = turn.hash(move || self.hash(now)).await;
        match hashed {
            Ok(true) => Ok(identity),
            Ok(false) => Err(AuthError::Rejected),
            Err(error) => Err(AuthError::Failed(error.into())),
        }
    }

    fn is_cached(&self) -> bool {
        let remembered = &self.candidate.entry.verified;
        let found =
            self.candidate.own && remembered.is(self.digest, self.shared.clock.now(), self.shared.cache_for);
        if found {
            self.shared.counters.cached.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Refuses the login if this user at this address, or its network, has too many failures.
    fn admit(&self) -> Result<(), AuthError> {
        match self.wait() {
            None => Ok(()),
            Some(wait) => Err(self.throttled(wait, "too many failures")),
        }
    }

    fn wait(&self) -> Option<Duration> {
        let now = self.shared.clock.now();
        self.shared.failures.wait(self.parties(), now)
    }

    /// Returns the parties to which a failure counts.
    fn parties(&self) -> impl Iterator<Item = Party<'_>> {
        Party::user(self.credentials.user(), self.origin).chain(Party::networks(self.origin))
    }

    fn throttled(&self, retry_after: Duration, why: &str) -> AuthError {
        throttled(
            &self.shared,
            self.origin,
            self.credentials.user(),
            retry_after,
            why,
        )
    }

    /// Hashes the password, remembers it or counts the failure, and logs. It runs to its end even if the client is
    /// gone, so that a client that does not wait for the answer is counted as well.
    fn hash(&self, now: Duration) -> bool {
        let user = self.credentials.user();
        let right = self.candidate.entry.hash.verify(self.credentials.password()) && self.candidate.own;
        if right {
            self.candidate.entry.verified.cache(self.digest, now);
            // The failures of the network stay: a user could reset them with a valid password of their own.
            self.shared.failures.forgive(Party::user(user, self.origin));
            return true;
        }
        self.shared.failures.count(self.parties(), now);
        let reason = if self.candidate.own {
            "wrong password"
        } else {
            "unknown user"
        };
        failed(&self.shared, self.origin, user, reason);
        false
    }
}

/// Refuses a login without hashing: the credentials are malformed, or the file has no users. Such requests cost
/// nothing, so they are limited for the address alone, with all names: a client must not fill the log for free.
pub(crate) fn unhashed(shared: &Shared, origin: Origin, user: &str, reason: &str) -> AuthError {
    let now = shared.clock.now();
    if let Some(wait) = shared.failures.wait(Party::nobody(origin), now) {
        return throttled(shared, origin, user, wait, reason);
    }
    shared.failures.count(Party::nobody(origin), now);
    failed(shared, origin, user, reason);
    AuthError::Rejected
}

fn throttled(shared: &Shared, origin: Origin, user: &str, retry_after: Duration, why: &str) -> AuthError {
    shared.counters.throttled.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(
        target: "registry_auth_htpasswd::login",
        client = %origin,
        user = ?Short(user),
        "login refused: {why}"
    );
    AuthError::Throttled { retry_after }
}

/// Logs a failed login, in the one line that this crate documents.
fn failed(shared: &Shared, origin: Origin, user: &str, reason: &str) {
    shared.counters.failed.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(
        target: "registry_auth_htpasswd::login",
        client = %origin,
        user = ?Short(user),
        reason,
        via = origin.proxy().map(display),
        "login failed"
    );
}

/// A name that a client sent: quoted, escaped, and cut to a length that suits a line of a log.
struct Short<'a>(&'a str);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 64;
        match self
            .0
            .char_indices()
            .nth(LONGEST)
            .and_then(|(end, _)| self.0.get(..end))
        {
            Some(start) => write!(f, "{start:?}…"),
            None => write!(f, "{:?}", self.0),
        }
    }
}
