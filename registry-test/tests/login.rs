//! Logins of a test registry, as clients see them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

mod support;

use registry_test::{TestRegistry, image};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use support::{Answer, ask};

/// `ann:secret`
const ANN: &str = "Basic YW5uOnNlY3JldA==";
/// `ann:wrong`
const WRONG: &str = "Basic YW5uOndyb25n";

const MANIFEST: &str = "GET /v2/team/app/manifests/v1";
const PUSH: &str = "POST /v2/team/app/blobs/uploads/";

fn with(registry: &TestRegistry, request: &str, authorization: &str) -> Answer {
    ask(registry.addr(), request, &[("Authorization", authorization)], "")
}

fn without(registry: &TestRegistry, request: &str) -> Answer {
    ask(registry.addr(), request, &[], "")
}

/// Gets a token for a scope with Basic credentials, and returns the value of `Authorization`.
fn token(registry: &TestRegistry, scope: &str) -> String {
    let request = format!("GET /token?service={}&scope={scope}", registry.host());
    let answer = with(registry, &request, ANN);
    assert_eq!(answer.status, 200, "{answer:?}");
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

/// Sends a form to the token endpoint.
fn post(registry: &TestRegistry, form: &str) -> Answer {
    let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
    ask(registry.addr(), "POST /token", &form_type, form)
}

#[test]
fn a_token_comes_from_the_host_that_the_client_uses() {
    let registry = TestRegistry::builder()
        .bearer("ann", "secret")
        .bind(std::net::Ipv4Addr::UNSPECIFIED.into())
        .start();
    let realm = |host: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", registry.addr().port())).unwrap();
        write!(
            stream,
            "GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, realm) = answer.split_once("realm=\"").unwrap();
        realm.split('"').next().unwrap().to_owned()
    };

    assert_eq!(realm("registry.test:5000"), "http://registry.test:5000/token");
    assert_eq!(realm("a\"b"), format!("{}/token", registry.url()));
    assert!(registry.url().starts_with("http://127.0.0.1:"));
}

#[test]
fn a_registry_has_the_host_that_it_was_given() {
    for (name, host) in [("registry.test", "registry.test"), ("::1", "[::1]")] {
        let registry = TestRegistry::builder().bearer("ann", "secret").host(name).start();
        let host = format!("{host}:{}", registry.addr().port());

        assert_eq!(registry.reference("app:v1"), format!("{host}/app:v1"));
        let challenge = without(&registry, "GET /v2/")
            .header("www-authenticate")
            .unwrap()
            .to_owned();
        assert!(
            challenge.contains(&format!("realm=\"http://{host}/token\",service=\"{host}\"")),
            "{challenge}"
        );
    }
    for wrong in ["", "a/b", "a:5000", "ann@a", "a b"] {
        let refused = TestRegistry::builder().host(wrong).try_start().unwrap_err();
        assert!(refused.to_string().ends_with("without a port"), "{refused}");
    }
}

#[test]
fn basic_needs_the_right_name_and_password() {
    let registry = TestRegistry::builder()
        .basic("ann", "secret")
        .seed("team/app:v1", image())
        .start();

    for request in ["GET /v2/", MANIFEST, PUSH] {
        let anonymous = without(&registry, request);
        assert_eq!(anonymous.status, 401, "{request}");
        assert_eq!(
            anonymous.header("www-authenticate"),
            Some("Basic realm=\"test registry\"")
        );
        for wrong in [WRONG, "Bearer token", "Basic !"] {
            assert_eq!(with(&registry, request, wrong).status, 401, "{request} {wrong}");
        }
    }
    let statuses = ["GET /v2/", MANIFEST, PUSH].map(|request| with(&registry, request, ANN).status);
    assert_eq!(statuses, [200, 200, 202]);
}

