//! A disk that fills up: uploads stop before it is full, everything else continues, and clients show the reason.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use libtest_mimic::Trial;
use registry_conformance::tools;

use crate::{
    docker::{self, Engine},
    http,
    image::{DockerArchive, Layer, Layout, noise, sha256},
    operations::Observed,
    program::{Workbench, argument},
    server::{OCTETS, Server},
};

const MIB: usize = 1024 * 1024;

/// Message of the server when there is no room.
const MESSAGE: &str = "the registry has no space left for this";

pub(crate) fn trials() -> Vec<Trial> {
    [
        where_disks_are_mounted(trials!(DISK_PROGRAMS; uploads_leave_the_reserve_free)),
        trials!(["skopeo", "crane"]; skopeo_and_crane_show_why_an_upload_is_refused),
        docker::where_engines_start(trials!(docker::PROGRAMS; docker_shows_why_an_upload_is_refused)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Programs for [`on_a_disk_of`].
pub(crate) const DISK_PROGRAMS: [&str; 2] = ["unshare", "mount"];

/// Returns tests that mount file systems, or reports them as ignored where that is not allowed.
pub(crate) fn where_disks_are_mounted(trials: Vec<Trial>) -> Vec<Trial> {
    if mounts() {
        return trials;
    }
    let unavailable = |trial: Trial| tools::unavailable(trial.name(), "nothing may be mounted here");
    trials.into_iter().map(unavailable).collect()
}

fn uploads_leave_the_reserve_free() {
    let bench = Workbench::new();
    let server = Observed::start_as(on_a_disk_of(
        64 * MIB,
        &bench.path("data"),
        &["--min-free", "32m"],
    ));
    // The disk is smaller than twice the reserve.
    server.says("the storage is nearly full");
    let kept = noise(71, MIB);
    server.push_and_pull(&kept);
    let post = || http::request(server.registry, "POST", "/v2/a/b/blobs/uploads/", &[], b"");
    let session = post().expect_status(202).location();
    assert!(server.see("/debug/health").status == 200);

    // What announces more than there is room for is refused at its head.
    let announced = (40 * MIB).to_string();
    let refused = refused_at_its_head(server.registry, &session, &announced);
    assert!(
        refused.contains(" 403 ") && refused.contains("DENIED") && refused.contains(MESSAGE),
        "{refused}"
    );

    // What does not say is stopped on the way, and gives its room back.
    let free = server.gauge("registry_storage_free_bytes");
    send_without_length(server.registry, &session, 60 * MIB);
    let left = server.gauge("registry_storage_free_bytes");
    assert!(left + MIB > free, "{left} of {free} bytes are free");

    // What there is room for is taken, and manifests go beyond that. Records of deletions have a 64th of the disk.
    http::request(
        server.registry,
        "PATCH",
        &session,
        &[OCTETS],
        &noise(72, 28 * MIB),
    )
    .expect_status(202);
    let padding = "x".repeat(3 * MIB);
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[],"annotations":{{"padding":"{padding}"}}}}"#
    );
    let headers = [("Content-Type", kind)];
    let manifest = "/v2/a/b/manifests/v1";
    http::request(server.registry, "PUT", manifest, &headers, index.as_bytes()).expect_status(201);
    let left = server.gauge("registry_storage_free_bytes");
    assert!(left < 32 * MIB, "{left} bytes are free");

    // From here on no upload is opened, health says so, and what is there is served.
    let refused = post().expect_status(403);
    assert!(String::from_utf8_lossy(&refused.body).contains(MESSAGE));
    let health = server.see("/debug/health").expect_status(503);
    assert!(String::from_utf8_lossy(&health.body).contains("free_space"));
    let blob = format!("/v2/a/b/blobs/{}", sha256(&kept));
    assert!(
        http::request(server.registry, "GET", &blob, &[], b"")
            .expect_status(200)
            .body
            == kept
    );

    // Room again, and all is as before.
    http::request(server.registry, "DELETE", &session, &[], b"").expect_status(204);
    post().expect_status(202);
    server.see("/debug/health").expect_status(200);
}

fn skopeo_and_crane_show_why_an_upload_is_refused() {
    let bench = Workbench::new();
    let server = Server::ours_with(&bench.path("data"), NO_ROOM);
    let layout = Layout::sample(bench.path("layout"));
    let mut alone = Layout::create(bench.path("alone"));
    alone.import(&layout, "one");

    let to = format!("docker://{}", server.repository("a:1"));
    let skopeo = [
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        &layout.oci("one"),
        &to,
    ];
    let crane = ["push", argument(alone.path()), &server.repository("a:1")];
    let said = [bench.refused("skopeo", &skopeo), bench.refused("crane", &crane)];

    for said in said {
        assert!(said.contains(MESSAGE), "{said}");
    }
}

fn docker_shows_why_an_upload_is_refused() {
    let bench = Workbench::new();
    let server = Server::ours_with(&bench.path("data"), NO_ROOM);
    let docker = Engine::start(&bench, "engine");
    let reference = server.repository("a:1");
    docker.load(&DockerArchive::new(&[&Layer::new(1, 1000)]).to_load(&reference));

    let said = docker.refused(&["push", &reference]);

    assert!(said.contains(MESSAGE), "{said}");
    // It tries again what it takes for an accident, with this word.
    assert!(!said.contains("Retrying"), "{said}");
}

/// Options with a reserve larger than any disk.
const NO_ROOM: &[&str] = &["--min-free", "1000000t"];

/// Returns true if this process may mount file systems for itself.
fn mounts() -> bool {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Returns a server whose root is a file system of its own, which ends with the process.
pub(crate) fn on_a_disk_of(size: usize, root: &Path, options: &[&str]) -> Command {
    std::fs::create_dir(root).expect("the test's directory is writable");
    let server = Server::ours_command(root);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#);
    command.arg("sh").arg(size.to_string()).arg(root);
    command
        .arg(server.get_program())
        .args(server.get_args())
        .args(options);
    command
}

/// Announces a body and waits to be asked for it; returns the answer that arrives instead.
fn refused_at_its_head(address: SocketAddr, target: &str, length: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!(
        "PATCH {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: {}\r\nContent-Length: {length}\r\n\r\n",
        OCTETS.1
    );
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a body of chunks until all of it is sent, or the server stops reading.
fn send_without_length(address: SocketAddr, target: &str, length: usize) {
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!(
        "PATCH {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        OCTETS.1
    );
    connection.write_all(head.as_bytes()).unwrap();
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &noise(72, MIB), b"\r\n"].concat();
    let sent = (0..length / MIB).try_for_each(|_| connection.write_all(&chunk));
    if sent.is_ok() {
        _ = connection.write_all(b"0\r\n\r\n");
    }
    // The answer may be lost with the connection. Its end says that it is decided.
    _ = connection.read_to_end(&mut Vec::new());
}
