//! Clients that speak TLS to a plain port. What they are answered (in plain HTTP, which most of them recognize) tells
//! them; the log tells whoever runs the server, and not each time: such a client tries again and again.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long nothing more is said.
const PAUSE: Duration = Duration::from_secs(3600);

/// With which byte a TLS record of a handshake begins. RFC 8446, 5.1.
const HANDSHAKE: u8 = 22;

/// When it was last told.
#[derive(Debug, Default)]
pub(super) struct TlsHint {
    told: Mutex<Option<Instant>>,
}

impl TlsHint {
    /// Looks at the first bytes on a connection without TLS.
    pub(super) fn look_at(&self, first: &[u8], peer: SocketAddr) {
        if first.first() == Some(&HANDSHAKE) && self.is_due() {
            tracing::warn!(
                %peer,
                "a client speaks TLS to this port, which has none; it has to use http://, or the port needs a certificate"
            );
        }
    }

    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
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
        let hint = TlsHint::default();
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(hint.is_due());
            advance(PAUSE / 2).await;
        }
        assert_eq!(told, [true, false, true, false, true]);
    }
}
