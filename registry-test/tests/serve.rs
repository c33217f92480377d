//! The program `registry-test`, as a program in another language uses it: by its standard streams and its control API.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where something that has to be there is missing"
)]

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// A running program. Dropping it ends it as [`Served::end`] does, so that it removes its files. It is killed if a test fails.
struct Served {
    process: Child,
    input: Option<ChildStdin>,
    announced: Value,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut process = program(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self {
            input: process.stdin.take(),
            process,
            announced,
        }
    }

    fn text(&self, name: &str) -> &str {
        self.announced[name].as_str().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.text("host").parse().unwrap()
    }

    /// Sends a request to the registry, and returns status and body.
    fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        http(self.address(), method, target, body)
    }

    /// Makes a call of the control API, and returns status and answer.
    fn call(&self, method: &str, call: &str, body: &(impl ToString + ?Sized)) -> (u16, Value) {
        let (host, token) = self.text("control")["http://".len()..].split_once('/').unwrap();
        let target = format!("/{token}/{call}");
        let (status, answer) = http(host.parse().unwrap(), method, &target, &body.to_string());
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    /// Closes the standard input, and returns exit code and standard error.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut errors = String::new();
        self.process
            .stderr
            .as_mut()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (self.process.wait().unwrap().code(), errors)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.input.take());
        if thread::panicking() {
            // A process that has ended cannot be killed, nor need it be.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry-test"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).stdin(Stdio::null()).output().unwrap()
}

fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        connection,
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    answer(&mut connection)
}

