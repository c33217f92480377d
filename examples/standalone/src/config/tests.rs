//! The configuration as a whole: files and environments as people have them, and what comes out.

use super::{
    Config, ConfigError, Location, Settings, Sources, StorageKind,
    keys::{KEYS, Role},
    overlay,
    reader::Reader,
    render,
    value::{Content, Origin, Value},
    yaml,
};
use crate::{health::Probe, listen::Listen, socket::Socket};
use std::{fs, path::PathBuf, time::Duration};

/// The least that works.
const LEAST: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n";

/// A configuration from a file `config.yml` with this text, and an environment.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    fs::write(&file, text).unwrap();
    let loaded = Config::load(Sources {
        file: Some(file.clone()),
        variables: owned(variables),
        flags: Vec::new(),
    });
    let place = file.display().to_string();
    loaded.map_err(|error| error.to_string().replace(&place, "config.yml"))
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn settings(text: &str, variables: &[(&str, &str)]) -> Settings {
    load(text, variables).unwrap().settings
}

/// Returns the notices about a configuration, without the directory of the file.
fn notices(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let config = load(text, variables).unwrap();
    let place = config.file.as_ref().unwrap().display().to_string();
    config
        .notices
        .iter()
        .map(|notice| notice.to_string().replace(&place, "config.yml"))
        .collect()
}

fn headers(settings: &Settings) -> Vec<(String, Vec<String>)> {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    settings
        .http
        .headers
        .0
        .iter()
        .map(|(name, values)| (name.to_string(), values.iter().map(text).collect()))
        .collect()
}

/// The tree as one line of flow style, keys sorted by nothing.
fn flow(value: &Value) -> String {
    match &value.content {
        Content::Null => "~".into(),
        Content::Scalar(text) => text.clone(),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

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
        assert_eq!(told, [format!("{name}: there is no such key; ignored")]);
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
        let expected = format!("{name}: there is no such key; ignored, did you mean `{meant}`?");
        assert_eq!(told, [expected]);
    }
}

#[test]
fn no_server_protects_less_than_somebody_wrote() {
    for (lines, key, meant) in [
        ("Auth: {htpasswd: {path: /users}}", "Auth", "auth"),
        (
            "authentication: {htpasswd: {path: /users}}",
            "authentication",
            "auth",
        ),
        ("auht: htpasswd", "auht", "auth"),
        ("axcess: {rules: /rules}", "axcess", "access"),
        ("access: {rule: /rules}", "access.rule", "access.rules"),
        ("http: {tsl: {certificate: /c}}", "http.tsl", "http.tls"),
        ("http: {tls: {cert: /c}}", "http.tls.cert", "http.tls.certificate"),
        ("http: {tls: {keyfile: /k}}", "http.tls.keyfile", "http.tls.key"),
        (
            "http: {tls: {clientca: /k}}",
            "http.tls.clientca",
            "http.tls.clientcas",
        ),
        ("http: {allov: [10.0.0.0/8]}", "http.allov", "http.allow"),
        ("hthp: {allov: [10.0.0.0/8]}", "hthp", "http"),
        ("HTTP: {tls: {key: /k}}", "HTTP", "http"),
        ("tls: {key: /k}", "tls", "http.tls"),
        ("htpasswd: {path: /users}", "htpasswd", "auth.htpasswd"),
        ("auth: {htpaswd: {path: /users}}", "auth.htpaswd", "auth.htpasswd"),
        (
            "auth: {htpasswd: {pth: /users}}",
            "auth.htpasswd.pth",
            "auth.htpasswd.path",
        ),
    ] {
        let error = load(&format!("{LEAST}{lines}\n"), &[]).unwrap_err();
        let line = error
            .lines()
            .find(|line| line.contains(": there is no such "))
            .unwrap();
        assert!(
            line.starts_with(&format!("configuration error: config.yml:5: {key}: ")),
            "{line}"
        );
        assert!(line.ends_with(&format!(", did you mean `{meant}`?")), "{line}");
    }
    let read_only = "storage: {filesystem: , maintenance: {read-only: {enabled: true}}}\nversion: 0.1\n";
    let error = load(read_only, &[]).unwrap_err();
    assert!(
        error.contains("did you mean `storage.maintenance.readonly`?"),
        "{error}"
    );

    for (name, meant) in [
        ("REGISTRY_auth_HTPASSWD_PATH", "AUTH_HTPASSWD_PATH"),
        ("REGISTRY_AUTHENTICATION_HTPASSWD_PATH", "AUTH_HTPASSWD_PATH"),
        ("REGISTRY_AUTH_HTPASWD_PATH", "AUTH_HTPASSWD_PATH"),
        ("REGISTRY_AXCESS_RULES", "ACCESS_RULES"),
        ("REGISTRY_HTTP_TLS_KEY_FILE", "HTTP_TLS_KEY"),
        ("REGISTRY_HTTP_TLS_CLIENT_CAS", "HTTP_TLS_CLIENTCAS"),
        ("REGISTRY_HTTP_TSL_KEY", "HTTP_TLS_KEY"),
        ("REGISTRY_HTTP_ALLOV", "HTTP_ALLOW"),
        (
            "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLE",
            "STORAGE_MAINTENANCE_READONLY_ENABLED",
        ),
    ] {
        let error = load(LEAST, &[(name, "x")]).unwrap_err();
        assert!(
            error.starts_with(&format!("configuration error: {name}: there is no such ")),
            "{error}"
        );
        assert!(
            error.ends_with(&format!(", did you mean `REGISTRY_{meant}`?")),
            "{error}"
        );
    }
}

