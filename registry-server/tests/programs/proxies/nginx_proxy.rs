//! The configuration that nginx-proxy of 2017 writes with its companion, before a registry with its own TLS and
//! passwords. Headers are set for all servers, and a server has only a location.

use libtest_mimic::Trial;

use super::{LOGIN, Proxy, Site, large_image, make_password_file};
use crate::{
    docker::{Engine, where_engines_start},
    program::argument,
    server::Server,
};

const PROGRAMS: [&str; 7] = [
    "nginx", "openssl", "htpasswd", "docker", "dockerd", "podman", "skopeo",
];

pub(super) fn trials() -> Vec<Trial> {
    where_engines_start(trials!(PROGRAMS;
        as_it_comes_it_refuses_large_layers,
        with_its_limit_lifted,
        with_headers_of_its_own_in_the_location,
    ))
}

fn as_it_comes_it_refuses_large_layers() {
    let site = registry_behind_nginx_proxy();
    let _nginx = site.nginx_proxy("", "");
    let door = site.door(443);
    let docker = Engine::start(&site.bench, "docker-pushes");
    let (user, password) = LOGIN;
    docker.run(&["login", "--username", user, "--password", password, &door.name]);
    let reference = door.repository("docker/app:one");

    docker.load(&large_image(1).to_load(&reference));
    let refused = docker.refused(&["push", &reference]);

    assert!(refused.contains("413"), "{refused}");
}

fn with_its_limit_lifted() {
    let site = registry_behind_nginx_proxy();
    let _nginx = site.nginx_proxy("client_max_body_size 0;\nchunked_transfer_encoding on;", "");

    site.door(443).serves_everybody(Some(LOGIN));
}

/// nginx then sends none of the headers that are set for all servers.
fn with_headers_of_its_own_in_the_location() {
    let site = registry_behind_nginx_proxy();
    let _nginx = site.nginx_proxy(
        "client_max_body_size 0;",
        "proxy_set_header X-Real-IP $remote_addr;",
    );

    site.door(443).serves_docker(Some(LOGIN));
}

/// Makes a site with TLS and users.
pub(crate) fn registry_behind_nginx_proxy() -> Site {
    Site::with(|bench| {
        make_password_file(bench, "-Bbc", "registry.htpasswd", LOGIN);
        let mut command = Server::ours_command(&bench.path("registry"));
        command.args(["--htpasswd", argument(&bench.path("registry.htpasswd"))]);
        command.args(["--tls-cert", argument(&bench.path("authority/ca.crt"))]);
        command.args(["--tls-key", argument(&bench.path("site.key"))]);
        Server::start(command, "https://")
    })
}

impl Site {
    /// Starts nginx with the template's output, with additions to the server and its location.
    pub(crate) fn nginx_proxy(&self, server: &str, location: &str) -> Proxy {
        let text = r#"
        map $http_x_forwarded_proto $proxy_x_forwarded_proto {
            default $http_x_forwarded_proto;
            '' $scheme;
        }
        map $http_upgrade $proxy_connection {
            default upgrade;
            '' close;
        }
        gzip_types text/plain text/css application/javascript application/json application/xml text/javascript;
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $proxy_connection;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $proxy_x_forwarded_proto;
        proxy_set_header Proxy "";
        upstream registry { server {registry}; }
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            listen {host}:443 ssl http2;
            ssl_prefer_server_ciphers on;
            ssl_session_timeout 5m;
            ssl_session_cache shared:SSL:50m;
            ssl_session_tickets off;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            add_header Strict-Transport-Security "max-age=31536000";
            {server}
            location / { proxy_pass https://registry; {location} }
        }
        "#;
        self.nginx(
            443,
            &text.replace("{server}", server).replace("{location}", location),
        )
    }
}
