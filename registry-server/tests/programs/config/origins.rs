//! Links behind proxies, and permissions of other origins.

use std::fs;

use libtest_mimic::Trial;

use super::{Setup, USERS, WITH_A_USER_INTERFACE, with_http};
use crate::http::Response;

pub(super) fn trials() -> Vec<Trial> {
    trials![[];
        locations_follow_host_prefix_and_proxies,
        links_follow_nobody_who_is_not_believed,
        a_preflight_is_answered_and_a_foreign_origin_gets_no_permission,
        a_preflight_needs_no_login,
    ]
}

fn locations_follow_host_prefix_and_proxies() {
    let proxied = [("Host", "registry.example"), ("X-Forwarded-Proto", "https")];
    for (http, target, expected) in [
        ("", "/v2/a/blobs/uploads/", "/v2/a/"),
        (
            "relativeurls: true, prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "/r/v2/a/",
        ),
        (
            "host: 'https://hub.example:8443'",
            "/v2/a/blobs/uploads/",
            "https://hub.example:8443/v2/a/",
        ),
        (
            "host: 'https://hub.example', prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "https://hub.example/r/v2/a/",
        ),
        (
            "relativeurls: false",
            "/v2/a/blobs/uploads/",
            "https://registry.example/v2/a/",
        ),
        (
            "relativeurls: false, prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "https://registry.example/r/v2/a/",
        ),
    ] {
        let setup = with_http(http);
        let server = setup.ours(&[]);
        let answer = server.request("POST", target, &proxied, b"").expect_status(202);
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(expected), "{http}: {location}");
        if let Some(path) = location.strip_prefix("https://registry.example") {
            server.request("GET", path, &proxied, b"").expect_status(204);
        }
    }
}

fn links_follow_nobody_who_is_not_believed() {
    let setup = with_http("relativeurls: false, proxies: {trusted: [203.0.113.7]}");
    let server = setup.ours(&[]);
    for told in [
        ("Forwarded", "proto=https;host=evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    ] {
        let headers = [("Host", "registry.example"), told];
        let answer = server.request("POST", "/v2/a/blobs/uploads/", &headers, b"");
        let location = answer.header("location").unwrap();
        assert!(
            location.starts_with("http://registry.example/v2/a/"),
            "{told:?}: {location}"
        );
    }
    server.terminate();
    let said = server.wait_and_listen();
    let warned = said.lines().filter(|line| line.contains("http.proxies.trusted"));
    assert_eq!(warned.count(), 1, "{said}");
}

fn a_preflight_is_answered_and_a_foreign_origin_gets_no_permission() {
    let server = Setup::new(WITH_A_USER_INTERFACE).ours(&[]);
    let preflight = |origin| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "DELETE")];
        server.request("OPTIONS", "/v2/app/manifests/v1", &headers, b"")
    };
    let answer = preflight("http://hub.example:5001").expect_status(204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://hub.example:5001")
    );
    assert_eq!(
        answer.all("access-control-allow-methods"),
        ["HEAD", "GET", "OPTIONS", "DELETE"]
    );
    assert_eq!(answer.header("access-control-max-age"), Some("1728000"));
    assert_eq!(answer.header("vary"), Some("Origin"));

    for origin in ["http://evil.example", "http://hub.example", "null"] {
        let foreign = preflight(origin);
        assert!(
            permissions(&foreign).is_empty(),
            "{origin}: {:?}",
            permissions(&foreign)
        );
        let request = server
            .request("GET", "/v2/", &[("Origin", origin)], b"")
            .expect_status(200);
        assert!(permissions(&request).is_empty(), "{origin}");
    }
}

/// Returns the `Access-Control-*` lines of an answer.
pub(super) fn permissions(answer: &Response) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = answer
        .lines()
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    lines.sort();
    lines
}

fn a_preflight_needs_no_login() {
    let setup = Setup::new(WITH_A_USER_INTERFACE);
    let users = setup.directory.path().join("registry.password");
    fs::write(&users, USERS).unwrap();
    let users = users.to_str().unwrap();
    let server = setup.ours(&[
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", users),
    ]);
    let origin = ("Origin", "http://hub.example:5001");
    let headers = [origin, ("Access-Control-Request-Method", "DELETE")];
    server
        .request("OPTIONS", "/v2/app/manifests/v1", &headers, b"")
        .expect_status(204);

    let asked = server
        .request("GET", "/v2/_catalog", &[origin], b"")
        .expect_status(401);
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"Registry\""));
    // Or the page could not show that a login is needed.
    assert_eq!(asked.header("access-control-allow-credentials"), Some("true"));
}
