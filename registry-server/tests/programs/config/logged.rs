//! The log, and the client addresses in it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use super::{OURS, Setup, USERS, push, with_http};
use crate::server::Server;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials![[];
        log_lines_have_the_format_that_is_asked_for,
        pushes_and_pulls_are_told_unless_the_access_log_tells_them,
        what_nobody_misses_is_told_without_a_warning,
        what_is_no_request_has_a_line_in_the_access_log,
        the_client_that_a_proxy_tells_is_the_one_in_the_log,
        whoever_may_be_a_proxy_claims_one_address_and_is_told_of,
        only_the_networks_that_may_connect_are_let_in,
    ];
    trials.extend(trials![["fail2ban-regex"];
        fail2ban_finds_failed_logins_and_nothing_else,
    ]);
    trials
}

fn log_lines_have_the_format_that_is_asked_for() {
    for (format, expected) in [
        ("text", "msg=\"listening on http://"),
        ("json", "\"msg\":\"listening on http://"),
        ("logstash", "\"message\":\"listening on http://"),
    ] {
        let setup =
            Setup::new("version: 0.1\nlog: {fields: {service: registry, env: test}}\nstorage: filesystem\n");
        let server = Server::start(
            setup.command(OURS, &[("REGISTRY_LOG_FORMATTER", format)]),
            expected,
        );
        let line = server.announcement();
        assert!(line.contains("service") && line.contains("env"), "{line}");
        if format != "text" {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

fn pushes_and_pulls_are_told_unless_the_access_log_tells_them() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let server = Server::ours_with(&root, &[]);
    let digest = push(&server, "team/app");
    server.says("msg=\"pushed team/app:v1\" client=127.0.0.1");
    server.get("/v2/team/app/manifests/v1");
    server.says("msg=\"pulled team/app:v1\" client=127.0.0.1");
    server.get(&format!("/v2/team/app/manifests/{digest}"));
    server.says(&format!("msg=\"pulled team/app@{digest}\""));
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("GET /v2/"), "{said}");
    assert!(!said.contains("level=warning"), "{said}");

    let server = Server::ours_with(&root, &["--access-log", "--log-level", "warn"]);
    server.get("/v2/team/app/manifests/v1");
    server.says("\"GET /v2/team/app/manifests/v1 HTTP/1.1\" 200 ");
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("level=info"), "{said}");

    let server = Server::ours_with(&root, &["--access-log"]);
    server.get("/v2/team/app/manifests/v1");
    server.says("\"GET /v2/team/app/manifests/v1 HTTP/1.1\" 200 ");
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("pulled team/app"), "{said}");
}

fn what_nobody_misses_is_told_without_a_warning() {
    let setup = with_http("secret: s3cret");
    let server = setup.ours(&[]);
    server.terminate();
    let said = server.wait_and_listen();
    let told = said
        .lines()
        .find(|line| line.contains("http.secret: accepted without effect"));
    assert!(told.is_some_and(|line| line.contains("level=info")), "{said}");
}

fn what_is_no_request_has_a_line_in_the_access_log() {
    let setup = with_http("");
    let server = setup.ours(&[]);
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.write_all(b"hello there\r\n\r\n").unwrap();
    connection.read_to_end(&mut Vec::new()).unwrap();
    server.says("\"hello there\" 400 ");
}

fn the_client_that_a_proxy_tells_is_the_one_in_the_log() {
    let told = [
        ("X-Forwarded-For", "192.0.2.1, 198.51.100.7"),
        ("CF-Connecting-IP", "203.0.113.5"),
        ("User-Agent", "test"),
    ];
    for (variables, expected) in [
        (&[][..], "198.51.100.7"),
        (
            &[("REGISTRY_HTTP_PROXIES_HEADER", "CF-Connecting-IP")],
            "203.0.113.5",
        ),
        (&[("REGISTRY_HTTP_PROXIES_HOPS", "2")], "192.0.2.1"),
        (&[("REGISTRY_HTTP_PROXIES_TRUSTED", "[]")], "127.0.0.1"),
        (&[("REGISTRY_HTTP_PROXIES_TRUSTED", "[10.0.0.0/8]")], "127.0.0.1"),
        (
            &[("REGISTRY_HTTP_PROXIES_TRUSTED", "[127.0.0.0/8, 198.51.100.0/24]")],
            "192.0.2.1",
        ),
    ] {
        let setup = with_http("");
        let server = setup.ours(variables);
        server
            .request("GET", "/v2/_catalog?n=5", &told, b"")
            .expect_status(200);
        server.says(&format!("{expected} - - ["));
        server.says("\"GET /v2/_catalog?n=5 HTTP/1.1\" 200 ");
        server.says(" \"\" \"test\"");
    }
    let setup = with_http("");
    let server = setup.ours(&[("REGISTRY_LOG_ACCESSLOG_DISABLED", "true")]);
    server.get("/v2/");
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("GET"), "{said}");
}

