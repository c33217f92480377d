//! Ports that are open by mistake, and ports that are closed by mistake.

use std::fs;

use libtest_mimic::Trial;

use super::{examine, https, run};
use crate::{
    program::{Workbench, argument},
    proxies::{LOGIN, Site},
    server::Server,
};

const PROGRAMS: [&str; 3] = ["nginx", "openssl", "htpasswd"];

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        a_second_port_without_a_login_is_a_fault,
        a_second_port_with_a_login_is_none,
        pushing_without_a_login_is_found,
        an_open_registry_says_nothing_of_a_password,
        only_port_80_answering_is_a_fault,
        plain_http_on_the_port_of_https_is_found,
        https_on_the_port_of_plain_http_is_found,
        a_proxy_that_reaches_nobody_is_found,
        something_else_at_v2_is_found,
        nobody_there_is_a_fault,
        people_read_a_page_of_text,
        a_redirect_to_https_is_followed,
    )
}

/// Returns a vhost that asks for a login, with more servers of nginx.
fn guarded(more: &str) -> String {
    r#"
    server {
        listen {host}:80;
        client_max_body_size 0;
        {login}
        location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
    }
    {more}
    "#
    .replace("{more}", more)
}

const PUBLISHED: &str = "server { listen {host}:5000; location / { proxy_pass http://{registry}; \
                         proxy_set_header Host $http_host; } }";

fn http(site: &Site) -> String {
    format!("http://{}", site.host)
}

fn a_second_port_without_a_login_is_a_fault() {
    let site = Site::new();
    let _nginx = site.nginx(80, &guarded(PUBLISHED));

    let told = examine(&[&http(&site), "--also", "5000"], Some(LOGIN));
    let untold = examine(&[&http(&site)], Some(LOGIN));

    told.is_at_fault(&["other-door"]);
    let bypass = format!("http://{}:5000 bypasses the login", site.host);
    told.says(
        "other-door",
        &[&bypass, "pull and push", "-p 127.0.0.1:5000:5000"],
    );
    // Seen over loopback it may be bound to loopback, which is how it is closed.
    untold.is_at_fault(&[]);
    let other = format!(
        "http://{}:5000, where clients can pull and push without a login",
        site.host
    );
    untold.says(
        "other-door",
        &[
            "warning\n",
            &other,
            "cannot be determined",
            "from another machine",
        ],
    );
}

fn a_second_port_with_a_login_is_none() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        80,
        &format!(
            "server {{ listen {{host}}:80; client_max_body_size 0; location / {{ proxy_pass \
             http://{{registry}}; proxy_set_header Host $http_host; }} }} {PUBLISHED}"
        ),
    );

    let examined = examine(&[&http(&site), "--also", "5000", "--also", "5999"], Some(LOGIN));

    examined.is_at_fault(&[]);
    examined.says("other-door", &["which requires a login", "port 5999 is closed"]);
}

fn pushing_without_a_login_is_found() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location = /v2/ {
                {login}
                proxy_pass http://{registry};
            }
            location = /v2/_catalog { return 200 '{"repositories": ["a", "b"]}'; }
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    let examined = examine(&[&http(&site)], None);

    examined.is_at_fault(&["anonymous-push"]);
    examined.says("anonymous-push", &["but pushing does not"]);
    examined.says("anonymous-catalog", &["warning\n", "the names of 2 repositories"]);
}

fn an_open_registry_says_nothing_of_a_password() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));

    let examined = examine(&[&server.address().to_string()], Some(("nobody", "anything")));

    examined.is_at_fault(&[]);
    examined.says("login", &["skipped\n", "requires no login"]);
    // Nothing has been pushed yet.
    examined.says("anonymous-catalog", &["ok\n", "no repositories"]);
}

fn only_port_80_answering_is_a_fault() {
    let site = Site::new();
    let _nginx = site.nginx(80, &guarded(""));

    let examined = examine(&[&site.host.to_string()], None);

    examined.is_at_fault(&["address"]);
    examined.says(
        "address",
        &[
            "only port 80 answers",
            "insecure-registries",
            "http.tls.certificate",
        ],
    );
}

fn plain_http_on_the_port_of_https_is_found() {
    let site = Site::new();
    let _nginx = site.nginx(
        443,
        "server { listen {host}:443; location / { proxy_pass http://{registry}; proxy_set_header Host \
         $http_host; } }",
    );

    let examined = examine(&[&https(site.host)], None);

    assert_eq!(examined.faults()[0], "address");
    examined.says(
        "address",
        &["speaks plain HTTP", "server gave HTTP response to HTTPS client"],
    );
}

fn https_on_the_port_of_plain_http_is_found() {
    let site = Site::with(|bench| {
        let mut command = Server::ours_command(&bench.path("registry"));
        command.args(["--tls-cert", argument(&bench.path("authority/ca.crt"))]);
        command.args(["--tls-key", argument(&bench.path("site.key"))]);
        Server::start(command, "https://")
    });

    let examined = examine(&[&format!("http://{}", site.server.address())], None);

    assert_eq!(examined.faults()[0], "address");
    examined.says(
        "address",
        &["speaks TLS, but the URL is plain HTTP", "https://127.0.0.1:"],
    );
}

fn a_proxy_that_reaches_nobody_is_found() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        "server { listen {host}:80; location / { proxy_pass http://127.0.0.1:1; } }",
    );

    let examined = examine(&[&http(&site)], None);

    examined.is_at_fault(&["base"]);
    examined.says("base", &["502 Bad Gateway by nginx", "proxy_pass"]);
}

fn something_else_at_v2_is_found() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        r#"server { listen {host}:80; default_type text/html; location / { return 200 "<html>the \
           UI</html>"; } }"#,
    );

    let examined = examine(&[&http(&site)], None);

    examined.is_at_fault(&["base"]);
    examined.says(
        "base",
        &["200 OK by nginx", "which is no registry", "location /v2/"],
    );
}

fn nobody_there_is_a_fault() {
    // A free port could be taken by another test; this one is nobody's.
    let closed = examine(&["http://127.0.0.1:1"], None);
    let unnamed = examine(&["https://registry-doctor.invalid"], None);

    closed.is_at_fault(&["address"]);
    closed.says(
        "address",
        &[
            "no registry can be reached at http://127.0.0.1:1",
            "Nothing listens",
        ],
    );
    unnamed.is_at_fault(&["address"]);
    unnamed.says("address", &["https://registry-doctor.invalid"]);
}

fn people_read_a_page_of_text() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));

    let (code, report, log) = run(&[&server.address().to_string()], None);

    assert_eq!((code, log.as_str()), (Some(0), ""), "{report}");
    let first = format!("http://{}\n\nok       address: ", server.address());
    assert!(report.starts_with(&first), "{report}");
    assert!(report.contains("\nwarning  push without a login: "), "{report}");
    assert!(
        report.contains("\n         server: require a login: `registry serve --htpasswd FILE`"),
        "{report}"
    );
    assert!(
        report.ends_with(" skipped\n") && !report.contains('\x1b'),
        "{report}"
    );
}

fn a_redirect_to_https_is_followed() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            {tls}
            client_max_body_size 0;
            location / { proxy_pass http://{registry}; }
        }
        "#,
    );
    let ca = site.authority.join("ca.crt");
    assert!(fs::exists(&ca).unwrap());

    let examined = examine(&[&http(&site), "--ca", argument(&ca)], Some(LOGIN));

    examined.is_at_fault(&[]);
    assert_eq!(examined.report["url"], https(site.host));
    examined.says("login", &["ok\n"]);
}
