//! nginx: the firewall behind Cloudflare, the vhost with a web UI beside the registry, and the configuration of
//! nginx-proxy.

use std::fs;

use libtest_mimic::Trial;
use registry_conformance::tools::Process;

use super::{LOGIN, Proxy, Site, large_image, make_password_file};
use crate::{
    docker::{Engine, where_engines_start},
    http::{self, Response},
    program::{argument, output_of},
};

const PROGRAMS: [&str; 7] = [
    "nginx", "openssl", "htpasswd", "docker", "dockerd", "podman", "skopeo",
];

/// Text for `{tls}` in the servers below.
const TLS: &str = "listen {host}:443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key};";

/// Text for `{login}` in the servers below.
const LOGIN_ASKED: &str = r#"auth_basic "Restricted"; auth_basic_user_file {passwords};"#;

pub(super) fn trials() -> Vec<Trial> {
    where_engines_start(trials!(PROGRAMS;
        behind_cloudflare_and_a_firewall,
        on_an_odd_port_without_help,
        without_a_host_header,
        with_a_limit_on_bodies_that_the_proxy_sets,
        over_tls_that_the_registry_is_not_told_of_without_help,
        over_tls_beside_plain_http_without_help,
        over_tls_with_the_headers_that_guides_give,
        over_tls_without_any_header,
        where_proxy_and_registry_ask_for_different_users,
        beside_a_web_ui_and_closed_to_old_clients,
        without_the_header_that_old_clients_ask_for,
        with_compression_of_everything,
        through_a_unix_socket,
    ))
}

/// An edge has TLS and "Always Use HTTPS"; the firewall behind it asks for the password and uses HTTP/1.0 inwards.
fn behind_cloudflare_and_a_firewall() {
    let site = Site::new();
    let _nginx = site.nginx(
        443,
        r#"
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            {tls}
            client_max_body_size 100m;
            location / {
                proxy_pass http://{host}:8080;
                proxy_set_header Host $host;
                proxy_set_header CF-Connecting-IP $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;
            }
        }
        server {
            listen {host}:8080;
            ignore_invalid_headers off;
            location / {
                client_max_body_size 0;
                chunked_transfer_encoding on;
                add_header Docker-Distribution-Api-Version registry/2.0 always;
                {login}
                proxy_pass http://{registry}/;
                proxy_set_header X-Original-URI $request_uri;
                proxy_set_header Proxy "";
                proxy_set_header Host $host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto "https";
                proxy_read_timeout 900;
                proxy_max_temp_file_size 0;
            }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));
}

/// `Host $host` loses the port: a `Location` built from it sends the client elsewhere.
fn on_an_odd_port_without_help() {
    let site = Site::new();
    let _nginx = site.nginx(
        5461,
        r#"
        server {
            listen {host}:5461;
            location / {
                client_max_body_size 0;
                {login}
                proxy_pass http://{registry}/;
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            }
        }
        "#,
    );

    site.door(5461).serves_everybody(Some(LOGIN));
}

fn without_a_host_header() {
    let site = Site::new();
    let _nginx = site.nginx(
        5461,
        r#"
        server {
            listen {host}:5461;
            client_max_body_size 0;
            {login}
            location / { proxy_pass http://{registry}; }
        }
        "#,
    );

    site.door(5461).serves_everybody(Some(LOGIN));
}

/// No registry can help there: the answer is nginx's. Small bodies pass.
fn with_a_limit_on_bodies_that_the_proxy_sets() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            location / { proxy_pass http://{registry}; proxy_set_header Host $host; }
        }
        "#,
    );
    let door = site.door(80);
    let docker = Engine::start(&site.bench, "docker-pushes");
    let reference = door.repository("docker/app:one");

    docker.load(&large_image(1).to_load(&reference));
    let refused = docker.refused(&["push", &reference]);

    assert!(refused.contains("413"), "{refused}");
    door.serves_skopeo(None);
}

