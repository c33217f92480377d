//! Problems that end the start, with their place.

use super::{LEAST, load};
use crate::config::{Config, Sources, keys::keys, problem::ConfigError};
use std::fs;

#[test]
fn what_a_value_may_be_is_told() {
    for (lines, key, expected) in [
        (
            "validation: {manifests: {sizes: some}}",
            "validation.manifests.sizes",
            "`some`: must be `exact` or `any`",
        ),
        (
            "catalog: {maxentries: 0}",
            "catalog.maxentries",
            "`0`: must be at least 1",
        ),
    ] {
        let error = load(&format!("{LEAST}{lines}\n"), &[]).unwrap_err();
        assert!(
            error.contains(&format!(": {key}: {expected}")),
            "{lines}: {error}"
        );
    }
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text = "version: 0.2\nlog:\n  level: loud\nstorage:\n  swift: {container: b}\n  filesystem: {rootdirectory: [a]}\nhttp:\n  addr: 5000\n  host: example.com\n  headers:\n    'a b': [x]\nauth:\n  token: {realm: x}\n";
    let error = load(
        text,
        &[("REGISTRY_HTTP_DRAINTIMEOUT", "8"), ("REGISTRY_HTTP_PREFIX", "{")],
    )
    .unwrap_err();
    for expected in [
        "config.yml:1: version: `0.2`: unsupported version",
        "config.yml:3: log.level: `loud`: must be `error`, ",
        "config.yml:5: storage.swift: not supported: Swift is not planned",
        "config.yml:6: storage.filesystem.rootdirectory: must be a single value, but is a list",
        "config.yml:4: storage: exactly one of these must be set: swift, filesystem",
        "config.yml:8: http.addr: `5000`: must be an address",
        "config.yml:9: http.host: `example.com`: must be a URL",
        "config.yml:11: http.headers.a b: not a valid header name",
        "config.yml:13: auth.token: not supported: token services are not implemented yet",
        "REGISTRY_HTTP_PREFIX: http.prefix: this is not YAML",
    ] {
        assert!(
            error
                .lines()
                .any(|line| line.starts_with(&format!("configuration error: {expected}"))),
            "{expected:?} is missing in\n{error}"
        );
    }
    assert_eq!(error.lines().count(), 10, "{error}");
}

#[test]
fn a_limit_that_would_serve_nobody_is_refused() {
    let limits: Vec<&str> = keys()
        .map(|key| key.path)
        .filter(|path| path.starts_with("limits."))
        .collect();
    assert!(limits.contains(&"limits.connections"));
    for path in limits {
        let name = path.strip_prefix("limits.").unwrap();
        let with = |value: &str| load(&format!("{LEAST}limits: {{{name}: {value}}}\n"), &[]);
        let error = with("0").unwrap_err();
        let expected = format!("config.yml:5: {path}: `0`: must be at least 1");
        assert!(error.contains(&expected), "{error}");
        assert!(with("1").is_ok(), "{path}");
    }
}

#[test]
fn a_file_that_is_none_is_refused_with_its_line() {
    for (text, expected) in [
        ("", "config.yml:1: this is not a configuration"),
        ("just text", "config.yml:1: this is not a configuration"),
        ("version: 0.1\nhttp: [\n", "config.yml:"),
        (
            "http: {addr: ':1'}\nlog: x\nstorage: inmemory\n",
            "config.yml:2: log: must be a section, but is a single value",
        ),
    ] {
        let error = load(text, &[]).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let missing = Config::load(Sources::new().file("/nowhere/config.yml"));
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}

#[test]
fn a_file_in_another_encoding_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let load = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let loaded = Config::load(Sources::new().file(file.clone()));
        loaded.map(|config| config.notices)
    };
    let units = || LEAST.encode_utf16();
    for bytes in [
        units().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        units().flat_map(u16::to_be_bytes).collect(),
        [0xff, 0xfe]
            .into_iter()
            .chain(units().flat_map(u16::to_le_bytes))
            .collect(),
        [0xfe, 0xff]
            .into_iter()
            .chain(units().flat_map(u16::to_be_bytes))
            .collect(),
    ] {
        let error = load(&bytes).unwrap_err().to_string();
        assert!(
            error.ends_with("config.yml:1: this file is UTF-16: save it as UTF-8"),
            "{error}"
        );
    }
    let error = load(b"version: 0.1\n# caf\xe9\n").unwrap_err().to_string();
    assert!(
        error.ends_with("config.yml:2: this file is not UTF-8: save it as UTF-8"),
        "{error}"
    );
    assert_eq!(load(format!("\u{feff}{LEAST}").as_bytes()).unwrap(), []);
}
