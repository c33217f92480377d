//! A registry under test: the process, its address, and its data directory.

use std::{
    cell::RefCell,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::tools::REQUIRE_TOOLS;
use rustix::process::{Pid, Signal};

use crate::{
    http::{self, MANIFEST_TYPES, Response},
    program::argument,
};

/// Time for a process to print its address, or to end; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running registry. On drop it is killed.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    announcement: String,
    output: Receiver<String>,
    /// Output of the process, as far as it was read.
    said: RefCell<String>,
    /// Object store that is this server's alone.
    store: Option<S3Server>,
}

/// A server that may not listen yet.
pub(crate) struct Starting {
    process: Child,
    output: Receiver<String>,
    seen: String,
}

impl Starting {
    pub(crate) fn new(command: Command) -> Self {
        let (process, output) = spawn(command);
        Self {
            process,
            output,
            seen: String::new(),
        }
    }

    fn line(&mut self, awaited: &str) -> String {
        let Ok(line) = self.output.recv_timeout(PATIENCE) else {
            // It has ended, or is of no use; either way it is not left behind.
            _ = self.process.kill();
            panic!("the server does not say {awaited:?}, only {:?}", self.seen);
        };
        self.seen.push_str(&line);
        self.seen.push('\n');
        line
    }

    /// Waits until its output contains a text.
    #[track_caller]
    pub(crate) fn says(&mut self, what: &str) {
        while !self.seen.contains(what) {
            self.line(what);
        }
    }

    /// Returns the address that its output names after a text.
    #[track_caller]
    pub(crate) fn address_after(&mut self, text: &str) -> SocketAddr {
        self.says(text);
        address_after(&self.seen, text).expect("an address follows")
    }

    /// Waits until the server prints its address after `announces`.
    pub(crate) fn listening(mut self, announces: &str) -> Server {
        loop {
            let line = self.line(announces);
            if let Some(address) = address_after(&line, announces) {
                return Server {
                    process: self.process,
                    address,
                    announcement: line,
                    output: self.output,
                    said: self.seen.into(),
                    store: None,
                };
            }
        }
    }

    pub(crate) fn terminate(&self) {
        terminate(&self.process);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        ended(&mut self.process, &self.output).0
    }
}

/// Returns a program without the variables that are for the tests alone: a registry warns about unknown keys.
pub(crate) fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    command
        .env_remove(REQUIRE_TOOLS)
        .env_remove("REGISTRY_TEST_AGAINST")
        .env_remove("REGISTRY_TEST_REPLICAS")
        .env_remove("REGISTRY_TEST_REPLICAS_SEED")
        .env_remove("REGISTRY_TEST_SOAK");
    command
}

fn terminate(process: &Child) {
    signal(process, Signal::TERM);
}

