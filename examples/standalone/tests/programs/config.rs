//! The configuration of registry:2, served: files and environments of real installations, compared with registry:2
//! itself where both must do the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::{
    http::{Request, Response},
    image::sha256,
    server::{self, OCTETS, Server, end_of},
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials![[];
        a_compose_set_up_with_a_user_interface_works_as_it_is,
        deletion_is_off_unless_the_configuration_turns_it_on,
        locations_follow_host_prefix_and_proxies,
        a_preflight_is_answered_and_a_foreign_origin_gets_no_permission,
        what_docker_asked_for_before_version_2_is_not_there,
        the_root_is_a_page_that_needs_no_login,
        a_configuration_alone_is_served,
        problems_end_the_process_with_their_place,
        a_misspelled_login_ends_the_process,
        check_reads_users_and_rules,
        check_tells_users_that_there_are_not,
        a_file_in_the_place_of_the_directory_is_named,
        what_registry_2_collects_with_is_refused_with_a_hint,
        log_lines_have_the_format_that_is_asked_for,
        pushes_and_pulls_are_told_unless_the_access_log_tells_them,
        a_blob_beyond_the_largest_is_refused_before_it_is_sent,
        nothing_changes_while_it_is_read_only,
        the_client_that_a_proxy_tells_is_the_one_in_the_log,
        whoever_may_be_a_proxy_claims_one_address_and_is_told_of,
        links_follow_nobody_who_is_not_believed,
        only_the_networks_that_may_connect_are_let_in,
        docker_of_before_1_6_is_turned_away_if_asked,
        a_preflight_needs_no_login,
        a_manifest_with_wrong_sizes_is_refused_unless_the_configuration_accepts_it,
        a_layer_with_an_address_is_needed_where_the_configuration_says_nothing_of_it,
    ];
    trials.extend(trials![["docker-registry"];
        headers_are_those_of_registry_2,
        the_environment_does_what_it_does_in_registry_2,
        layers_lie_elsewhere_where_registry_2_lets_them,
    ]);
    trials.extend(trials![["fail2ban-regex"];
        fail2ban_finds_failed_logins_and_nothing_else,
    ]);
    trials
}

/// Configuration for the Joxit user interface beside the registry.
const WITH_A_USER_INTERFACE: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
    Access-Control-Allow-Origin: ['http://hub.example:5001']
    Access-Control-Allow-Methods: ['HEAD', 'GET', 'OPTIONS', 'DELETE']
    Access-Control-Allow-Headers: ['Authorization', 'Accept']
    Access-Control-Max-Age: [1728000]
    Access-Control-Allow-Credentials: [true]
    Access-Control-Expose-Headers: ['Docker-Content-Digest']
";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A directory with a configuration file in it.
struct Setup {
    directory: TempDir,
}

impl Setup {
    fn new(config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("config.yml"), config).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Returns `PROGRAM serve config.yml`, on a free port, with the images beside the configuration.
    fn command(&self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = server::program(program);
        command
            .arg("serve")
            .arg(self.config())
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", self.root())
            .envs(variables.iter().copied());
        command
    }

    fn ours(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command(OURS, variables), "http://")
    }

    fn registry2(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command("docker-registry", variables), "listening on ")
    }
}

const OURS: &str = env!("CARGO_BIN_EXE_registry");

/// Makes a minimal configuration with this text under `http`.
fn with_http(http: &str) -> Setup {
    Setup::new(&format!("version: 0.1\nhttp: {{{http}}}\n"))
}

fn push(server: &Server, repository: &str) -> String {
    let config = b"{}";
    server.push_blob(repository, &sha256(config).to_string(), config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{}","size":2}},"layers":[]}}"#,
        sha256(config)
    );
    server.push_manifest(repository, "v1", MANIFEST, manifest.as_bytes());
    sha256(manifest.as_bytes()).to_string()
}

