//! Values of single keys and their defaults.

use super::{LEAST, load, notices, settings};
use crate::config::{Location, remedies};
use crate::health_checks::Probe;
use crate::socket::Socket;
use registry_auth_htpasswd::Kind;
use registry_core::service::Setting;
use std::time::Duration;

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
        "config.yml:6: health.file[0]: must be a section, but is a single value",
        "config.yml:8: health.http[0].statuscode: `99`: must be an HTTP status",
        "config.yml:8: health.http[0].uri: a value is required",
        "config.yml:10: health.tcp[0].addr: `6379`: must be an address",
    ] {
        assert!(error.contains(expected), "{expected}\n{error}");
    }
    assert_eq!(
        notices(
            &format!("{LEAST}health: {{file: [{{file: /a, every: 1s}}]}}\n"),
            &[]
        ),
        [
            "config.yml:5: health.file[0].every: unknown key, ignored",
            "config.yml:5: health: no effect without `http.debug.addr`, because only the debug listener reports the checks",
        ]
    );
}

#[test]
fn what_a_check_logs_in_with_is_not_shown() {
    let with_http = |http: &str| load(&format!("{LEAST}health: {{http: [{{{http}}}]}}\n"), &[]);
    let config = with_http("uri: http://a/, headers: {Authorization: [Basic c2VjcmV0]}").unwrap();
    let shown = config.effective();
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
            "http.addr: `:5000`: with `http.net: unix`, it must be a path",
        ),
        (
            "net: unix",
            "http: `net: unix` requires `addr`, the path of a socket",
        ),
        (
            "addr: /run/registry.sock",
            "http.addr: `/run/registry.sock`: a path requires `http.net: unix`",
        ),
        ("net: udp", "http.net: `udp`: must be `tcp` or `unix`"),
        (
            "net: unix, addr: /run/registry.sock, tls: {certificate: /c, key: /k}",
            "http.tls: TLS is not available over a Unix socket",
        ),
    ] {
        let error = with_http(http).unwrap_err();
        assert!(error.contains(expected), "{http}: {error}");
    }
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
        ("{hops: 0}", "at least 1"),
        ("{hops: 2, trusted: [10.0.0.0/8]}", "remove one of them"),
    ] {
        let refused = proxies(wrong).err().unwrap_or_default();
        assert!(refused.contains(said), "{wrong}: {refused}");
    }
}

#[test]
fn remedies_name_only_keys_that_decide() {
    let said = |minfree: &str, access: &str| {
        let text = format!("{LEAST}    minfree: {minfree}\n{access}");
        let settings = settings(&text, &[]);
        let told: Vec<Setting> = remedies(&settings).map(|(setting, _)| setting).collect();
        (told.contains(&Setting::Space), told.contains(&Setting::Access))
    };
    assert_eq!(said("0", ""), (false, false));
    assert_eq!(said("1g", ""), (true, false));
    let access = "auth: {htpasswd: {realm: r, path: /users}}\naccess: {rules: /rules.yml}\n";
    assert_eq!(said("0", access), (false, true));
}

#[test]
fn the_trash_shrinks_below_the_space_that_uploads_leave() {
    let below = |minfree: &str, trash: &str| {
        let text = format!("{LEAST}    minfree: {minfree}\n  maintenance: {{trash: {{{trash}}}}}\n");
        load(&text, &[]).map(|config| config.settings.storage.trash_shrinks_below())
    };
    assert_eq!(below("1g", ""), Ok(Some(1 << 30)));
    assert_eq!(below("1g", "underpressure: shrink"), Ok(Some(1 << 30)));
    assert_eq!(below("1g", "underpressure: keep"), Ok(None));
    assert_eq!(below("0", ""), Ok(None));
    let refused = below("1g", "underpressure: never").unwrap_err();
    assert!(refused.contains("must be `shrink` or `keep`"), "{refused}");
}

#[test]
fn formats_of_passwords_are_a_list_of_names() {
    let formats = |lines: &str, variables: &[(&str, &str)]| {
        let text = format!("{LEAST}auth: {{htpasswd: {{path: /users{lines}}}}}\n");
        settings(&text, variables).login.unwrap().formats
    };

    assert_eq!(formats("", &[]), None);
    assert_eq!(formats(", formats: bcrypt", &[]), Some(vec![Kind::Bcrypt]));
    for kind in Kind::ALL {
        assert_eq!(
            formats(&format!(", formats: [{}]", kind.key()), &[]),
            Some(vec![kind])
        );
    }
    let variables = [
        ("REGISTRY_AUTH_HTPASSWD_FORMATS_0", "bcrypt"),
        ("REGISTRY_AUTH_HTPASSWD_FORMATS_1", "sha512-crypt"),
    ];
    assert_eq!(
        formats("", &variables),
        Some(vec![Kind::Bcrypt, Kind::Sha512Crypt])
    );
}
