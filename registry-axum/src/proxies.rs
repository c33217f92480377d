//! [`Proxies`]: the proxies that are trusted to report the address of a client.
//!
//! A registry behind a proxy is connected to the proxy, which reports the address of the client in a header. Any client
//! can send such a header, too. It is therefore used only as far as trusted proxies wrote it.

use crate::network::Network;
use http::{HeaderMap, HeaderName, Request};
use registry_core::auth::{ClientAddress, PresumedProxy};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that are trusted to report the address of a client, and the header in which they report it.
///
/// By default any peer on a loopback or private address is presumed to be a proxy. It is trusted for the rightmost
/// address in `X-Forwarded-For`, which it wrote itself. A client on such an address could claim any other one.
/// [`resolve`](Self::resolve) therefore marks such a request with a [`PresumedProxy`]. Nothing is presumed if you name
/// the networks of your proxies ([`of`](Self::of)), or state that there is none ([`none`](Self::none)).
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
///
/// The listener has to put a [`ClientAddress`] into the extensions of each request. `registry-listener` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    trusted: Trusted,
    header: HeaderName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trusted {
    /// Peers in these networks are trusted for all addresses that they and other trusted proxies wrote.
    Named(Vec<Network>),
    /// Any peer in a local network is trusted for this number of addresses from the right.
    Presumed(NonZeroUsize),
}

impl Default for Proxies {
    fn default() -> Self {
        Self::presumed(NonZeroUsize::MIN)
    }
}

impl Proxies {
    /// Trusts no peer: the client is the connected peer.
    #[must_use]
    pub fn none() -> Self {
        Self::of([])
    }

    /// Trusts peers in these networks. The client is the rightmost address in `X-Forwarded-For` that is in none of
    /// them.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use registry_axum::Proxies;
    ///
    /// let proxies = Proxies::of(["10.0.0.0/8".parse()?]);
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-forwarded-for", "192.0.2.1, 198.51.100.7, 10.0.0.2".parse()?);
    ///
    /// let client = proxies.client("10.0.0.1:4711".parse()?, &headers);
    /// assert_eq!(client.ip().to_string(), "198.51.100.7");
    ///
    /// let stranger = proxies.client("203.0.113.9:4711".parse()?, &headers);
    /// assert_eq!(stranger.ip().to_string(), "203.0.113.9");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(trusted: impl IntoIterator<Item = Network>) -> Self {
        Self::new(Trusted::Named(trusted.into_iter().collect()))
    }

    /// Trusts any peer in a [local network](Network::LOCAL), as the last one of `hops` proxies. The client is that
    /// many addresses from the right in `X-Forwarded-For`, or the leftmost one if there are fewer.
    #[must_use]
    pub const fn presumed(hops: NonZeroUsize) -> Self {
        Self::new(Trusted::Presumed(hops))
    }

    const fn new(trusted: Trusted) -> Self {
        Self {
            trusted,
            header: FORWARDED_FOR,
        }
    }

    /// Reads the address from another header, which has a single address, such as Cloudflare's `CF-Connecting-IP`.
    /// `X-Forwarded-For` may have several.
    #[must_use]
    pub fn with_header(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }

    /// Returns true if the headers of this peer are used.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let networks = match &self.trusted {
            Trusted::Named(networks) => networks.as_slice(),
            Trusted::Presumed(_) => &Network::LOCAL,
        };
        networks.iter().any(|network| network.contains(peer))
    }

    /// Sets the [`ClientAddress`] of a request, which is the address of the peer before, to that of the client. If a
    /// peer that is only presumed to be a proxy reported the client, the request also gets a [`PresumedProxy`]. A
    /// request without an address is not changed.
    pub fn resolve<B>(&self, request: &mut Request<B>) {
        if let Some(ClientAddress(peer)) = request.extensions().get().copied() {
            let peer = canonical(peer);
            let reported = self.reported(peer, request.headers());
            let client = reported.unwrap_or(peer);
            request.extensions_mut().insert(ClientAddress(client));
            if reported.is_some() && matches!(self.trusted, Trusted::Presumed(_)) {
                request.extensions_mut().insert(PresumedProxy(peer.ip()));
            }
        }
    }

    /// Returns the client of a request that came from `peer`. An address from a header has port 0.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let peer = canonical(peer);
        self.reported(peer, headers).unwrap_or(peer)
    }

    fn reported(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<SocketAddr> {
        if !self.trusts(peer.ip()) {
            return None;
        }
        let reported = if self.header == FORWARDED_FOR {
            self.forwarded_for(headers)
        } else {
            // If there are two, a client added one.
            let mut values = headers.get_all(&self.header).iter();
            match (values.next(), values.next()) {
                (Some(only), None) => only.to_str().ok().and_then(address),
                _ => None,
            }
        };
        reported.map(|reported| SocketAddr::new(reported, 0))
    }

    /// Reads the addresses from the right, where trusted proxies wrote, up to the client or to an unreadable address.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        let mut hops = 0;
        for line in headers.get_all(&self.header).iter().rev() {
            let Ok(line) = line.to_str() else {
                return client;
            };
            for item in line.rsplit(',') {
                let Some(reported) = address(item) else {
                    return client;
                };
                client = Some(reported);
                hops += 1;
                let last = match self.trusted {
                    Trusted::Named(_) => !self.trusts(reported),
                    Trusted::Presumed(most) => hops == most.get(),
                };
                if last {
                    return client;
                }
            }
        }
        client
    }
}

