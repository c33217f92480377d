//! Notices about what a configuration contains without effect.

use super::{LEAST, load, notices};
use crate::config::{Config, Sources};

#[test]
fn a_file_without_a_version_is_told() {
    let told = |text: &str, variables| {
        let told = notices(text, variables);
        told.iter()
            .any(|notice| notice.starts_with("config.yml:1: `version` is missing, "))
    };
    assert!(told("storage: {filesystem: {rootdirectory: /data}}\n", &[]));
    assert!(told(
        "version:\nstorage: {filesystem: {rootdirectory: /data}}\n",
        &[]
    ));
    assert!(!told(LEAST, &[]));
    assert!(!told("storage: inmemory\n", &[("REGISTRY_VERSION", "0.1")]));
    let config = Config::load(Sources::default()).unwrap();
    assert_eq!(config.notices, []);
}

#[test]
fn a_header_with_underscores_is_told_with_the_one_that_was_meant() {
    let origin = ("REGISTRY_HTTP_HEADERS_ACCESS_CONTROL_ALLOW_ORIGIN", "['*']");
    assert_eq!(
        notices(LEAST, &[origin]),
        [
            "REGISTRY_HTTP_HEADERS_ACCESS_CONTROL_ALLOW_ORIGIN: http.headers.access_control_allow_origin: sent under this name, which clients do not know; did you mean `Access-Control-Allow-Origin`?"
        ]
    );
    let told = notices(
        &format!("{LEAST}http: {{headers: {{X_Content-Type_Options: [nosniff]}}}}\n"),
        &[],
    );
    assert!(
        told[0].starts_with("config.yml:5: http.headers.X_Content-Type_Options: "),
        "{told:?}"
    );
    assert!(
        told[0].ends_with("did you mean `X-Content-Type-Options`?"),
        "{told:?}"
    );
    let dashes = ("REGISTRY_HTTP_HEADERS_Access-Control-Allow-Origin", "['*']");
    assert!(notices(LEAST, &[dashes]).is_empty());
}

#[test]
fn refused_sections_with_nothing_in_them_are_no_problem() {
    let text = format!("{LEAST}proxy:\n  remoteurl: ''\nnotifications:\n  endpoints: []\nmiddleware:\n");
    assert!(notices(&text, &[]).is_empty());
}

#[test]
fn what_nobody_misses_is_no_warning() {
    let text = format!(
        "{LEAST}http: {{secret: s3cret, adr: ':1'}}\nlog: {{hooks: [{{type: mail, disabled: true}}]}}\n"
    );
    let config = load(&text, &[]).unwrap();
    let warnings: Vec<String> = config
        .notices
        .iter()
        .filter(|notice| notice.is_warning)
        .map(|notice| notice.message.clone())
        .collect();
    assert_eq!(config.notices.len(), 3);
    assert_eq!(
        warnings,
        ["http.adr: unknown key, ignored; did you mean `http.addr`?"]
    );
}

#[test]
fn what_is_disabled_is_told_and_passed_over() {
    for (lines, variables, key) in [
        (
            "notifications: {endpoints: [{name: a, url: 'http://a', disabled: true}, {name: b, disabled: true}]}",
            &[][..],
            "config.yml:5: notifications.endpoints",
        ),
        (
            "log: {hooks: [{type: mail, disabled: true, levels: [panic], options: {smtp: {addr: mail}}}]}",
            &[],
            "config.yml:5: log.hooks",
        ),
        (
            "middleware: {storage: [{name: cloudfront, disabled: true}]}",
            &[],
            "config.yml:5: middleware",
        ),
        (
            "notifications: {endpoints: [{name: a, url: 'http://a'}]}",
            &[("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_DISABLED", "true")],
            "config.yml:5: notifications.endpoints",
        ),
    ] {
        let told = notices(&format!("{LEAST}{lines}\n"), variables);
        assert_eq!(told, [format!("{key}: accepted without effect: it is disabled")]);
    }
    for lines in [
        "notifications: {endpoints: [{name: a, disabled: true}, {name: b, url: 'http://b'}]}",
        "notifications: {endpoints: [{name: a, disabled: false, headers: {disabled: true}}]}",
        "log: {hooks: [{type: mail, disabled: 'perhaps'}]}",
        "proxy: {remoteurl: 'https://r', disabled: true}",
    ] {
        let error = load(&format!("{LEAST}{lines}\n"), &[]).unwrap_err();
        assert!(error.contains("not supported: "), "{error}");
    }
}

#[test]
fn unknown_and_needless_keys_are_told_with_their_place() {
    let text = format!(
        "{LEAST}http:\n  adr: :5000\n  secret: s3cret\nredis:\n  addr: redis:6379\nui: {{theme: dark}}\n"
    );
    let told = notices(&text, &[]);
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(
        told[0],
        "config.yml:6: http.adr: unknown key, ignored; did you mean `http.addr`?"
    );
    assert!(told[1].starts_with("config.yml:7: http.secret: accepted without effect: "));
    assert!(
        told[2].starts_with("config.yml:9: redis: accepted without effect: ")
            || told[2].starts_with("config.yml:8: redis: accepted")
    );
    assert_eq!(told[3], "config.yml:10: ui: unknown key, ignored");
    assert!(!told.concat().contains("s3cret"));
}
