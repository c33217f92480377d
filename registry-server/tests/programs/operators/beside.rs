//! `registry import` and `registry export` beside a running server.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Output, Stdio},
};

use libtest_mimic::Trial;
use registry_test::{
    TestRegistry,
    fault::{GET, Side, on, stall},
    image,
    tap::Gate,
};
use rustix::process::Signal;
use serde_json::Value;

use super::{Desk, Pushed, peers};
use crate::{
    image::OCI_MANIFEST,
    program::argument,
    server::{Server, Starting, program},
};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        images_go_through_the_server_whatever_its_users_may_do,
        a_dry_run_asks_the_server,
        an_import_that_is_killed_leaves_no_tag_and_can_be_repeated,
        an_import_whose_server_ends_fails_for_now_and_can_be_repeated,
        an_import_goes_on_with_a_server_that_starts_again,
        a_collection_leaves_what_an_import_has_sent,
        a_server_that_does_not_answer_is_waited_for,
        a_read_only_server_takes_no_images_and_can_be_read_beside,
        an_import_of_root_leaves_the_files_to_the_user_of_the_server,
        an_import_of_another_user_is_refused,
    )
}

const ADDRESS: &str = "team/app:v1";

fn user() -> String {
    format!("operator:{}", rustix::process::geteuid().as_raw())
}

fn images_go_through_the_server_whatever_its_users_may_do() {
    let (source, target) = (Desk::new(), Desk::new());
    let server = source.serve();
    let pushed = Pushed::to(&server, "team/app", "v1", 1);
    let archive = target.bench.path("app.tar");

    let exported = source.run(&["export", ADDRESS, "-o", argument(&archive)]);

    let line = format!("{ADDRESS}\t{}", pushed.digest);
    assert_eq!(exported.text(), line);
    server.says("pulled team/app");
    assert!(server.said().contains(&user()), "{}", server.said());

    // Its clients may do nothing, as there is none.
    let users = target.bench.path("users");
    fs::write(&users, "").unwrap();
    let guarded = Server::ours_with(&target.root(), &["--htpasswd", argument(&users), "--access-log"]);
    let imported = target.run(&["import", argument(&archive)]);

    assert_eq!(imported.text(), line);
    guarded.says("PUT /v2/team/app/manifests/v1 control\" 201");
    assert!(guarded.said().contains(&format!("- - {} [", user())));
    guarded
        .request("GET", "/v2/team/app/manifests/v1", &[], b"")
        .expect_status(401);
    assert_eq!(target.items(&["ls", "team/app"])[0]["digest"], pushed.digest);
    target.run(&["verify"]);
}

fn a_dry_run_asks_the_server() {
    let (source, target) = (Desk::new(), Desk::new());
    let pushed = Pushed::to(&source.serve(), "team/app", "v1", 1);
    let archive = target.bench.path("app.tar");
    source.run(&["export", ADDRESS, "-o", argument(&archive)]);
    let server = Server::ours_with(&target.root(), &["--access-log"]);

    target.run(&["import", argument(&archive), "--dry-run"]);

    server.says(&format!(
        "\"HEAD /v2/team/app/blobs/{} control\" 404",
        pushed.layer
    ));
    assert_eq!(target.run(&["ls"]).text(), "");
}

/// An import from a registry whose second blob does not come until a gate opens.
struct Stalled {
    desk: Desk,
    source: TestRegistry,
    gate: Gate,
    digest: String,
}

impl Stalled {
    fn new() -> Self {
        let source = TestRegistry::start();
        let seeded = image()
            .layer([("a", "1")])
            .layer([("b", "2")])
            .layer([("c", "3")]);
        let digest = source.seed(ADDRESS, seeded).to_string();
        let gate = Gate::new();
        let _ = source.fault(on(GET).blob().nth(2), stall(Side::Response).until(&gate));
        Self {
            desk: Desk::new(),
            source,
            gate,
            digest,
        }
    }

