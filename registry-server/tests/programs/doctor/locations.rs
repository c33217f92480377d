//! A `Location` that leads past the proxy: the proxy does not forward the client's scheme and host, and registry:2
//! guesses them.

use libtest_mimic::Trial;

use super::{Examined, examine, https};
use crate::{
    program::argument,
    proxies::{LOGIN, Site},
    server::Server,
};

const NGINX: [&str; 4] = ["nginx", "openssl", "htpasswd", "docker-registry"];
const APACHE: [&str; 4] = ["apache2", "openssl", "htpasswd", "docker-registry"];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(NGINX;
        a_sound_deployment_has_no_fault,
        a_lost_port_is_found,
        a_lost_scheme_is_found_with_what_clients_say,
        a_lost_scheme_beside_plain_http_is_found_with_what_clients_say,
        registry_2_behind_a_sound_proxy_has_no_fault,
        a_slash_too_many_is_found,
        the_name_that_it_has_inside_is_found,
        a_lost_prefix_is_found,
    );
    trials
        .extend(trials!(APACHE; apache_does_not_tell_the_scheme, apache_before_relative_links_has_no_fault));
    trials
}

const SOUND: &str = r#"
    server { listen {host}:80; return 308 https://$host$request_uri; }
    server {
        {tls}
        client_max_body_size 0;
        location / {
            proxy_pass http://{registry};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 900;
        }
    }
"#;

/// Makes a site with registry:2, which asks for the login itself.
fn registry2() -> Site {
    Site::with(|bench| {
        crate::proxies::make_password_file(bench, "-Bbc", "registry.htpasswd", LOGIN);
        Server::registry2_with_users(&bench.path("registry"), &bench.path("registry.htpasswd"))
    })
}

fn look(site: &Site) -> Examined {
    let ca = site.authority.join("ca.crt");
    examine(&[&https(site.host), "--ca", argument(&ca)], Some(LOGIN))
}

fn a_sound_deployment_has_no_fault() {
    let site = Site::with_login();
    let _nginx = site.nginx(443, SOUND);
    site.server.says("listens on");

    let examined = look(&site);

    examined.is_at_fault(&[]);
    // The certificate is made for two days.
    assert_eq!(examined.wrong(), ["certificate-validity: warning"]);
    for check in [
        "login",
        "upload-session",
        "upload-body",
        "upload-cancel",
        "body-limit",
    ] {
        examined.says(check, &["ok\n"]);
    }
    examined.says("port80", &["redirects to https://"]);
    examined.says("request-buffering", &["while it is sent"]);
}

fn registry_2_behind_a_sound_proxy_has_no_fault() {
    let site = registry2();
    let _nginx = site.nginx(443, SOUND);

    let examined = look(&site);

    examined.is_at_fault(&[]);
    examined.says("upload-location", &["ok\n"]);
}

fn a_lost_port_is_found() {
    let site = registry2();
    let _nginx = site.nginx(
        5461,
        r#"
        server {
            listen {host}:5461;
            client_max_body_size 0;
            location / { proxy_pass http://{registry}/; proxy_set_header Host $host; }
        }
        "#,
    );

    let examined = examine(&[&format!("http://{}:5461", site.host)], Some(LOGIN));

    examined.is_at_fault(&["upload-location"]);
    let leads = format!("`http://{}/v2/registry-doctor/probe/", site.host);
    examined.says("upload-location", &[&leads, "at another port", "Host $http_host"]);
    // An upload goes on all the same, where the doctor asked.
    examined.says("upload-body", &["ok\n"]);
    assert!(
        !examined.said("upload-location").contains("_state"),
        "{:#}",
        examined.report
    );
}

/// Returns a vhost with TLS that does not forward the scheme.
fn untold(port_80: &str) -> String {
    r#"
    {port_80}
    server {
        {tls}
        client_max_body_size 0;
        location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
    }
    "#
    .replace("{port_80}", port_80)
}

fn a_lost_scheme_is_found_with_what_clients_say() {
    let site = registry2();
    let _nginx = site.nginx(
        443,
        &untold("server { listen {host}:80; return 301 https://$host$request_uri; }"),
    );

    let examined = look(&site);

    examined.is_at_fault(&["upload-location"]);
    examined.says(
        "upload-location",
        &[
            "over http instead of https",
            "unknown blob",
            "X-Forwarded-Proto $scheme",
            "http.relativeurls",
        ],
    );
}

fn a_lost_scheme_beside_plain_http_is_found_with_what_clients_say() {
    let site = registry2();
    let _nginx = site.nginx(
        443,
        &untold("server { listen {host}:80; location / { proxy_pass http://{registry}; } }"),
    );

    let examined = look(&site);

    examined.is_at_fault(&["upload-location"]);
    examined.says(
        "upload-location",
        &["the login succeeds, and then `docker push` says `authentication required`"],
    );
    examined.says("port80", &["warning", "without TLS"]);
}

fn a_slash_too_many_is_found() {
    let site = registry2();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location / {
                proxy_pass http://{registry};
                proxy_set_header Host $http_host;
                proxy_redirect ~^http://[^/]+(/.*)$ /$1;
            }
        }
        "#,
    );

    let examined = examine(&[&format!("http://{}", site.host)], Some(LOGIN));

    examined.is_at_fault(&["upload-location"]);
    examined.says("upload-location", &["double slash", "proxy_pass"]);
}

fn the_name_that_it_has_inside_is_found() {
    let site = Site::around(|root| {
        let mut command = Server::ours_command(root);
        command.env("REGISTRY_HTTP_HOST", "http://registry:5000");
        Server::start(command, "http://")
    });
    let _nginx = site.nginx(443, SOUND);

    let examined = look(&site);

    examined.is_at_fault(&["upload-location"]);
    let host = format!("it must be `{}`", https(site.host));
    examined.says(
        "upload-location",
        &["`http://registry:5000/v2/", "at another host", &host],
    );
}

/// The proxy removes a path prefix that the registry does not know of.
fn a_lost_prefix_is_found() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location /images/ { proxy_pass http://{registry}/; proxy_set_header Host $http_host; }
        }
        "#,
    );

    let examined = examine(&[&format!("http://{}/images", site.host)], Some(LOGIN));

    examined.is_at_fault(&["upload-location"]);
    examined.says(
        "upload-location",
        &["without the prefix `/images`", "`http.prefix: /images/`"],
    );
    examined.says("upload-body", &["ok\n"]);
}

fn apache_does_not_tell_the_scheme() {
    let site = Site::with(|bench| Server::registry2(&bench.path("registry")));
    let _apache = site.apache("ProxyPreserveHost on");

    let examined = look(&site);

    examined.is_at_fault(&["upload-location"]);
    examined.says(
        "upload-location",
        &[
            "over http instead of https",
            "RequestHeader set X-Forwarded-Proto",
        ],
    );
}

fn apache_before_relative_links_has_no_fault() {
    let site = Site::new();
    let _apache = site.apache("ProxyPreserveHost on");

    let examined = look(&site);

    examined.is_at_fault(&[]);
    examined.says("login", &["ok\n"]);
    examined.says("upload-body", &["ok\n"]);
}
