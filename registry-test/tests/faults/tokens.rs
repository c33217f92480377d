//! Logins by tokens that fail, and redirects of clients that are logged in.

use crate::client::{Answer, BLOB, End, digest, send};
use registry_test::{
    GET, Redirect, Side::Response, TestRegistry, Token, cut, drop_header, lost_answer, on, redirect,
    set_header, slow, token, wrong_bytes, wrong_length,
};
use std::{net::SocketAddr, panic::catch_unwind};

/// `ann:pw`
const CREDENTIALS: &str = "Authorization: Basic YW5uOnB3\r\n";
const PULL: &str = "/token?scope=repository:app:pull";

fn start() -> TestRegistry {
    TestRegistry::builder().bearer("ann", "pw").start()
}

fn issue(address: SocketAddr) -> Answer {
    send(address, "GET", PULL, CREDENTIALS, b"")
}

/// Returns the document of a token endpoint.
fn document(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status(), Some(200));
    serde_json::from_slice(answer.body()).unwrap()
}

/// Returns the header with a new token.
fn bearer(address: SocketAddr) -> String {
    let document = document(&issue(address));
    let token = document.get("token").or_else(|| document.get("access_token"));
    format!("Authorization: Bearer {}\r\n", token.unwrap().as_str().unwrap())
}

#[test]
fn a_token_comes_without_its_lifetime_or_by_its_other_name() {
    let registry = start();
    registry.fault(on(GET).token().nth(1), token(Token::NoExpiresIn));
    registry.fault(on(GET).token().nth(2), token(Token::AccessTokenOnly));

    let documents = [0; 3].map(|_| document(&issue(registry.addr())));

    let names = documents
        .each_ref()
        .map(|document| ["token", "access_token", "expires_in"].map(|name| document.get(name).is_some()));
    assert_eq!(
        names,
        [[true, true, false], [false, true, true], [true, true, true]]
    );
}

#[test]
fn a_token_endpoint_fails_and_works_again() {
    let registry = start();
    registry.fault(on(GET), token(Token::Fails(503)));

    assert_eq!(send(registry.addr(), "GET", "/v2/", "", b"").status(), Some(401));
    let statuses = [0; 2].map(|_| issue(registry.addr()).status());

    assert_eq!(statuses, [Some(503), Some(200)]);
}

#[test]
fn a_token_expires_before_the_request_of_the_test() {
    let registry = start();
    registry.fault(on(GET).tags().nth(2), token(Token::Expire));
    let bearer = bearer(registry.addr());
    registry.seed("app:v1", registry_test::image());

    let statuses = [0; 2].map(|_| send(registry.addr(), "GET", "/v2/app/tags/list", &bearer, b"").status());

    assert_eq!(statuses, [Some(200), Some(401)]);
}

#[test]
fn tokens_do_not_expire_by_a_request_for_one() {
    let registry = start();
    let expire = registry.fault(on(GET), token(Token::Expire));

    let bearer = bearer(registry.addr());

    assert_eq!(expire.fired(), 0);
    assert_eq!(
        send(registry.addr(), "GET", "/v2/", &bearer, b"").status(),
        Some(401)
    );
}

#[test]
fn a_fault_of_the_answer_is_not_spent_on_a_challenge() {
    let faults: [registry_test::fault::Fault; 7] = [
        cut(Response).into(),
        lost_answer(),
        slow(1_000_000).into(),
        wrong_bytes(),
        wrong_length(1),
        drop_header("content-type"),
        set_header("x-odd", "another"),
    ];
    for fault in faults {
        let registry = start();
        registry.seed("app:v1", registry_test::image());
        let rule = registry.fault(on(GET).tags(), fault);
        let tags = |fields: &str| send(registry.addr(), "GET", "/v2/app/tags/list", fields, b"");

        let challenged = tags("");

        assert_eq!((challenged.status(), rule.fired()), (Some(401), 0), "{rule}");
        tags(&bearer(registry.addr()));
        assert_eq!(rule.fired(), 1, "{rule}");
    }
}

#[test]
fn a_challenge_itself_is_cut_or_changed() {
    let registry = start();
    registry.fault(on(GET).ping(), cut(Response));
    registry.fault(on(GET).tags(), drop_header("www-authenticate"));

    let cut = send(registry.addr(), "GET", "/v2/", "", b"");
    let changed = send(registry.addr(), "GET", "/v2/app/tags/list", "", b"");

    assert_eq!((cut.status(), cut.end), (None, End::Fin));
    assert_eq!(
        (changed.status(), changed.header("www-authenticate")),
        (Some(401), None)
    );
}

#[test]
fn a_registry_without_tokens_has_none_that_expire() {
    let panic = catch_unwind(|| {
        let registry = TestRegistry::start();
        registry.fault(on(GET), token(Token::Expire));
    });

    let message = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("start the registry with `.bearer(user, password)`"),
        "{message}"
    );
}

#[test]
fn a_challenge_leads_to_a_token_endpoint_on_another_host() {
    let registry = start();
    registry.fault(on(GET).ping(), token(Token::OtherRealm));

    let challenged = send(registry.addr(), "GET", "/v2/", "", b"");

    let challenge = challenged.header("www-authenticate").unwrap();
    let (_, realm) = challenge.split_once("realm=\"http://localhost:").unwrap();
    let (port, rest) = realm.split_once('/').unwrap();
    assert!(rest.starts_with("token\""), "{challenge}");
    let other = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    assert_ne!(other, registry.addr());
    let bearer = bearer(other);
    assert_eq!(
        send(registry.addr(), "GET", "/v2/", &bearer, b"").status(),
        Some(200)
    );
}

#[test]
fn a_signed_url_needs_no_token() {
    let registry = start();
    let repository = registry.registry().repository("app").unwrap();
    let content = repository.push_blob(BLOB, None);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(content)
        .unwrap();
    let to = Redirect::OtherHost {
        refuse_authorization: true,
        expires: None,
    };
    registry.fault(on(GET).blob(), redirect(to));
    let path = format!("/v2/app/blobs/{}", digest(BLOB));
    assert_eq!(send(registry.addr(), "GET", &path, "", b"").status(), Some(401));

    let redirected = send(registry.addr(), "GET", &path, &bearer(registry.addr()), b"");
    let location = redirected.header("location").unwrap();
    let (port, target) = location
        .strip_prefix("http://localhost:")
        .unwrap()
        .split_once('/')
        .unwrap();
    let other = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let followed = send(other, "GET", &format!("/{target}"), "", b"");

    assert_eq!((followed.status(), followed.body()), (Some(200), BLOB));
}