    /// Serves the target. Its collections keep nothing for its age.
    fn serve(&self) -> Server {
        let mut command = Server::ours_command(&self.desk.root());
        command
            .arg("--access-log")
            .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE", "0s");
        Server::start(command, "http://")
    }

    fn command(&self) -> Command {
        let name = format!("docker://{}", self.source.reference(ADDRESS));
        self.desk.command(&["import", &name])
    }

    /// Starts the import, and waits until the server has acknowledged a blob and another one does not come.
    fn start(&self, server: &Server) -> Child {
        let mut command = self.command();
        let importing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        assert!(self.gate.reached(1));
        server.says(" control\" 201 ");
        importing.unwrap()
    }

    /// Returns the number of blobs that the server holds.
    fn held(&self, server: &Server) -> usize {
        let manifest: Value = serde_json::from_slice(&self.source.manifest(ADDRESS).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let holds = |blob: &&Value| {
            let blob = blob["digest"].as_str().unwrap();
            let target = format!("/v2/team/app/blobs/{blob}");
            server.request("GET", &target, &[], b"").status == 200
        };
        layers.chain([&manifest["config"]]).filter(holds).count()
    }

    /// Imports again, and checks everything.
    fn repeat(&self) {
        let imported = self.command().output().unwrap();
        let log = String::from_utf8_lossy(&imported.stderr);
        assert!(imported.status.success(), "{log}");
        let printed = String::from_utf8(imported.stdout).unwrap();
        assert_eq!(printed.trim_end(), format!("{ADDRESS}\t{}", self.digest));
        self.desk.run(&["verify"]);
    }
}

fn an_import_that_is_killed_leaves_no_tag_and_can_be_repeated() {
    let import = Stalled::new();
    let server = import.serve();
    let earlier = Pushed::to(&server, "team/app", "v0", 1);
    let mut importing = import.start(&server);

    importing.kill().unwrap();
    importing.wait().unwrap();

    import.gate.open();
    server
        .request("GET", "/v2/team/app/manifests/v1", &[], b"")
        .expect_status(404);
    assert!(import.held(&server) > 0);
    import.repeat();
    assert_eq!(import.held(&server), 4);
    let kept = server.get("/v2/team/app/manifests/v0");
    assert_eq!(kept.body, earlier.manifest.as_bytes());
}

/// Opens the gate, and returns the exit code and the messages of an import.
fn ended(import: &Stalled, importing: Child) -> (i32, String) {
    import.gate.open();
    let Output { status, stderr, .. } = importing.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn an_import_whose_server_ends_fails_for_now_and_can_be_repeated() {
    for is_killed in [true, false] {
        let import = Stalled::new();
        let server = import.serve();
        let importing = import.start(&server);

        if is_killed {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        let (code, log) = ended(&import, importing);

        assert_eq!(code, 75, "{log}");
        assert!(log.contains("no server that takes commands uses"), "{log}");
        // What was acknowledged is there.
        let server = import.serve();
        assert!(import.held(&server) > 0);
        server
            .request("GET", "/v2/team/app/manifests/v1", &[], b"")
            .expect_status(404);
        import.repeat();
        // Without a server, too.
        server.stop();
        import.repeat();
    }
}

fn an_import_goes_on_with_a_server_that_starts_again() {
    let import = Stalled::new();
    let server = import.serve();
    let importing = import.start(&server);

    server.kill();
    let again = import.serve();
    again.says("commands of operators on");
    let (code, log) = ended(&import, importing);

    assert_eq!(code, 0, "{log}");
    assert_eq!(import.held(&again), 4);
    let manifest = again.get("/v2/team/app/manifests/v1");
    assert_eq!(manifest.body, import.source.manifest(ADDRESS).unwrap());
    import.desk.run(&["verify"]);
}

fn a_collection_leaves_what_an_import_has_sent() {
    let import = Stalled::new();
    let server = import.serve();
    let removed = Pushed::to(&server, "team/other", "v1", 1);
    let importing = import.start(&server);

    let target = format!("/v2/team/other/manifests/{}", removed.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);
    import.desk.run(&["garbage-collect"]);

    assert!(!import.desk.blob(&removed.layer).exists());
    assert!(import.held(&server) > 0);
    let (code, log) = ended(&import, importing);
    assert_eq!(code, 0, "{log}");
    assert_eq!(import.held(&server), 4);
    import.desk.run(&["verify"]);
}

fn a_server_that_does_not_answer_is_waited_for() {
    let import = Stalled::new();
    import.gate.open();
    let server = import.serve();
    server.says("commands of operators on");
    server.signal(Signal::STOP);

    let mut importing = Starting::new(import.command());
    importing.says(&format!(
        "waiting for process {}, which does not answer",
        server.id()
    ));

    server.signal(Signal::CONT);
    assert!(importing.wait().success());
    assert_eq!(import.held(&server), 4);
}

fn a_read_only_server_takes_no_images_and_can_be_read_beside() {
    let desk = Desk::new();
    let pushed = Pushed::to(&desk.serve(), "team/app", "v1", 1);
    let read_only = ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
    let mut serve = Server::ours_command(&desk.root());
    serve.env(read_only.0, read_only.1);
    let server = Server::start(serve, "http://");
    let root = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", desk.root());
    let ended = |arguments: &[&str]| {
        let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
        command
            .args(arguments)
            .args(["--config", "config.yml"])
            .env(read_only.0, read_only.1)
            .env(root.0, &root.1);
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    };
    fs::write(
        desk.bench.path("config.yml"),
        "version: 0.1\nstorage: {filesystem: {}}\n",
    )
    .unwrap();

    let (exported, log) = ended(&["export", ADDRESS, "-o", "app.tar"]);
    assert_eq!(exported, 0, "{log}");
    let (imported, log) = ended(&["import", "app.tar", "--as", "team/other:v1"]);

    assert_eq!(imported, 1, "{log}");
    assert!(log.contains("no server that accepts pushes"), "{log}");
    let manifest = server.get("/v2/team/app/manifests/v1");
    assert_eq!(manifest.body, pushed.manifest.as_bytes());
    server
        .request("GET", "/v2/team/other/manifests/v1", &[], b"")
        .expect_status(404);
}

fn an_import_of_root_leaves_the_files_to_the_user_of_the_server() {
    if !peers::is_root() {
        return;
    }
    let import = Stalled::new();
    import.gate.open();
    let desk = &import.desk;
    let binary = desk.binary_for_all();
    desk.owned_by(peers::USER);
    let mut serve = program(argument(&binary));
    serve
        .args(["serve", "--addr", "127.0.0.1:0", "--root"])
        .arg(desk.root());
    let server = Server::start(peers::run_as(serve, peers::USER), "http://");

    import.repeat();

    assert_eq!(import.held(&server), 4);
    let mut folders = vec![desk.root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            assert_eq!(metadata.uid(), peers::USER, "{:?}", entry.path());
            folders.extend(metadata.is_dir().then(|| entry.path()));
        }
    }
}

fn an_import_of_another_user_is_refused() {
    if !peers::is_root() {
        return;
    }
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    let archive = desk.bench.path("app.tar");
    desk.run(&["export", ADDRESS, "-o", argument(&archive)]);
    let binary = desk.binary_for_all();
    desk.open_socket(&server);
    let mut import = desk.bench.command(argument(&binary));
    import.args(["import", argument(&archive), "--as", "team/other", "--root"]);
    import.arg(desk.root());

    let refused = peers::run_as(import, peers::USER).output().unwrap();

    let log = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{log}");
    assert!(log.contains("run this command as user id 0 or as root"), "{log}");
    server.push_manifest("team/app", "v2", OCI_MANIFEST, image.manifest.as_bytes());
    server
        .request("GET", "/v2/team/other/manifests/v1", &[], b"")
        .expect_status(404);
}
