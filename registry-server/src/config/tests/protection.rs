//! Keys that protect: misspelled, without effect, or set to nothing.

use super::{LEAST, load, notices, settings};
use crate::config::{Config, Sources};

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
        let line = error.lines().find(|line| line.contains(": unknown ")).unwrap();
        assert!(
            line.starts_with(&format!("configuration error: config.yml:5: {key}: ")),
            "{line}"
        );
        assert!(line.ends_with(&format!("; did you mean `{meant}`?")), "{line}");
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
            error.starts_with(&format!("configuration error: {name}: unknown ")),
            "{error}"
        );
        assert!(
            error.ends_with(&format!("; did you mean `REGISTRY_{meant}`?")),
            "{error}"
        );
    }
}

#[test]
fn a_duration_whose_unit_was_forgotten_is_told() {
    let with = |value: &str| notices(&format!("{LEAST}http: {{draintimeout: {value}}}\n"), &[]);
    let expected = "config.yml:5: http.draintimeout: `30` means nanoseconds, because it has no unit; use `s`, `m` or `h`";
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
    let expected = "config.yml:5: auth.htpasswd.file: unknown key; the server does not start, because the key may \
                    protect the registry; expected one of: `auth.htpasswd.path`, `auth.htpasswd.realm`, `auth.htpasswd.autocreate`, \
                    `auth.htpasswd.formats`";
    assert!(error.ends_with(expected), "{error}");
    let error = load(LEAST, &[("REGISTRY_AUTH_USERS", "/users")]).unwrap_err();
    let expected = "REGISTRY_AUTH_USERS: unknown authentication method; expected one of: `REGISTRY_AUTH_NONE`, \
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
            "config.yml:2: storage.floppy: unknown storage driver; expected one of: `storage.filesystem`, \
             `storage.inmemory`",
        ),
        (
            "floppy",
            none,
            "config.yml:2: storage.floppy: unknown storage driver; ",
        ),
        (
            "{filesytem: {rootdirectory: /data}}",
            none,
            "storage.filesytem: unknown storage driver; did you mean `storage.filesystem`?",
        ),
        (
            "{Filesystem: {rootdirectory: /data}}",
            none,
            "storage.Filesystem: unknown storage driver; did you mean `storage.filesystem`?",
        ),
        (
            "{filesystem: {rootdirectory: /data}, delet: {enabled: true}}",
            none,
            "storage.delet: unknown key; the server does not start, because the key may name the place of the \
             images; did you mean `storage.delete`?",
        ),
        (
            "{filesystem: {rootdir: /data}}",
            none,
            "storage.filesystem.rootdir: unknown key; the server does not start, because the key may name the place \
             of the images; did you mean `storage.filesystem.rootdirectory`?",
        ),
        (
            "{filesystem: {path: /data}}",
            none,
            "storage.filesystem.path: unknown key; the server does not start, because the key may name the place of \
             the images; expected one of: `storage.filesystem.rootdirectory`, ",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE", "floppy")],
            "REGISTRY_STORAGE: storage.floppy: unknown storage driver",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE_FLOPPY_DRIVE", "a")],
            "REGISTRY_STORAGE_FLOPPY_DRIVE: unknown storage driver; expected one of: `REGISTRY_STORAGE_FILESYSTEM`, ",
        ),
        (
            "filesystem",
            &[("REGISTRY_STORAGE_FILESYTEM_ROOTDIRECTORY", "/data")],
            "unknown storage driver; did you mean `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`?",
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
        let offered = error
            .rsplit_once("expected one of: ")
            .map_or("", |(_, names)| names);
        let aside = ["delete", "maintenance", "cache", "DELETE", "MAINTENANCE", "CACHE"];
        assert!(
            !aside.iter().any(|name| offered.contains(name)),
            "no storages: {error}"
        );
    }
    // What Kubernetes sets for a service called `registry-storage`.
    let service = [
        ("REGISTRY_STORAGE_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_STORAGE_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
    ];
    assert!(with("{filesystem: {rootdirectory: /data}}", &service).is_ok());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one configuration a row")]
fn what_protects_and_cannot_take_effect_is_refused() {
    let none: &[(&str, &str)] = &[];
    let without_https = "this has no effect without HTTPS";
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
            "this has no effect without `http.tls.clientcas`",
        ),
        (
            "http: {tls: {certificate: /c, key: /k, clientcas: ['']}}",
            none,
            "http.tls.clientcas",
            "the list has an empty item",
        ),
        (
            "http: {tls: {certificate: /c, key: /k, ciphersuites: ['']}}",
            none,
            "http.tls.ciphersuites",
            "the list has an empty item",
        ),
        (
            "http: {tls: {letsencrypt: {directoryurl: 'https://ca.example/'}}}",
            none,
            "http.tls.letsencrypt",
            "`cachefile` is missing",
        ),
        ("access: {rules: }", none, "access.rules", "the value is empty"),
        (
            "auth: {htpasswd: {path: /users, formats: }}",
            none,
            "auth.htpasswd.formats",
            "the value is empty",
        ),
        (
            "auth: {htpasswd: {path: /users, formats: []}}",
            none,
            "auth.htpasswd.formats",
            "the list is empty; nobody could log in",
        ),
        (
            "auth: {htpasswd: {path: /users, formats: [bcrypt, md5]}}",
            none,
            "auth.htpasswd.formats",
            "`md5` is not a format; must be one of: `bcrypt`, `sha512-crypt`",
        ),
        (
            "auth: {htpasswd: {path: /users, autocreate: true, formats: apr1}}",
            none,
            "auth.htpasswd.formats",
            "`bcrypt` is missing; the user that `auth.htpasswd.autocreate` creates could not log in",
        ),
        ("access: {rules: ''}", none, "access.rules", "the value is empty"),
        ("http: {allow: }", none, "http.allow", "the value is empty"),
        (
            "http: {proxies: {trusted: }}",
            none,
            "http.proxies.trusted",
            "the value is empty",
        ),
        (
            "http: {maxblobsize: }",
            none,
            "http.maxblobsize",
            "the value is empty",
        ),
        (
            "log: {level: info}",
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "")],
            "storage.maintenance.readonly.enabled",
            "the value is empty",
        ),
        (
            "log: {level: info}",
            &[("REGISTRY_ACCESS_RULES", "")],
            "access.rules",
            "the value is empty",
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
        let config = Config::load(Sources::new().set("log.level", flag, ""));
        assert_eq!(
            config.unwrap_err().to_string(),
            format!("configuration error: {flag}: log.level: the value is empty")
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
            "REGISTRY_HTTP_TLS_CERTIFICATE: http.tls.certificate: the value is empty, and counts as absent",
            "REGISTRY_HTTP_TLS_KEY: http.tls.key: the value is empty, and counts as absent",
        ]
    );
}

#[test]
fn a_login_that_is_misspelled_is_refused_and_not_left_out() {
    let error = load(&format!("{LEAST}auth:\n  htpaswd:\n    path: /x\n"), &[]).unwrap_err();
    assert!(
        error.contains("config.yml:6: auth.htpaswd: unknown authentication method"),
        "{error}"
    );
    let error = load(LEAST, &[("REGISTRY_AUTH", "ldap")]).unwrap_err();
    assert!(
        error.contains("REGISTRY_AUTH: auth.ldap: unknown authentication method"),
        "{error}"
    );
}

#[test]
fn nobody_has_to_log_in_only_where_that_was_said() {
    assert!(!settings(LEAST, &[]).open_on_purpose);
    assert!(settings(LEAST, &[("REGISTRY_AUTH", "none")]).open_on_purpose);
    assert!(settings(&format!("{LEAST}auth: none\n"), &[]).open_on_purpose);
}