fn a_compose_set_up_with_a_user_interface_works_as_it_is() {
    let setup = Setup::new(WITH_A_USER_INTERFACE);
    // The user interface's own variables, and Kubernetes', reach the registry in some installations.
    let server = setup.ours(&[
        ("REGISTRY_TITLE", "Private Docker Registry"),
        ("DELETE_IMAGES", "true"),
        ("URL", "https://hub.example"),
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
    ]);
    let digest = push(&server, "team/app");
    let origin = [("Origin", "http://hub.example:5001"), ("Accept", MANIFEST)];
    let tags = server.request("GET", "/v2/team/app/tags/list", &origin, b"");
    assert_eq!(
        tags.header("access-control-allow-origin"),
        Some("http://hub.example:5001")
    );
    assert_eq!(tags.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(
        tags.header("access-control-expose-headers"),
        Some("Docker-Content-Digest")
    );
    // Errors too, or the page cannot show them.
    let missing = server.request("GET", "/v2/team/app/manifests/v2", &origin, b"");
    assert_eq!(missing.status, 404);
    assert_eq!(
        missing.header("access-control-allow-origin"),
        Some("http://hub.example:5001")
    );

    server
        .request(
            "DELETE",
            &format!("/v2/team/app/manifests/{digest}"),
            &origin,
            b"",
        )
        .expect_status(202);
    assert!(
        setup
            .root()
            .join("docker/registry/v2/repositories/team/app")
            .is_dir()
    );
}

fn deletion_is_off_unless_the_configuration_turns_it_on() {
    let setup = with_http("");
    let server = setup.ours(&[]);
    let digest = push(&server, "app");
    for target in [
        "manifests/v1".to_owned(),
        format!("manifests/{digest}"),
        format!("blobs/{}", sha256(b"{}")),
    ] {
        let answer = server.request("DELETE", &format!("/v2/app/{target}"), &[], b"");
        assert_eq!(answer.status, 405, "{target}");
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains("UNSUPPORTED"), "{target}");
        // What people ask most about registry:2.
        assert!(
            body.contains("`storage.delete.enabled: true`"),
            "{target}: {body}"
        );
    }
    server.get("/v2/app/manifests/v1");
    server.stop();

    let server = setup.ours(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true")]);
    server
        .request("DELETE", "/v2/app/manifests/v1", &[], b"")
        .expect_status(202);
}

fn locations_follow_host_prefix_and_proxies() {
    let proxied = [("Host", "registry.example"), ("X-Forwarded-Proto", "https")];
    for (http, target, expected) in [
        ("", "/v2/a/blobs/uploads/", "/v2/a/"),
        (
            "relativeurls: true, prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "/r/v2/a/",
        ),
        (
            "host: 'https://hub.example:8443'",
            "/v2/a/blobs/uploads/",
            "https://hub.example:8443/v2/a/",
        ),
        (
            "host: 'https://hub.example', prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "https://hub.example/r/v2/a/",
        ),
        (
            "relativeurls: false",
            "/v2/a/blobs/uploads/",
            "https://registry.example/v2/a/",
        ),
        (
            "relativeurls: false, prefix: /r/",
            "/r/v2/a/blobs/uploads/",
            "https://registry.example/r/v2/a/",
        ),
    ] {
        let setup = with_http(http);
        let server = setup.ours(&[]);
        let answer = server.request("POST", target, &proxied, b"").expect_status(202);
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(expected), "{http}: {location}");
        if let Some(path) = location.strip_prefix("https://registry.example") {
            server.request("GET", path, &proxied, b"").expect_status(204);
        }
    }
}

fn links_follow_nobody_who_is_not_believed() {
    let setup = with_http("relativeurls: false, proxies: {trusted: [203.0.113.7]}");
    let server = setup.ours(&[]);
    for told in [
        ("Forwarded", "proto=https;host=evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
    ] {
        let headers = [("Host", "registry.example"), told];
        let answer = server.request("POST", "/v2/a/blobs/uploads/", &headers, b"");
        let location = answer.header("location").unwrap();
        assert!(
            location.starts_with("http://registry.example/v2/a/"),
            "{told:?}: {location}"
        );
    }
    server.terminate();
    let said = server.wait_and_listen();
    let warned = said.lines().filter(|line| line.contains("http.proxies.trusted"));
    assert_eq!(warned.count(), 1, "{said}");
}

fn a_preflight_is_answered_and_a_foreign_origin_gets_no_permission() {
    let server = Setup::new(WITH_A_USER_INTERFACE).ours(&[]);
    let preflight = |origin| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "DELETE")];
        server.request("OPTIONS", "/v2/app/manifests/v1", &headers, b"")
    };
    let answer = preflight("http://hub.example:5001").expect_status(204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://hub.example:5001")
    );
    assert_eq!(
        answer.all("access-control-allow-methods"),
        ["HEAD", "GET", "OPTIONS", "DELETE"]
    );
    assert_eq!(answer.header("access-control-max-age"), Some("1728000"));
    assert_eq!(answer.header("vary"), Some("Origin"));

    for origin in ["http://evil.example", "http://hub.example", "null"] {
        let foreign = preflight(origin);
        assert!(
            permissions(&foreign).is_empty(),
            "{origin}: {:?}",
            permissions(&foreign)
        );
        let request = server
            .request("GET", "/v2/", &[("Origin", origin)], b"")
            .expect_status(200);
        assert!(permissions(&request).is_empty(), "{origin}");
    }
}