fn signal(process: &Child, signal: Signal) {
    let id = i32::try_from(process.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child has a process id");
    rustix::process::kill_process(id, signal).expect("a child can be signalled");
}

impl Server {
    /// Serves `root` with the binary under test, or with the registry that `REGISTRY_TEST_AGAINST` names.
    pub(crate) fn under_test(root: &Path) -> Self {
        match env::var_os("REGISTRY_TEST_AGAINST") {
            None => Self::ours(root),
            Some(program) if program == "docker-registry" => Self::registry2(root),
            Some(store) => Self::ours_on(start_store(&store), &[]),
        }
    }

    /// Serves a new bucket of a store with the binary that this package builds. The store ends with the server.
    pub(crate) fn ours_on(store: S3Server, arguments: &[&str]) -> Self {
        store.bucket("images").expect("a store makes buckets");
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command.args(["serve", "--addr", "127.0.0.1:0"]).args(arguments);
        command.envs([
            ("REGISTRY_STORAGE", "s3"),
            ("REGISTRY_STORAGE_S3_BUCKET", "images"),
            ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &store.endpoint()),
            ("REGISTRY_STORAGE_S3_REGION", store.region()),
            ("REGISTRY_STORAGE_S3_ACCESSKEY", store.access_key()),
            ("REGISTRY_STORAGE_S3_SECRETKEY", store.secret()),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
        ]);
        let mut server = Self::start(command, "http://");
        server.store = Some(store);
        server
    }

    /// Serves `root` as [`Self::under_test`] does, for the users of a password file only.
    pub(crate) fn under_test_with_users(root: &Path, users: &Path) -> Self {
        let options = ["--htpasswd", argument(users)];
        match env::var_os("REGISTRY_TEST_AGAINST") {
            None => Self::ours_with(root, &options),
            Some(program) if program == "docker-registry" => Self::registry2_with_users(root, users),
            Some(store) => Self::ours_on(start_store(&store), &options),
        }
    }

    /// Serves `root` with Debian's docker-registry for the users of a password file only.
    pub(crate) fn registry2_with_users(root: &Path, users: &Path) -> Self {
        let path = registry2_config(root);
        let mut config = fs::read_to_string(&path).expect("it was written");
        let users = users.display();
        config.push_str(&format!(
            "auth: {{ htpasswd: {{ realm: Registry, path: {users} }} }}\n"
        ));
        fs::write(&path, config).expect("the test's directory is writable");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path);
        Self::start(command, "listening on ")
    }

    /// Serves `root` with the binary that this package builds.
    pub(crate) fn ours(root: &Path) -> Self {
        Self::start(Self::ours_command(root), "http://")
    }

    /// Returns the command line of [`Self::ours`].
    pub(crate) fn ours_command(root: &Path) -> Command {
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command
            .args(["serve", "--addr", "127.0.0.1:0", "--root"])
            .arg(root);
        command
    }

    /// Serves `root` with Debian's docker-registry, which is `registry:2`.
    pub(crate) fn registry2(root: &Path) -> Self {
        Self::distribution("docker-registry", root)
    }

    /// Serves `root` with a version of distribution: `docker-registry` or `registry3`.
    pub(crate) fn distribution(program: &str, root: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg("serve").arg(registry2_config(root));
        Self::start(command, "listening on ")
    }

    /// Starts a server that prints its address after `announces` on either of its outputs.
    pub(crate) fn start(command: Command, announces: &str) -> Self {
        Starting::new(command).listening(announces)
    }

    /// Serves `root` with the binary that this package builds, and more arguments.
    pub(crate) fn ours_with(root: &Path, arguments: &[&str]) -> Self {
        let mut command = Self::ours_command(root);
        command.args(arguments);
        Self::start(command, "http://")
    }

    /// Waits until its output contains a text, in one line or before.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        let mut said = self.said.borrow_mut();
        while !said.contains(what) {
            let Ok(line) = self.output.recv_timeout(PATIENCE) else {
                panic!("the server does not say {what:?}, only {said:?}");
            };
            said.push_str(&line);
            said.push('\n');
        }
    }

    /// Returns true if its output so far contains a text.
    pub(crate) fn has_said(&self, what: &str) -> bool {
        let mut said = self.said.borrow_mut();
        for line in self.output.try_iter() {
            said.push_str(&line);
            said.push('\n');
        }
        said.contains(what)
    }

    /// Returns its output, as far as it was read.
    pub(crate) fn said(&self) -> String {
        self.said.borrow().clone()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the line with its address.
    pub(crate) fn announcement(&self) -> &str {
        &self.announcement
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns `HOST:PORT/REPOSITORY`, as the clients spell it.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Returns true if it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.process.try_wait().expect("a child can be waited for");
        ended.is_some()
    }

    /// Sends SIGTERM, and returns at once.
    pub(crate) fn terminate(&self) {
        terminate(&self.process);
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(&self.process, what);
    }

    /// Sends SIGTERM and waits until the process has released its directory.
    pub(crate) fn stop(self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        ended(&mut self.process, &self.output).0
    }

    /// Waits until it has ended by itself, and returns its whole output.
    pub(crate) fn wait_and_listen(mut self) -> String {
        let (_, rest) = ended(&mut self.process, &self.output);
        format!("{}{rest}", self.said.borrow())
    }

    /// Sends SIGKILL: nothing is flushed, released or cleaned up.
    pub(crate) fn kill(self) {
        self.kill_and_listen();
    }

    /// Sends SIGKILL, and returns the whole output.
    pub(crate) fn kill_and_listen(mut self) -> String {
        self.process.kill().expect("a child can be killed");
        self.wait_and_listen()
    }

    /// Sends one request and reads the whole answer.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        http::request(self.address, method, target, headers, body)
    }

    /// Reads a resource that must exist; manifests come as they are stored.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[("Accept", MANIFEST_TYPES)], b"")
            .expect_status(200)
    }

    /// Pushes a blob in one request after the session is open.
    pub(crate) fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let session = self.open_upload(repository);
        self.request("PUT", &closing(&session, digest), &[OCTETS], bytes)
            .expect_status(201);
    }

    /// Opens an upload session and returns its location.
    pub(crate) fn open_upload(&self, repository: &str) -> String {
        let target = format!("/v2/{repository}/blobs/uploads/");
        self.request("POST", &target, &[], b"")
            .expect_status(202)
            .location()
    }

    /// Pushes a manifest under a tag or digest, optionally with a query.
    pub(crate) fn push_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        self.request("PUT", &target, &[("Content-Type", media_type)], bytes)
            .expect_status(201);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when the process has ended already, which is as good.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Starts the store that `REGISTRY_TEST_AGAINST` names.