/// Converts an IPv4 address in the form of IPv6, as a listener for both families reports it.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Parses an address as proxies write it: possibly with a port, and IPv6 possibly in brackets.
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

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn a_presumed_proxy_is_trusted_for_the_address_that_it_wrote() {
        let proxies = Proxies::default();
        for (peer, headers, expected) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            // A peer on a public address is not trusted.
            ("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("::1", &[(XFF, "2001:db8::7")], "2001:db8::7"),
            // An address that the client wrote is on the left.
            ("10.0.0.1", &[(XFF, "1.2.3.4, 198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4"), (XFF, "198.51.100.1")],
                "198.51.100.1",
            ),
            // Also a private one: a client behind the proxy may have a private address, and claim another one.
            ("10.0.0.1", &[(XFF, "198.51.100.1, 192.168.1.1")], "192.168.1.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1:5000")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]:5000")], "2001:db8::7"),
            ("10.0.0.1", &[(XFF, "[2001:db8::7]")], "2001:db8::7"),
            // An unreadable address is ignored, with all addresses on its left.
            ("10.0.0.1", &[(XFF, "1.2.3.4, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[("cf-connecting-ip", "198.51.100.1")], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn of_several_presumed_proxies_each_wrote_one_address() {
        let proxies = Proxies::presumed(NonZeroUsize::new(2).unwrap());
        for (headers, expected) in [
            (&[(XFF, "1.2.3.4, 198.51.100.1, 192.168.1.1")][..], "198.51.100.1"),
            (
                &[(XFF, "1.2.3.4, 198.51.100.1"), (XFF, "192.168.1.1")],
                "198.51.100.1",
            ),
            (&[(XFF, "192.168.1.1")], "192.168.1.1"),
            (&[(XFF, "unknown, 192.168.1.1")], "192.168.1.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", headers), expected, "{headers:?}");
        }
        assert_eq!(
            client(&proxies, "203.0.113.9", &[(XFF, "1.2.3.4")]),
            "203.0.113.9"
        );
    }

    #[test]
    fn named_proxies_are_trusted_up_to_the_rightmost_address_that_none_of_them_has() {
        let proxies = Proxies::of(["10.0.0.0/8", "192.168.1.1"].map(|network| network.parse().unwrap()));
        for (peer, headers, expected) in [
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4, 198.51.100.1, 192.168.1.1")][..],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4, 192.168.1.7, 192.168.1.1")],
                "192.168.1.7",
            ),
            ("10.0.0.1", &[(XFF, "10.0.0.2, 192.168.1.1")], "10.0.0.2"),
            ("192.168.1.7", &[(XFF, "198.51.100.1")], "192.168.1.7"),
            // Addresses on the left of an unreadable one are ignored.
            (
                "10.0.0.1",
                &[(XFF, "1.2.3.4, unknown, 192.168.1.1")],
                "192.168.1.1",
            ),
        ] {
            assert_eq!(client(&proxies, peer, headers), expected, "{peer} {headers:?}");
        }

        // So is a line that cannot be read.
        let mut lines = HeaderMap::new();
        for line in [&b"1.2.3.4, \xff"[..], b"192.168.1.1"] {
            lines.append(XFF, HeaderValue::from_bytes(line).unwrap());
        }
        let peer = SocketAddr::from(([10, 0, 0, 1], 1));
        assert_eq!(proxies.client(peer, &lines).ip().to_string(), "192.168.1.1");
    }

    #[test]
    fn a_request_by_a_presumed_proxy_is_marked() {
        let presumed = |proxies: &Proxies, peer: &str, reported: Option<&'static str>| {
            let mut request = Request::new(());
            let peer: IpAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ClientAddress((peer, 1).into()));
            if let Some(reported) = reported {
                request
                    .headers_mut()
                    .insert(XFF, HeaderValue::from_static(reported));
            }
            proxies.resolve(&mut request);
            let proxy = request.extensions().get().copied();
            proxy.map(|PresumedProxy(address)| address.to_string())
        };
        let (by_default, reported) = (Proxies::default(), Some("198.51.100.1"));
        assert_eq!(
            presumed(&by_default, "::ffff:10.0.0.1", reported).as_deref(),
            Some("10.0.0.1")
        );
        assert_eq!(presumed(&by_default, "10.0.0.1", None), None);
        assert_eq!(presumed(&by_default, "10.0.0.1", Some("unknown")), None);
        assert_eq!(presumed(&by_default, "203.0.113.9", reported), None);
        let named = Proxies::of(["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(presumed(&named, "10.0.0.1", reported), None);
    }

    #[test]
    fn another_header_has_one_address() {
        const CF: &str = "cf-connecting-ip";
        let proxies = Proxies::default().with_header(HeaderName::from_static(CF));
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
    fn no_peer_is_trusted_without_proxies() {
        let reported = [("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client(&Proxies::none(), "127.0.0.1", &reported), "127.0.0.1");
    }
}
