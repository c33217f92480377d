//! The server as its operators see it: health checks, and the metrics that the manual lists.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use registry_conformance::tools::Process;
use registry_core::Digest;

use crate::{
    http::{self, Response},
    image::{descriptor, noise, sha256},
    program::{Workbench, argument},
    server::{OCTETS, Server, address_after, closing},
};

/// User `user` with the password `password`, by `openssl passwd -apr1`.
const USERS: &str = "user:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\n";
const LOGIN: (&str, &str) = ("Authorization", "Basic dXNlcjpwYXNzd29yZA==");

const MANUAL: &str = include_str!("../../../docs/operating.md");

/// Time for which a count may lag behind the answer that it counts; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    trials!([];
        health_is_told_as_registry_2_tells_it,
        a_storage_that_cannot_be_written_is_told_and_goes_on_serving,
        damaged_content_is_pushed_again_and_counted,
        the_metrics_are_those_of_the_manual,
        a_push_and_a_pull_are_counted,
        open_uploads_are_counted_also_those_of_before,
        what_else_has_to_be_well_is_asked,
    )
}

/// Server with a debug listener.
pub(crate) struct Observed {
    process: Process,
    pub(crate) registry: SocketAddr,
    debug: SocketAddr,
}

impl Observed {
    fn start(root: &Path) -> Self {
        Self::start_as(Server::ours_command(root))
    }

    /// Starts a server by a command line, to which the debug address is added.
    pub(crate) fn start_as(mut command: Command) -> Self {
        command.args(["--debug-addr", "127.0.0.1:0"]);
        let process = Process::start(&mut command).expect("the server can be started");
        let address = |announces: &str, until: &str| {
            process.wait_for_output(until).unwrap();
            let output = process.output();
            let address = output.lines().find_map(|line| address_after(line, announces));
            address.unwrap_or_else(|| panic!("no address in {output:?}"))
        };
        Self {
            debug: address("debug server listening on ", "health at "),
            registry: address("listens on http://", "push one:"),
            process,
        }
    }

    /// Waits until its output contains a text.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        self.process.wait_for_output(what).unwrap();
    }

    #[track_caller]
    pub(crate) fn see(&self, path: &str) -> Response {
        http::request(self.debug, "GET", path, &[], b"")
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.see("/metrics").expect_status(200).body).unwrap()
    }

    /// Pushes a blob and reads it, as the user of [`USERS`].
    pub(crate) fn push_and_pull(&self, blob: &[u8]) {
        let send = |method, target: &str, body: &[u8]| {
            http::request(self.registry, method, target, &[OCTETS, LOGIN], body)
        };
        let session = send("POST", "/v2/a/b/blobs/uploads/", b"")
            .expect_status(202)
            .location();
        let digest = sha256(blob);
        send("PUT", &closing(&session, &digest.to_string()), blob).expect_status(201);
        send("GET", &format!("/v2/a/b/blobs/{digest}"), b"").expect_status(200);
    }

    /// Returns the value of a metric without labels.
    #[track_caller]
    pub(crate) fn gauge(&self, name: &str) -> usize {
        let metrics = self.metrics();
        let mut values = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = values
            .next()
            .unwrap_or_else(|| panic!("{name} is not in {metrics}"));
        value.parse().unwrap()
    }

    /// Returns the metrics once they contain this line: a count may follow the answer that it counts.
    #[track_caller]
    pub(crate) fn metrics_with(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if metrics.lines().any(|shown| shown == line) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "{line} is not in {metrics}");
            thread::yield_now();
        }
    }

    /// Waits until a check reports this fault, or none if it is empty.
    #[track_caller]
    fn health_says(&self, check: &str, wrong: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = String::from_utf8(self.see("/debug/health").body).unwrap();
            let checks: serde_json::Value = serde_json::from_str(&health).unwrap();
            match checks[check].as_str() {
                None if wrong.is_empty() => return,
                Some(said) if !wrong.is_empty() && said.starts_with(wrong) => return,
                _ => assert!(
                    Instant::now() < deadline,
                    "{check} does not say {wrong:?}: {health}"
                ),
            }
            thread::yield_now();
        }
    }
}