fn answer(connection: &mut TcpStream) -> (u16, String) {
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_registry_ends_when_its_input_is_closed() {
    let served = Served::start(&["serve"]);
    let address = served.address();
    let files = served.text("docker_config_dir").to_owned();
    assert!(Path::new(&files).is_dir());
    assert_eq!(served.text("url"), format!("http://{address}"));
    assert_eq!(served.ask("GET", "/v2/", "").0, 200);

    assert_eq!(served.end(), (Some(0), String::new()));

    TcpListener::bind(address).unwrap();
    assert!(!Path::new(&files).exists());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_registry_and_removes_its_files() {
    for arguments in [&["serve"][..], &["serve", "--detached"]] {
        for (signal, fault) in [("TERM", false), ("INT", true)] {
            let mut served = Served::start(arguments);
            let files = served.text("docker_config_dir").to_owned();
            if fault {
                served.call("POST", "faults", &json!({ "on": "*", "status": 500 }));
            }
            let process = served.process.id().to_string();

            let sent = Command::new("kill").args(["-s", signal, &process]).status();

            assert!(sent.unwrap().success());
            assert_eq!(served.process.wait().unwrap().code(), Some(i32::from(fault)));
            assert!(!Path::new(&files).exists());
        }
    }
}

#[test]
fn without_a_temporary_directory_the_program_says_so() {
    let mut serve = program(&["serve"]);
    let failed = serve
        .env("TMPDIR", "/nowhere")
        .env("TMP", "/nowhere")
        .output()
        .unwrap();

    let message = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert!(
        message.contains("/nowhere") && message.contains("set TMPDIR"),
        "{message}"
    );
    assert!(!message.contains("panicked"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_registry_without_standard_input_says_why_it_ends() {
    let ended = run(&["serve"]);
    assert!(ended.status.success());
    let message = String::from_utf8(ended.stderr).unwrap();
    assert!(message.contains("use --detached"), "{message}");
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let wrong = run(&["serve", "--login", "ann:pw"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty());
    let message = String::from_utf8(wrong.stderr).unwrap();
    assert!(message.contains("unknown argument \"--login\""), "{message}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = run(&["serve", "--control", &address]);
    assert_eq!(failed.status.code(), Some(1));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(message.contains(&address), "{message}");

    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--quirk"));
}

#[test]
fn requests_are_recorded_until_they_are_taken() {
    let served = Served::start(&["serve"]);
    served.ask("GET", "/v2/team/app/manifests/v1", "");
    served.ask("POST", "/v2/team/app/blobs/uploads/", "");

    let (status, recorded) = served.call("GET", "requests", "");
    assert_eq!(status, 200);
    let [pull, push] = &recorded["requests"].as_array().unwrap()[..] else {
        panic!("{recorded}");
    };
    assert_eq!(pull["operation"], "get manifest");
    assert_eq!(
        (&pull["repository"], &pull["reference"]),
        (&json!("team/app"), &json!("v1"))
    );
    assert_eq!((&pull["status"], &pull["cut"]), (&json!(404), &Value::Null));
    assert_eq!(pull["headers"]["connection"], "close");
    assert_eq!(
        pull["response_headers"]["content-length"],
        pull["received"].to_string()
    );
    assert_eq!(push["operation"], "post upload");

    assert_eq!(served.call("GET", "requests?take=1", "").1, recorded);
    assert_eq!(served.call("GET", "requests", "").1, json!({ "requests": [] }));
}

#[test]
fn the_state_is_told_and_removed() {
    let served = Served::start(&["serve"]);
    served.ask("POST", "/v2/team/app/blobs/uploads/", "");
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    assert_eq!(served.ask("PUT", "/v2/team/app/manifests/v1", index).0, 201);

    let (_, pushed) = served.call("POST", "assert-pushed", &json!({ "name": "team/app:v1" }));
    let (_, state) = served.call("GET", "state", "");
    let digest = &pushed["digest"];
    assert_eq!(
        state["repositories"],
        json!({ "team/app": { "tags": { "v1": digest }, "manifests": [digest] } })
    );
    assert_eq!(state["uploads"][0]["repository"], "team/app");
    let (_, missing) = served.call("POST", "assert-pushed", &json!({ "name": "team/app:v2" }));
    assert_eq!(missing["pushed"], false);
    assert!(
        missing["missing"].as_str().unwrap().contains("team/app:v2"),
        "{missing}"
    );

    assert_eq!(served.call("POST", "reset", "").0, 204);

    let empty = json!({ "repositories": {}, "uploads": [] });
    assert_eq!(served.call("GET", "state", ""), (200, empty));
    assert_eq!(served.call("GET", "requests", "").1, json!({ "requests": [] }));
}

#[test]
fn a_seed_is_there_for_clients_that_log_in() {
    let served = Served::start(&["serve", "--basic", "ann:pw", "--read-only"]);
    let seed = json!({ "name": "app:v1", "image": { "files": [["etc/a", "1"]] } });
    let (status, seeded) = served.call("POST", "seed", &seed);
    assert_eq!(
        (status, &seeded["digest"].as_str().unwrap()[..7]),
        (200, "sha256:")
    );
    assert_eq!(served.ask("GET", "/v2/app/manifests/v1", "").0, 401);

    let config = served.announced["env"]["DOCKER_CONFIG"].as_str().unwrap();
    assert_eq!(config, served.text("docker_config_dir"));
    let config = Path::new(config).join("config.json");
    let config: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert!(
        config["auths"][served.text("host")]["auth"].is_string(),
        "{config}"
    );

    for call in ["restart", "expire-tokens"] {
        assert_eq!(served.call("POST", call, "").0, 204);
    }
    assert_eq!(
        served.call("GET", "state", "").1["repositories"]["app"]["tags"]["v1"],
        seeded["digest"]
    );
}

#[test]
fn a_registry_for_other_machines_has_urls_for_this_one() {
    let served = Served::start(&["serve", "--listen", "0.0.0.0:0", "--control", "0.0.0.0:0"]);
    assert_eq!(served.ask("GET", "/v2/", "").0, 200);
    assert!(served.text("control").starts_with("http://127.0.0.1:"));
    assert_eq!(served.call("GET", "state", "").0, 200);
}

#[test]
fn quirks_are_options() {
    let served = Served::start(&["serve", "--quirk", "without-catalog"]);
    assert_eq!(served.ask("GET", "/v2/_catalog", "").0, 404);
    assert_eq!(Served::start(&["serve"]).ask("GET", "/v2/_catalog", "").0, 200);
}

#[test]
fn faults_are_injected_and_counted() {
    let served = Served::start(&["serve"]);
    let rule = json!({ "on": "GET ping", "first": 2, "status": 503, "code": "UNAVAILABLE" });
    let (status, added) = served.call("POST", "faults", &rule);
    assert_eq!((status, &added["id"]), (200, &json!(1)));
    assert!(served.call("GET", "faults", "").1["faults"][0]["complaint"].is_string());

    let (status, body) = served.ask("GET", "/v2/", "");
    assert_eq!(status, 503);
    assert!(body.contains("UNAVAILABLE"), "{body}");

    let (_, listed) = served.call("GET", "faults", "");
    assert_eq!(
        (&listed["faults"][0]["fired"], &listed["faults"][0]["complaint"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(served.call("DELETE", "faults", "").0, 204);
    assert_eq!(served.ask("GET", "/v2/", "").0, 200);
    assert_eq!(served.call("GET", "faults", "").1, json!({ "faults": [] }));
}

#[test]
fn a_gate_lets_a_stalled_answer_go_on() {
    let served = Served::start(&["serve"]);
    let rule = json!({ "on": "GET ping", "stall": "response", "gate": "pong" });
    served.call("POST", "faults", &rule);
    let address = served.address();
    let client = thread::spawn(move || http(address, "GET", "/v2/", ""));

    assert_eq!(served.call("POST", "gates/ping/open", "").0, 400);
    assert_eq!(served.call("POST", "gates/pong/open", "").0, 204);

    assert_eq!(client.join().unwrap().0, 200);
    assert_eq!(served.call("GET", "faults", "").1["faults"][0]["fired"], 1);
}

#[test]
fn a_gate_that_was_opened_holds_the_requests_of_a_later_fault() {
    let served = Served::start(&["serve"]);
    let rule = json!({ "on": "GET ping", "stall": "response", "gate": "pong" });
    served.call("POST", "faults", &rule);
    assert_eq!(served.call("POST", "gates/pong/open", "").0, 204);
    assert_eq!(served.ask("GET", "/v2/", "").0, 200);
    served.call("POST", "faults", &rule);
    let mut held = TcpStream::connect(served.address()).unwrap();
    held.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    // The stall has begun once the fault has fired.
    while served.call("GET", "faults", "").1["faults"][1]["fired"] == 0 {}

    // Nothing may come, so a short wait shows nothing on a slow machine, and everything on a fast one.
    held.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(held.read(&mut [0]).is_err());

    assert_eq!(served.call("POST", "gates/pong/open", "").0, 204);
    held.set_read_timeout(None).unwrap();
    assert_eq!(answer(&mut held).0, 200);
}

#[test]
fn a_fault_that_never_happened_is_an_error_at_the_end() {
    for (optional, code) in [(false, 1), (true, 0)] {
        let served = Served::start(&["serve"]);
        let rule = json!({ "on": "DELETE blob", "refuse": true, "optional": optional });
        served.call("POST", "faults", &rule);
        let (ended, errors) = served.end();
        assert_eq!(ended, Some(code), "{errors}");
        // The fault as it was added.
        let added = r#"{"on":"DELETE blob","optional":false,"refuse":true} never happened"#;
        assert_eq!(errors.contains(added), !optional, "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}

#[test]
fn a_label_is_the_text_of_a_fault_in_messages() {
    let served = Served::start(&["serve"]);
    let rule =
        json!({ "on": "DELETE blob", "refuse": true, "label": "fault(on=\"DELETE blob\", refuse=True)" });
    served.call("POST", "faults", &rule);

    let (_, listed) = served.call("GET", "faults", "");
    assert_eq!(listed["faults"][0]["rule"], rule["label"]);
    let (_, errors) = served.end();
    let expected = "fault(on=\"DELETE blob\", refuse=True) never happened";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn presets_are_added_by_their_names() {
    let served = Served::start(&["serve"]);
    let source = include_str!("../src/fault/preset.rs");
    let names = source
        .split("\npub fn ")
        .skip(1)
        .map(|rest| rest.split('(').next().unwrap());
    let names: Vec<_> = names.collect();
    assert!(names.contains(&"bodies_in_chunks"), "{names:?}");
    for name in &names {
        let (status, added) = served.call("POST", "faults", &json!({ "preset": name }));
        let several = if *name == "without_optional_headers" { 4 } else { 1 };
        assert_eq!(
            (status, added["ids"].as_array().map(Vec::len)),
            (200, Some(several)),
            "{name}"
        );
    }

    let digest = served.ask("GET", "/v2/", "");
    assert_eq!(digest.0, 200);
    let (_, recorded) = served.call("GET", "requests", "");
    let headers = &recorded["requests"][0]["response_headers"];
    assert_eq!(
        (&headers["content-length"], &headers["transfer-encoding"]),
        (&Value::Null, &json!("chunked"))
    );
    assert_eq!(served.call("DELETE", "faults", "").0, 204);
    for (wrong, part) in [
        (json!({ "preset": "x" }), "bodies_in_chunks"),
        (json!({ "preset": "bodies_in_chunks", "nth": 1 }), "`nth`"),
    ] {
        let (status, refused) = served.call("POST", "faults", &wrong);
        assert_eq!(status, 400);
        assert!(refused["error"].as_str().unwrap().contains(part), "{refused}");
    }
}

#[test]
fn a_registry_that_is_paused_or_stopped_continues() {
    let served = Served::start(&["serve"]);
    for end in ["resume", "reset"] {
        assert_eq!(served.call("POST", "stop", "").0, 204);
        let refused = TcpStream::connect(served.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(served.call("POST", end, "").0, 204);
        assert_eq!(served.ask("GET", "/v2/", "").0, 200);
        served.call("GET", "requests?take=1", "");
    }

    assert_eq!(served.call("POST", "pause", "").0, 204);
    let address = served.address();
    let client = thread::spawn(move || http(address, "PUT", "/v2/app/manifests/v1", "{}").0);
    // The body has passed to the registry, which does not answer.
    while served.call("GET", "requests", "").1["requests"][0]["sent"] != 2 {}
    assert!(served.call("GET", "requests", "").1["requests"][0]["status"].is_null());
    assert_eq!(served.call("POST", "resume", "").0, 204);
    assert_eq!(client.join().unwrap(), 400);
}

#[test]
fn tokens_have_the_lifetime_of_an_option() {
    let served = Served::start(&[
        "serve",
        "--bearer",
        "ann:pw",
        "--anonymous-pull",
        "--token-lifetime",
        "7",
    ]);

    let (status, issued) = served.ask("GET", "/token?scope=repository:app:pull", "");

    assert_eq!(status, 200);
    let issued: Value = serde_json::from_str(&issued).unwrap();
    assert_eq!(issued["expires_in"], 7);
}

#[test]
fn the_certificate_of_a_client_is_in_files() {
    let served = Served::start(&["serve", "--tls", "--client-certificate"]);
    for (field, begin) in [
        ("client_certificate", "-----BEGIN CERTIFICATE-----"),
        ("client_key", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let pem = fs::read_to_string(served.text(field)).unwrap();
        assert!(pem.starts_with(begin), "{pem}");
    }
    let other = Served::start(&["serve", "--tls"]);
    assert!(other.announced["client_key"].is_null());
    assert!(
        !Path::new(other.text("docker_config_dir"))
            .join("client.key")
            .exists()
    );
}

#[test]
fn https_has_an_authority_that_clients_are_told() {
    let served = Served::start(&["serve", "--tls"]);
    assert_eq!(served.text("url"), format!("https://{}", served.address()));
    let authority = fs::read_to_string(served.text("ca")).unwrap();
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(served.announced["env"]["SSL_CERT_FILE"], served.text("ca"));
}

#[test]
fn bad_calls_are_refused_and_name_the_field() {
    let served = Served::start(&["serve"]);
    let nested = "[".repeat(100_000);
    for (method, call, body, status, part) in [
        ("POST", "assert-pushed", "", 400, "not JSON"),
        ("POST", "assert-pushed", "[]", 400, "object"),
        ("POST", "assert-pushed", &nested, 400, "not JSON"),
        ("POST", "assert-pushed", r#"{"title":"a"}"#, 400, "`title`"),
        ("POST", "assert-pushed", r#"{"name":1}"#, 400, "`name`"),
        ("GET", "requests?take=2", "", 400, "take=1"),
        (
            "POST",
            "seed",
            r#"{"name":"app:v1","picture":{}}"#,
            400,
            "picture",
        ),
        (
            "POST",
            "seed",
            r#"{"name":"App:v1","image":{"files":[]}}"#,
            400,
            "App",
        ),
        (
            "POST",
            "faults",
            r#"{"on":"GET ping","statuses":500}"#,
            400,
            "`statuses`",
        ),
        (
            "POST",
            "faults",
            r#"{"on":"GET ping","token":"expire"}"#,
            400,
            "`token`",
        ),
        ("POST", "faults", r#"{"refuse":true,"label":1}"#, 400, "`label`"),
        ("PUT", "faults", "{}", 405, "method"),
        ("DELETE", "state", "", 405, "method"),
        ("GET", "sate", "", 404, "no such call"),
        ("GET", "", "", 404, "no such call"),
    ] {
        let refused = served.call(method, call, body);
        assert_eq!(refused.0, status, "{method} {call}");
        let error = refused.1["error"].as_str().unwrap();
        assert!(error.contains(part), "{method} {call}: {error}");
    }
    assert_eq!(served.end(), (Some(0), String::new()));
}

#[test]
fn the_control_api_needs_its_token() {
    let served = Served::start(&["serve"]);
    let (host, token) = served.text("control")["http://".len()..].split_once('/').unwrap();
    let host = host.parse().unwrap();
    assert_eq!(http(host, "GET", &format!("/{token}/state"), "").0, 200);
    for target in [
        "/state",
        "//state",
        "/0/state",
        &format!("/{}/state", &token[1..]),
        &format!("/{token}0/state"),
    ] {
        assert_eq!(http(host, "GET", target, "").0, 404, "{target}");
    }
}

#[test]
fn a_body_has_a_limit() {
    let served = Served::start(&["serve"]);
    let (host, token) = served.text("control")["http://".len()..].split_once('/').unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    write!(
        connection,
        "POST /{token}/assert-pushed HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999999\r\n\r\n"
    )
    .unwrap();
    assert_eq!(answer(&mut connection).0, 413);
}
