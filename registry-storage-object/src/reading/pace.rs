//! [`Pace`]: the rate at which a client takes what it is given.

use std::time::Duration;
use tokio::time::Instant;

/// The rate at which a client takes what it is given.
///
/// The time in which it waits for the store does not count. So the rate is the same, however fast the store is.
pub(super) struct Pace {
    /// Number of bytes after which it is judged again. Buffers of the connection take less than that at once.
    window: u64,
    /// Bytes in a second from which on it is fast.
    fast: u64,
    pub(super) is_fast: bool,
    /// Bytes since the last judgement, and the time that the client took for them.
    given: u64,
    taken: Duration,
    /// Time at which it was given bytes, until it asks for more.
    since: Option<Instant>,
}

impl Pace {
    pub(super) const fn new(window: u64, fast: u64) -> Self {
        Self {
            window,
            fast,
            is_fast: false,
            given: 0,
            taken: Duration::ZERO,
            since: None,
        }
    }

    /// Notes that the client asks for more.
    pub(super) fn asked(&mut self) {
        if let Some(since) = self.since.take() {
            self.taken += since.elapsed();
        }
        if self.given >= self.window {
            let in_time = Duration::from_micros(self.given.saturating_mul(1_000_000) / self.fast);
            self.is_fast = self.taken <= in_time;
            (self.given, self.taken) = (0, Duration::ZERO);
        }
    }

    /// Notes that the client has so many bytes to take.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.given += bytes as u64;
        self.since = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn only_the_time_of_the_client_counts() {
        let mut pace = Pace::new(10, 1000);
        for _ in 0..2 {
            pace.gave(5);
            advance(Duration::from_millis(5)).await;
            pace.asked();
            // The store is slow.
            advance(Duration::from_secs(1)).await;
        }
        assert!(pace.is_fast);
        pace.gave(5);
        advance(Duration::from_millis(20)).await;
        pace.asked();
        assert!(pace.is_fast, "it is too early to say");
        pace.gave(5);
        pace.asked();
        assert!(!pace.is_fast);
    }
}
