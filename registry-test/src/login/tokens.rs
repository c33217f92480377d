//! [`Tokens`]: the tokens that a test registry has issued.

use super::user::User;
use crate::{kind::TOKEN_PATH, tap::lock};
use http::{header, uri::Authority};
use registry_core::{
    Action, Identity,
    auth::{Access, AuthRequest, Scope},
};
use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    fmt,
    hash::BuildHasher as _,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Lifetime that the protocol gives to a token without `expires_in`, and the default here.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// Opaque tokens, each with the permissions that its client asked for and got.
pub(crate) struct Tokens {
    pub(super) user: User,
    /// URL of the endpoint, unless the request decides.
    realm: String,
    /// Scheme of that URL, if the request decides about its host.
    by_request: Option<String>,
    /// Name of the registry at the endpoint: its host.
    pub(super) service: String,
    pub(super) anonymous_pull: bool,
    pub(super) lifetime: Duration,
    random: RandomState,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    number: u64,
    access: HashMap<String, Token>,
    refresh: HashSet<String>,
}

struct Token {
    identity: Identity,
    /// `None` if the lifetime is longer than the clock counts.
    expires: Option<Instant>,
}

impl Tokens {
    /// Issues tokens for a registry at `url`, or with `any_host` at the host of each request.
    pub(super) fn new(
        user: User,
        url: &str,
        any_host: bool,
        anonymous_pull: bool,
        lifetime: Duration,
    ) -> Self {
        let (scheme, service) = url.split_once("://").unwrap_or(("http", url));
        Self {
            user,
            realm: format!("{url}{TOKEN_PATH}"),
            by_request: any_host.then(|| scheme.to_owned()),
            service: service.to_owned(),
            anonymous_pull,
            lifetime,
            random: RandomState::new(),
            issued: Mutex::default(),
        }
    }

    /// Returns the URL of the endpoint for the client that sent a request.
    pub(super) fn realm(&self, request: Option<&AuthRequest<'_>>) -> String {
        let host = request.and_then(|request| request.headers.get(header::HOST));
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        match (&self.by_request, host) {
            (Some(scheme), Some(host)) => format!("{scheme}://{host}{TOKEN_PATH}"),
            _ => self.realm.clone(),
        }
    }

    /// Lets every access token expire. Refresh tokens stay valid.
    pub(crate) fn expire(&self) {
        lock(&self.issued).access.clear();
    }

    /// Issues an access token for `scopes`, as far as the user, or else an anonymous client, may have them.
    pub(super) fn issue(&self, is_user: bool, scopes: &[Scope]) -> String {
        let asked = scopes.iter().flat_map(Scope::accesses);
        let granted: Vec<Access> = asked
            .filter(|access| is_user || access.action == Action::Pull)
            .collect();
        let name = if is_user { &self.user.name } else { "anonymous" };
        let token = Token {
            identity: Identity::new(name).limited_to(granted),
            expires: Instant::now().checked_add(self.lifetime),
        };
        let mut issued = lock(&self.issued);
        let text = self.text("token", &mut issued);
        issued.access.insert(text.clone(), token);
        text
    }

    /// Issues a refresh token for the user.
    pub(super) fn issue_refresh(&self) -> String {
        let mut issued = lock(&self.issued);
        let text = self.text("refresh", &mut issued);
        issued.refresh.insert(text.clone());
        text
    }

    /// Returns true if this refresh token was issued.
    pub(super) fn is_refresh(&self, token: &str) -> bool {
        lock(&self.issued).refresh.contains(token)
    }

    /// Returns the identity of an access token, unless it has expired or was not issued here.
    pub(super) fn identity(&self, token: &str) -> Option<Identity> {
        let issued = lock(&self.issued);
        let token = issued.access.get(token)?;
        let is_valid = token.expires.is_none_or(|expires| Instant::now() < expires);
        is_valid.then(|| token.identity.clone())
    }

    /// Makes the text of a token, which nobody can guess.
    fn text(&self, kind: &str, issued: &mut Issued) -> String {
        issued.number += 1;
        let [high, low] = [0, 1].map(|half| self.random.hash_one((issued.number, half)));
        format!("{kind}-{}-{high:016x}{low:016x}", issued.number)
    }
}

/// Shows no tokens.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("user", &self.user)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}