/// Returns the `Access-Control-*` lines of an answer.
fn permissions(answer: &Response) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = answer
        .lines()
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    lines.sort();
    lines
}

fn headers_are_those_of_registry_2() {
    for origin in [
        "['*']",
        "['http://hub.example:5001']",
        "[http://a.example, http://b.example]",
    ] {
        let setup = Setup::new(&WITH_A_USER_INTERFACE.replace("['http://hub.example:5001']", origin));
        let other = Setup::new(&fs::read_to_string(setup.config()).unwrap());
        let (ours, theirs) = (setup.ours(&[]), other.registry2(&[]));
        for target in [
            "/v2/",
            "/v2/_catalog",
            "/v2/app/tags/list",
            "/v2/app/manifests/v1",
            "/",
        ] {
            let answers = [&ours, &theirs].map(|server| server.request("GET", target, &[], b""));
            let [ours, theirs] = answers.each_ref().map(|answer| {
                let nosniff = answer.all("x-content-type-options").join(",");
                (
                    answer.status,
                    permissions(answer),
                    nosniff,
                    // Ours says it of names, too.
                    (target == "/").then(|| answer.header("cache-control").map(str::to_owned)),
                )
            });
            assert_eq!(ours, theirs, "{origin}: {target}");
        }
    }
}

fn layers_lie_elsewhere_where_registry_2_lets_them() {
    for rules in [
        r"{allow: ['^https://example\.com/', 'mirror'], deny: ['/secret/']}",
        "{deny: [example]}",
        "{allow: [], deny: []}",
    ] {
        let text = format!("version: 0.1\nvalidation: {{manifests: {{urls: {rules}}}}}\n");
        let (setup, other) = (Setup::new(&text), Setup::new(&text));
        let servers = [setup.ours(&[]), other.registry2(&[])];
        for server in &servers {
            push(server, "app");
        }
        for url in [
            "https://example.com/layer",
            "https://example.com/secret/layer",
            "https://example.org/layer",
            "http://mirror.example.org:8080/layer?part=1",
            "https://example.com/layer#part",
            "ftp://mirror/layer",
        ] {
            for layer in ["layer", "layer.nondistributable"] {
                let manifest = with_absent_layer(layer, url);
                let [ours, theirs] = servers.each_ref().map(|server| {
                    let content_type = [("Content-Type", MANIFEST)];
                    server.request("PUT", "/v2/app/manifests/v1", &content_type, manifest.as_bytes())
                });
                assert_eq!(
                    ours.status == 201,
                    theirs.status == 201,
                    "{rules}: {layer}: {url}"
                );
                if ours.status != 201 {
                    let body = String::from_utf8(ours.expect_status(400).body).unwrap();
                    assert!(
                        body.contains("where this registry wants none; `validation"),
                        "{body}"
                    );
                }
            }
        }
    }
}

/// Makes an image with one layer of this kind, which is stored elsewhere.
fn with_absent_layer(layer: &str, url: &str) -> String {
    let (config, absent) = (sha256(b"{}"), sha256(b"somewhere else"));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.{layer}.v1.tar+gzip","digest":"{absent}","size":14,"urls":["{url}"]}}]}}"#
    )
}

fn a_layer_with_an_address_is_needed_where_the_configuration_says_nothing_of_it() {
    let setup = Setup::new("version: 0.1\n");
    let server = setup.ours(&[]);
    push(&server, "app");
    for (layer, status) in [("layer", 400), ("layer.nondistributable", 201)] {
        let manifest = with_absent_layer(layer, "https://example.com/layer");

        let content_type = [("Content-Type", MANIFEST)];
        let answer = server.request("PUT", "/v2/app/manifests/v1", &content_type, manifest.as_bytes());

        let body = String::from_utf8(answer.expect_status(status).body).unwrap();
        assert_eq!(body.contains("MANIFEST_BLOB_UNKNOWN"), status == 400, "{body}");
    }
}