#[test]
fn a_duration_whose_unit_was_forgotten_is_told() {
    let with = |value: &str| notices(&format!("{LEAST}http: {{draintimeout: {value}}}\n"), &[]);
    let expected = "config.yml:5: http.draintimeout: `30` is that many nanoseconds, as it is without a unit; others are \
                    `s`, `m` and `h`";
    assert_eq!(with("30"), [expected]);
    for meant in ["0", "30s", "30000000000"] {
        assert!(with(meant).is_empty(), "{meant}");
    }
}

#[test]
fn where_nothing_is_ignored_what_there_is_is_told() {
    let error = load(
        &format!("{LEAST}auth: {{htpasswd: {{file: /users, path: /users}}}}\n"),
        &[],
    )
    .unwrap_err();
    let expected = "config.yml:5: auth.htpasswd.file: there is no such key, and the server does not start without what it \
                    may protect; what there is: `auth.htpasswd.path`, `auth.htpasswd.realm`, `auth.htpasswd.autocreate`";
    assert!(error.ends_with(expected), "{error}");
    let error = load(LEAST, &[("REGISTRY_AUTH_USERS", "/users")]).unwrap_err();
    let expected = "REGISTRY_AUTH_USERS: there is no such way to log in; what there is: `REGISTRY_AUTH_NONE`, \
                    `REGISTRY_AUTH_HTPASSWD`";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn what_looks_like_nothing_that_protects_is_told_and_passed_over() {
    for lines in [
        "ui: {theme: dark}",
        "path: /x",
        "title: mine",
        "accesslog: {disabled: true}",
        "http: {port: 80, cors: '*', adr: ':1'}",
        "storage2: {tls: {x: 1}}",
        "hthp: {adr: ':1'}",
        "x-shared: {auth: {htpasswd: {path: /users}}}",
    ] {
        assert!(!notices(&format!("{LEAST}{lines}\n"), &[]).is_empty(), "{lines}");
    }
}

#[test]
fn nothing_is_kept_in_another_place_than_somebody_wrote() {
    let with = |storage: &str, variables| load(&format!("version: 0.1\nstorage: {storage}\n"), variables);
    let none: &[(&str, &str)] = &[];
    for (storage, variables, expected) in [
        (
            "{floppy: {drive: a}}",
            none,
            "config.yml:2: storage.floppy: there is no such storage; what there is: `storage.filesystem`, ",
        ),
        (
            "floppy",
            none,
            "config.yml:2: storage.floppy: there is no such storage; ",
        ),
        (
            "{filesytem: {rootdirectory: /data}}",
            none,
            "storage.filesytem: there is no such storage, did you mean `storage.filesystem`?",
        ),
        (
            "{Filesystem: {rootdirectory: /data}}",
            none,
            "storage.Filesystem: there is no such storage, did you mean `storage.filesystem`?",
        ),
        (
            "{filesystem: {rootdirectory: /data}, delet: {enabled: true}}",
            none,
            "storage.delet: there is no such storage, did you mean `storage.delete`?",
        ),
        (
            "{filesystem: {rootdir: /data}}",
            none,
            "storage.filesystem.rootdir: there is no such key, and the server does not start, as images may be meant to \
             be kept elsewhere, did you mean `storage.filesystem.rootdirectory`?",
        ),
        (
            "{filesystem: {path: /data}}",
            none,
            "storage.filesystem.path: there is no such key, and the server does not start, as images may be meant to be \
             kept elsewhere; what there is: `storage.filesystem.rootdirectory`, ",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE", "floppy")],
            "REGISTRY_STORAGE: storage.floppy: there is no such storage",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE_FLOPPY_DRIVE", "a")],
            "REGISTRY_STORAGE_FLOPPY_DRIVE: there is no such storage; what there is: `REGISTRY_STORAGE_FILESYSTEM`, ",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE_FILESYTEM_ROOTDIRECTORY", "/data")],
            "there is no such storage, did you mean `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`?",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE_FILESYSTEM_ROOT_DIR", "/data")],
            "did you mean `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`?",
        ),
    ] {
        let error = with(storage, variables).unwrap_err();
        assert!(error.contains(expected), "{storage}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    // What Kubernetes sets for a service called `registry-storage`.
    let service = [
        ("REGISTRY_STORAGE_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_STORAGE_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
    ];
    assert!(with("{filesystem: {rootdirectory: /data}}", &service).is_ok());
}

#[test]
fn what_protects_and_cannot_take_effect_is_refused() {
    let none: &[(&str, &str)] = &[];
    let without_https = "without HTTPS this protects nothing";
    for (lines, variables, key, expected) in [
        (
            "http: {tls: {clientcas: [/ca]}}",
            none,
            "http.tls.clientcas",
            without_https,
        ),
        (
            "http: {tls: {minimumtls: tls1.3}}",
            none,
            "http.tls.minimumtls",
            without_https,
        ),
        (
            "http: {tls: {ciphersuites: [TLS_AES_256_GCM_SHA384]}}",
            none,
            "http.tls.ciphersuites",
            without_https,
        ),
        (
            "http: {tls: {clientauth: verify-client-cert-if-given}}",
            none,
            "http.tls.clientauth",
            without_https,
        ),
        (
            "http: {tls: {certificate: '', key: '', clientcas: [/ca]}}",
            none,
            "http.tls.clientcas",
            without_https,
        ),
        (
            "http: {addr: ':1'}",
            &[("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/ca")],
            "http.tls.clientcas",
            without_https,
        ),
        (
            "http: {tls: {certificate: /c, key: /k, clientauth: require-and-verify-client-cert}}",
            none,
            "http.tls.clientauth",
            "without `http.tls.clientcas`",
        ),
        (
            "http: {tls: {certificate: /c, key: /k, clientcas: ['']}}",
            none,
            "http.tls.clientcas",
            "an item of the list is empty",
        ),
        (
            "http: {tls: {certificate: /c, key: /k, ciphersuites: ['']}}",
            none,
            "http.tls.ciphersuites",
            "an item of the list is empty",
        ),
        (
            "http: {tls: {letsencrypt: {directoryurl: 'https://ca.example/'}}}",
            none,
            "http.tls.letsencrypt",
            "`cachefile` is missing",
        ),
        ("access: {rules: }", none, "access.rules", "it is empty"),
        ("access: {rules: ''}", none, "access.rules", "it is empty"),
        ("http: {allow: }", none, "http.allow", "it is empty"),
        (
            "http: {proxies: {trusted: }}",
            none,
            "http.proxies.trusted",
            "it is empty",
        ),
        ("http: {maxblobsize: }", none, "http.maxblobsize", "it is empty"),
        (
            "log: {level: info}",
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "")],
            "storage.maintenance.readonly.enabled",
            "it is empty",
        ),
        (
            "log: {level: info}",
            &[("REGISTRY_ACCESS_RULES", "")],
            "access.rules",
            "it is empty",
        ),
    ] {
        let error = load(&format!("{LEAST}{lines}\n"), variables).unwrap_err();
        assert!(
            error.contains(&format!(": {key}: {expected}")),
            "{lines}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for flag in ["--htpasswd", "--access", "--tls-cert"] {
        let config = Config::load(Sources {
            flags: vec![("log.level", flag, String::new())],
            ..Sources::default()
        });
        assert_eq!(
            config.unwrap_err().to_string(),
            format!("configuration error: {flag}: log.level: it is empty")
        );
    }
}

#[test]
fn nobody_is_somebody_in_a_list_that_protects() {
    let settings = settings(
        &format!("{LEAST}http: {{allow: [], proxies: {{trusted: []}}}}\n"),
        &[],
    );
    assert_eq!(settings.http.admission.allowed, Some(Vec::new()));
}

#[test]
fn certificates_that_are_set_to_nothing_are_told() {
    let told = notices(
        LEAST,
        &[
            ("REGISTRY_HTTP_TLS_CERTIFICATE", ""),
            ("REGISTRY_HTTP_TLS_KEY", "''"),
        ],
    );
    assert_eq!(
        told,
        [
            "REGISTRY_HTTP_TLS_CERTIFICATE: http.tls.certificate: it is empty, and counts as not given",
            "REGISTRY_HTTP_TLS_KEY: http.tls.key: it is empty, and counts as not given",
        ]
    );
}

#[test]
fn a_file_without_a_version_is_told() {
    let told = |text: &str, variables| {
        let told = notices(text, variables);
        told.iter()
            .any(|notice| notice.starts_with("config.yml:1: there is no `version`, "))
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
fn elements_of_lists_are_set_by_number() {
    let mut root = yaml::parse_variable("{http: {headers: {x-a: [a, b]}}}", &"".into()).unwrap();
    // Headers are free names, so their elements have none; lists of plain keys do.
    let overlaid = overlay::overlay(&mut root, owned(&[("REGISTRY_HTTP_HEADERS_X-A_0", "c")]));
    assert!(overlaid.problems.is_empty());
    assert!(flow(&root).contains("x-a_0: c"), "{}", flow(&root));
}

#[test]
fn a_header_with_underscores_is_told_with_the_one_that_was_meant() {
    let origin = ("REGISTRY_HTTP_HEADERS_ACCESS_CONTROL_ALLOW_ORIGIN", "['*']");
    assert_eq!(
        notices(LEAST, &[origin]),
        [
            "REGISTRY_HTTP_HEADERS_ACCESS_CONTROL_ALLOW_ORIGIN: http.headers.access_control_allow_origin: sent by this \
             name, which nobody looks for; did you mean `Access-Control-Allow-Origin`?"
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
    let config = Config::load(Sources {
        file: Some(file),
        variables: owned(&[("REGISTRY_HTTP_ADDR", ":2"), ("REGISTRY_HTTP_PREFIX", "/b/")]),
        flags: vec![("http.addr", "--addr", "[::1]:3".into())],
    })
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

#[test]
fn every_problem_is_told_with_its_place() {
    let text = "version: 0.2\nlog:\n  level: loud\nstorage:\n  s3: {bucket: b}\n  filesystem: {rootdirectory: [a]}\nhttp:\n  addr: 5000\n  host: example.com\n  headers:\n    'a b': [x]\nauth:\n  token: {realm: x}\n";
    let error = load(
        text,
        &[("REGISTRY_HTTP_DRAINTIMEOUT", "8"), ("REGISTRY_HTTP_PREFIX", "{")],
    )
    .unwrap_err();
    for expected in [
        "config.yml:1: version: `0.2`: unsupported version",
        "config.yml:3: log.level: `loud`: it is none of",
        "config.yml:5: storage.s3: this is not done here: object storage comes later",
        "config.yml:6: storage.filesystem.rootdirectory: it is a list",
        "config.yml:4: storage: there has to be exactly one of s3, filesystem",
        "config.yml:8: http.addr: `5000`: it is not an address",
        "config.yml:9: http.host: `example.com`: it is not a URL",
        "config.yml:11: http.headers.a b: this is no name of a header",
        "config.yml:13: auth.token: this is not done here: token services come later",
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
fn checks_are_read_as_registry_2_has_them() {
    let text = format!(
        "{LEAST}http: {{debug: {{addr: ':5001'}}}}\nhealth:\n  file:\n    - file: /tmp/away\n      interval: 3s\n  http:\n    \
         - uri: http://db.example:8080/ping?a=b\n      statuscode: 204\n      timeout: 5s\n      threshold: 3\n      headers:\n        \
         X-A: [b, 1]\n  tcp:\n    - addr: :6379\n"
    );
    let checks = settings(&text, &[]).checks;
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["/tmp/away", "http://db.example:8080/ping?a=b", ":6379"]);
    let times: Vec<_> = checks
        .iter()
        .map(|check| {
            (
                check.interval.as_secs(),
                check.threshold,
                check.timeout.map(|timeout| timeout.as_secs()),
            )
        })
        .collect();
    assert_eq!(times, [(3, 1, None), (10, 3, Some(5)), (10, 1, None)]);
    let here = Probe::Tcp("127.0.0.1".into(), 6379);
    assert_eq!(checks.last().unwrap().probe, here);
    assert_eq!(notices(&text, &[]), [""; 0]);
}

#[test]
fn a_check_that_cannot_be_made_is_a_problem_with_its_place() {
    let error = load(
        &format!("{LEAST}health:\n  file: [/tmp/away]\n  http:\n    - {{statuscode: 99}}\n  tcp:\n    - addr: '6379'\n"),
        &[],
    )
    .unwrap_err();
    for expected in [
        "config.yml:6: health.file[0]: it is a single value, and has to be a section",
        "config.yml:8: health.http[0].statuscode: `99`: it is no status",
        "config.yml:8: health.http[0].uri: it is missing",
        "config.yml:10: health.tcp[0].addr: `6379`: it is not an address",
    ] {
        assert!(error.contains(expected), "{expected}\n{error}");
    }
    assert_eq!(
        notices(
            &format!("{LEAST}health: {{file: [{{file: /a, every: 1s}}]}}\n"),
            &[]
        ),
        [
            "config.yml:5: health.file[0].every: there is no such key; ignored",
            "config.yml:5: health: what it checks is told by the debug listener, and without `http.debug.addr` to nobody",
        ]
    );
}

#[test]
fn what_a_check_logs_in_with_is_not_shown() {
    let with_http = |http: &str| load(&format!("{LEAST}health: {{http: [{{{http}}}]}}\n"), &[]);
    let config = with_http("uri: http://a/, headers: {Authorization: [Basic c2VjcmV0]}").unwrap();
    let shown = render(&config);
    assert!(
        shown.contains("http://a/") && !shown.contains("c2VjcmV0"),
        "{shown}"
    );
    for http in [
        "uri: 'http://ann:secret@a/'",
        "uri: http://a/, headers: {'a b': [secret]}",
    ] {
        let error = with_http(http).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_unix_socket_has_a_path_and_no_tls() {
    let with_http = |http: &str| load(&format!("{LEAST}http: {{{http}}}\n"), &[]);
    let settings = with_http("net: unix, addr: /run/registry.sock").unwrap();
    assert_eq!(
        settings.settings.http.socket,
        Socket::Unix("/run/registry.sock".into())
    );
    for (http, expected) in [
        (
            "net: unix, addr: ':5000'",
            "http.addr: `:5000`: with `http.net: unix` it is a path",
        ),
        (
            "net: unix",
            "http: with `net: unix`, `addr` is the path of a socket",
        ),
        (
            "addr: /run/registry.sock",
            "http.addr: `/run/registry.sock`: a path needs `http.net: unix`",
        ),
        ("net: udp", "http.net: `udp`: it is neither `tcp` nor `unix`"),
        (
            "net: unix, addr: /run/registry.sock, tls: {certificate: /c, key: /k}",
            "http.tls: over a Unix socket",
        ),
    ] {
        let error = with_http(http).unwrap_err();
        assert!(error.contains(expected), "{http}: {error}");
    }
}

#[test]
fn a_login_that_is_misspelled_is_refused_and_not_left_out() {
    let error = load(&format!("{LEAST}auth:\n  htpaswd:\n    path: /x\n"), &[]).unwrap_err();
    assert!(
        error.contains("config.yml:6: auth.htpaswd: there is no such way to log in"),
        "{error}"
    );
    let error = load(LEAST, &[("REGISTRY_AUTH", "ldap")]).unwrap_err();
    assert!(
        error.contains("REGISTRY_AUTH: auth.ldap: there is no such way to log in"),
        "{error}"
    );
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
        ["http.adr: there is no such key; ignored, did you mean `http.addr`?"]
    );
}

#[test]
fn nobody_has_to_log_in_only_where_that_was_said() {
    assert!(!settings(LEAST, &[]).open_on_purpose);
    assert!(settings(LEAST, &[("REGISTRY_AUTH", "none")]).open_on_purpose);
    assert!(settings(&format!("{LEAST}auth: none\n"), &[]).open_on_purpose);
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
        assert!(error.contains("this is not done here: "), "{error}");
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
        "config.yml:6: http.adr: there is no such key; ignored, did you mean `http.addr`?"
    );
    assert!(told[1].starts_with("config.yml:7: http.secret: accepted without effect: "));
    assert!(
        told[2].starts_with("config.yml:9: redis: accepted without effect: ")
            || told[2].starts_with("config.yml:8: redis: accepted")
    );
    assert_eq!(told[3], "config.yml:10: ui: there is no such key; ignored");
    assert!(!told.concat().contains("s3cret"));
}

#[test]
fn a_limit_that_would_serve_nobody_is_refused() {
    let limits: Vec<&str> = KEYS
        .iter()
        .map(|key| key.path)
        .filter(|path| path.starts_with("limits."))
        .collect();
    assert!(limits.contains(&"limits.connections"));
    for path in limits {
        let name = path.strip_prefix("limits.").unwrap();
        let with = |value: &str| load(&format!("{LEAST}limits: {{{name}: {value}}}\n"), &[]);
        let error = with("0").unwrap_err();
        let expected = format!("config.yml:5: {path}: `0`: it is 1 at least");
        assert!(error.contains(&expected), "{error}");
        assert!(with("1").is_ok(), "{path}");
    }
}

#[test]
fn a_file_that_is_none_is_refused_with_its_line() {
    for (text, expected) in [
        ("", "config.yml:1: this is no configuration"),
        ("just text", "config.yml:1: this is no configuration"),
        ("version: 0.1\nhttp: [\n", "config.yml:"),
        (
            "http: {addr: ':1'}\nlog: x\nstorage: inmemory\n",
            "config.yml:2: log: it is a single value, and has to be a section",
        ),
    ] {
        let error = load(text, &[]).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let missing = Config::load(Sources {
        file: Some("/nowhere/config.yml".into()),
        ..Sources::default()
    });
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}

#[test]
fn a_file_in_another_encoding_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let load = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let loaded = Config::load(Sources {
            file: Some(file.clone()),
            ..Sources::default()
        });
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

#[test]
fn links_are_relative_unless_told_otherwise() {
    let location = |http: &str| settings(&format!("{LEAST}http: {{{http}}}\n"), &[]).http.location;
    assert_eq!(location(""), Location::Relative);
    assert_eq!(location("relativeurls: yes"), Location::Relative);
    assert_eq!(location("relativeurls: false"), Location::FromRequest);
    assert_eq!(
        location("host: 'https://r.example:8443/path', relativeurls: true"),
        Location::Absolute("https://r.example:8443".into())
    );
}

#[test]
fn the_drain_is_shorter_than_docker_s_patience() {
    assert_eq!(settings(LEAST, &[]).timeouts.drain, Duration::from_secs(8));
    let variables = [("REGISTRY_HTTP_DRAINTIMEOUT", "1m30s")];
    assert_eq!(
        settings(LEAST, &variables).timeouts.drain,
        Duration::from_secs(90)
    );
}

#[test]
fn what_check_prints_is_a_configuration_that_means_the_same() {
    let text = format!(
        "{LEAST}log:\n  level: warn\n  fields: {{service: 'a b', n: 1}}\nhttp:\n  addr: '[::1]:5000'\n  prefix: /r/\n  headers:\n    X-A: [a, 'b # c', '']\n    X-B: [1728000]\n"
    );
    let config = load(&text, &[("REGISTRY_STORAGE_DELETE_ENABLED", "yes")]).unwrap();
    let printed = render(&config);
    let again = load(&printed, &[]).unwrap();
    assert_eq!(again.settings, config.settings, "{printed}");
    assert!(again.notices.is_empty());
}

#[test]
fn what_check_prints_asks_no_client_for_a_certificate_that_nothing_verifies() {
    let printed = |tls: &str| {
        let text = format!("{LEAST}http: {{tls: {{certificate: /c, key: /k{tls}}}}}\n");
        render(&load(&text, &[]).unwrap())
    };
    assert!(!printed("").contains("clientauth"));
    assert!(printed(", clientcas: [/ca]").contains("clientauth: require-and-verify-client-cert"));
    assert!(
        printed(", clientcas: [/ca], clientauth: verify-client-cert-if-given").contains("clientauth: verify")
    );
}

#[test]
fn what_check_prints_says_where_each_value_comes_from() {
    let text = format!("{LEAST}http:\n  addr: :5000\n  headers:\n    X-A: [a]\n");
    let config = load(&text, &[("REGISTRY_LOG_LEVEL", "debug")]).unwrap();
    let place = config.file.as_ref().unwrap().display().to_string();
    let printed = render(&config).replace(&place, "config.yml");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/check.golden.yml");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(golden, &printed).unwrap();
    }
    assert_eq!(
        printed,
        fs::read_to_string(golden).unwrap(),
        "UPDATE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_table_lists_what_is_read_and_nothing_else() {
    let root = yaml::parse_variable("{storage: inmemory}", &"".into()).unwrap();
    let reader = Reader::new(&root);
    Settings::from_reader(&reader, &mut Vec::new());
    let mut read = reader.keys_read();
    read.sort_unstable();
    read.dedup();
    let mut honoured: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.role == Role::Honoured)
        .map(|key| key.path)
        .collect();
    honoured.sort_unstable();
    assert_eq!(read, honoured);
}

#[test]
fn origins_are_shown_as_people_name_them() {
    let file = Origin::File {
        path: PathBuf::from("a/config.yml").into(),
        line: 7,
    };
    let origins = [
        file,
        Origin::Variable("REGISTRY_X".into()),
        Origin::Flag("--addr"),
        Origin::Default,
    ];
    assert_eq!(
        origins.map(|origin| origin.to_string()),
        ["a/config.yml:7", "REGISTRY_X", "--addr", "default"]
    );
}

#[test]
fn nobody_fills_a_repository_alone_unless_it_is_said() {
    for (limits, of_user) in [
        ("", 2_500),
        ("limits: {repositoryuploads: 10}\n", 3),
        ("limits: {repositoryuploads: 1}\n", 1),
        ("limits: {repositoryuploads: 10, useruploads: 10}\n", 10),
    ] {
        let settings = settings(&format!("{LEAST}{limits}"), &[]);
        assert_eq!(settings.storage.user_uploads, of_user, "{limits}");
    }
}

#[test]
fn proxies_are_counted_where_nobody_names_them() {
    let proxies = |proxies: &str| load(&format!("{LEAST}http: {{proxies: {proxies}}}\n"), &[]);
    for fine in ["{hops: 2}", "{trusted: [10.0.0.0/8]}", "{}"] {
        assert!(proxies(fine).is_ok(), "{fine}");
    }
    for (wrong, said) in [
        ("{hops: 0}", "from 1 on"),
        ("{hops: 2, trusted: [10.0.0.0/8]}", "leave one of the two out"),
    ] {
        let refused = proxies(wrong).err().unwrap_or_default();
        assert!(refused.contains(said), "{wrong}: {refused}");
    }
}
