//! [`Proxies`]: whose word counts about a client's address, and [`Network`].
//!
//! A registry behind a proxy sees the proxy's address. The proxy tells the client's in a header, and so could anybody
//! else: a header is believed as far as it was written by proxies that are trusted.

use http::{HeaderMap, HeaderName, Request};
use registry_core::auth::ClientAddress;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which proxies are believed about a client's address, and in which header they tell it.
///
/// By default those on loopback and private addresses, in `X-Forwarded-For`: the client is the rightmost address in it
/// that is not trusted. Where no proxy can be, as on a machine that clients reach by itself, private clients could call
/// themselves what they like: say [`Proxies::none`] or name the networks.
///
/// ```
/// use axum::{Router, extract::Request, middleware::map_request};
/// use registry_axum::Proxies;
///
/// # fn app() -> Router { Router::new() }
/// let proxies = Proxies::of(["10.0.0.0/8".parse()?]);
/// let app: Router = app().layer(map_request(move |mut request: Request| {
///     proxies.resolve(&mut request);
///     std::future::ready(request)
/// }));
/// # Ok::<(), registry_axum::InvalidNetwork>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<Network>,
    header: HeaderName,
}

impl Default for Proxies {
    fn default() -> Self {
        Self::of(Network::LOCAL)
    }
}

impl Proxies {
    /// Nobody is believed: a client is whoever is connected.
    #[must_use]
    pub fn none() -> Self {
        Self::of([])
    }

    /// Those in these networks.
    #[must_use]
    pub fn of(trusted: impl IntoIterator<Item = Network>) -> Self {
        Self {
            trusted: trusted.into_iter().collect(),
            header: FORWARDED_FOR,
        }
    }

    /// The same, which tell the address in another header. Unless that is `X-Forwarded-For`, it has one address, as
    /// Cloudflare's `CF-Connecting-IP`.
    #[must_use]
    pub fn telling_in(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }

    /// Puts the client's address into a request that has its peer's as its
    /// [`ClientAddress`]; one without is left alone.
    pub fn resolve<B>(&self, request: &mut Request<B>) {
        if let Some(ClientAddress(peer)) = request.extensions().get().copied() {
            let client = self.client(peer, request.headers());
            request.extensions_mut().insert(ClientAddress(client));
        }
    }

    /// The client of a request that came from `peer`. An address that was told has port 0.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        // On a listener for both families IPv4 looks like IPv6.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !self.trusts(peer.ip()) {
            return peer;
        }
        let told = if self.header == FORWARDED_FOR {
            self.forwarded_for(headers)
        } else {
            // Twice means that somebody added one.
            let mut values = headers.get_all(&self.header).iter();
            match (values.next(), values.next()) {
                (Some(only), None) => only.to_str().ok().and_then(address),
                _ => None,
            }
        };
        told.map_or(peer, |told| SocketAddr::new(told, 0))
    }

    /// From the right, where trusted proxies wrote, to the first address that is not one of theirs, or to where it
    /// cannot be read.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        for line in headers.get_all(&self.header).iter().rev() {
            for item in line.to_str().ok()?.rsplit(',') {
                let Some(told) = address(item) else {
                    return client;
                };
                client = Some(told);
                if !self.trusts(told) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// An address as proxies write it: perhaps with a port, and IPv6 perhaps in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            inner.unwrap_or_default().parse::<Ipv6Addr>().map(IpAddr::V6)
        });
    address.ok().map(|address| address.to_canonical())
}

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits count.
    bits: u8,
}

/// A text that is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(String);

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no network such as `10.0.0.0/8`, and no address",
            self.0
        )
    }
}

impl std::error::Error for InvalidNetwork {}

impl Network {
    /// Loopback, the private networks of IPv4, link-local addresses, and the unique local ones of IPv6.
    pub const LOCAL: [Self; 8] = [
        Self::v4([127, 0, 0, 0], 8),
        Self::v4([10, 0, 0, 0], 8),
        Self::v4([172, 16, 0, 0], 12),
        Self::v4([192, 168, 0, 0], 16),
        Self::v4([169, 254, 0, 0], 16),
        Self::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
        Self::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        Self::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ];

    const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            bits,
        }
    }

    const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], bits: u8) -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            bits,
        }
    }

    /// Whether an address is one of these; one of IPv4 that is written as one of IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u8| {
            let ignored = u32::from(width.saturating_sub(self.bits));
            // All of 128 bits at once cannot be shifted away.
            own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(u32::from(own).into(), u32::from(other).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok().ok_or_else(invalid)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or_else(invalid)?,
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(proxies: &Proxies, peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1234);
        proxies.client(peer, &map).ip().to_string()
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_no_proxy_of_ours_has() {
        const XFF: &str = "x-forwarded-for";
        let proxies = Proxies::default();
        for (peer, headers, expected) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            // Whoever is connected by themselves is believed nothing.
            ("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("::1", &[(XFF, "2001:db8::7")], "2001:db8::7"),
            // What the client wrote itself stands on the left.
            ("10.0.0.1", &[(XFF, "1.2.3.4, 198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4"), (XFF, "198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4, 198.51.100.1, 192.168.1.1")],
                "198.51.100.1",
            ),
            ("10.0.0.1", &[(XFF, "192.168.1.7, 192.168.1.1")], "192.168.1.7"),
            ("10.0.0.1", &[(XFF, "198.51.100.1:5000")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]:5000")], "2001:db8::7"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]")], "2001:db8::7"),
            // Where it cannot be read it says no more.
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4, unknown, 192.168.1.1")],
                "192.168.1.1",
            ),
            ("10.0.0.1", &[(XFF, "unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[("cf-connecting-ip", "198.51.100.1")], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn another_header_has_one_address() {
        const CF: &str = "cf-connecting-ip";
        let proxies = Proxies::default().telling_in(HeaderName::from_static(CF));
        for (peer, headers, expected) in [
            ("10.0.0.1", &[(CF, "198.51.100.1")][..], "198.51.100.1"),
            ("203.0.113.9", &[(CF, "198.51.100.1")], "203.0.113.9"),
            ("10.0.0.1", &[(CF, "1.2.3.4"), (CF, "198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[(CF, "1.2.3.4, 198.51.100.1")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn nobody_is_believed_where_no_proxy_is() {
        let told = [("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client(&Proxies::none(), "127.0.0.1", &told), "127.0.0.1");
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.168.1.1", "192.168.1.1", "192.168.1.2"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
            "host",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
