//! [`TlsHint`]: a log line about clients that use TLS on a plain port.
//!
//! The client gets an answer in plain HTTP, which most clients recognize. The log informs the operator, at intervals,
//! because such a client retries.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Minimum time between two log lines.
const PAUSE: Duration = Duration::from_secs(3600);

/// First byte of a TLS record of a handshake. RFC 8446, 5.1.
const HANDSHAKE: u8 = 22;

/// Times of the last log lines, for clients elsewhere and for those on this machine.
#[derive(Debug, Default)]
pub(super) struct TlsHint {
    elsewhere: LastLogged,
    here: LastLogged,
}

impl TlsHint {
    /// Checks the first bytes of a connection without TLS.
    pub(super) fn check(&self, first: &[u8], peer: SocketAddr) {
        if first.first() != Some(&HANDSHAKE) {
            return;
        }
        // A client on this machine tries TLS first, which is not an error.
        if peer.ip().to_canonical().is_loopback() {
            if self.here.is_due() {
                tracing::info!(
                    %peer,
                    "a client speaks TLS to this port, which has no TLS; docker and podman try TLS first, and continue \
                     with http:// on the same machine"
                );
            }
        } else if self.elsewhere.is_due() {
            tracing::warn!(
                %peer,
                "a client speaks TLS to this port, which has no TLS; use http:// in the client, or configure a certificate"
            );
        }
    }
}

#[derive(Debug, Default)]
struct LastLogged(Mutex<Option<Instant>>);

impl LastLogged {
    /// Returns true if a log line is due, and records it as written.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| now - told >= PAUSE);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_logged_once_an_hour() {
        let hint = LastLogged::default();
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(hint.is_due());
            advance(PAUSE / 2).await;
        }
        assert_eq!(told, [true, false, true, false, true]);
    }

    #[test]
    fn a_line_about_this_machine_does_not_suppress_one_about_another() {
        let hint = TlsHint::default();
        hint.check(b"GET / HTTP/1.1", "192.0.2.7:1".parse().unwrap());
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            hint.check(&[HANDSHAKE, 3, 1], peer.parse().unwrap());
        }
        assert!(!hint.here.is_due());
        assert!(hint.elsewhere.is_due());
    }
}
