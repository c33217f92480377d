//! Environment variables and flags laid over the file.

use super::{LEAST, flow, headers, load, notices, owned, settings};
use crate::config::{Config, Sources, StorageKind, overlay, yaml};
use crate::listen::Listen;
use crate::socket::Socket;
use std::{fs, path::PathBuf, time::Duration};

#[test]
fn the_environment_lays_over_the_file_by_registry_2_s_rules() {
    let file =
        "{storage: {delete: {enabled: true}}, http: {addr: :5000, headers: {X-A: [a], X-B: [b]}}, auth: ~}";
    for (what, variables, expected) in [
        (
            "a key",
            &[("REGISTRY_HTTP_ADDR", ":80")][..],
            "http: {addr: :80, headers: {X-A: [a], X-B: [b]}}",
        ),
        (
            "a key that the file lacks",
            &[("REGISTRY_LOG_LEVEL", "debug")],
            "log: {level: debug}",
        ),
        (
            "a value that is YAML",
            &[("REGISTRY_HTTP_HEADERS_X-C", "[c, 1, true]")],
            "headers: {X-A: [a], X-B: [b], x-c: [c, 1, true]}",
        ),
        (
            "a header that the file has, whatever its case",
            &[("REGISTRY_HTTP_HEADERS_X-a", "['*']")],
            "headers: {X-A: [*], X-B: [b]}",
        ),
        (
            "a header's value as a single one",
            &[("REGISTRY_HTTP_HEADERS_X-B", "deny")],
            "headers: {X-A: [a], X-B: deny}",
        ),
        (
            "an element of a list, and one behind the last",
            &[
                ("REGISTRY_HTTP_HEADERS", "{X-A: [a]}"),
                ("REGISTRY_LOG_FIELDS_my_field", "1"),
            ],
            "log: {fields: {my_field: 1}}",
        ),
        (
            "a driver by name replaces the section",
            &[("REGISTRY_STORAGE", "filesystem")],
            "{storage: {filesystem: ~}",
        ),
        (
            "the general comes before the special",
            &[
                ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/x"),
                ("REGISTRY_STORAGE", "filesystem"),
            ],
            "{storage: {filesystem: {rootdirectory: /x}}",
        ),
        (
            "a section of parameters that the file has",
            &[
                ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
                ("REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS", "30"),
            ],
            "{storage: {delete: {enabled: false}, filesystem: {maxthreads: 30}}",
        ),
        ("a way to log in", &[("REGISTRY_AUTH", "none")], "auth: {none: ~}"),
        (
            "a section that is null",
            &[("REGISTRY_AUTH_NONE_X", "1")],
            "auth: {none: {x: 1}}",
        ),
    ] {
        let mut root = yaml::parse_variable(file, &"".into()).unwrap();
        let overlaid = overlay::overlay(&mut root, owned(variables));
        assert!(
            overlaid.problems.is_empty() && overlaid.notices.is_empty(),
            "{what}: {overlaid:?}"
        );
        assert!(
            flow(&root).contains(expected),
            "{what}: {} has no {expected}",
            flow(&root)
        );
        assert_eq!(overlaid.used.len(), variables.len(), "{what}");
    }
}

#[test]
fn variables_that_mean_nothing_are_told_and_passed_over() {
    for name in [
        // Of Kubernetes beside services called `registry` and `registry-auth`, of the user interface, and of podman.
        "REGISTRY_PORT",
        "REGISTRY_PORT_5000_TCP_ADDR",
        "REGISTRY_SERVICE_HOST",
        "REGISTRY_SERVICE_PORT_HTTPS",
        "REGISTRY_AUTH_SERVICE_HOST",
        "REGISTRY_AUTH_FILE",
        "REGISTRY_AUTH_SERVICE_PORT",
        "REGISTRY_AUTH_PORT",
        "REGISTRY_AUTH_PORT_5001_TCP",
        "REGISTRY_AUTH_PORT_5001_TCP_PROTO",
        "REGISTRY_ACCESS_SERVER_PORT_80_TCP_ADDR",
        "REGISTRY_TITLE",
        "REGISTRY_PATH",
        "REGISTRY_HTTP_ADDR_MORE",
        "REGISTRY_",
    ] {
        let told = notices(LEAST, &[(name, "tcp://10.0.0.1:5000")]);
        assert_eq!(told, [format!("{name}: unknown key, ignored")]);
    }
    for name in [
        "REGISTRY_CONFIGURATION_PATH",
        "registry_http_addr",
        "VIRTUAL_HOST",
        "REGISTRYX",
    ] {
        assert!(notices(LEAST, &[(name, "x")]).is_empty(), "{name}");
    }
}

