//! Headers that proxies drop, and headers that browsers depend on.

use std::{fs, process::Command};

use libtest_mimic::Trial;
use serde_json::json;

use super::{Examined, examine};
use crate::{
    image::{OCI_CONFIG, OCI_MANIFEST, sha256},
    program::{Workbench, argument},
    proxies::{LOGIN, Site, make_password_file},
    server::{Server, registry2_config},
};

const PROXY: [&str; 3] = ["nginx", "openssl", "htpasswd"];
const REGISTRY_2: [&str; 2] = ["docker-registry", "htpasswd"];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(PROXY;
        headers_that_a_proxy_drops_are_found,
        headers_that_old_clients_want_are_a_warning,
        an_origin_that_comes_twice_is_found,
    );
    trials.extend(trials!(["htpasswd"];
        everybody_together_with_credentials_is_found,
        a_web_interface_that_may_do_all_is_sound,
        a_web_interface_that_is_not_named_is_found,
        a_registry_that_knows_no_web_interface_is_told_all_headers_at_once,
    ));
    trials.extend(trials!(REGISTRY_2; a_preflight_that_needs_a_login_is_found));
    trials
}

/// Pushes an image without layers, as `probe:one`.
fn push_image(server: &Server) {
    let config = b"{}";
    let digest = sha256(config).to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": config.len()},
    });
    server.push_blob("probe", &digest, config);
    server.push_manifest("probe", "one", OCI_MANIFEST, manifest.to_string().as_bytes());
}

/// Returns a vhost that passes everything on, apart from these lines.
fn vhost(lines: &str) -> String {
    r#"
    server {
        listen {host}:80;
        client_max_body_size 0;
        location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; {lines} }
    }
    "#
    .replace("{lines}", lines)
}

fn headers_that_a_proxy_drops_are_found() {
    let site = Site::new();
    push_image(&site.server);
    let _nginx = site.nginx(
        80,
        &vhost("proxy_hide_header Range; proxy_hide_header Docker-Content-Digest;"),
    );

    let examined = examine(&[&format!("http://{}", site.host)], None);

    examined.is_at_fault(&["upload-headers", "content-headers"]);
    examined.says("upload-headers", &["`Range` is missing", "`EOF`"]);
    examined.says(
        "content-headers",
        &[
            "probe:one",
            "Docker-Content-Digest",
            "invalid checksum digest format",
        ],
    );
}

fn headers_that_old_clients_want_are_a_warning() {
    let site = Site::new();
    push_image(&site.server);
    let _nginx = site.nginx(
        80,
        &vhost("proxy_hide_header Docker-Distribution-Api-Version; proxy_hide_header Docker-Upload-UUID;"),
    );

    let examined = examine(&[&format!("http://{}", site.host), "--repository", "probe"], None);

    examined.is_at_fault(&[]);
    examined.says(
        "api-version",
        &["warning\n", "add_header Docker-Distribution-Api-Version"],
    );
    examined.says("upload-headers", &["warning\n", "Docker-Upload-UUID"]);
    examined.says("content-headers", &["ok\n", "probe:one"]);
}

/// Starts a server with logins, and these allowed origins with credentials.
fn with_origins(bench: &Workbench, origins: &str) -> Server {
    make_password_file(bench, "-Bbc", "users", LOGIN);
    let mut command = Server::ours_command(&bench.path("registry"));
    command.args(["--htpasswd", argument(&bench.path("users"))]);
    with_headers(&mut command, origins);
    Server::start(command, "http://")
}

fn with_headers(command: &mut Command, origins: &str) {
    for (name, values) in [
        ("Access-Control-Allow-Origin", origins),
        ("Access-Control-Allow-Credentials", "[true]"),
        (
            "Access-Control-Allow-Methods",
            "['HEAD', 'GET', 'OPTIONS', 'DELETE']",
        ),
        ("Access-Control-Allow-Headers", "['Authorization', 'Accept']"),
        ("Access-Control-Expose-Headers", "['Docker-Content-Digest']"),
    ] {
        command.env(format!("REGISTRY_HTTP_HEADERS_{name}"), values);
    }
}

const INTERFACE: &str = "http://ui.example.com:5001";

fn ask_for_interface(server: &Server) -> Examined {
    examine(
        &[&format!("http://{}", server.address()), "--origin", INTERFACE],
        Some(LOGIN),
    )
}

fn everybody_together_with_credentials_is_found() {
    let bench = Workbench::new();
    let server = with_origins(&bench, "['*']");

    let examined = examine(&[&format!("http://{}", server.address())], None);

    examined.is_at_fault(&["cors"]);
    examined.says(
        "cors",
        &[
            "`Access-Control-Allow-Origin: *` together with",
            "name the web interface",
        ],
    );
}

fn a_web_interface_that_may_do_all_is_sound() {
    let bench = Workbench::new();
    let server = with_origins(&bench, &format!("['{INTERFACE}']"));

    let examined = ask_for_interface(&server);

    examined.is_at_fault(&[]);
    examined.says("cors", &["ok\n", INTERFACE]);
}

fn a_web_interface_that_is_not_named_is_found() {
    let bench = Workbench::new();
    let server = with_origins(&bench, "['https://another.example.com']");

    let examined = ask_for_interface(&server);

    assert!(
        examined.faults().iter().all(|check| check == "cors"),
        "{:#}",
        examined.report
    );
    examined.says("cors", &["may not read", INTERFACE, "http.headers"]);
}

fn a_registry_that_knows_no_web_interface_is_told_all_headers_at_once() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));

    let examined = examine(&[&server.address().to_string(), "--origin", INTERFACE], None);

    examined.is_at_fault(&["cors", "cors"]);
    examined.says("cors", &["204", "in its configuration"]);
    for header in [
        "Allow-Methods",
        "Allow-Headers",
        "Expose-Headers",
        "Allow-Credentials",
    ] {
        examined.says("cors", &[&format!("Access-Control-{header}: [")]);
    }
}

/// registry:2 asks a browser for a login in a preflight, which never carries one.
fn a_preflight_that_needs_a_login_is_found() {
    let bench = Workbench::new();
    make_password_file(&bench, "-Bbc", "users", LOGIN);
    let path = registry2_config(&bench.path("registry"));
    let config = fs::read_to_string(&path).unwrap();
    let users = bench.path("users");
    let auth = format!(
        "auth: {{ htpasswd: {{ realm: Registry, path: {} }} }}\n",
        argument(&users)
    );
    fs::write(&path, config + &auth).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(path);
    with_headers(&mut command, &format!("['{INTERFACE}']"));
    let server = Server::start(command, "listening on ");

    let examined = ask_for_interface(&server);

    assert!(
        examined.faults().iter().all(|check| check == "cors"),
        "{:#}",
        examined.report
    );
    examined.says("cors", &["`OPTIONS`", "401", "without a login"]);
}

fn an_origin_that_comes_twice_is_found() {
    let site = Site::with(|bench| with_origins(bench, &format!("['{INTERFACE}']")));
    let _nginx = site.nginx(
        80,
        &vhost("add_header Access-Control-Allow-Origin http://ui.example.com:5001 always;"),
    );

    let examined = examine(
        &[&format!("http://{}", site.host), "--origin", INTERFACE],
        Some(LOGIN),
    );

    assert!(
        examined.faults().iter().all(|check| check == "cors"),
        "{:#}",
        examined.report
    );
    examined.says("cors", &["occurs 2 times", "not both"]);
}
