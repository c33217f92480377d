//! The server as a process: its output, its refusals, its end, and its state after a restart.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use libtest_mimic::Trial;
use registry_conformance::tools;
use registry_core::{Algorithm, Digest};
use rustix::process::Signal;

use crate::{
    http::Request,
    image::{noise, sha256},
    program::{Workbench, argument},
    server::{self, OCTETS, Server, Starting, closing, end_of},
};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

const MIB: usize = 1024 * 1024;

/// Bytes that a close may read besides the blob: the records of the session, which do not grow with the blob.
const RECORDS: u64 = 64 * 1024;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        it_says_what_it_is,
        it_serves_where_it_says,
        it_serves_though_standard_output_takes_nothing,
        what_was_pushed_is_there_after_a_restart,
        a_session_that_was_left_alone_for_a_week_expires,
        a_slow_upload_is_drained_on_sigterm,
        a_hangup_drains_too_unless_it_is_ignored,
        a_root_that_cannot_be_written_is_refused,
        a_second_server_on_a_directory_is_refused_after_a_time,
        a_second_server_takes_the_directory_over_when_the_first_one_ends,
        a_server_that_waits_for_a_directory_ends_on_sigterm,
        servers_that_only_read_share_a_directory_with_its_owner,
        a_session_survives_kill_9_between_chunks,
        a_session_survives_kill_9_within_a_chunk,
    );
    if Path::new("/proc/self/io").exists() {
        trials.extend(trials!([]; a_close_reads_nothing_back));
    } else {
        trials.push(tools::absent(
            "lifecycle::a_close_reads_nothing_back",
            "/proc/PID/io",
        ));
    }
    trials
}

fn it_says_what_it_is() {
    let version = ran(&["--version"]);
    let help = ran(&["--help"]);
    let serve = ran(&["serve", "--help"]);

    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert!(help.contains("serve"), "{help}");
    for default in ["--addr", "127.0.0.1:5000", "--root", "./registry-data"] {
        assert!(serve.contains(default), "{default} is not in {serve}");
    }
}

fn it_serves_where_it_says() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));

    assert_ne!(server.address().port(), 0);
    server.get("/");
    server.get("/v2/");
    assert_eq!(server.stop().code(), Some(0));
}

/// Tests an output like a file on a full disk, or a pipe whose reader has gone.
fn it_serves_though_standard_output_takes_nothing() {
    let bench = Workbench::new();
    for access_log in ["", "--access-log"] {
        let mut command = bench.command("sh");
        let script = "exec \"$0\" serve --addr 127.0.0.1:0 --root data $1 >/dev/full";
        command.args(["-c", script, env!("CARGO_BIN_EXE_registry"), access_log]);
        let server = Server::start(command, "listening on http://");

        server.get("/v2/");
        server.says("cannot write to standard output");
        server.get("/v2/");
        assert_eq!(server.stop().code(), Some(0));
    }
}

fn what_was_pushed_is_there_after_a_restart() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let blob = noise(51, 100_000);
    let target = format!("/v2/a/b/blobs/{}", sha256(&blob));

    let server = Server::ours(&root);
    server.push_blob("a/b", &sha256(&blob).to_string(), &blob);
    server.kill();

    assert!(Server::ours(&root).get(&target).body == blob, "the blob is whole");
}

fn a_session_that_was_left_alone_for_a_week_expires() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let server = Server::ours(&root);
    let abandoned = server.open_upload("a/b");
    let fresh = server.open_upload("a/b");
    server.kill();
    let id = abandoned.rsplit('/').next().expect("a session has an id");
    let directory = root.join("docker/registry/v2/repositories/a/b/_uploads").join(id);
    let eight_days_ago = SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
    fs::write(directory.join("startedat"), "2026-01-01T00:00:00Z").expect("the session is there");
    let data = fs::File::options().write(true).open(directory.join("data"));
    data.and_then(|data| data.set_modified(eight_days_ago))
        .expect("files have times");

    let server = Server::ours(&root);

    server.says("an abandoned upload session has expired");
    let gone = server.request("GET", &abandoned, &[], &[]).expect_status(404);
    assert!(String::from_utf8_lossy(&gone.body).contains("BLOB_UPLOAD_UNKNOWN"));
    server.request("GET", &fresh, &[], &[]).expect_status(204);
    assert!(!directory.exists());
}

fn a_slow_upload_is_drained_on_sigterm() {
    drains(Server::terminate);
}