fn whoever_may_be_a_proxy_claims_one_address_and_is_told_of() {
    let setup = with_http("");
    let users = setup.directory.path().join("users");
    fs::write(&users, USERS).unwrap();
    let server = setup.ours(&[("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap())]);
    // `ann:wrong`, as another client each time.
    let login = |told: &str| {
        let headers = [("Authorization", "Basic YW5uOndyb25n"), ("X-Forwarded-For", told)];
        server.request("GET", "/v2/", &headers, b"").status
    };
    // Some are forgiven meanwhile, the more the slower the machine.
    let refused = (0..2500).find(|n| {
        let end = format!("{}.{}", n / 250, n % 250);
        match login(&format!("198.51.100.7, 10.0.{end}")) {
            401 => false,
            status => {
                assert_eq!(status, 429, "{n}");
                true
            }
        }
    });
    let refused = refused.expect("one peer guesses without a limit");
    assert!(refused >= 100, "{refused}");
    server.terminate();

    let said = server.wait_and_listen();
    let failed = said.lines().filter(|line| line.contains("login failed"));
    assert!(
        failed.clone().all(|line| line.contains(" via=127.0.0.1")),
        "{said}"
    );
    assert_eq!(
        failed.filter(|line| line.contains(" client=10.0.")).count(),
        refused,
        "{said}"
    );
    let warned = said.lines().filter(|line| line.contains("http.proxies.trusted"));
    assert_eq!(warned.count(), 1, "{said}");
}

fn only_the_networks_that_may_connect_are_let_in() {
    let setup = with_http("allow: [192.0.2.0/24]");
    let server = setup.ours(&[]);
    // What a proxy would tell does not make anybody another peer.
    for headers in [&[][..], &[("X-Forwarded-For", "192.0.2.1")]] {
        for target in ["/v2/", "/"] {
            let refused = server.request("GET", target, headers, b"");
            assert_eq!(refused.status, 403, "{target}");
            let body = String::from_utf8_lossy(&refused.body);
            assert!(body.contains("`http.allow`"), "{body}");
        }
    }
    let setup = with_http("allow: [192.0.2.0/24, 127.0.0.1]");
    setup.ours(&[]).get("/v2/");
}

fn fail2ban_finds_failed_logins_and_nothing_else() {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("fail2ban/registry.conf");
    for format in ["text", "json"] {
        let setup = with_http("");
        let users = setup.directory.path().join("users");
        fs::write(&users, USERS).unwrap();
        let users = users.to_str().unwrap();
        let server = setup.ours(&[
            ("REGISTRY_AUTH_HTPASSWD_PATH", users),
            ("REGISTRY_LOG_FORMATTER", format),
        ]);
        // `ann:wrong`, and a name that would like to be another address.
        let names = [
            "YW5uOndyb25n",
            "eCIgY2xpZW50PTEuMi4zLjQgbXNnPSJsb2dpbiBmYWlsZWQ6d3Jvbmc=",
        ];
        for (name, address) in names.iter().zip(["198.51.100.7", "2001:db8::9"]) {
            let login = format!("Basic {name}");
            let headers = [("Authorization", login.as_str()), ("X-Forwarded-For", address)];
            server.request("GET", "/v2/", &headers, b"").expect_status(401);
        }
        server.request("GET", "/v2/", &[], b"").expect_status(401);
        server.terminate();
        let log = setup.directory.path().join("log");
        fs::write(&log, server.wait_and_listen()).unwrap();

        let mut command = Command::new("fail2ban-regex");
        command.args(["--out", "ip"]).arg(&log).arg(&filter);
        let output = command.output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        let mut found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            ["198.51.100.7", "2001:db8::9"],
            "{format}: {:?}",
            fs::read_to_string(&log)
        );
    }
}
