//! Large pulls: the system calls of the server, and its counts.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use crate::{
    http,
    image::{noise, sha256},
    program::{Workbench, argument},
    server::{OCTETS, Server, closing},
};

/// Time for strace to write its output; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    trials!(["strace"]; a_large_blob_is_sent_by_the_system_and_logged_with_its_size)
}

fn a_large_blob_is_sent_by_the_system_and_logged_with_its_size() {
    let bench = Workbench::new();
    let seen = bench.path("seen");
    let ours = Server::ours_command(&bench.path("data"));
    let mut command = Command::new("strace");
    // As a detached grandchild, so that the server is the child that is signalled.
    command.args(["-D", "-f", "-e", "trace=sendfile", "-o", argument(&seen)]);
    command.arg(ours.get_program()).args(ours.get_args());
    // Its layers count bodies: none of them may be in the way.
    command.args(["--debug-addr", "127.0.0.1:0"]);
    command.env("REGISTRY_LOG_ACCESSLOG_DISABLED", "false");
    let server = Server::start(command, "listens on http://");
    let blob = noise(9, (5 << 20) + 321);
    let digest = sha256(&blob);
    let send = |method, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        http::request(server.address(), method, target, headers, body)
    };
    let session = send("POST", "/v2/a/blobs/uploads/", &[], b"").location();
    send("PUT", &closing(&session, &digest.to_string()), &[OCTETS], &blob).expect_status(201);
    let target = format!("/v2/a/blobs/{digest}");

    let whole = send("GET", &target, &[], b"").expect_status(200).body;
    let part = send("GET", &target, &[("Range", "bytes=70000-1069999")], b"")
        .expect_status(206)
        .body;

    assert!(whole == blob && part == blob[70_000..1_070_000]);
    server.says(&format!("\"GET {target} HTTP/1.1\" 200 {} ", blob.len()));
    server.says(&format!("\"GET {target} HTTP/1.1\" 206 1000000 "));
    server.stop();
    assert_eq!(sent_by_the_system(&seen), blob.len() + 1_000_000);
}

/// Returns the number of bytes sent by `sendfile`, after strace has seen the end.
fn sent_by_the_system(seen: &Path) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let calls = fs::read_to_string(seen).unwrap();
        let lines = calls.lines();
        if lines
            .clone()
            .last()
            .is_some_and(|line| line.contains("+++ exited with"))
        {
            let sent = lines.filter(|line| line.contains("sendfile"));
            return sent
                .filter_map(|line| line.rsplit_once(" = ")?.1.parse::<usize>().ok())
                .sum();
        }
        assert!(Instant::now() < deadline, "strace does not end: {calls}");
        thread::yield_now();
    }
}