fn a_hangup_drains_too_unless_it_is_ignored() {
    drains(|server| server.signal(Signal::HUP));

    // As `nohup` starts it.
    let bench = Workbench::new();
    let mut command = bench.command("sh");
    let script = "trap '' HUP; exec \"$0\" serve --addr 127.0.0.1:0 --root data";
    command.args(["-c", script, env!("CARGO_BIN_EXE_registry")]);
    let server = Server::start(command, "http://");
    server.signal(Signal::HUP);
    server.get("/v2/");
    assert_eq!(server.stop().code(), Some(0));
}

/// Checks that an upload that is under way is taken to its end when the server is told to stop.
fn drains(stop: impl FnOnce(&Server)) {
    let bench = Workbench::new();
    let root = bench.path("data");
    // Whoever runs the tests may ignore SIGHUP, as `nohup` does, and processes inherit that.
    let mut command = server::program("env");
    command
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_registry")])
        .args(["serve", "--addr", "127.0.0.1:0", "--root"])
        .arg(&root);
    let server = Server::start(command, "http://");
    let address = server.address();
    let blob = noise(52, 100_000);
    let session = server.open_upload("slow/one");
    let headers = [OCTETS, ("Expect", "100-continue")];
    let mut upload = Request::open(address, "PATCH", &session, &headers, blob.len());
    upload.wait_for_continue();
    upload.send(&blob[..1000]);

    stop(&server);
    wait_until_closed(address);
    upload.send(&blob[1000..]);
    let answer = upload.finish().expect_status(202);

    assert_eq!(answer.header("range"), Some("0-99999"));
    assert_eq!(server.wait().code(), Some(0));
    let digest = sha256(&blob);
    let server = Server::ours(&root);
    server
        .request("PUT", &closing(&answer.location(), &digest.to_string()), &[], b"")
        .expect_status(201);
    assert!(
        server.get(&format!("/v2/slow/one/blobs/{digest}")).body == blob,
        "nothing was lost"
    );
}

fn a_root_that_cannot_be_written_is_refused() {
    let bench = Workbench::new();
    let file = bench.path("file");
    fs::write(&file, "in the way").unwrap();
    // Permission bits do not stop root; a regular file where a directory should be stops everybody.
    let root = file.join("data");

    let said = refused(&root);

    assert!(said.contains(argument(&root)), "the path is not in {said:?}");
    let user = rustix::process::geteuid().as_raw().to_string();
    let words: Vec<_> = said.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    assert!(
        words.contains(&user.as_str()),
        "the user id {user} is not in {said:?}"
    );
}

/// Returns a server that waits so long for its directory.
fn waiting(root: &Path, wait: &str) -> Command {
    let mut command = Server::ours_command(root);
    command.env("REGISTRY_STORAGE_FILESYSTEM_WAIT", wait);
    command
}

fn a_second_server_on_a_directory_is_refused_after_a_time() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let first = Server::ours(&root);

    let (status, said) = end_of(waiting(&root, "300ms"));

    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("waiting up to 0.3 s"), "{said}");
    assert!(said.contains("storage.filesystem.wait"), "{said}");

    assert!(said.contains(argument(&root)), "the path is not in {said:?}");
    assert!(
        said.contains(&first.id().to_string()),
        "the owner, process {}, is not in {said:?}",
        first.id()
    );
    first.get("/v2/");
    // Whom a dead process leaves the directory to is not for the next one to puzzle over.
    first.kill();
    Server::ours(&root).get("/v2/");
}

fn a_second_server_takes_the_directory_over_when_the_first_one_ends() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let blob = noise(54, 1000);
    let first = Server::ours(&root);
    let mut second = Starting::new(waiting(&root, "10m"));
    second.says("waiting up to 600 s");

    first.push_blob("a/b", &sha256(&blob).to_string(), &blob);
    assert_eq!(first.stop().code(), Some(0));

    let second = second.listening("http://");
    assert!(second.get(&format!("/v2/a/b/blobs/{}", sha256(&blob))).body == blob);
}

fn a_server_that_waits_for_a_directory_ends_on_sigterm() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let first = Server::ours(&root);
    let mut second = Starting::new(waiting(&root, "10m"));
    second.says("waiting up to 600 s");

    second.terminate();

    assert_eq!(second.wait().code(), Some(0));
    first.get("/v2/");
}