#[test]
fn anonymous_clients_may_pull_where_it_is_allowed() {
    let registry = TestRegistry::builder()
        .basic("ann", "secret")
        .anonymous_pull()
        .seed("team/app:v1", image())
        .start();

    let statuses = ["GET /v2/", MANIFEST, PUSH].map(|request| without(&registry, request).status);
    assert_eq!(statuses, [200, 200, 401]);
    assert_eq!(
        with(&registry, MANIFEST, WRONG).status,
        401,
        "a wrong login is not anonymous"
    );
    assert_eq!(with(&registry, PUSH, ANN).status, 202);
}

#[test]
fn a_challenge_tells_where_to_get_which_token() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();
    let (url, host) = (registry.url(), registry.host());

    let refused = without(&registry, PUSH);

    assert_eq!(refused.status, 401);
    let expected =
        format!("Bearer realm=\"{url}/token\",service=\"{host}\",scope=\"repository:team/app:pull,push\"");
    assert_eq!(refused.header("www-authenticate"), Some(&*expected));
    let base = without(&registry, "GET /v2/");
    let expected = format!("Bearer realm=\"{url}/token\",service=\"{host}\"");
    assert_eq!(base.header("www-authenticate"), Some(&*expected));
    assert_eq!(registry.requests().token().count(), 0);
}

#[test]
fn a_token_grants_what_was_asked_for_and_no_more() {
    let registry = TestRegistry::builder()
        .bearer("ann", "secret")
        .seed("team/app:v1", image())
        .start();

    let pull = token(&registry, "repository:team/app:pull");
    assert_eq!(with(&registry, MANIFEST, &pull).status, 200);
    let refused = with(&registry, PUSH, &pull);
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.ends_with(",error=\"insufficient_scope\""),
        "{challenge}"
    );
    let elsewhere = with(&registry, "GET /v2/team/other/tags/list", &pull);
    assert_eq!(elsewhere.status, 401);

    let push = token(&registry, "repository:team/app:pull,push");
    assert_eq!(with(&registry, PUSH, &push).status, 202);
    let both = token(&registry, "repository:a:pull,push&scope=repository:team/app:pull");
    assert_eq!(with(&registry, "POST /v2/a/blobs/uploads/", &both).status, 202);
    assert_eq!(with(&registry, PUSH, &both).status, 401);
    assert_eq!(with(&registry, "GET /v2/", &token(&registry, "")).status, 200);
    assert_eq!(registry.requests().token().status(200).count(), 4);
}

#[test]
fn tokens_are_for_the_right_password_only() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();

    for refused in [
        with(&registry, "GET /token", WRONG),
        without(&registry, "GET /token"),
    ] {
        assert_eq!(refused.status, 401);
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Basic realm=\"test registry\"")
        );
        assert_eq!(refused.json()["errors"][0]["code"], "UNAUTHORIZED");
    }
    assert_eq!(
        with(&registry, "GET /v2/", ANN).status,
        401,
        "the password is no token"
    );
    let unknown = with(&registry, "GET /v2/", "Bearer other");
    let challenge = unknown.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(",error=\"invalid_token\""), "{challenge}");
}

#[test]
fn an_anonymous_client_gets_a_token_for_pulls_where_it_is_allowed() {
    let registry = TestRegistry::builder()
        .bearer("ann", "secret")
        .anonymous_pull()
        .seed("team/app:v1", image())
        .start();
    assert_eq!(
        without(&registry, MANIFEST).status,
        401,
        "it needs a token as well"
    );

    let issued = without(&registry, "GET /token?scope=repository:team/app:pull,push");
    let token = format!("Bearer {}", issued.json()["token"].as_str().unwrap());

    assert_eq!(with(&registry, MANIFEST, &token).status, 200);
    assert_eq!(with(&registry, PUSH, &token).status, 401);
    assert_eq!(with(&registry, "GET /token", WRONG).status, 401);
}

