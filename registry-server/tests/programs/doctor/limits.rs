//! Limits on bodies: their owner and size, found without sending what is refused.

use libtest_mimic::Trial;

use super::{examine, https};
use crate::{
    program::argument,
    proxies::{LOGIN, Site, registry_behind_nginx_proxy},
};

const NGINX: [&str; 3] = ["nginx", "openssl", "htpasswd"];
const APACHE: [&str; 3] = ["apache2", "openssl", "htpasswd"];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(NGINX;
        the_default_of_a_proxy_is_named,
        what_nginx_proxy_writes_is_named,
        a_limit_is_narrowed_down_without_sending_it,
        a_limit_is_found_by_strangers_too,
        a_limit_of_the_registry_is_named,
        a_limit_behind_a_proxy_is_found_by_sending,
    );
    trials.extend(trials!(APACHE; a_directive_of_apaches_is_no_limit));
    trials
}

fn before(limit: &str) -> String {
    r#"
    server {
        listen {host}:80;
        {limit}
        location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
    }
    "#
    .replace("{limit}", limit)
}

fn http(site: &Site) -> String {
    format!("http://{}", site.host)
}

fn the_default_of_a_proxy_is_named() {
    let site = Site::with_login();
    let _nginx = site.nginx(80, &before(""));

    let examined = examine(&[&http(&site)], Some(LOGIN));

    examined.is_at_fault(&["upload-body", "body-limit"]);
    for check in ["upload-body", "body-limit"] {
        examined.says(
            check,
            &[
                "by nginx",
                "from the proxy",
                "client_max_body_size 0",
                "invalid character '<'",
            ],
        );
    }
    examined.says("body-limit", &["more than 1 MiB"]);
}

fn what_nginx_proxy_writes_is_named() {
    let site = registry_behind_nginx_proxy();
    let _nginx = site.nginx_proxy("", "");
    let ca = site.authority.join("ca.crt");

    let examined = examine(&[&https(site.host), "--ca", argument(&ca)], Some(LOGIN));

    examined.is_at_fault(&["upload-body", "body-limit"]);
    examined.says("body-limit", &["more than 1 MiB", "vhost.d"]);
}

fn a_limit_is_narrowed_down_without_sending_it() {
    let site = Site::with_login();
    let _nginx = site.nginx(80, &before("client_max_body_size 100m;"));

    let examined = examine(&[&http(&site)], Some(LOGIN));

    // What is sent is smaller, and passes.
    examined.is_at_fault(&["body-limit"]);
    examined.says("body-limit", &["more than 100 MiB", "Cloudflare"]);
    examined.says("upload-body", &["2 MiB uploaded"]);
}

fn a_limit_is_found_by_strangers_too() {
    let site = Site::with_login();
    let _nginx = site.nginx(80, &before("client_max_body_size 64m;"));

    let examined = examine(&[&http(&site)], None);

    examined.is_at_fault(&["body-limit"]);
    examined.says("body-limit", &["more than 64 MiB"]);
    examined.says("upload-session", &["skipped", "--user"]);
}

fn a_limit_of_the_registry_is_named() {
    let site = Site::with(|bench| {
        let mut command = crate::server::Server::ours_command(&bench.path("registry"));
        command.env("REGISTRY_HTTP_MAXBLOBSIZE", "10m");
        crate::server::Server::start(command, "http://")
    });
    let _nginx = site.nginx(
        80,
        &before("client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;"),
    );

    let examined = examine(&[&http(&site)], None);

    examined.is_at_fault(&["body-limit"]);
    examined.says(
        "body-limit",
        &["more than 10 MiB", "by the registry", "http.maxblobsize"],
    );
}

/// A proxy that buffers whole bodies announces nothing to the one behind it.
fn a_limit_behind_a_proxy_is_found_by_sending() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location / { proxy_pass http://{host}:8080; proxy_set_header Host $http_host; }
        }
        server {
            listen {host}:8080;
            client_max_body_size 4m;
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    let announced = examine(&[&http(&site)], Some(LOGIN));
    let sent = examine(&[&http(&site), "--send", "5m"], Some(LOGIN));

    announced.is_at_fault(&[]);
    announced.says("body-limit", &["ok\n", "--send"]);
    announced.says("request-buffering", &["warning\n", "proxy_request_buffering off"]);
    sent.is_at_fault(&["upload-body"]);
    sent.says(
        "upload-body",
        &["5 MiB in chunks are refused", "client_max_body_size"],
    );
}

/// Apache does not limit what it passes on, despite the directive's name.
fn a_directive_of_apaches_is_no_limit() {
    let site = Site::new();
    let _apache = site.apache("ProxyPreserveHost on\nLimitRequestBody 1048576");

    let examined = examine(
        &[
            &https(site.host),
            "--ca",
            argument(&site.authority.join("ca.crt")),
        ],
        Some(LOGIN),
    );

    examined.is_at_fault(&[]);
    examined.says("body-limit", &["ok\n"]);
    examined.says("upload-body", &["2 MiB uploaded"]);
}
