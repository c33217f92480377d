//! Answers, compared with those of registry:2 where both must do the same.

use std::{fs, path::Path, process::Command};

use libtest_mimic::Trial;

use super::{
    CONFIG, MANIFEST, OURS, Setup, USERS, WITH_A_USER_INTERFACE, origins::permissions, push, with_http,
};
use crate::{
    http::Request,
    image::sha256,
    server::{OCTETS, Server, end_of},
};

pub(super) fn trials() -> Vec<Trial> {
    trials![[];
        a_compose_set_up_with_a_user_interface_works_as_it_is,
        deletion_is_off_unless_the_configuration_turns_it_on,
        headers_are_those_of_registry_2,
        layers_lie_elsewhere_where_registry_2_lets_them,
        a_layer_with_an_address_is_needed_where_the_configuration_says_nothing_of_it,
        a_manifest_with_wrong_sizes_is_refused_unless_the_configuration_accepts_it,
        the_environment_does_what_it_does_in_registry_2,
        what_docker_asked_for_before_version_2_is_not_there,
        the_root_is_a_page_that_needs_no_login,
        a_configuration_alone_is_served,
        a_blob_beyond_the_largest_is_refused_before_it_is_sent,
        nothing_changes_while_it_is_read_only,
        docker_of_before_1_6_is_turned_away_if_asked,
    ]
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
                        body.contains("which this registry does not allow; `validation"),
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
            server.says(
                "accepted a manifest with wrong sizes in its descriptors\" claimed=3 descriptors=1 digest=",
            );
        } else {
            let body = String::from_utf8(answer.expect_status(400).body).unwrap();
            let sizes = format!(
                "{digest} has 2 bytes, but its descriptor gives 3; `validation.manifests.sizes: any`"
            );
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
