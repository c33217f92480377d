//! Tests of decisions and challenges that depend on the request.

use super::*;
use registry_core::auth::{ClientAddress, TokenError};
use std::net::SocketAddr;

/// Allows everything from one address, and everything to `ann` in process.
#[derive(Debug)]
struct FromTheOffice;

#[async_trait]
impl Authorizer for FromTheOffice {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let allowed = match ask.request {
            Some(request) => {
                assert!(request.uri.path().starts_with("/v2/"));
                request.client_address() == Some(OFFICE.parse().unwrap())
            }
            None => ask.who.is_some_and(|who| &*who.subject == "ann"),
        };
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}

const OFFICE: &str = "192.0.2.1:4711";

#[tokio::test]
async fn a_decision_may_depend_on_the_request() {
    let storage = filled(&["team/app"]).await;
    let registry = Registry::builder(storage).authorizer(FromTheOffice).build();
    for (address, status, listed) in [
        (OFFICE, 200, r#"{"repositories":["team/app"]}"#),
        ("192.0.2.2:4711", 403, "DENIED"),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        for target in ["/v2/team/app/manifests/v1", "/v2/team/app/tags/list"] {
            let request = Request::get(target).extension(ClientAddress(address));
            let answer = answer(&registry, request.body(String::new()).unwrap()).await;
            assert_eq!(answer.status, status, "{address} {target}");
        }
        let request = Request::get("/v2/_catalog").extension(ClientAddress(address));
        let answer = answer(&registry, request.body(String::new()).unwrap()).await;
        assert!(
            String::from_utf8_lossy(&answer.body).contains(listed),
            "{answer:?}"
        );
    }
    for (who, allowed) in [("ann", true), ("bob", false)] {
        let repository = registry.repository("team/app").unwrap();
        let read = repository.as_identity(Identity::new(who)).manifest("v1").await;
        assert_eq!(read.is_ok(), allowed, "{who}");
    }
}

/// Accepts `limited` as a token without grants, and offers a token service on the host of the request.
#[derive(Debug)]
struct Tokens;

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request.bearer()? {
            Some("limited") => Ok(Some(Identity::new("ann").limited_to([]))),
            Some(_) => Err(AuthError::Rejected),
            None => Ok(None),
        }
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        let Some(request) = request else {
            return vec![Challenge::bearer("https://in.process/token", "test")];
        };
        let host = request.headers[header::HOST].to_str().unwrap();
        let challenge = Challenge::bearer(format!("https://{host}/token"), format!("needs {}", needed.len()));
        vec![match request.bearer() {
            Ok(None) => challenge,
            Ok(Some("limited")) => challenge.because(TokenError::InsufficientScope),
            _ => challenge.because(TokenError::InvalidToken),
        }]
    }
}

#[tokio::test]
async fn a_challenge_may_depend_on_the_request_and_on_what_it_needs() {
    let registry = Registry::builder(Recording::default())
        .authenticator(Tokens)
        .build();
    let from = "from=other/app";
    let mount = format!("/v2/team/app/blobs/uploads/?mount={}&{from}", digest());
    let scopes = r#"scope="repository:team/app:pull,push repository:other/app:pull""#;
    for (authorization, error) in [
        (None, ""),
        (Some("Bearer limited"), r#",error="insufficient_scope""#),
        (Some("Bearer other"), r#",error="invalid_token""#),
        (Some("Bearer a b"), r#",error="invalid_token""#),
    ] {
        let ask = Ask::new(Method::POST, &*mount).with("host", "r.example");
        let ask = match authorization {
            Some(authorization) => ask.by(authorization),
            None => ask,
        };
        let refused = ask.send(&registry).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let expected = format!(r#"Bearer realm="https://r.example/token",service="needs 2",{scopes}{error}"#);
        assert_eq!(refused.challenges(), [expected], "{authorization:?}");
    }
    let repository = registry.repository("team/app").unwrap().as_anonymous();
    let Err(registry_core::Error::Unauthorized { challenges, .. }) = repository.manifest("v1").await else {
        panic!("an anonymous client is asked to log in");
    };
    assert_eq!(
        challenges,
        [Challenge::bearer("https://in.process/token", "test")]
    );
}

#[tokio::test]
async fn the_base_offers_a_login_unless_the_host_turns_that_off() {
    let storage = filled(&["team/app"]).await;
    let builder = || {
        let public = |who: Option<&str>, _: &str, action| match (who, action) {
            (Some(_), _) | (None, Action::Pull) => Decision::Allow,
            _ => Decision::Deny,
        };
        Registry::builder(storage.clone())
            .authenticator(ByHeader)
            .authorizer(Decides(public))
    };
    let base = || Ask::new(Method::GET, "/v2/");
    for (registry, anonymous) in [
        (builder().build(), StatusCode::UNAUTHORIZED),
        (builder().without_base_login().build(), StatusCode::OK),
    ] {
        assert_eq!(base().send(&registry).await.status, anonymous);
        assert_eq!(base().by("Basic Og==").send(&registry).await.status, anonymous);
        assert_eq!(base().by("ann").send(&registry).await.status, StatusCode::OK);
        assert_eq!(
            base().by("wrong").send(&registry).await.status,
            StatusCode::UNAUTHORIZED
        );
        let pulled = Ask::new(Method::GET, "/v2/team/app/manifests/v1")
            .send(&registry)
            .await;
        assert_eq!(pulled.status, StatusCode::OK);
        let refused = put("v2", "second").send(&registry).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
}

/// Offers a login for one access only, never for several at once.
#[derive(Debug)]
struct OneAtATime;

#[async_trait]
impl Authenticator for OneAtATime {
    async fn authenticate(&self, _: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        Ok(None)
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        match needed {
            [_] => vec![Challenge::bearer("https://r.example/token", "one")],
            _ => Vec::new(),
        }
    }
}

#[tokio::test]
async fn a_challenge_for_the_refused_access_is_kept_if_there_is_none_for_the_whole_request() {
    let registry = Registry::builder(Recording::default())
        .authenticator(OneAtATime)
        .build();
    let mount = format!("/v2/team/app/blobs/uploads/?mount={}&from=other/app", digest());

    let refused = Ask::new(Method::POST, mount).send(&registry).await;

    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.challenges().len(), 1, "{refused:?}");
}