fn servers_that_only_read_share_a_directory_with_its_owner() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let owner = Server::ours(&root);
    let readers = [read_only(&root), read_only(&root)];
    let refusal = readers[0]
        .request("DELETE", "/v2/a/manifests/1", &[], b"")
        .expect_status(405);
    let refusal = String::from_utf8_lossy(&refusal.body);
    assert!(refusal.contains("this registry is read-only"), "{refusal}");
    let put = |tag: &str, manifest: &str| {
        owner
            .request(
                "PUT",
                &format!("/v2/a/manifests/{tag}"),
                &[("Content-Type", IMAGE)],
                manifest.as_bytes(),
            )
            .expect_status(201);
        sha256(manifest.as_bytes()).to_string()
    };
    let answers = |reader: &Server, target: &str| reader.request("GET", target, &[], b"");
    owner.push_blob("a", &sha256(b"{}").to_string(), b"{}");
    let image = |n: u32, more: &str| {
        let digest = sha256(b"{}");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{digest}","size":2}},"layers":[],"annotations":{{"n":"{n}"}}{more}}}"#
        )
    };
    let first = put("v1", &image(1, ""));
    let subject = format!(r#","subject":{{"mediaType":"{IMAGE}","digest":"{first}","size":1}}"#);
    for reader in &readers {
        answers(reader, "/v2/a/manifests/v1").expect_status(200);
        assert!(referrers(reader, &first).is_empty());
    }
    assert!(referrers(&owner, &first).is_empty());

    let second = put("v1", &image(2, ""));
    let signature = put("signature", &image(3, &subject));
    for reader in &readers {
        let moved = answers(reader, "/v2/a/manifests/v1").expect_status(200);
        assert_eq!(sha256(&moved.body).to_string(), second);
        assert_eq!(referrers(reader, &first), [signature.as_str()]);
        reader
            .request("DELETE", "/v2/a/manifests/v1", &[], b"")
            .expect_status(405);
    }

    owner
        .request("DELETE", &format!("/v2/a/manifests/{signature}"), &[], b"")
        .expect_status(202);
    owner
        .request("DELETE", "/v2/a/manifests/v1", &[], b"")
        .expect_status(202);
    for reader in &readers {
        answers(reader, "/v2/a/manifests/v1").expect_status(404);
        answers(reader, "/v2/a/manifests/signature").expect_status(404);
        assert!(referrers(reader, &first).is_empty());
    }

    let last = put("last", &image(4, &subject));
    owner.kill();
    for reader in &readers {
        assert_eq!(referrers(reader, &first), [last.as_str()]);
    }
    // The next owner is not kept waiting, and they see what it does.
    let owner = Server::ours(&root);
    owner
        .request("DELETE", &format!("/v2/a/manifests/{last}"), &[], b"")
        .expect_status(202);
    for reader in &readers {
        assert!(referrers(reader, &first).is_empty());
    }
}

fn read_only(root: &Path) -> Server {
    let mut command = Server::ours_command(root);
    command
        .env("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")
        .env("REGISTRY_STORAGE_DELETE_ENABLED", "false");
    Server::start(command, "http://")
}

fn referrers(server: &Server, subject: &str) -> Vec<serde_json::Value> {
    let target = format!("/v2/a/referrers/{subject}");
    let answer = server.request("GET", &target, &[], b"").expect_status(200);
    let index: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let manifests = index["manifests"].as_array().expect("a list");
    manifests
        .iter()
        .map(|manifest| manifest["digest"].clone())
        .collect()
}

fn a_session_survives_kill_9_between_chunks() {
    let bench = Workbench::new();
    let root = bench.path("data");
    // Not a multiple of any block size: the hash has to go on in the middle of one.
    let blob = noise(53, 3 * MIB + 12_345);
    let first = &blob[..MIB + 77];

    let server = Server::ours(&root);
    let session = server.open_upload("cut/one");
    let session = server
        .request("PATCH", &session, &[OCTETS], first)
        .expect_status(202)
        .location();
    server.kill();
    let server = Server::ours(&root);
    let kept = server.request("GET", &session, &[], b"").expect_status(204);
    assert_eq!(
        kept.header("range"),
        Some(format!("0-{}", first.len() - 1).as_str())
    );

    resume_and_close(&server, "cut/one", &kept.location(), first.len(), &blob);
}