fn a_manifest_with_wrong_sizes_is_refused_unless_the_configuration_accepts_it() {
    let digest = sha256(b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{digest}","size":3}},"layers":[]}}"#
    );
    for (sizes, accepted) in [("exact", false), ("any", true)] {
        let setup = Setup::new("version: 0.1\n");
        let server = setup.ours(&[("REGISTRY_VALIDATION_MANIFESTS_SIZES", sizes)]);
        push(&server, "app");

        let content_type = [("Content-Type", MANIFEST)];
        let answer = server.request("PUT", "/v2/app/manifests/v2", &content_type, manifest.as_bytes());

        if accepted {
            answer.expect_status(201);
            server
                .says("other sizes than its content has, and is accepted\" claimed=3 descriptors=1 digest=");
        } else {
            let body = String::from_utf8(answer.expect_status(400).body).unwrap();
            let sizes =
                format!("{digest} has 2 bytes, its descriptor says 3; `validation.manifests.sizes: any`");
            assert!(body.contains(&sizes), "{body}");
        }
    }
}

fn the_environment_does_what_it_does_in_registry_2() {
    let file = "version: 0.1\nhttp:\n  headers:\n    X-File: [file]\n    X-Both: [file]\nstorage:\n  delete: {enabled: false}\n";
    for variables in [
        &[][..],
        &[("REGISTRY_HTTP_HEADERS_X-New", "[a, 1, true]")],
        &[("REGISTRY_HTTP_HEADERS", "{X-Other: [b]}")],
        &[
            ("REGISTRY_HTTP_HEADERS", "{X-Other: [b]}"),
            ("REGISTRY_HTTP_HEADERS_X-More", "['c d']"),
        ],
        &[
            ("REGISTRY_HTTP_RELATIVEURLS", "true"),
            ("REGISTRY_HTTP_NOSUCHKEY", "1"),
        ],
        &[("REGISTRY_HTTP_HOST", "https://hub.example")],
        &[
            ("registry_http_host", "https://hub.example"),
            ("REGISTRY_http_HOST", "https://hub.example"),
        ],
        &[
            ("REGISTRY_STORAGE", "filesystem"),
            ("REGISTRY_LOG_LEVEL", "debug"),
        ],
        &[
            ("REGISTRY_STORAGE", "{inmemory: , delete: {enabled: true}}"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", ""),
        ],
        &[("REGISTRY_AUTH", "none")],
    ] {
        let setup = Setup::new(file);
        let answers: Vec<_> = [OURS, "docker-registry"]
            .into_iter()
            .map(|program| {
                let mut command = setup.command(program, variables);
                if variables.iter().any(|(_, value)| value.contains("inmemory")) {
                    command.env_remove("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY");
                }
                let announces = if program == OURS {
                    "http://"
                } else {
                    "listening on "
                };
                let server = Server::start(command, announces);
                let base = server.request("GET", "/v2/", &[], b"");
                let mut extra: Vec<(String, String)> = base
                    .lines()
                    .filter(|(name, _)| name.starts_with("x-") && *name != "x-content-type-options")
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                extra.sort();
                let upload = server.request("POST", "/v2/app/blobs/uploads/", &[("Host", "h.example")], b"");
                let location = upload.header("location").unwrap_or_default();
                let host = location.split_once("/v2/").map(|(host, _)| host.to_owned());
                // Without a word about it theirs is absolute, and ours a path.
                let host = host.filter(|host| host != "http://h.example" && !host.is_empty());
                let delete = server.request("DELETE", &format!("/v2/app/blobs/{}", sha256(b"")), &[], b"");
                (base.status, extra, upload.status, host, delete.status)
            })
            .collect();
        assert_eq!(answers.first(), answers.last(), "{variables:?}");
    }
}

fn what_docker_asked_for_before_version_2_is_not_there() {
    let server = with_http("").ours(&[]);
    for target in ["/v1/_ping", "/_ping", "/v1/search?q=x"] {
        let answer = server.request("GET", target, &[], b"");
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (404, None),
            "{target}"
        );
    }
}

