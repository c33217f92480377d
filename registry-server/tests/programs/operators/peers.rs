//! Users on both ends of the control socket. Only root can be several users.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use libtest_mimic::Trial;
use rustix::{process::Uid, thread::set_thread_res_uid};

use super::{Desk, Pushed};
use crate::{
    program::{argument, output_of},
    server::{Server, program},
};

/// Users who are not root.
pub(super) const USER: u32 = 12_345;
const OTHER: u32 = 54_321;

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        a_command_of_another_user_is_refused_and_says_who_may_run_it,
        a_request_of_another_user_is_not_answered,
        a_command_sends_nothing_to_a_server_of_another_user,
    )
}

/// Returns true if this process can become another user.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the command, to be run as another user.
pub(super) fn run_as(mut command: Command, user: u32) -> Command {
    command.uid(user);
    command
}

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

impl Desk {
    /// Copies the binary to a place that every user can reach, as everything in the directory of the test.
    ///
    /// By another program: a child of another test could inherit a file that this process writes, which then cannot be run.
    pub(super) fn binary_for_all(&self) -> PathBuf {
        let binary = self.bench.path("registry");
        let mut copy = program("cp");
        copy.args([env!("CARGO_BIN_EXE_registry"), argument(&binary)]);
        output_of(copy).unwrap();
        set_mode(self.bench.path(""), 0o755);
        binary
    }

    /// Creates the directory of the images for another user.
    pub(super) fn owned_by(&self, user: u32) {
        fs::create_dir(self.root()).unwrap();
        chown(self.root(), Some(user), Some(user)).unwrap();
    }

    fn top(&self) -> PathBuf {
        self.root().join("docker/registry/v2")
    }

    fn socket(&self) -> PathBuf {
        self.top().join("_control/socket")
    }

    /// Lets every user connect, so that the server alone refuses them.
    pub(super) fn open_socket(&self, server: &Server) {
        server.says("commands of operators on");
        set_mode(self.top().join("_control"), 0o755);
        set_mode(self.socket(), 0o777);
    }

    /// Returns a command that removes a tag.
    fn removal(&self, binary: &Path) -> Command {
        let mut command = self.bench.command(argument(binary));
        command
            .args(["rm", "--yes", "team/app:v1", "--root"])
            .arg(self.root());
        command
    }
}

fn a_command_of_another_user_is_refused_and_says_who_may_run_it() {
    if !is_root() {
        return;
    }
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);
    let binary = desk.binary_for_all();
    let refused = || {
        let mut command = desk.removal(&binary);
        command.uid(USER);
        output_of(command).unwrap_err()
    };
    let expected = "run this command as user id 0 or as root";

    let private = refused();
    assert!(private.contains(expected), "{private}");
    desk.open_socket(&server);
    let open = refused();

    assert!(
        open.contains(expected) && open.contains("exit status: 1"),
        "{open}"
    );
    server.get("/v2/team/app/manifests/v1");
}

fn a_request_of_another_user_is_not_answered() {
    if !is_root() {
        return;
    }
    let desk = Desk::new();
    let server = desk.serve();
    set_mode(desk.bench.path(""), 0o755);
    desk.open_socket(&server);
    let answer_to = |user: u32| {
        let socket = desk.socket();
        let asking = thread::spawn(move || {
            let user = Uid::from_raw(user);
            set_thread_res_uid(user, user, user).unwrap();
            let mut stream = UnixStream::connect(socket).unwrap();
            // The server may have ended the connection already.
            _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n");
            let mut answer = Vec::new();
            _ = stream.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        });
        asking.join().unwrap()
    };

    assert!(answer_to(0).starts_with("HTTP/1.1 404"));
    assert_eq!(answer_to(USER), "");
    server.says("refusing a command of a user who does not own this server");
}

fn a_command_sends_nothing_to_a_server_of_another_user() {
    if !is_root() {
        return;
    }
    let desk = Desk::new();
    let binary = desk.binary_for_all();
    desk.owned_by(USER);
    let mut command = program(argument(&binary));
    command.args(["serve", "--addr", "127.0.0.1:0", "--root"]);
    command.arg(desk.root()).uid(USER);
    let server = Server::start(command, "http://");
    Pushed::to(&server, "team/app", "v1", 1);
    let owner = desk.top().join("_owner");
    chown(&owner, Some(OTHER), None).unwrap();

    let refused = output_of(desk.removal(&binary)).unwrap_err();

    let expected = format!("user id {USER} listens on {}", desk.socket().display());
    assert!(
        refused.contains(&expected) && refused.contains("nothing was sent"),
        "{refused}"
    );
    server.get("/v2/team/app/manifests/v1");
    chown(&owner, Some(USER), None).unwrap();
    output_of(desk.removal(&binary)).unwrap();
    let gone = server.request("GET", "/v2/team/app/manifests/v1", &[], b"");
    gone.expect_status(404);
}
