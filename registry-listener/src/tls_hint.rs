//! Clients that speak TLS to a plain port. The answer (in plain HTTP, which most of them recognize) informs the
//! client. The log informs the operator, but not each time, since such a client retries again and again.

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
    elsewhere: Told,
    here: Told,
}

impl TlsHint {
    /// Looks at the first bytes on a connection without TLS.
    pub(super) fn look_at(&self, first: &[u8], peer: SocketAddr) {
        if first.first() != Some(&HANDSHAKE) {
            return;
        }
        // Nothing is wrong with those that try it first, and they do so at the first push of whoever tries this out.
        if peer.ip().to_canonical().is_loopback() {
            if self.here.is_due() {
                tracing::info!(
                    %peer,
                    "a client speaks TLS to this port, which has none; docker and podman try that first, and go on with \
                     http:// on the same machine"
                );
            }
        } else if self.elsewhere.is_due() {
            tracing::warn!(
                %peer,
                "a client speaks TLS to this port, which has none; it has to use http://, or the port needs a certificate"
            );
        }
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
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
    async fn it_is_told_once_an_hour() {
        let hint = Told::default();
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(hint.is_due());
            advance(PAUSE / 2).await;
        }
        assert_eq!(told, [true, false, true, false, true]);
    }

    #[test]
    fn what_is_told_of_this_machine_hides_nobody_elsewhere() {
        let hint = TlsHint::default();
        hint.look_at(b"GET / HTTP/1.1", "192.0.2.7:1".parse().unwrap());
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            hint.look_at(&[HANDSHAKE, 3, 1], peer.parse().unwrap());
        }
        assert!(!hint.here.is_due());
        assert!(hint.elsewhere.is_due());
    }
}