fn start_store(program: &OsStr) -> S3Server {
    let store = if program == SeaweedFs::PROGRAM {
        SeaweedFs::start()
    } else if program == Versitygw::PROGRAM {
        Versitygw::start()
    } else {
        panic!(
            "REGISTRY_TEST_AGAINST names {}, not docker-registry, {} or {}",
            program.display(),
            SeaweedFs::PROGRAM,
            Versitygw::PROGRAM
        )
    };
    store.expect("the store starts")
}

pub(crate) const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

/// Returns the location that closes a session with this digest.
pub(crate) fn closing(session: &str, digest: &str) -> String {
    let joint = if session.contains('?') { '&' } else { '?' };
    format!("{session}{joint}digest={digest}")
}

/// Writes a configuration for docker-registry beside `root`: deletion on, defaults for the rest.
pub(crate) fn registry2_config(root: &Path) -> PathBuf {
    let path = root.with_extension("yml");
    let config = format!(
        "version: 0.1\n\
         log: {{ accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
         http: {{ addr: \"127.0.0.1:0\", secret: exchange }}\n",
        root.display()
    );
    fs::write(&path, config).expect("the test's directory is writable");
    path
}

/// Runs the collector of a version of distribution, and returns the blobs that it reports as eligible for deletion.
pub(crate) fn collector_reports(program: &str, config: &Path, options: &[&str]) -> Vec<String> {
    let mut command = Command::new(program);
    command.arg("garbage-collect").args(options).arg(config);
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (report, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {report}{log}");
    let eligible = |line: &str| {
        line.strip_prefix("blob eligible for deletion: ")
            .map(str::to_owned)
    };
    report.lines().filter_map(eligible).collect()
}

/// Runs a command that ends by itself; returns its status and output.
pub(crate) fn end_of(command: Command) -> (ExitStatus, String) {
    let (mut process, output) = spawn(command);
    ended(&mut process, &output)
}

/// Starts a process whose outputs arrive line by line.
fn spawn(mut command: Command) -> (Child, Receiver<String>) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (sender, output) = mpsc::channel();
    forward(process.stdout.take().expect("stdout is piped"), sender.clone());
    forward(process.stderr.take().expect("stderr is piped"), sender);
    (process, output)
}

/// Waits until a process has ended by itself, within a time limit; returns its status and the rest of its output.
fn ended(process: &mut Child, output: &Receiver<String>) -> (ExitStatus, String) {
    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    // Both outputs close when the process ends, and only then does the channel.
    loop {
        match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => said.extend([line.as_str(), "\n"]),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                process.kill().expect("a child can be killed");
                panic!("the process does not end; it said {said:?}");
            }
        }
    }
    (process.wait().expect("a child can be waited for"), said)
}

/// Sends each line of an output to the test, which may have stopped listening.
fn forward(output: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            _ = sender.send(line);
        }
    });
}

/// Returns the socket address that follows `announces` in a line.
pub(crate) fn address_after(line: &str, announces: &str) -> Option<SocketAddr> {
    let rest = &line[line.find(announces)? + announces.len()..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches([':', '.']).parse().ok()
}