/// The registry does not learn that clients use TLS, and plain HTTP is redirected: a `Location` with `http://` turns a
/// PATCH into a GET.
fn over_tls_that_the_registry_is_not_told_of_without_help() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            {tls}
            client_max_body_size 0;
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));
}

/// Here plain HTTP works too: credentials are for `https://`, and a `Location` with `http://` loses them. "The login
/// succeeds, and the push says that authentication is required."
fn over_tls_beside_plain_http_without_help() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server {
            listen {host}:80;
            {tls}
            client_max_body_size 0;
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));
}

fn over_tls_with_the_headers_that_guides_give() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            {tls}
            client_max_body_size 0;
            chunked_transfer_encoding on;
            location / {
                proxy_pass http://{registry};
                proxy_set_header Host $http_host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_read_timeout 900;
            }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));
}

fn over_tls_without_any_header() {
    let site = Site::with_login();
    let _nginx = site.nginx(
        443,
        r#"
        server { listen {host}:80; return 301 https://$host$request_uri; }
        server {
            {tls}
            client_max_body_size 0;
            location / { proxy_pass http://{registry}; proxy_redirect off; }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));
}

/// Both use the same `Authorization`, and no registry can help: it does not know the proxy's users.
fn where_proxy_and_registry_ask_for_different_users() {
    let site = Site::with_login();
    let stranger = ("proxyuser", "another");
    make_password_file(&site.bench, "-bc", "proxy.htpasswd", stranger);
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            {login}
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );
    let log_in = |(user, password)| {
        let host = site.host.to_string();
        let options = ["login", "--tls-verify=false", "--username", user, "--password"];
        let arguments = [&options[..], &[password, &host]].concat();
        site.bench.attempt("skopeo", &arguments).map(drop)
    };

    for (user, password) in [stranger, LOGIN] {
        let refused = log_in((user, password)).unwrap_err();
        assert!(refused.contains("invalid username/password"), "{user}: {refused}");
    }

    // The same file on both sides lets its users in.
    fs::copy(
        site.bench.path("registry.htpasswd"),
        site.bench.path("proxy.htpasswd"),
    )
    .unwrap();
    log_in(LOGIN).unwrap();
}

/// The vhost refuses `docker` before 1.6, and serves a web UI at `/`.
fn beside_a_web_ui_and_closed_to_old_clients() {
    let site = Site::new();
    let _nginx = site.nginx(
        443,
        r#"
        gzip on;
        gzip_min_length 5000;
        gzip_types text/plain text/css application/xml text/javascript;
        gzip_proxied any;
        map $upstream_http_docker_distribution_api_version $docker_distribution_api_version {
            '' 'registry/2.0';
        }
        server {
            {tls}
            ssl_prefer_server_ciphers on;
            ssl_session_cache shared:SSL:10m;
            client_max_body_size 0;
            chunked_transfer_encoding on;
            location /v2/ {
                if ($http_user_agent ~ "^(docker\/1\.(3|4|5(?!\.[0-9]-dev))|Go ).*$" ) {
                    return 404;
                }
                auth_basic "Registry realm";
                auth_basic_user_file {passwords};
                add_header 'Docker-Distribution-Api-Version' $docker_distribution_api_version always;
                proxy_pass http://{registry};
                proxy_set_header Host $http_host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_read_timeout 900;
            }
            location / { return 200 "the UI"; }
        }
        server {
            listen {host}:80;
            location /v2/ {
                if ($http_user_agent ~ "^(docker\/1\.(3|4|5(?!\.[0-9]-dev))|Go ).*$" ) {
                    return 404;
                }
                proxy_pass http://{registry};
            }
        }
        "#,
    );

    site.door(443).serves_everybody(Some(LOGIN));

    let as_agent = |agent: &str| site.ask(80, "/v2/", &[("User-Agent", agent)]).status;
    assert_eq!(
        [
            "docker/1.5.0",
            "Go 1.1 package http",
            "docker/1.5.0-dev",
            "Go-http-client/1.1"
        ]
        .map(as_agent),
        [404, 404, 200, 200]
    );
}

fn without_the_header_that_old_clients_ask_for() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            proxy_hide_header Docker-Distribution-Api-Version;
            {login}
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    site.door(80).serves_everybody(Some(LOGIN));

    assert_eq!(
        site.ask(80, "/v2/", &[])
            .header("docker-distribution-api-version"),
        None
    );
}

fn with_compression_of_everything() {
    let site = Site::new();
    let _nginx = site.nginx(
        80,
        r#"
        server {
            listen {host}:80;
            client_max_body_size 0;
            gzip on;
            gzip_types *;
            gzip_proxied any;
            gzip_min_length 1;
            gzip_http_version 1.0;
            location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
        }
        "#,
    );

    site.door(80).serves_everybody(None);

    let target = "/v2/skopeo/app/tags/list";
    let compressed = site.ask(80, target, &[("Accept-Encoding", "gzip")]);
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
}

/// The registry is not on the network at all, and starts although its predecessor was killed.
fn through_a_unix_socket() {
    let site = Site::new();
    let socket = site.bench.path("registry.sock");
    let config = site.bench.path("registry.yml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{net: unix, addr: {}, proxies: {{trusted: [127.0.0.1]}}}}\n",
        argument(&site.bench.path("behind-the-socket")),
        argument(&socket)
    );
    fs::write(&config, text).unwrap();
    let registry = |command: &str| {
        let mut program = site.bench.command(env!("CARGO_BIN_EXE_registry"));
        program.arg(command);
        program
    };
    let serve = || {
        let process = Process::start(registry("serve").arg(&config)).unwrap();
        process.wait_for_output("listening on unix:").unwrap();
        process
    };
    let mut killed = serve();
    killed.kill().unwrap();
    assert!(socket.exists());
    let mut serving = serve();
    let upstream = format!("http://unix:{}:", argument(&socket));
    let server = r"
        server {
            listen {host}:80;
            client_max_body_size 0;
            location / {
                proxy_pass {upstream};
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            }
        }
    ";
    let _nginx = site.nginx(80, &server.replace("{upstream}", &upstream));

    site.door(80).serves_skopeo(None);

    // Whoever connects to the socket counts as loopback, which is believed here, and logged is who was forwarded.
    site.ask(80, "/v2/", &[("X-Forwarded-For", "192.0.2.9")])
        .expect_status(200);
    serving.wait_for_output("192.0.2.9 - - [").unwrap();
    let health = output_of({
        let mut health = registry("health");
        health.arg("--config").arg(&config);
        health
    });
    let said = health.unwrap().text().to_owned();
    assert_eq!(said, format!("healthy: unix:{}:/v2/: 200 OK", argument(&socket)));
    assert!(serving.stop().unwrap().success());
    assert!(!socket.exists());
}

impl Site {
    /// Starts nginx with these servers, one of which listens on this port.
    pub(crate) fn nginx(&self, port: u16, servers: &str) -> Proxy {
        let path = self.bench.path("nginx.conf");
        let directory = self.bench.path("nginx");
        fs::create_dir(&directory).expect("the test's directory is writable");
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|place| format!("{place}_temp_path {}/{place};\n", directory.display()))
            .concat();
        // The workers read the test's own files, which nobody else may.
        let text = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{places}{}\n}}\n",
            directory.display(),
            self.configured(&servers.replace("{tls}", TLS).replace("{login}", LOGIN_ASKED))
        );
        fs::write(&path, text).expect("the test's directory is writable");
        let mut command = self.bench.command("nginx");
        command.args(["-e", "stderr", "-p", argument(&directory), "-c", argument(&path)]);
        self.start(&mut command, port)
    }

    /// Sends a GET through the proxy.
    pub(super) fn ask(&self, port: u16, target: &str, headers: &[(&str, &str)]) -> Response {
        http::request((self.host, port).into(), "GET", target, headers, b"")
    }
}
