//! [`Origin`]: the source of a login, as the networks that may belong to one party.
//!
//! A user of IPv6 has at least 64 bits of addresses, and many have 56 or 48. So a failure counts for all of these
//! networks, and the larger ones are allowed more, as many people may share them. An address that a presumed proxy
//! forwards may be forged. So failures count for the proxy as well, and do not lock out clients that come through
//! another peer.

use crate::failure_limit::FailureLimit;
use registry_core::auth::AuthRequest;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// Networks of an IPv6 address, from the smallest: their prefix length, and the multiple of the smallest one's failures
/// that each is allowed.
const LADDER: [(u8, u32); Origin::NETWORKS] = [(64, 1), (56, 3), (48, 10)];

/// Source of a login, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    address: Option<IpAddr>,
    proxy: Option<IpAddr>,
}

/// A network that may belong to one party: an IPv4 address, or the prefix of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
    /// Presumed proxy that forwarded the address.
    via: Option<IpAddr>,
}

/// Groups that a login belongs to, from the largest to the smallest.
pub(crate) type Path = [Option<IpAddr>; Origin::NETWORKS + 1];

impl Origin {
    /// Number of networks that one address is in.
    const NETWORKS: usize = 3;

    pub(crate) fn of(request: &AuthRequest<'_>) -> Self {
        let canonical = |address: IpAddr| address.to_canonical();
        Self {
            address: request.client_address().map(|address| canonical(address.ip())),
            proxy: request.presumed_proxy().map(canonical),
        }
    }

    /// Returns the peer that forwarded the address, if it is only presumed to be a proxy.
    pub(crate) const fn proxy(self) -> Option<IpAddr> {
        self.proxy
    }

    /// Returns the networks, from the smallest: one for IPv4, several for IPv6.
    pub(crate) fn networks(self) -> impl Iterator<Item = Network> {
        let steps = match self.address {
            None => 0,
            Some(IpAddr::V4(_)) => 1,
            Some(IpAddr::V6(_)) => LADDER.len(),
        };
        let networks = LADDER
            .into_iter()
            .map(move |(bits, _)| self.address.map(|address| Network::of(address, bits, self.proxy)));
        networks.take(steps).flatten()
    }

    /// Returns the networks, or none if a proxy or gateway may have this address for all its clients: loopback, private
    /// and local ones.
    pub(crate) fn unshared_networks(self) -> impl Iterator<Item = Network> {
        let shared = match self.address {
            None => true,
            Some(IpAddr::V4(address)) => {
                address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    // RFC 6598.
                    || matches!(address.octets(), [100, 64..128, ..])
            }
            Some(IpAddr::V6(address)) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
        };
        self.networks().filter(move |_| !shared)
    }

    /// Returns the groups among which turns are shared. All addresses that one presumed proxy forwards share one turn.
    pub(crate) fn path(self) -> Path {
        let [smallest, middle, largest] =
            LADDER.map(|(bits, _)| self.address.map(|address| prefix(address, bits).0));
        [self.proxy.or(largest), largest, middle, smallest]
    }
}

/// Constructors for tests, which have no request.
#[cfg(test)]
impl Origin {
    pub(crate) fn new(address: Option<IpAddr>) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self { address, proxy: None }
    }

    pub(crate) const fn behind(self, proxy: IpAddr) -> Self {
        Self {
            proxy: Some(proxy),
            ..self
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl Network {
    fn of(address: IpAddr, bits: u8, via: Option<IpAddr>) -> Self {
        let (address, bits) = prefix(address, bits);
        Self { address, bits, via }
    }

    /// Returns the limit of this network, where the smallest is allowed `smallest`.
    pub(crate) fn limit(self, smallest: FailureLimit) -> FailureLimit {
        let times = LADDER.into_iter().find(|(bits, _)| *bits == self.bits);
        smallest.times(times.map_or(1, |(_, times)| times))
    }
}

/// Returns an IPv4 address, or the prefix of an IPv6 address, with its length in bits.
fn prefix(address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match address {
        IpAddr::V4(_) => (address, 32),
        IpAddr::V6(address) => {
            let ignored = u32::from(128 - bits);
            (
                Ipv6Addr::from_bits(address.to_bits() >> ignored << ignored).into(),
                bits,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::new(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_address_of_ipv6_is_in_three_networks_and_one_of_ipv4_is_its_own() {
        let networks = |address| {
            let text = |network: Network| format!("{}/{}", network.address, network.bits);
            origin(address).networks().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            networks("2001:db8:1:203:4::5"),
            ["2001:db8:1:203::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]
        );
        assert_eq!(networks("192.0.2.1"), ["192.0.2.1/32"]);
        assert_eq!(networks("::ffff:192.0.2.1"), ["192.0.2.1/32"]);
        assert_eq!(Origin::new(None).networks().count(), 0);
    }

    #[test]
    fn larger_networks_are_allowed_more() {
        let smallest = FailureLimit::new(10, std::time::Duration::from_secs(30));
        let limits = origin("2001:db8::1")
            .networks()
            .map(|network| network.limit(smallest));
        let limits = limits.map(|limit| (limit.failures, limit.forgiven_after.as_secs()));
        assert_eq!(limits.collect::<Vec<_>>(), [(10, 30), (30, 10), (100, 3)]);
    }

    #[test]
    fn a_network_is_what_one_party_has_and_no_address_that_many_may_share() {
        for alone in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8::1",
            "100.63.0.1",
            "172.15.0.1",
        ] {
            assert!(origin(alone).unshared_networks().count() > 0, "{alone}");
        }
        for shared in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.0.1",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
        ] {
            assert_eq!(origin(shared).unshared_networks().count(), 0, "{shared}");
        }
    }
}
