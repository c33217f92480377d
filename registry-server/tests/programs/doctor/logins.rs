//! Logins: which server asks for them, and which servers get a password.

use libtest_mimic::Trial;

use super::{examine, https, run};
use crate::{
    program::argument,
    proxies::{LOGIN, Site, make_password_file},
};

const PROGRAMS: [&str; 3] = ["nginx", "openssl", "htpasswd"];

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        two_password_files_are_named_as_the_cause,
        a_password_that_the_proxy_refuses_is_its_to_check,
        a_password_is_not_told_to_strangers,
        a_token_is_fetched_where_the_registry_says,
        arguments_that_make_no_sense_are_2,
    )
}

const ASKED_TWICE: &str = r#"
    server {
        listen {host}:80;
        client_max_body_size 0;
        {login}
        location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
    }
"#;

fn two_password_files_are_named_as_the_cause() {
    let site = Site::with_login();
    let stranger = ("proxyuser", "42-words;");
    make_password_file(&site.bench, "-bc", "proxy.htpasswd", stranger);
    let _nginx = site.nginx(80, ASKED_TWICE);

    let examined = examine(&[&format!("http://{}", site.host)], Some(stranger));

    examined.is_at_fault(&["login"]);
    examined.says(
        "login",
        &[
            "two password files",
            "nginx",
            "Restricted",
            "the registry",
            "remove `auth_basic`",
        ],
    );
}

fn a_password_that_the_proxy_refuses_is_its_to_check() {
    let site = Site::with_login();
    make_password_file(&site.bench, "-bc", "proxy.htpasswd", ("proxyuser", "another"));
    let _nginx = site.nginx(80, ASKED_TWICE);

    let examined = examine(&[&format!("http://{}", site.host)], Some(LOGIN));

    examined.is_at_fault(&["login"]);
    examined.says(
        "login",
        &["asks for the login, not the registry", "the same file"],
    );
    examined.says("upload-session", &["skipped", "which was refused"]);
}

fn a_password_is_not_told_to_strangers() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server {
            {tls}
            client_max_body_size 0;
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    let unknown = examine(&[&https(site.host)], Some(LOGIN));
    let insecure = examine(&[&https(site.host), "--insecure"], Some(LOGIN));
    let known = examine(
        &[
            &https(site.host),
            "--ca",
            argument(&site.authority.join("ca.crt")),
        ],
        Some(LOGIN),
    );

    unknown.is_at_fault(&["certificate-trust"]);
    unknown.says("certificate-trust", &["self-signed", "certs.d", "--ca"]);
    unknown.says("login", &["skipped", "the password is not sent"]);
    unknown.says("upload-session", &["skipped", "was not tried"]);
    insecure.says("login", &["ok\n"]);
    known.is_at_fault(&[]);
    known.says("login", &["ok\n"]);
}

/// nginx acts as a token service, and as the server that asks for its tokens.
fn a_token_is_fetched_where_the_registry_says() {
    let site = Site::new();
    std::fs::write(site.bench.path("token"), r#"{"token": "g00d"}"#).unwrap();
    let root = site.bench.path("");
    let servers = r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location = /token { {login} root {root}; }
            location / {
                set $asks 'Bearer realm="http://{host}/token",service="registry"';
                if ($http_authorization != "Bearer g00d") { return 401 '{"errors": [{"code": "UNAUTHORIZED"}]}'; }
                add_header WWW-Authenticate $asks always;
                proxy_pass http://{registry};
                proxy_set_header Host $http_host;
            }
        }
    "#;
    let _nginx = site.nginx(80, &servers.replace("{root}", argument(&root)));
    let url = format!("http://{}", site.host);

    let known = examine(&[&url], Some(LOGIN));
    let unknown = examine(&[&url], Some(("somebody", "else's")));

    known.is_at_fault(&[]);
    known.says("challenge", &["the registry asks for Bearer", "/token"]);
    known.says("login", &["ok\n"]);
    known.says("upload-body", &["ok\n"]);
    unknown.is_at_fault(&["login"]);
    unknown.says("login", &["/token gives no token to somebody", "401"]);
}

fn arguments_that_make_no_sense_are_2() {
    for (arguments, why) in [
        (
            &["https://ann:secret@r.example"][..],
            "must not contain a user; use --user",
        ),
        (&["ftp://r.example"], "https://registry.example.com"),
        (&["r.example", "--repository", "Team/App"], "--repository"),
        (&["r.example", "--origin", "ui.example"], "https://ui.example.com"),
        (&["r.example", "--ca", "/nowhere.pem"], "/nowhere.pem"),
        (&["r.example", "--send", "much"], "512m"),
        // Standard input is empty.
        (&["r.example", "--user", "ann"], "REGISTRY_DOCTOR_PASSWORD"),
    ] {
        let (code, out, log) = run(arguments, None);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {log}");
        assert!(log.contains(why), "{arguments:?}: {log}");
        assert!(!log.contains("secret"), "{log}");
    }
}
