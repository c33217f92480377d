//! [`Retry`]: attempts after transient failures, and the pauses between them.

use crate::error::Error;
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Rules for attempts after a transient failure: status 408, 429 or 5xx, and broken connections.
///
/// ```
/// use registry_client::{Client, Retry};
/// use std::time::Duration;
///
/// let client = Client::builder()
///     .retry(Retry::new(3).total(Duration::from_secs(30)))
///     .build()?;
/// # Ok::<(), registry_client::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    total: Duration,
    retry_after: Duration,
    first: Duration,
    longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(5)
    }
}

impl Retry {
    /// Makes at most `attempts` attempts, the first included. A push or a pull that transfers bytes starts to count again.
    ///
    /// All requests of an attempt count together: a token that cannot be fetched is a failed attempt of the call that needs it.
    #[must_use]
    pub const fn new(attempts: u32) -> Self {
        Self {
            attempts,
            total: Duration::from_secs(5 * 60),
            retry_after: Duration::from_secs(60),
            first: Duration::from_millis(250),
            longest: Duration::from_secs(15),
        }
    }

    /// Sets the time after the first failure in which further attempts begin; 5 minutes by default. It starts again when an
    /// attempt has transferred bytes.
    #[must_use]
    pub const fn total(self, total: Duration) -> Self {
        Self { total, ..self }
    }

    /// Sets the longest `Retry-After` that is waited for. A longer one ends the attempts with the error.
    #[must_use]
    pub const fn longest_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }

    /// Sets the first pause, which doubles at each attempt, and the longest. The real pause is between half of it and
    /// all of it.
    #[must_use]
    pub const fn pauses(self, first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            ..self
        }
    }

    /// Returns the pause before attempt `made + 1`, or `None` if there is no further attempt.
    fn pause(&self, made: u32, spent: Duration, asked: Option<Duration>, random: u64) -> Option<Duration> {
        if made >= self.attempts || asked.is_some_and(|asked| asked > self.retry_after) {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << made.saturating_sub(1).min(20));
        let most = doubled.min(self.longest);
        let half = most / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        let pause = half + Duration::from_nanos(random % span);
        let pause = pause.max(asked.unwrap_or_default());
        (spent.saturating_add(pause) <= self.total).then_some(pause)
    }
}

/// Source of random numbers, for the pauses.
#[derive(Clone)]
pub(crate) struct Jitter(pub(crate) Arc<dyn Fn() -> u64 + Send + Sync>);

impl Default for Jitter {
    fn default() -> Self {
        // Without random numbers, the pauses are the shortest ones.
        Self(Arc::new(|| getrandom::u64().unwrap_or_default()))
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// The attempts of one operation.
#[derive(Debug)]
pub(crate) struct Attempts {
    retry: Retry,
    jitter: Jitter,
    made: u32,
    /// Time of the first failure since the last progress.
    failed: Option<Instant>,
}

impl Attempts {
    pub(crate) fn new(retry: Retry, jitter: Jitter) -> Self {
        Self {
            retry,
            jitter,
            made: 0,
            failed: None,
        }
    }

    /// Waits before the next attempt after `error`.
    ///
    /// # Errors
    ///
    /// `error` if it is not transient, or there is no further attempt.
    pub(crate) async fn after(&mut self, error: Error) -> Result<(), Error> {
        self.made += 1;
        if !error.is_transient() {
            return Err(error);
        }
        let asked = error.retry_after();
        let spent = self.failed.get_or_insert_with(Instant::now).elapsed();
        let Some(pause) = self.retry.pause(self.made, spent, asked, (self.jitter.0)()) else {
            return Err(error);
        };
        sleep(pause).await;
        Ok(())
    }

    /// Starts to count again, because an attempt made progress.
    pub(crate) fn progressed(&mut self) {
        self.made = 0;
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_have_jitter() {
        let retry = Retry::new(9).pauses(SECOND, 4 * SECOND);
        let shortest = |made| retry.pause(made, Duration::ZERO, None, 0).unwrap();
        assert_eq!(
            [1, 2, 3, 4].map(shortest),
            [SECOND / 2, SECOND, 2 * SECOND, 2 * SECOND]
        );
        let random = retry.pause(1, Duration::ZERO, None, u64::MAX).unwrap();
        assert!(random > SECOND / 2 && random <= SECOND, "{random:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_attempts_starts_at_the_first_failure() {
        let retry = Retry::new(9).total(10 * SECOND).pauses(4 * SECOND, 4 * SECOND);
        let mut attempts = Attempts::new(retry, Jitter(Arc::new(|| 0)));
        let failure = || Error::transport("GET /", "the connection broke");

        // The user of a stream may take its time before the first byte and after it.
        tokio::time::advance(60 * SECOND).await;
        attempts.after(failure()).await.unwrap();
        attempts.progressed();
        tokio::time::advance(60 * SECOND).await;

        attempts.after(failure()).await.unwrap();
        tokio::time::advance(9 * SECOND).await;
        attempts.after(failure()).await.unwrap_err();
    }

    #[test]
    fn attempts_end_by_number_by_time_and_by_a_long_retry_after() {
        let retry = Retry::new(3).total(10 * SECOND).longest_retry_after(5 * SECOND);
        let pause = |made, spent, asked| retry.pause(made, spent, asked, 0);
        assert!(pause(2, SECOND, None).is_some());
        assert_eq!(pause(3, SECOND, None), None);
        assert_eq!(pause(1, 10 * SECOND, None), None);
        assert_eq!(pause(1, SECOND, Some(5 * SECOND)), Some(5 * SECOND));
        assert_eq!(pause(1, SECOND, Some(6 * SECOND)), None);
    }
}