fn the_root_is_a_page_that_needs_no_login() {
    let setup = with_http("");
    let users = setup.directory.path().join("users");
    fs::write(&users, USERS).unwrap();
    let server = setup.ours(&[("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap())]);
    server.request("GET", "/v2/", &[], b"").expect_status(401);

    let get = server.request("GET", "/", &[], b"").expect_status(200);
    let head = server.request("HEAD", "/", &[], b"").expect_status(200);

    let page = String::from_utf8(get.body.clone()).unwrap();
    assert!(page.contains("<title>") && page.len() < 2000, "{page}");
    assert!(!page.contains(env!("CARGO_PKG_VERSION")), "{page}");
    for (name, expected) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("content-length", &get.body.len().to_string()),
    ] {
        assert_eq!(get.header(name), Some(expected));
        assert_eq!(head.header(name), Some(expected));
    }
    assert!(head.body.is_empty());
    server.request("POST", "/", &[], b"").expect_status(405);
}

fn a_configuration_alone_is_served() {
    let setup = with_http("");
    let mut command = setup.command(OURS, &[]);
    command = replace_arguments(&command, &[setup.config().as_path()]);
    let server = Server::start(command, "http://");
    server.get("/v2/");
    server.stop();

    // Or by the variable that registry:2 knows, for `serve` without one.
    let mut command = replace_arguments(&setup.command(OURS, &[]), &[Path::new("serve")]);
    command.env("REGISTRY_CONFIGURATION_PATH", setup.config());
    let server = Server::start(command, "http://");
    server
        .request("DELETE", &format!("/v2/a/blobs/{}", sha256(b"")), &[], b"")
        .expect_status(405);
}

/// Returns the same program and environment with other arguments.
fn replace_arguments(command: &Command, arguments: &[&Path]) -> Command {
    let mut replaced = Command::new(command.get_program());
    replaced.args(arguments);
    replaced.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    replaced
}

fn problems_end_the_process_with_their_place() {
    let setup = with_http("addr: 5000, secret: s3cret");
    for arguments in [["serve", "config.yml"], ["config", "check"]] {
        let mut command = server::program(OURS);
        command
            .args(arguments)
            .current_dir(setup.directory.path())
            .env("REGISTRY_CONFIGURATION_PATH", "config.yml")
            .env_remove("REGISTRY_HTTP_ADDR");
        let (status, said) = end_of(command);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.contains("config.yml:2: http.addr: `5000`: it is not an address"),
            "{said}"
        );
        assert!(said.contains("no storage configuration provided"), "{said}");
        assert!(!said.contains("s3cret"));
    }
    // Nothing was listened on, and no directory made.
    assert!(!setup.root().exists());

    let mut check = server::program(OURS);
    check.args(["config", "check"]).arg(setup.config()).envs([
        ("REGISTRY_HTTP_ADDR", ":5000"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/nowhere"),
        ("REGISTRY_TITLE", "mine"),
    ]);
    let (status, said) = end_of(check);
    assert_eq!(status.code(), Some(0), "{said}");
    for line in [
        "# REGISTRY_HTTP_ADDR",
        "REGISTRY_TITLE: there is no such key; ignored",
        "http.secret: accepted without effect",
        " remarks above; none keeps a server from starting",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    assert!(!said.contains("s3cret"));
    assert!(!Path::new("/nowhere").exists());
}

fn a_misspelled_login_ends_the_process() {
    let setup = Setup::new("version: 0.1\nauthentication: {htpasswd: {path: /users}}\n");
    for variables in [&[][..], &[("REGISTRY_AUTH_HTPASSWD_FILE", "/users")]] {
        let (status, said) = end_of(setup.command(OURS, variables));
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.contains("config.yml:2: authentication: ") && said.contains("did you mean `auth`?"),
            "{said}"
        );
        assert_eq!(
            said.contains("REGISTRY_AUTH_HTPASSWD_FILE: "),
            !variables.is_empty(),
            "{said}"
        );
    }
    assert!(!setup.root().exists());
}

fn check_reads_users_and_rules() {
    let setup = with_http("");
    let file = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (users, rules) = (
        file("users", USERS),
        file(
            "rules.yml",
            "rules: [{repository: a, who: everyone, allow: pull}]\n",
        ),
    );
    let broken = file("broken.yml", "rules: [{}]\n");
    for (users, rules, create, complains_of) in [
        (&*users, &*rules, "false", None),
        ("/nowhere/users", &rules, "false", Some("/nowhere/users")),
        ("/nowhere/users", &rules, "true", None),
        ("/proc", &rules, "false", Some("/proc")),
        (&users, "/nowhere/rules.yml", "false", Some("/nowhere/rules.yml")),
        (&users, &broken, "false", Some("broken.yml")),
    ] {
        let mut check = server::program(OURS);
        check.args(["config", "check"]).arg(setup.config()).envs([
            ("REGISTRY_STORAGE", "filesystem"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", users),
            ("REGISTRY_AUTH_HTPASSWD_AUTOCREATE", create),
            ("REGISTRY_ACCESS_RULES", rules),
        ]);
        let (status, said) = end_of(check);
        assert_eq!(status.code(), Some(i32::from(complains_of.is_some())), "{said}");
        let complaint = said
            .lines()
            .find(|line| line.starts_with("registry: "))
            .unwrap_or_default();
        assert!(complaint.contains(complains_of.unwrap_or_default()), "{said}");
    }
}

fn check_tells_users_that_there_are_not() {
    let setup = with_http("");
    let file = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let users = file("users", USERS);
    let rules = file(
        "rules.yml",
        "rules:\n  - {repository: '**', who: anne, deny: push}\n",
    );
    let mut check = server::program(OURS);
    check.args(["config", "check"]).arg(setup.config()).envs([
        ("REGISTRY_STORAGE", "filesystem".as_ref()),
        ("REGISTRY_AUTH_HTPASSWD_PATH", users.as_os_str()),
        ("REGISTRY_ACCESS_RULES", rules.as_os_str()),
    ]);
    let (status, said) = end_of(check);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("rule 1 is about the user `anne`, and there is no such user in the htpasswd file"),
        "{said}"
    );
    assert!(said.contains("1 remark above"), "{said}");
}

fn a_file_in_the_place_of_the_directory_is_named() {
    let setup = with_http("");
    fs::write(setup.root(), "").unwrap();
    let (status, said) = end_of(setup.command(OURS, &[]));
    assert_eq!(status.code(), Some(1), "{said}");
    for part in [
        "storage.filesystem.rootdirectory (--root): ",
        "is a file, and has to be a directory",
    ] {
        assert!(said.contains(part), "{said}");
    }
    fs::remove_file(setup.root()).unwrap();
    let (_, said) = end_of(setup.command(OURS, &[("REGISTRY_ACCESS_RULES", "/nowhere/rules.yml")]));
    assert!(
        said.contains("access.rules (--access): ") && said.contains("/nowhere/rules.yml"),
        "{said}"
    );
}

fn what_registry_2_collects_with_is_refused_with_a_hint() {
    let mut command = server::program(OURS);
    command.args(["garbage-collect", "-d", "-m", "/etc/docker/registry/config.yml"]);
    let (status, said) = end_of(command);
    assert_eq!(status.code(), Some(1));
    assert!(
        said.contains("not available yet, and nothing was removed"),
        "{said}"
    );
}

fn log_lines_have_the_format_that_is_asked_for() {
    for (format, expected) in [
        ("text", "msg=\"listening on http://"),
        ("json", "\"msg\":\"listening on http://"),
        ("logstash", "\"message\":\"listening on http://"),
    ] {
        let setup =
            Setup::new("version: 0.1\nlog: {fields: {service: registry, env: test}}\nstorage: filesystem\n");
        let server = Server::start(
            setup.command(OURS, &[("REGISTRY_LOG_FORMATTER", format)]),
            expected,
        );
        let line = server.announcement();
        assert!(line.contains("service") && line.contains("env"), "{line}");
        if format != "text" {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

fn pushes_and_pulls_are_told_unless_the_access_log_tells_them() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let server = Server::ours_with(&root, &[]);
    let digest = push(&server, "team/app");
    server.says("msg=\"pushed team/app:v1\" client=127.0.0.1");
    server.get("/v2/team/app/manifests/v1");
    server.says("msg=\"pulled team/app:v1\" client=127.0.0.1");
    server.get(&format!("/v2/team/app/manifests/{digest}"));
    server.says(&format!("msg=\"pulled team/app@{digest}\""));
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("GET /v2/"), "{said}");
    assert!(!said.contains("level=warning"), "{said}");

    let server = Server::ours_with(&root, &["--access-log", "--log-level", "warn"]);
    server.get("/v2/team/app/manifests/v1");
    server.says("\"GET /v2/team/app/manifests/v1 HTTP/1.1\" 200 ");
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("level=info"), "{said}");
}

fn a_blob_beyond_the_largest_is_refused_before_it_is_sent() {
    let setup = with_http("maxblobsize: 100k");
    let server = setup.ours(&[]);
    let session = server.open_upload("app");
    // Nothing of the body is ever sent: the head is enough.
    let refused = Request::open(server.address(), "PATCH", &session, &[OCTETS], (100 << 10) + 1).finish();
    assert_eq!(refused.status, 413);
    let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(body["errors"][0]["code"], "SIZE_INVALID");
    let message = body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`http.maxblobsize`"), "{message}");

    let blob = vec![7; 100 << 10];
    server.push_blob("app", &sha256(&blob).to_string(), &blob);
}

fn nothing_changes_while_it_is_read_only() {
    let setup = with_http("");
    let server = setup.ours(&[]);
    push(&server, "app");
    server.stop();
    let read_only = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");

    let server = setup.ours(&[read_only, ("REGISTRY_STORAGE_DELETE_ENABLED", "true")]);
    for (method, target) in [
        ("POST", "/v2/app/blobs/uploads/"),
        ("PUT", "/v2/app/manifests/v2"),
        ("DELETE", "/v2/app/manifests/v1"),
    ] {
        let answer = server.request(method, target, &[("Content-Type", MANIFEST)], b"{}");
        assert_eq!(answer.status, 405, "{method} {target}");
        let body = String::from_utf8_lossy(&answer.body);
        assert!(
            body.contains("`storage.maintenance.readonly.enabled: false`"),
            "{body}"
        );
    }
    server.get("/v2/app/manifests/v1");
    server.stop();

    // Where a directory cannot be written, because another process has it or it is a file system of that kind, the
    // latter being the one that a test can have: /proc.
    let mut command = setup.command(OURS, &[]);
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/proc/self");
    let (status, said) = end_of(command);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("/proc/self") && said.contains("user id"), "{said}");
    let mut command = setup.command(OURS, &[read_only]);
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/proc/self");
    Server::start(command, "http://").get("/v2/_catalog");
}

fn the_client_that_a_proxy_tells_is_the_one_in_the_log() {
    let told = [
        ("X-Forwarded-For", "192.0.2.1, 198.51.100.7"),
        ("CF-Connecting-IP", "203.0.113.5"),
        ("User-Agent", "test"),
    ];
    for (variables, expected) in [
        (&[][..], "198.51.100.7"),
        (
            &[("REGISTRY_HTTP_PROXIES_HEADER", "CF-Connecting-IP")],
            "203.0.113.5",
        ),
        (&[("REGISTRY_HTTP_PROXIES_HOPS", "2")], "192.0.2.1"),
        (&[("REGISTRY_HTTP_PROXIES_TRUSTED", "[]")], "127.0.0.1"),
        (&[("REGISTRY_HTTP_PROXIES_TRUSTED", "[10.0.0.0/8]")], "127.0.0.1"),
        (
            &[("REGISTRY_HTTP_PROXIES_TRUSTED", "[127.0.0.0/8, 198.51.100.0/24]")],
            "192.0.2.1",
        ),
    ] {
        let setup = with_http("");
        let server = setup.ours(variables);
        server
            .request("GET", "/v2/_catalog?n=5", &told, b"")
            .expect_status(200);
        server.says(&format!("{expected} - - ["));
        server.says("\"GET /v2/_catalog?n=5 HTTP/1.1\" 200 ");
        server.says(" \"\" \"test\"");
    }
    let setup = with_http("");
    let server = setup.ours(&[("REGISTRY_LOG_ACCESSLOG_DISABLED", "true")]);
    server.get("/v2/");
    server.terminate();
    let said = server.wait_and_listen();
    assert!(!said.contains("GET"), "{said}");
}

fn whoever_may_be_a_proxy_claims_one_address_and_is_told_of() {
    let setup = with_http("");
    let users = setup.directory.path().join("users");
    fs::write(&users, USERS).unwrap();
    let server = setup.ours(&[("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap())]);
    // `ann:wrong`, as another client each time.
    let login = |told: &str| {
        let headers = [("Authorization", "Basic YW5uOndyb25n"), ("X-Forwarded-For", told)];
        server.request("GET", "/v2/", &headers, b"").status
    };
    // Some are forgiven meanwhile, the more the slower the machine.
    let refused = (0..2500).find(|n| {
        let end = format!("{}.{}", n / 250, n % 250);
        match login(&format!("198.51.100.7, 10.0.{end}")) {
            401 => false,
            status => {
                assert_eq!(status, 429, "{n}");
                true
            }
        }
    });
    let refused = refused.expect("one peer guesses without a limit");
    assert!(refused >= 100, "{refused}");
    server.terminate();

    let said = server.wait_and_listen();
    let failed = said.lines().filter(|line| line.contains("login failed"));
    assert!(
        failed.clone().all(|line| line.contains(" via=127.0.0.1")),
        "{said}"
    );
    assert_eq!(
        failed.filter(|line| line.contains(" client=10.0.")).count(),
        refused,
        "{said}"
    );
    let warned = said.lines().filter(|line| line.contains("http.proxies.trusted"));
    assert_eq!(warned.count(), 1, "{said}");
}

fn only_the_networks_that_may_connect_are_let_in() {
    let setup = with_http("allow: [192.0.2.0/24]");
    let server = setup.ours(&[]);
    // What a proxy would tell does not make anybody another peer.
    for headers in [&[][..], &[("X-Forwarded-For", "192.0.2.1")]] {
        for target in ["/v2/", "/"] {
            let refused = server.request("GET", target, headers, b"");
            assert_eq!(refused.status, 403, "{target}");
            let body = String::from_utf8_lossy(&refused.body);
            assert!(body.contains("`http.allow`"), "{body}");
        }
    }
    let setup = with_http("allow: [192.0.2.0/24, 127.0.0.1]");
    setup.ours(&[]).get("/v2/");
}

fn docker_of_before_1_6_is_turned_away_if_asked() {
    for (config, agent, status) in [
        ("false", "docker/1.5.0", 200),
        ("true", "docker/1.5.0", 404),
        ("true", "Go 1.1 package http", 404),
        ("true", "docker/20.10.24", 200),
    ] {
        let setup = with_http("");
        let server = setup.ours(&[("REGISTRY_COMPATIBILITY_REFUSEOLDCLIENTS", config)]);
        server
            .request("GET", "/v2/", &[("User-Agent", agent)], b"")
            .expect_status(status);
    }
}

/// Output of `htpasswd -b users ann secret`: apr1, as in most guides.
const USERS: &str = "ann:$apr1$QkJ4b3Jn$x6JbkG./Q0GN4D16Oxahf.\n";

fn a_preflight_needs_no_login() {
    let setup = Setup::new(WITH_A_USER_INTERFACE);
    let users = setup.directory.path().join("registry.password");
    fs::write(&users, USERS).unwrap();
    let users = users.to_str().unwrap();
    let server = setup.ours(&[
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", users),
    ]);
    let origin = ("Origin", "http://hub.example:5001");
    let headers = [origin, ("Access-Control-Request-Method", "DELETE")];
    server
        .request("OPTIONS", "/v2/app/manifests/v1", &headers, b"")
        .expect_status(204);

    let asked = server
        .request("GET", "/v2/_catalog", &[origin], b"")
        .expect_status(401);
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"Registry\""));
    // Or the page could not show that a login is needed.
    assert_eq!(asked.header("access-control-allow-credentials"), Some("true"));
}

fn fail2ban_finds_failed_logins_and_nothing_else() {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("fail2ban/registry.conf");
    for format in ["text", "json"] {
        let setup = with_http("");
        let users = setup.directory.path().join("users");
        fs::write(&users, USERS).unwrap();
        let users = users.to_str().unwrap();
        let server = setup.ours(&[
            ("REGISTRY_AUTH_HTPASSWD_PATH", users),
            ("REGISTRY_LOG_FORMATTER", format),
        ]);
        // `ann:wrong`, and a name that would like to be another address.
        let names = [
            "YW5uOndyb25n",
            "eCIgY2xpZW50PTEuMi4zLjQgbXNnPSJsb2dpbiBmYWlsZWQ6d3Jvbmc=",
        ];
        for (name, address) in names.iter().zip(["198.51.100.7", "2001:db8::9"]) {
            let login = format!("Basic {name}");
            let headers = [("Authorization", login.as_str()), ("X-Forwarded-For", address)];
            server.request("GET", "/v2/", &headers, b"").expect_status(401);
        }
        server.request("GET", "/v2/", &[], b"").expect_status(401);
        server.terminate();
        let log = setup.directory.path().join("log");
        fs::write(&log, server.wait_and_listen()).unwrap();

        let mut command = Command::new("fail2ban-regex");
        command.args(["--out", "ip"]).arg(&log).arg(&filter);
        let output = command.output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        let mut found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            ["198.51.100.7", "2001:db8::9"],
            "{format}: {:?}",
            fs::read_to_string(&log)
        );
    }
}
