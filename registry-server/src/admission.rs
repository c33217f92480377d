//! Admission before any login: networks that may connect, and refusal of docker before 1.6.

use crate::proxies::ProxyWarnings;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use registry_axum::{Network, Proxies};
use registry_core::{
    auth::{ClientAddress, PresumedProxy},
    error::{ErrorCode, error_body},
    protocol::InvalidRequest,
};
use std::{net::IpAddr, sync::Arc};

/// Clients to admit, and proxies to believe about their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Proxies that are believed about a client's address.
    pub(crate) proxies: Proxies,
    /// Networks that may connect; `None` admits all.
    pub(crate) allowed: Option<Vec<Network>>,
    /// True if docker before 1.6 is refused.
    pub(crate) refuse_old_clients: bool,
}

/// Connected peer: a client, or its proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// True if its headers about the client are believed.
    pub(crate) believed: bool,
}

impl Admission {
    /// Determines the client of a request, for all later layers and for the log.
    pub(crate) fn identify(&self, request: &mut Request, warnings: &ProxyWarnings) {
        let Some(ClientAddress(peer)) = request.extensions().get().copied() else {
            return;
        };
        let address = peer.ip().to_canonical();
        let believed = self.proxies.trusts(address);
        request.extensions_mut().insert(Peer { address, believed });
        self.proxies.resolve(request);
        let told = (request.extensions().get(), request.extensions().get());
        if let (Some(PresumedProxy(proxy)), Some(ClientAddress(client))) = told {
            warnings.presumed(*proxy, client.ip());
        }
    }

    /// Layer around everything but the log: refuses clients that are not admitted.
    pub(crate) async fn admit(State(this): State<Arc<Self>>, request: Request, next: Next) -> Response {
        if let (Some(allowed), peer) = (&this.allowed, request.extensions().get::<Peer>())
            && !peer.is_some_and(|peer| allowed.iter().any(|network| network.contains(peer.address)))
        {
            tracing::debug!(?peer, "refused: this network is not in `http.allow`");
            let why = "this network may not connect; `http.allow` in the registry's configuration lists those that may";
            return refusal((StatusCode::FORBIDDEN, ErrorCode::Denied), why);
        }
        let agent = request.headers().get(header::USER_AGENT);
        if this.refuse_old_clients && agent.is_some_and(is_old) {
            let unknown = InvalidRequest::Endpoint;
            return refusal(unknown.wire(), &unknown.to_string());
        }
        next.run(request).await
    }
}

fn refusal((status, code): (StatusCode, ErrorCode), message: &str) -> Response {
    let mut response = Response::new(Body::from(error_body(code, message)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Returns true for docker before 1.6: its agent begins with `docker/1.3` to `docker/1.5`, or with `Go` in pings.
/// Development versions of 1.5 are new enough.
fn is_old(agent: &HeaderValue) -> bool {
    let agent = agent.as_bytes();
    if agent.starts_with(b"Go ") {
        return true;
    }
    match agent.strip_prefix(b"docker/1.") {
        Some([b'3' | b'4', ..]) => true,
        Some([b'5', rest @ ..]) => {
            !matches!(rest, [b'.', digit, b'-', b'd', b'e', b'v', ..] if digit.is_ascii_digit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_old_before_1_6() {
        for (agent, old) in [
            ("docker/1.3.2 go/go1.3", true),
            ("docker/1.4.1", true),
            ("docker/1.5.0 go/go1.4.1", true),
            ("Go 1.1 package http", true),
            ("docker/1.5.0-dev", false),
            ("docker/1.6.0 go/go1.4.2", false),
            ("docker/1.13.1", false),
            ("docker/20.10.24", false),
            ("Go-http-client/1.1", false),
            ("curl/7.88.1", false),
        ] {
            assert_eq!(is_old(&HeaderValue::from_static(agent)), old, "{agent}");
        }
    }
}