#[test]
fn oauth2_grants_tokens_for_a_password_and_for_a_refresh_token() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();
    let scope = "service=&scope=repository%3Ateam%2Fapp%3Apull%2Cpush".replace(
        "service=",
        &format!("service={}&client_id=test", registry.host().replace(':', "%3A")),
    );
    let password = format!("grant_type=password&username=ann&password=secret&access_type=offline&{scope}");

    let first = post(&registry, &password).json();
    let refresh = first["refresh_token"].as_str().unwrap();
    let second = post(
        &registry,
        &format!("grant_type=refresh_token&refresh_token={refresh}&{scope}"),
    )
    .json();

    assert_eq!(second["refresh_token"], refresh);
    assert_eq!(first["expires_in"], 60);
    assert_eq!(first["scope"], "repository:team/app:pull,push");
    for issued in [&first, &second] {
        let token = format!("Bearer {}", issued["access_token"].as_str().unwrap());
        assert_eq!(with(&registry, PUSH, &token).status, 202);
    }
    for (form, status) in [
        ("grant_type=password&username=ann&password=wrong", 401),
        ("grant_type=password&username=ann", 401),
        ("grant_type=refresh_token&refresh_token=other", 401),
        ("grant_type=other", 400),
        ("", 400),
        (
            "grant_type=password&username=ann&password=secret&service=other",
            400,
        ),
        (
            "grant_type=password&username=ann&password=secret&scope=nothing",
            400,
        ),
    ] {
        assert_eq!(post(&registry, form).status, status, "{form}");
    }
    assert_eq!(post(&registry, &"x".repeat(70_000)).status, 400);
    assert_eq!(without(&registry, "PUT /token").status, 405);
}

#[test]
fn a_token_of_a_get_may_come_with_a_refresh_token() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();

    let plain = with(&registry, "GET /token", ANN).json();
    let offline = with(&registry, "GET /token?offline_token=true", ANN).json();

    assert_eq!(plain["access_token"], plain["token"]);
    assert_eq!(plain.get("refresh_token"), None);
    let refresh = offline["refresh_token"].as_str().unwrap();
    let again = post(
        &registry,
        &format!("grant_type=refresh_token&refresh_token={refresh}"),
    );
    assert_eq!(again.status, 200);
}

#[test]
fn tokens_expire_when_the_test_says_so_or_after_their_lifetime() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();
    let first = token(&registry, "");
    assert_eq!(with(&registry, "GET /v2/", &first).status, 200);

    registry.expire_tokens();

    let expired = with(&registry, "GET /v2/", &first);
    assert_eq!(expired.status, 401);
    assert!(
        expired
            .header("www-authenticate")
            .unwrap()
            .ends_with("\"invalid_token\"")
    );
    assert_eq!(with(&registry, "GET /v2/", &token(&registry, "")).status, 200);

    let brief = TestRegistry::builder()
        .bearer("ann", "secret")
        .token_lifetime(Duration::ZERO)
        .start();
    assert_eq!(with(&brief, "GET /v2/", &token(&brief, "")).status, 401);
    let long = TestRegistry::builder()
        .bearer("ann", "secret")
        .token_lifetime(Duration::MAX)
        .start();
    assert_eq!(with(&long, "GET /v2/", &token(&long, "")).status, 200);
}

#[test]
fn without_bearer_tokens_there_is_no_endpoint() {
    for registry in [
        TestRegistry::start(),
        TestRegistry::builder().basic("ann", "secret").start(),
    ] {
        assert_eq!(with(&registry, "GET /token", ANN).status, 404);
    }
}

#[test]
fn a_registry_that_is_read_only_refuses_every_change_by_clients() {
    let registry = TestRegistry::builder()
        .read_only()
        .seed("team/app:v1", image())
        .start();
    registry.seed("team/app:v2", image());

    assert_eq!(without(&registry, MANIFEST).status, 200);
    let refused = without(&registry, PUSH);
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["code"]),
        (405, &"UNSUPPORTED".into())
    );
    assert_eq!(without(&registry, "DELETE /v2/team/app/manifests/v1").status, 405);
    assert_eq!(registry.tags("team/app"), ["v1", "v2"]);
}
