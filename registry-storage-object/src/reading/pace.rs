//! [`Pace`]: the rates at which a client takes what it is given, and the store sends it.

use std::time::Duration;
use tokio::time::Instant;

/// Number of judgements in a row by which a store is slow. Some stores begin an answer slowly.
const SLOW: u32 = 2;

/// Rates, in bytes in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// A client that takes less is slow: every store sends one answer as fast.
    pub(super) client: u64,
    /// A store that sends one answer faster is fast: further requests would only cost it more work.
    pub(super) store: u64,
}

/// The rates at which a client takes what it is given, and the store sends it.
///
/// The time in which one waits for the other does not count.
pub(super) struct Pace {
    /// Number of bytes after which it is judged again. Buffers of the connection take less than that at once.
    window: u64,
    rates: Rates,
    /// True if the client is fast, and the store was slow as long as nothing was read ahead.
    is_ahead_of_use: bool,
    /// Number of judgements in a row for which the store was slow.
    slow: u32,
    /// Bytes since the last judgement.
    given: u64,
    /// Time that the client took for them.
    taken: Duration,
    /// Time that the store took for them.
    awaited: Duration,
    last: Option<Step>,
}

/// The last event, and its time.
enum Step {
    Asked(Instant),
    Gave(Instant),
}

impl Pace {
    pub(super) const fn new(window: u64, rates: Rates) -> Self {
        Self {
            window,
            rates,
            is_ahead_of_use: false,
            slow: 0,
            given: 0,
            taken: Duration::ZERO,
            awaited: Duration::ZERO,
            last: None,
        }
    }

    /// Returns true if it is of use to read ahead.
    pub(super) const fn is_ahead_of_use(&self) -> bool {
        self.is_ahead_of_use
    }

    /// Notes that the client asks for more, perhaps again.
    pub(super) fn asked(&mut self) {
        match self.last {
            Some(Step::Asked(_)) => return,
            Some(Step::Gave(at)) => self.taken += at.elapsed(),
            None => {}
        }
        self.last = Some(Step::Asked(Instant::now()));
        if self.given >= self.window {
            let is_client_fast = self.taken <= time(self.given, self.rates.client);
            self.slow = match self.awaited >= time(self.given, self.rates.store) {
                true => self.slow + 1,
                false => 0,
            };
            // Once something is read ahead, the store seems fast.
            self.is_ahead_of_use = is_client_fast && (self.is_ahead_of_use || self.slow >= SLOW);
            (self.given, self.taken, self.awaited) = (0, Duration::ZERO, Duration::ZERO);
        }
    }

    /// Notes that the client has so many bytes to take.
    pub(super) fn gave(&mut self, bytes: usize) {
        if let Some(Step::Asked(at)) = self.last {
            self.awaited += at.elapsed();
        }
        self.given += bytes as u64;
        self.last = Some(Step::Gave(Instant::now()));
    }
}

/// Returns the time that bytes take at a rate.
const fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const RATES: Rates = Rates {
        client: 1000,
        store: 2000,
    };

    /// Gives 10 bytes twice, in two pieces, and returns the judgement of them.
    async fn judge_twice(pace: &mut Pace, store: u64, client: u64) -> bool {
        judge(pace, store, client).await;
        judge(pace, store, client).await
    }

    /// Gives 10 bytes in two pieces, and returns the judgement of them.
    async fn judge(pace: &mut Pace, store: u64, client: u64) -> bool {
        for _ in 0..2 {
            pace.asked();
            advance(Duration::from_millis(store)).await;
            // It was polled before there was something.
            pace.asked();
            pace.gave(5);
            advance(Duration::from_millis(client)).await;
        }
        pace.asked();
        pace.is_ahead_of_use()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_of_use_to_read_ahead_of_a_fast_client_if_the_store_is_slow() {
        for (store, client, expected) in [
            (3, 5, true),
            (300, 5, true),
            (2, 5, false),
            (3, 6, false),
            (2, 6, false),
        ] {
            let mut pace = Pace::new(10, RATES);
            assert_eq!(
                judge_twice(&mut pace, store, client).await,
                expected,
                "{store} {client}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_of_use_until_the_client_is_slow() {
        let mut pace = Pace::new(10, RATES);
        assert!(judge_twice(&mut pace, 3, 5).await);
        assert!(judge(&mut pace, 0, 5).await, "there are bytes in memory");
        assert!(!judge(&mut pace, 3, 6).await);
        assert!(!judge(&mut pace, 0, 5).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_begins_slowly_is_fast() {
        let mut pace = Pace::new(10, RATES);
        for store in [300, 2, 3, 2] {
            assert!(!judge(&mut pace, store, 5).await);
        }
    }
}
