//! [`RequestHead`]: method, target, headers and extensions of a request, for authorizers and hooks.

use crate::{
    auth::AuthRequest,
    hooks::{Context, RequestId},
};
use http::{HeaderName, header, request::Parts};
use std::{fmt, sync::Arc};

/// Head of a request, without an empty Basic login.
pub(super) struct RequestHead(Parts);

impl RequestHead {
    /// Takes the head of a request. `Og==`, an empty Basic login, counts as anonymous, because some clients send
    /// it for "no credentials".
    pub(super) fn new(mut parts: Parts) -> Self {
        let empty = parts.headers.get(header::AUTHORIZATION).is_some_and(|value| {
            value
                .as_bytes()
                .split_at_checked(6)
                .is_some_and(|(scheme, credentials)| {
                    scheme.eq_ignore_ascii_case(b"basic ") && credentials.trim_ascii() == b"Og=="
                })
        });
        if empty {
            parts.headers.remove(header::AUTHORIZATION);
        }
        Self(parts)
    }

    pub(super) const fn parts(&self) -> &Parts {
        &self.0
    }

    pub(super) const fn auth_request(&self) -> AuthRequest<'_> {
        AuthRequest::new(&self.0)
    }

    /// Adds the facts of the request to the context for hooks.
    pub(super) fn describe(&self, context: &mut Context) {
        let text = |name: HeaderName| Some(Arc::from(self.0.headers.get(name)?.to_str().ok()?));
        let request_id = self.0.extensions.get::<RequestId>();
        context.client = self.auth_request().client_address();
        context.request_id = request_id
            .map(|id| Arc::clone(&id.0))
            .or_else(|| text(HeaderName::from_static("x-request-id")));
        context.user_agent = text(header::USER_AGENT);
    }
}

/// Shows no headers, which hold credentials.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.auth_request().fmt(f)
    }
}
