//! Certificates that appear, change, and break while the server runs.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libtest_mimic::Trial;

use super::{Place, Secured, swap_link};
use crate::http;

pub(super) fn trials() -> Vec<Trial> {
    trials!(["openssl", "curl"];
        a_certificate_that_comes_later_is_waited_for,
        a_renewed_certificate_is_served_and_open_connections_go_on,
        a_swapped_symlink_is_followed,
        a_pair_that_does_not_match_is_kept_out,
    )
}

/// Waits for the log line about a served certificate, which contains its distinguishing name.
fn wait_until_served(server: &Secured, name: &str) {
    let served = format!("serves the certificate for localhost, 127.0.0.1, {name}");
    server.process.wait_for_output(&served).unwrap();
}

fn a_certificate_that_comes_later_is_waited_for() {
    let place = Place::new();
    let server = place.serve_with("tls.crt", "tls.key", &["--debug-addr", "127.0.0.1:0"]);
    place.self_signed("late");
    server
        .process
        .wait_for_output("debug server listening on ")
        .unwrap();
    let log = server.log();
    let debug = log
        .lines()
        .find_map(|line| crate::server::address_after(line, "debug server listening on "))
        .unwrap();
    let refused = server.curl(&place, "late.crt", &[]).unwrap_err();
    assert!(refused.contains("alert"), "{refused}");
    let sick = http::request(debug, "GET", "/debug/health", &[], b"").expect_status(503);
    let sick = String::from_utf8(sick.body).unwrap();
    assert!(sick.contains("tls.crt, which does not exist yet"), "{sick}");

    place.copy("late.crt", "tls.crt");
    place.copy("late.key", "tls.key");

    wait_until_served(&server, "late");
    assert_eq!(server.curl(&place, "late.crt", &[]).unwrap(), "200 HTTP/2");
    http::request(debug, "GET", "/debug/health", &[], b"").expect_status(200);
    let metrics = http::request(debug, "GET", "/metrics", &[], b"").expect_status(200);
    let metrics = String::from_utf8(metrics.body).unwrap();
    let end = metrics
        .lines()
        .find_map(|line| line.strip_prefix("registry_tls_certificate_expiration_timestamp_seconds "))
        .unwrap_or_else(|| panic!("{metrics}"));
    let end = UNIX_EPOCH + Duration::from_secs(end.parse().unwrap());
    let left = end.duration_since(SystemTime::now()).unwrap();
    assert!((29..=30).contains(&(left.as_secs() / 86_400)), "{left:?}");
}

fn a_renewed_certificate_is_served_and_open_connections_go_on() {
    let place = Place::new();
    for name in ["old", "new"] {
        place.self_signed(name);
    }
    place.copy("old.crt", "tls.crt");
    place.copy("old.key", "tls.key");
    let server = place.serve();
    let mut open = place.bench.command("openssl");
    open.args(["s_client", "-quiet", "-connect", &server.address.to_string()]);
    let mut open = open
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut send = open.stdin.take().unwrap();
    let mut answers = BufReader::new(open.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut ask = || {
        send.write_all(b"HEAD /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        answers.find(|line| line.starts_with("HTTP/1.1 "))
    };
    assert_eq!(ask().unwrap(), "HTTP/1.1 200 OK");

    place.copy("new.crt", "tls.crt");
    place.copy("new.key", "tls.key");

    wait_until_served(&server, "new");
    assert_eq!(server.curl(&place, "new.crt", &[]).unwrap(), "200 HTTP/2");
    assert!(server.curl(&place, "old.crt", &[]).is_err());
    assert_eq!(ask().unwrap(), "HTTP/1.1 200 OK");
    open.kill().unwrap();
    open.wait().unwrap();
}

/// Follows `live/` of certbot and `..data` of Kubernetes: none of the configured files itself changes.
fn a_swapped_symlink_is_followed() {
    let place = Place::new();
    for name in ["first", "second"] {
        place.self_signed(name);
        fs::create_dir(place.path(&format!("{name}.d"))).unwrap();
        place.copy(&format!("{name}.crt"), &format!("{name}.d/tls.crt"));
        place.copy(&format!("{name}.key"), &format!("{name}.d/tls.key"));
    }
    swap_link("first.d", &place.path("live"));
    let server = place.serve_with("live/tls.crt", "live/tls.key", &[]);
    assert_eq!(server.curl(&place, "first.crt", &[]).unwrap(), "200 HTTP/2");

    swap_link("second.d", &place.path("live"));

    wait_until_served(&server, "second");
    assert_eq!(server.curl(&place, "second.crt", &[]).unwrap(), "200 HTTP/2");
}

fn a_pair_that_does_not_match_is_kept_out() {
    let place = Place::new();
    for name in ["old", "new"] {
        place.self_signed(name);
    }
    place.copy("old.crt", "tls.crt");
    place.copy("old.key", "tls.key");
    let server = place.serve();

    place.copy("new.crt", "tls.crt");
    server.process.wait_for_output("does not belong").unwrap();
    assert_eq!(server.curl(&place, "old.crt", &[]).unwrap(), "200 HTTP/2");

    place.copy("new.key", "tls.key");
    wait_until_served(&server, "new");
    assert_eq!(
        server.log().matches("does not belong").count(),
        1,
        "{}",
        server.log()
    );
}
