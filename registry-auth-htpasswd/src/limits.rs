//! How many wrong passwords somebody may try: [`FailureLimit`], counted for each pair of user and address.
//!
//! The counts lie in a table of fixed size, so that a million wrong users cost no memory. Where it is full, the count
//! that matters least is given up.

use crate::clock::millis;
use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many wrong passwords a user may be tried with from one address.
///
/// Behind a proxy that hides its clients everybody has one address, and somebody who tries passwords for a user can
/// keep that user from logging in. Not from working: passwords that were verified lately are never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureLimit {
    /// How many may be wrong until one is right, at least 1. Default: 10.
    pub failures: u32,
    /// How long it takes until one of them is forgiven. Default: 30 seconds.
    pub forgiven_after: Duration,
}

impl FailureLimit {
    /// So many wrong passwords in a row, and one more for each passing of `forgiven_after`.
    #[must_use]
    pub const fn new(failures: u32, forgiven_after: Duration) -> Self {
        Self {
            failures,
            forgiven_after,
        }
    }
}

impl Default for FailureLimit {
    fn default() -> Self {
        Self::new(10, Duration::from_secs(30))
    }
}

/// How many pairs of user and address share a row of the table.
const ROW: usize = 8;

/// How many rows there are; with eight counts of sixteen bytes each, the table is 1 MiB.
const ROWS: usize = 8192;

/// The failures of late.
#[derive(Debug)]
pub(crate) struct Failures {
    limit: FailureLimit,
    /// Random, so that nobody can choose names that meet in one row.
    key: RandomState,
    rows: Mutex<Vec<[Count; ROW]>>,
}

/// The failures of one pair: the time at which the last of them will be forgiven.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    pair: u64,
    forgiven: u64,
}

impl Failures {
    pub(crate) fn new(limit: FailureLimit) -> Self {
        Self {
            limit,
            key: RandomState::new(),
            rows: Mutex::new(vec![[Count::default(); ROW]; ROWS]),
        }
    }

    /// How long somebody has to wait before the next try; `None` if not at all.
    pub(crate) fn wait(&self, user: &str, address: Option<IpAddr>, now: Duration) -> Option<Duration> {
        let pair = self.pair(user, address);
        let forgiven = self.with_row(pair, |row| {
            row.iter()
                .find(|count| count.pair == pair)
                .map(|count| count.forgiven)
        })?;
        let most = self
            .limit
            .forgiven_after
            .saturating_mul(self.limit.failures.max(1) - 1);
        let wait = Duration::from_millis(forgiven)
            .saturating_sub(now)
            .saturating_sub(most);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a wrong password.
    pub(crate) fn count(&self, user: &str, address: Option<IpAddr>, now: Duration) {
        let pair = self.pair(user, address);
        let now = millis(now);
        self.with_row(pair, |row| {
            let known = row.iter().position(|count| count.pair == pair);
            // The count that is forgiven first, which is also one that was never used.
            let place = known.or_else(|| {
                let least = row.iter().enumerate().min_by_key(|(_, count)| count.forgiven);
                least.map(|(index, _)| index)
            });
            if let Some(count) = place.and_then(|index| row.get_mut(index)) {
                let before = if count.pair == pair { count.forgiven } else { 0 };
                *count = Count {
                    pair,
                    forgiven: before.max(now).saturating_add(millis(self.limit.forgiven_after)),
                };
            }
        });
    }

    /// Forgives all failures of a pair: the password was right.
    pub(crate) fn forgive(&self, user: &str, address: Option<IpAddr>) {
        let pair = self.pair(user, address);
        self.with_row(pair, |row| {
            if let Some(count) = row.iter_mut().find(|count| count.pair == pair) {
                *count = Count::default();
            }
        });
    }

    fn with_row<T: Default>(&self, pair: u64, look: impl FnOnce(&mut [Count; ROW]) -> T) -> T {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let index = pair
            .checked_rem(count)
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| rows.get_mut(index))
            .map(look)
            .unwrap_or_default()
    }

    fn pair(&self, user: &str, address: Option<IpAddr>) -> u64 {
        // Never 0, which stands for a place that is free.
        self.key.hash_one((user, address.map(network))).max(1)
    }
}

/// What one party has of addresses: in IPv6, a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

    fn failures() -> Failures {
        Failures::new(FailureLimit::new(3, Duration::from_secs(10)))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_waits_after_the_last_failure_that_is_allowed_until_one_is_forgiven() {
        let failures = failures();
        for _ in 0..2 {
            failures.count("bob", HOME, at(100));
        }
        assert_eq!(failures.wait("bob", HOME, at(100)), None);

        failures.count("bob", HOME, at(100));

        assert_eq!(failures.wait("bob", HOME, at(100)), Some(at(10)));
        assert_eq!(failures.wait("bob", HOME, at(104)), Some(at(6)));
        assert_eq!(failures.wait("bob", HOME, at(110)), None);
        failures.count("bob", HOME, at(110));
        assert_eq!(failures.wait("bob", HOME, at(111)), Some(at(9)));
        assert_eq!(failures.wait("bob", HOME, at(140)), None);
    }

    #[test]
    fn users_and_addresses_are_counted_apart_and_an_ipv6_network_as_one() {
        let failures = failures();
        let in_network = |end: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, end]));
        for end in 0..3 {
            failures.count("bob", HOME, at(0));
            failures.count("eve", in_network(end), at(0));
        }

        assert!(failures.wait("bob", HOME, at(0)).is_some());
        assert!(failures.wait("bob", None, at(0)).is_none());
        assert!(failures.wait("alice", HOME, at(0)).is_none());
        assert!(failures.wait("eve", in_network(9), at(0)).is_some());
        assert!(
            failures
                .wait(
                    "eve",
                    Some(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0])),
                    at(0)
                )
                .is_none()
        );
        let mapped = Some(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into());
        assert!(failures.wait("bob", mapped, at(0)).is_some());
    }

    #[test]
    fn a_million_wrong_users_take_no_memory_and_do_not_unblock_the_one_who_waits() {
        let failures = failures();
        for _ in 0..3 {
            failures.count("bob", HOME, at(0));
        }

        for index in 0..1_000_000 {
            failures.count(&format!("user{index}"), HOME, at(0));
        }

        assert!(failures.wait("bob", HOME, at(0)).is_some());
        let rows = failures.rows.lock().unwrap();
        assert_eq!((rows.len(), rows.capacity()), (ROWS, ROWS));
    }
}
