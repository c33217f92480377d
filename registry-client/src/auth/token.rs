//! [`Tokens`]: the tokens that a client has, by the service, scopes and credential that they are for.

use super::credential::secret;
use http::HeaderValue;
use registry_core::Digest;
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Maximum number of tokens that are kept.
const MOST: usize = 512;
/// Lifetime of a token without `expires_in`.
const LIFETIME: Duration = Duration::from_secs(60);
/// Longest lifetime that is believed.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Remaining time below which a token is replaced before a request with a body.
const BEFORE_BODY: Duration = Duration::from_secs(60);
/// Remaining time below which a token is replaced before any other request.
const BEFORE_HEAD: Duration = Duration::from_secs(5);

/// Purpose of a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    /// In order.
    pub(crate) scopes: Vec<String>,
    /// `None` for an anonymous user.
    pub(crate) credential: Option<Digest>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A digest of a password lets others try passwords.
        f.debug_struct("Key")
            .field("realm", &self.realm)
            .field("service", &self.service)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Token of a service.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    lifetime: Duration,
    expires: Instant,
}

/// Answer of a token service.
#[derive(Deserialize)]
struct Issued {
    token: Option<Zeroizing<String>>,
    access_token: Option<Zeroizing<String>>,
    expires_in: Option<f64>,
}

impl Token {
    /// Reads the answer of a token service, which was asked at `began`.
    pub(crate) fn parse(body: &[u8], began: Instant) -> Option<Self> {
        let issued: Issued = serde_json::from_slice(body).ok()?;
        let text = [issued.token, issued.access_token]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty())?;
        let lifetime = issued.expires_in.filter(|seconds| *seconds > 0.0);
        let lifetime = lifetime.map_or(LIFETIME, |seconds| {
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(LONGEST)
                .min(LONGEST)
        });
        Some(Self {
            header: secret(&Zeroizing::new(format!("Bearer {}", text.as_str())))?,
            lifetime,
            expires: began + lifetime,
        })
    }

    /// Returns true if the token lasts for a request. A token that never has a minute is replaced after half of its life.
    pub(crate) fn lasts(&self, with_body: bool, now: Instant) -> bool {
        let margin = if with_body { BEFORE_BODY } else { BEFORE_HEAD };
        self.expires.saturating_duration_since(now) >= margin.min(self.lifetime / 2)
    }
}

/// Place of one token. Its lock is held while the token is fetched, so that it is fetched once.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Tokens by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Slot>>);

impl Tokens {
    /// Returns the place of the token for `key`.
    pub(crate) fn slot(&self, key: &Key) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(key) {
            // They are fetched again when they are needed.
            slots.clear();
        }
        Arc::clone(slots.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str, now: Instant) -> Option<Token> {
        Token::parse(body.as_bytes(), now)
    }

    #[test]
    fn both_names_of_a_token_are_read_and_nothing_else() {
        let now = Instant::now();
        for body in [
            r#"{"token":"t"}"#,
            r#"{"access_token":"t","expires_in":300}"#,
            r#"{"token":"","access_token":"t","issued_at":"x"}"#,
        ] {
            assert_eq!(token(body, now).unwrap().header, "Bearer t", "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":1}"#,
        ] {
            assert!(token(body, now).is_none(), "{body}");
        }
    }

    #[test]
    fn the_debug_form_of_a_client_has_no_trace_of_a_password() {
        let fingerprint = Digest::of(registry_core::Algorithm::Sha256, b"password");
        let tokens = Tokens::default();
        tokens.slot(&Key {
            realm: "https://tokens.example".into(),
            service: None,
            scopes: Vec::new(),
            credential: Some(fingerprint),
        });

        let shown = format!("{tokens:?}");

        assert!(shown.contains("tokens.example"), "{shown}");
        assert!(!shown.contains(&fingerprint.to_string()[7..]), "{shown}");
    }

    #[test]
    fn a_token_is_replaced_a_minute_before_its_end_if_a_body_follows() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let long = token(r#"{"token":"t","expires_in":300}"#, now).unwrap();
        assert!(long.lasts(true, now + seconds(240)));
        assert!(!long.lasts(true, now + seconds(241)));
        assert!(long.lasts(false, now + seconds(295)));
        assert!(!long.lasts(false, now + seconds(296)));
        // Without a lifetime it is a minute.
        let short = token(r#"{"token":"t"}"#, now).unwrap();
        assert!(short.lasts(true, now + seconds(30)));
        assert!(!short.lasts(true, now + seconds(31)));
    }
}