#[test]
fn a_variable_that_is_almost_a_key_is_told_with_the_key() {
    for (name, meant) in [
        ("REGISTRY_HTTP_ADR", "REGISTRY_HTTP_ADDR"),
        ("REGISTRY_http_addr", "REGISTRY_HTTP_ADDR"),
        ("REGISTRY_HTP_ADDR", "REGISTRY_HTTP_ADDR"),
        (
            "REGISTRY_HEALTH_STORAGEDRIVE_ENABLED",
            "REGISTRY_HEALTH_STORAGEDRIVER_ENABLED",
        ),
    ] {
        let told = notices(LEAST, &[(name, "x")]);
        let expected = format!("{name}: unknown key, ignored; did you mean `{meant}`?");
        assert_eq!(told, [expected]);
    }
}

#[test]
fn elements_of_lists_are_set_by_number() {
    let mut root = yaml::parse_variable("{http: {headers: {x-a: [a, b]}}}", &"".into()).unwrap();
    // Headers are free names, so their elements have none; lists of plain keys do.
    let overlaid = overlay::overlay(&mut root, owned(&[("REGISTRY_HTTP_HEADERS_X-A_0", "c")]));
    assert!(overlaid.problems.is_empty());
    assert!(flow(&root).contains("x-a_0: c"), "{}", flow(&root));
}

#[test]
fn a_number_or_a_switch_in_a_list_is_text_as_it_is_spelled() {
    let text =
        format!("{LEAST}http:\n  headers:\n    X-A: [1728000, true, 007, 1.10, yes]\n    X-B: plain\n");
    assert_eq!(
        headers(&settings(&text, &[])),
        [
            (
                "x-a".to_owned(),
                ["1728000", "true", "007", "1.10", "yes"]
                    .map(String::from)
                    .to_vec()
            ),
            ("x-b".to_owned(), vec!["plain".to_owned()])
        ]
    );
}

#[test]
fn a_driver_may_come_from_the_environment_alone() {
    let file =
        "version: 0.1\nstorage:\n  delete:\n    enabled: true\n  cache:\n    blobdescriptor: inmemory\n";
    let error = load(file, &[]).unwrap_err();
    assert!(
        error.contains("config.yml:2: storage: no storage configuration provided"),
        "{error}"
    );

    let settings = settings(file, &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data")]);
    assert_eq!(
        settings.storage.kind,
        StorageKind::Directory {
            root: PathBuf::from("/data"),
            threads: 100,
            min_free: 0,
            wait: Duration::from_secs(10),
        }
    );
    assert!(settings.storage.deletion);
}

#[test]
fn deletion_is_off_with_a_configuration_and_on_without() {
    assert!(!settings(LEAST, &[]).storage.deletion);
    let without = Config::load(Sources::default()).unwrap().settings;
    assert!(without.storage.deletion);
    assert_eq!(without.http.socket.to_string(), "127.0.0.1:5000");
}

#[test]
fn flags_count_before_the_environment_and_that_before_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yml");
    fs::write(
        &file,
        format!("{LEAST}http: {{addr: ':1', prefix: /a/}}\nlog: {{level: debug}}\n"),
    )
    .unwrap();
    let config = Config::load(
        Sources::new()
            .file(file)
            .variables(owned(&[
                ("REGISTRY_HTTP_ADDR", ":2"),
                ("REGISTRY_HTTP_PREFIX", "/b/"),
            ]))
            .set("http.addr", "--addr", "[::1]:3"),
    )
    .unwrap();
    assert_eq!(
        config.settings.http.socket,
        Socket::Tcp(Listen {
            host: Some("::1".into()),
            port: 3
        })
    );
    assert_eq!(config.settings.http.prefix, "/b");
}
