//! Limits on wrong passwords: [`FailureLimit`], counted for each pair of user and address, for each network of
//! addresses with all user names, and for each pair of user and presumed proxy.
//!
//! The counts are in a table of fixed size, so that a million wrong users need no more memory. A full row drops the
//! count that is forgiven first.

use crate::{
    clock::millis,
    failure_limit::FailureLimit,
    origin::{Network, Origin},
};
use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Number of parties that share a row of the table.
const ROW: usize = 8;

/// Number of rows. With eight counts of sixteen bytes each, the table is 1 MiB.
const ROWS: usize = 8192;

/// A party whose failures are counted.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Party<'a> {
    /// A user, from a network if it is known.
    User(&'a str, Option<Network>),
    /// A network that sent malformed credentials, or logged in while there were no users.
    Nobody(Option<Network>),
    /// A network, with all the names that it sends.
    Network(Network),
    /// A user, or a login without a user, through a peer that forwards any address and may not be a proxy.
    Presumed(Option<&'a str>, IpAddr),
}

impl<'a> Party<'a> {
    /// Returns the parties to which a failure of this user counts, apart from networks.
    pub(crate) fn user(user: &'a str, origin: Origin) -> impl Iterator<Item = Self> {
        let presumed = origin.proxy().map(|proxy| Self::Presumed(Some(user), proxy));
        somewhere(origin)
            .map(move |network| Self::User(user, network))
            .chain(presumed)
    }

    /// Returns the parties to which a failure without a user counts.
    pub(crate) fn nobody(origin: Origin) -> impl Iterator<Item = Self> {
        let presumed = origin.proxy().map(|proxy| Self::Presumed(None, proxy));
        somewhere(origin).map(Self::Nobody).chain(presumed)
    }

    /// Returns the networks to which a failure of any user counts.
    pub(crate) fn networks(origin: Origin) -> impl Iterator<Item = Self> {
        origin.unshared_networks().map(Self::Network)
    }
}

/// Returns the networks, or a single `None` if they are not known.
fn somewhere(origin: Origin) -> impl Iterator<Item = Option<Network>> {
    let nowhere = origin.networks().next().is_none();
    origin.networks().map(Some).chain(nowhere.then_some(None))
}

/// Table of recent failures.
#[derive(Debug)]
pub(crate) struct Failures {
    users: Option<FailureLimit>,
    networks: Option<FailureLimit>,
    presumed: Option<FailureLimit>,
    /// Random key, so that nobody can choose names that share a row.
    key: RandomState,
    rows: Mutex<Vec<[Count; ROW]>>,
}

/// Failures of one party, as the time at which the last of them will be forgiven.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    party: u64,
    forgiven: u64,
}

impl Failures {
    /// Counts for users, networks, and users behind presumed proxies; `None` sets no limit.
    pub(crate) fn new(
        users: Option<FailureLimit>,
        networks: Option<FailureLimit>,
        presumed: Option<FailureLimit>,
    ) -> Self {
        Self {
            users,
            networks,
            presumed,
            key: RandomState::new(),
            rows: Mutex::new(vec![[Count::default(); ROW]; ROWS]),
        }
    }

