//! Warnings about proxies: those that are believed although they are not configured, and those that are not believed.
//!
//! Peers and clients cause these warnings, so each is logged once: the first in total, the second per network.

use registry_axum::Network;
use std::{
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Maximum number of networks to warn of, so that many peers fill neither the log nor the memory.
const NETWORKS: usize = 16;

/// Record of the warnings that were logged.
#[derive(Debug, Default)]
pub(crate) struct ProxyWarnings {
    private: AtomicBool,
    unbelieved: Mutex<Vec<Network>>,
}

impl ProxyWarnings {
    /// Warns if a peer that is presumed to be a proxy reports a private address of a client.
    pub(crate) fn presumed(&self, proxy: IpAddr, client: IpAddr) {
        let private = Network::LOCAL.iter().any(|network| network.contains(client));
        if private && !self.private.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %proxy,
                %client,
                "a proxy reports a client with a private address; if this is another proxy, all its clients count as one. Clients with private addresses can claim any address: list your proxies in `http.proxies.trusted`, or set their number in `http.proxies.hops`"
            );
        }
    }

    /// Warns that a peer that is not believed reports the scheme or the host of links.
    pub(crate) fn unbelieved(&self, peer: IpAddr) {
        if self.is_new(peer) {
            tracing::warn!(
                %peer,
                "`Forwarded`, `X-Forwarded-Proto` and `X-Forwarded-Host` from this network are ignored, and links have the scheme and host of the request; if this is your proxy, list it in `http.proxies.trusted`"
            );
        }
    }

    fn is_new(&self, peer: IpAddr) -> bool {
        let mut networks = self.unbelieved.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= NETWORKS || networks.iter().any(|network| network.contains(peer)) {
            return false;
        }
        let bits = if peer.is_ipv4() { 24 } else { 48 };
        networks.extend(format!("{peer}/{bits}").parse::<Network>());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_is_new_once_and_not_all_of_the_world() {
        let warnings = ProxyWarnings::default();
        let new = |peer: &str| warnings.is_new(peer.parse().unwrap());
        assert!(new("203.0.113.7") && !new("203.0.113.9") && new("198.51.100.1"));
        assert!(new("2001:db8::1") && !new("2001:db8:0:1::2") && new("2001:db8:1::1"));
        for third in 0..=255 {
            new(&format!("192.0.{third}.1"));
        }
        assert_eq!(warnings.unbelieved.lock().unwrap().len(), NETWORKS);
    }
}