fn health_is_told_as_registry_2_tells_it() {
    let bench = Workbench::new();
    let server = Observed::start(&bench.path("data"));

    let health = server.see("/debug/health").expect_status(200);

    assert_eq!(
        health.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(health.body, b"{}");
    server.see("/debug/vars").expect_status(404);
    server.see("/v2/").expect_status(404);
    http::request(server.debug, "POST", "/debug/health", &[], b"").expect_status(405);
    http::request(server.registry, "GET", "/metrics", &[], b"").expect_status(404);
}

fn a_storage_that_cannot_be_written_is_told_and_goes_on_serving() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let mut command = Server::ours_command(&root);
    // The interval is also the time for an answer.
    command.env("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "1s");
    command.env("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "1");
    let server = Observed::start_as(command);
    let blob = noise(63, 1000);
    server.push_and_pull(&blob);

    // Permission bits do not stop root; nobody writes in a directory that is not the one that was locked.
    let owner = root.join("docker/registry/v2/_owner");
    let aside = bench.path("aside");
    fs::rename(&owner, &aside).unwrap();
    server.metrics_with(r#"registry_health_passing{check="storagedriver_filesystem"} 0"#);

    let health = server.see("/debug/health").expect_status(503);
    let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
    let wrong = health["storagedriver_filesystem"].as_str().unwrap();
    assert!(wrong.contains(argument(&owner)), "{wrong}");
    let target = format!("/v2/a/b/blobs/{}", sha256(&blob));
    http::request(server.registry, "GET", &target, &[], b"").expect_status(200);
    let refused =
        http::request(server.registry, "POST", "/v2/a/b/blobs/uploads/", &[], b"").expect_status(503);
    assert!(refused.header("retry-after").is_some());

    fs::rename(&aside, &owner).unwrap();
    server.metrics_with(r#"registry_health_passing{check="storagedriver_filesystem"} 1"#);
    server.see("/debug/health").expect_status(200);
    // What is only swept out is made again. Moved, as it may hold what is being tried at this moment.
    fs::rename(root.join("docker/registry/v2/_staging"), bench.path("staging")).unwrap();
    server.push_and_pull(&noise(64, 1000));
}

fn damaged_content_is_pushed_again_and_counted() {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let bench = Workbench::new();
    let root = bench.path("data");
    let server = Observed::start(&root);
    let layer = noise(65, 1000);
    let digest = sha256(&layer);
    server.push_and_pull(&layer);
    server.push_and_pull(b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string();
    let put = || {
        let headers = [("Content-Type", MANIFEST)];
        http::request(
            server.registry,
            "PUT",
            "/v2/a/b/manifests/v1",
            &headers,
            manifest.as_bytes(),
        )
    };
    let get = |target: &str| http::request(server.registry, "GET", target, &[], b"");
    let blob = format!("/v2/a/b/blobs/{digest}");
    let data = |digest: Digest| {
        let hex = digest.hex();
        root.join(format!(
            "docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        ))
    };
    put().expect_status(201);
    server.metrics_with("registry_storage_quarantined 0");

    fs::write(data(digest), &layer[..500]).unwrap();
    put().expect_status(400);
    get(&blob).expect_status(404);
    server.metrics_with("registry_storage_quarantined 1");
    server.push_and_pull(&layer);
    put().expect_status(201);

    fs::write(data(sha256(manifest.as_bytes())), &manifest[..100]).unwrap();
    get("/v2/a/b/manifests/v1").expect_status(404);
    put().expect_status(201);
    assert_eq!(
        get("/v2/a/b/manifests/v1").expect_status(200).body,
        manifest.as_bytes()
    );
}

fn what_else_has_to_be_well_is_asked() {
    let bench = Workbench::new();
    let (certificate, key) = (bench.path("certificate.pem"), bench.path("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut command = Server::ours_command(&bench.path("other"));
    command
        .arg("--tls-cert")
        .arg(&certificate)
        .arg("--tls-key")
        .arg(&key);
    let other = Server::start(command, "https://");
    let (address, file) = (other.address().to_string(), bench.path("maintenance"));
    let url = format!("https://localhost:{}", other.address().port());
    let mut command = Server::ours_command(&bench.path("data"));
    // Whom the system trusts.
    command.env("SSL_CERT_FILE", &certificate);
    command.env(
        "REGISTRY_HEALTH_FILE",
        format!("[{{file: {}, interval: 200ms}}]", file.display()),
    );
    command.env(
        "REGISTRY_HEALTH_HTTP",
        format!(
            "[{{uri: '{url}', interval: 200ms}}, {{uri: '{url}/v2/', interval: 200ms, statuscode: 404, headers: {{X-Probe: [a]}}}}]"
        ),
    );
    command.env(
        "REGISTRY_HEALTH_TCP",
        format!("[{{addr: '{address}', interval: 200ms, timeout: 10s, threshold: 2}}]"),
    );
    let server = Observed::start_as(command);
    let file_name = file.display().to_string();
    // That is an answer: its certificate is trusted for that name.
    server.health_says(&format!("{url}/v2/"), "the answer is 200 OK, not 404 Not Found");
    for well in [&url, &address, &file_name] {
        server.health_says(well, "");
    }

    fs::write(&file, "").unwrap();
    server.health_says(&file_name, "the file exists");
    fs::remove_file(&file).unwrap();
    server.health_says(&file_name, "");
    other.kill();
    for ill in [&url, &address] {
        server.health_says(ill, "cannot connect: Connection refused");
    }
    let pull = http::request(server.registry, "GET", "/v2/", &[], b"");
    assert_eq!(pull.status, 200);
}

fn the_metrics_are_those_of_the_manual() {
    let bench = Workbench::new();
    fs::write(bench.path("users"), USERS).unwrap();
    let mut command = Server::ours_command(&bench.path("data"));
    command.arg("--htpasswd").arg(bench.path("users"));
    // After the first collection there are more of them.
    command.env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_ENABLED", "false");
    let server = Observed::start_as(command);
    server.push_and_pull(&noise(61, 1000));
    let metrics =
        server.metrics_with(r#"registry_http_requests_total{handler="blob",method="get",code="200"} 1"#);

    assert_eq!(families(&metrics), manual());
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

fn a_push_and_a_pull_are_counted() {
    let bench = Workbench::new();
    let server = Observed::start(&bench.path("data"));

    server.push_and_pull(&noise(62, 5000));

    for line in [
        r#"registry_http_requests_total{handler="blob_upload",method="post",code="202"} 1"#,
        r#"registry_http_requests_total{handler="blob_upload_chunk",method="put",code="201"} 1"#,
        r#"registry_http_requests_total{handler="blob",method="get",code="200"} 1"#,
        r#"registry_http_request_size_bytes_sum{handler="blob_upload_chunk"} 5000.0"#,
        r#"registry_http_response_size_bytes_sum{handler="blob"} 5000.0"#,
        r#"registry_http_in_flight_requests{handler="blob"} 0"#,
        r#"registry_storage_action_seconds_count{driver="filesystem",action="commit"} 1"#,
        r#"registry_storage_errors_total{driver="filesystem",kind="internal"} 0"#,
        r#"registry_health_passing{check="storagedriver_filesystem"} 1"#,
    ] {
        server.metrics_with(line);
    }
}

fn open_uploads_are_counted_also_those_of_before() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let before = Server::ours(&root);
    before.open_upload("a/b");
    before.stop();

    let server = Observed::start(&root);
    server.metrics_with("registry_storage_open_uploads 1");
    let target = "/v2/c/blobs/uploads/";
    let session = http::request(server.registry, "POST", target, &[], b"")
        .expect_status(202)
        .location();
    server.metrics_with("registry_storage_open_uploads 2");
    http::request(server.registry, "DELETE", &session, &[], b"").expect_status(204);
    server.metrics_with("registry_storage_open_uploads 1");
}

/// Metrics: name, type and labels of each, by the name used in queries.
type Families = BTreeMap<String, (String, Vec<String>)>;

fn families(text: &str) -> Families {
    let mut families = Families::new();
    for declared in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = declared.split_once(' ').unwrap();
        let shown = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let sample = if kind == "histogram" {
            format!("{name}_count")
        } else {
            shown.clone()
        };
        let sample = text
            .lines()
            .find(|line| line.split(['{', ' ']).next() == Some(&sample));
        let sample = sample.unwrap_or_else(|| panic!("{name} has no sample in {text}"));
        // Values have neither commas nor braces here.
        let labels = sample
            .split_once('{')
            .map_or("", |(_, rest)| rest.split('}').next().unwrap());
        let mut labels: Vec<_> = labels
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0.to_owned()))
            .collect();
        labels.sort();
        families.insert(shown, (kind.to_owned(), labels));
    }
    families
}

/// Returns the metrics in the manual's table.
fn manual() -> Families {
    let (_, table) = MANUAL
        .split_once("| metric | type |")
        .expect("the manual has the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let mut labels: Vec<_> = cells[3]
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect();
        labels.sort();
        (
            cells[1].trim_matches('`').to_owned(),
            (cells[2].to_owned(), labels),
        )
    })
    .collect()
}