    /// Returns the time to wait before the next try, the longest of all these parties; `None` if there is none.
    pub(crate) fn wait<'a>(
        &self,
        parties: impl IntoIterator<Item = Party<'a>>,
        now: Duration,
    ) -> Option<Duration> {
        parties
            .into_iter()
            .filter_map(|party| self.wait_of(party, now))
            .max()
    }

    fn wait_of(&self, party: Party<'_>, now: Duration) -> Option<Duration> {
        let limit = self.limit(party)?;
        let party = self.number(party);
        let forgiven = self.with_row(party, |row| {
            row.iter()
                .find(|count| count.party == party)
                .map(|count| count.forgiven)
        })?;
        let most = limit.forgiven_after.saturating_mul(limit.failures.max(1) - 1);
        let wait = Duration::from_millis(forgiven)
            .saturating_sub(now)
            .saturating_sub(most);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a wrong password for all these parties.
    pub(crate) fn count<'a>(&self, parties: impl IntoIterator<Item = Party<'a>>, now: Duration) {
        for party in parties {
            self.count_for(party, now);
        }
    }

    fn count_for(&self, party: Party<'_>, now: Duration) {
        let Some(limit) = self.limit(party) else {
            return;
        };
        let party = self.number(party);
        let now = millis(now);
        self.with_row(party, |row| {
            let known = row.iter().position(|count| count.party == party);
            // Selects the count that is forgiven first. An unused one counts as forgiven.
            let place = known.or_else(|| {
                let least = row.iter().enumerate().min_by_key(|(_, count)| count.forgiven);
                least.map(|(index, _)| index)
            });
            if let Some(count) = place.and_then(|index| row.get_mut(index)) {
                let before = if count.party == party { count.forgiven } else { 0 };
                *count = Count {
                    party,
                    forgiven: before.max(now).saturating_add(millis(limit.forgiven_after)),
                };
            }
        });
    }

    /// Forgives all failures of these parties, after a right password.
    pub(crate) fn forgive<'a>(&self, parties: impl IntoIterator<Item = Party<'a>>) {
        for party in parties {
            let party = self.number(party);
            self.with_row(party, |row| {
                if let Some(count) = row.iter_mut().find(|count| count.party == party) {
                    *count = Count::default();
                }
            });
        }
    }

    fn limit(&self, party: Party<'_>) -> Option<FailureLimit> {
        match party {
            Party::User(_, None) | Party::Nobody(None) => self.users,
            Party::User(_, Some(network)) | Party::Nobody(Some(network)) => {
                self.users.map(|limit| network.limit(limit))
            }
            Party::Network(network) => self.networks.map(|limit| network.limit(limit)),
            Party::Presumed(..) => self.presumed,
        }
    }

    fn with_row<T: Default>(&self, party: u64, look: impl FnOnce(&mut [Count; ROW]) -> T) -> T {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let index = party
            .checked_rem(count)
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| rows.get_mut(index))
            .map(look)
            .unwrap_or_default()
    }

    fn number(&self, party: Party<'_>) -> u64 {
        // Never 0, which marks a free place.
        self.key.hash_one(party).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn failures() -> Failures {
        let presumed = FailureLimit::new(20, Duration::from_secs(2));
        Failures::new(
            Some(FailureLimit::new(3, Duration::from_secs(10))),
            None,
            Some(presumed),
        )
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the parties of a user at an address.
    fn user(user: &str, address: impl Into<Option<IpAddr>>) -> impl Iterator<Item = Party<'_>> {
        Party::user(user, Origin::new(address.into()))
    }

    #[test]
    fn a_user_waits_after_the_last_failure_that_is_allowed_until_one_is_forgiven() {
        let failures = failures();
        for _ in 0..2 {
            failures.count(user("bob", HOME), at(100));
        }
        assert_eq!(failures.wait(user("bob", HOME), at(100)), None);

        failures.count(user("bob", HOME), at(100));

        assert_eq!(failures.wait(user("bob", HOME), at(100)), Some(at(10)));
        assert_eq!(failures.wait(user("bob", HOME), at(104)), Some(at(6)));
        assert_eq!(failures.wait(user("bob", HOME), at(110)), None);
        failures.count(user("bob", HOME), at(110));
        assert_eq!(failures.wait(user("bob", HOME), at(111)), Some(at(9)));
        assert_eq!(failures.wait(user("bob", HOME), at(140)), None);
    }

    #[test]
    fn users_and_addresses_are_counted_apart_and_an_ipv6_network_as_one() {
        let failures = failures();
        let in_network = |end: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, end]);
        let elsewhere = IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0]);
        for end in 0..3 {
            failures.count(user("bob", HOME), at(0));
            failures.count(user("eve", in_network(end)), at(0));
        }

        assert!(failures.wait(user("bob", HOME), at(0)).is_some());
        assert!(failures.wait(user("bob", None), at(0)).is_none());
        assert!(failures.wait(user("alice", HOME), at(0)).is_none());
        assert!(failures.wait(user("eve", in_network(9)), at(0)).is_some());
        assert!(failures.wait(user("eve", elsewhere), at(0)).is_none());
        let mapped: IpAddr = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        assert!(failures.wait(user("bob", mapped), at(0)).is_some());
    }

    #[test]
    fn whoever_changes_the_network_with_each_try_is_held_up_by_the_larger_ones() {
        // 3 in 64 bits, 9 in 56, 30 in 48.
        for (shift, allowed) in [(64, 9), (72, 30)] {
            let failures = failures();
            let first = u128::from(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
            let address = |index: u128| IpAddr::from((first + (index << shift)).to_be_bytes());
            let tries = (0..200).take_while(|index| {
                let parties = || user("eve", address(*index));
                let admitted = failures.wait(parties(), at(0)).is_none();
                if admitted {
                    failures.count(parties(), at(0));
                }
                admitted
            });
            assert_eq!(tries.count(), allowed);
            let elsewhere = IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, 1]);
            assert!(failures.wait(user("eve", elsewhere), at(0)).is_none());
        }
    }

    #[test]
    fn names_that_change_with_the_network_do_not_help_either() {
        let limit = FailureLimit::new(3, Duration::from_secs(10));
        let first = u128::from(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
        for (shift, allowed) in [(64, 9), (72, 30)] {
            let origin = |index: u128| {
                let address = IpAddr::from((first + (index << shift)).to_be_bytes());
                Origin::new(Some(address))
            };
            let failures = Failures::new(Some(limit), Some(limit), None);
            let with_names = (0..200).take_while(|index| {
                let admitted = failures.wait(Party::networks(origin(*index)), at(0)).is_none();
                failures.count(Party::networks(origin(*index)), at(0));
                admitted
            });
            assert_eq!(with_names.count(), allowed);
            let without_names = (0..200).take_while(|index| {
                let admitted = failures.wait(Party::nobody(origin(*index)), at(0)).is_none();
                failures.count(Party::nobody(origin(*index)), at(0));
                admitted
            });
            assert_eq!(without_names.count(), allowed);
        }
    }

    #[test]
    fn a_right_password_forgives_what_its_user_failed_in_the_larger_networks() {
        let failures = failures();
        let address = |network: u16| IpAddr::from([0x2001, 0xdb8, 1, network, 0, 0, 0, 1]);
        for network in 0..5 {
            for _ in 0..2 {
                failures.count(user("eve", address(network)), at(0));
                failures.count(user("bob", address(network)), at(0));
            }
        }
        assert!(failures.wait(user("eve", address(9)), at(0)).is_some());

        failures.forgive(user("eve", address(0)));

        assert_eq!(failures.wait(user("eve", address(9)), at(0)), None);
        assert!(failures.wait(user("bob", address(9)), at(0)).is_some());
    }

    #[test]
    fn whoever_claims_another_address_with_each_try_is_held_up_by_their_own() {
        let failures = failures();
        let own = IpAddr::from([10, 0, 0, 9]);
        let claimed = |end| Origin::new(Some(IpAddr::from([198, 51, 100, end])));
        for end in 0..20 {
            let parties = || Party::user("ann", claimed(end).behind(own));
            assert_eq!(failures.wait(parties(), at(0)), None);
            failures.count(parties(), at(0));
            failures.count(Party::nobody(claimed(end).behind(own)), at(0));
        }

        let wait = |user, address| failures.wait(Party::user(user, address), at(0));
        assert_eq!(wait("ann", claimed(99).behind(own)), Some(at(2)));
        assert!(
            failures
                .wait(Party::nobody(claimed(99).behind(own)), at(0))
                .is_some()
        );
        // Other users there, and this user elsewhere, are not limited.
        assert_eq!(wait("bob", claimed(99).behind(own)), None);
        assert_eq!(wait("ann", claimed(99).behind([10, 0, 0, 1].into())), None);
        assert_eq!(wait("ann", claimed(99)), None);
        failures.forgive(Party::user("ann", claimed(99).behind(own)));
        assert_eq!(wait("ann", claimed(98).behind(own)), None);
    }

    #[test]
    fn whoever_claims_a_clients_address_keeps_nobody_out_who_comes_through_another_peer() {
        let failures = Failures::new(Some(FailureLimit::MANY), Some(FailureLimit::MANY), None);
        let client = Origin::new(Some(IpAddr::from([198, 51, 100, 1])));
        let all = |origin| Party::user("ann", origin).chain(Party::networks(origin));
        for _ in 0..100 {
            failures.count(all(client.behind([10, 0, 0, 9].into())), at(0));
        }

        assert!(
            failures
                .wait(all(client.behind([10, 0, 0, 9].into())), at(0))
                .is_some()
        );
        assert_eq!(
            failures.wait(all(client.behind([10, 0, 0, 1].into())), at(0)),
            None
        );
        assert_eq!(failures.wait(all(client), at(0)), None);
    }

    #[test]
    fn a_million_wrong_users_take_no_memory_and_do_not_unblock_the_one_who_waits() {
        let failures = failures();
        for _ in 0..3 {
            failures.count(user("bob", HOME), at(0));
        }

        for index in 0..1_000_000 {
            failures.count(user(&format!("user{index}"), HOME), at(0));
        }

        assert!(failures.wait(user("bob", HOME), at(0)).is_some());
        let rows = failures.rows.lock().unwrap();
        assert_eq!((rows.len(), rows.capacity()), (ROWS, ROWS));
    }
}