fn a_session_survives_kill_9_within_a_chunk() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let blob = noise(54, 3 * MIB + 12_345);
    let whole_chunk = MIB + 77;

    let server = Server::ours(&root);
    let session = server.open_upload("cut/two");
    let session = server
        .request("PATCH", &session, &[OCTETS], &blob[..whole_chunk])
        .expect_status(202)
        .location();
    let headers = [OCTETS, ("Expect", "100-continue")];
    let rest = &blob[whole_chunk..];
    let mut cut = Request::open(server.address(), "PATCH", &session, &headers, rest.len());
    cut.wait_for_continue();
    cut.send(&rest[..MIB]);
    server.kill();
    let server = Server::ours(&root);
    let kept = server.request("GET", &session, &[], b"").expect_status(204);

    // How much of the second chunk was kept is the server's affair; that it knows what it kept is the test's.
    let last = kept
        .header("range")
        .and_then(|range| range.strip_prefix("0-"))
        .unwrap();
    let offset = last.parse::<usize>().unwrap() + 1;
    assert!(
        (whole_chunk..=whole_chunk + MIB).contains(&offset),
        "the session stands at {offset}"
    );
    resume_and_close(&server, "cut/two", &kept.location(), offset, &blob);
}

fn a_close_reads_nothing_back() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let blob = noise(55, 8 * MIB);

    // In one process.
    let server = Server::ours(&root);
    let session = server.open_upload("close/one");
    let session = server
        .request("PATCH", &session, &[OCTETS], &blob)
        .expect_status(202)
        .location();
    let read = read_by_close(&server, &session, &sha256(&blob));
    assert!(read < RECORDS, "the close read {read} bytes");

    // Across two processes in the same boot.
    let blob = noise(56, 8 * MIB);
    let (first, second) = blob.split_at(4 * MIB + 77);
    let session = server.open_upload("close/two");
    let session = server
        .request("PATCH", &session, &[OCTETS], first)
        .expect_status(202)
        .location();
    server.kill();
    let server = Server::ours(&root);
    let session = server
        .request("PATCH", &session, &[OCTETS], second)
        .expect_status(202)
        .location();
    let read = read_by_close(&server, &session, &sha256(&blob));
    assert!(read < RECORDS, "the close after a restart read {read} bytes");

    // The gauge works: a close in an algorithm that nobody announced has to read the whole session, once.
    let session = server.open_upload("close/three");
    let session = server
        .request("PATCH", &session, &[OCTETS], &blob)
        .expect_status(202)
        .location();
    let read = read_by_close(&server, &session, &Digest::of(Algorithm::Sha512, &blob));
    assert!(
        read >= 8 * MIB as u64,
        "the close in another algorithm read {read} bytes"
    );
}

/// Sends the rest of a blob to its session, closes it, and reads the blob back.
fn resume_and_close(server: &Server, repository: &str, session: &str, offset: usize, blob: &[u8]) {
    let range = format!("{offset}-{}", blob.len() - 1);
    let headers = [OCTETS, ("Content-Range", range.as_str())];
    let session = server
        .request("PATCH", session, &headers, &blob[offset..])
        .expect_status(202)
        .location();
    let digest = sha256(blob);
    server
        .request("PUT", &closing(&session, &digest.to_string()), &[], b"")
        .expect_status(201);
    assert!(
        server.get(&format!("/v2/{repository}/blobs/{digest}")).body == blob,
        "the blob is whole"
    );
}

/// Returns the number of bytes that the server reads from files to close a session, as the kernel counts them.
///
/// The count includes `read` and similar calls, but not `recv`, which servers use to read from sockets.
fn read_by_close(server: &Server, session: &str, digest: &Digest) -> u64 {
    let before = bytes_read(server.id());
    server
        .request("PUT", &closing(session, &digest.to_string()), &[], b"")
        .expect_status(201);
    bytes_read(server.id()) - before
}

fn bytes_read(process: u32) -> u64 {
    let counts = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let count = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    count.expect("the kernel counts reads").parse().unwrap()
}

/// Waits until no process listens on an address.
fn wait_until_closed(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(
            Instant::now() < deadline,
            "the server goes on accepting connections"
        );
        thread::yield_now();
    }
}

/// Returns the output of the binary for arguments other than `serve`.
fn ran(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_registry"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the output of a server that does not start on `root`.
fn refused(root: &Path) -> String {
    let (status, said) = end_of(Server::ours_command(root));
    assert!(!status.success(), "the server ended well and said {said:?}");
    assert_ne!(status.code(), None, "the server crashed and said {said:?}");
    said
}
