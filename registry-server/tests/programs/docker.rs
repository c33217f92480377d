//! A docker engine for one test, started by hand, without systemd, networks or containers; and its client.
//!
//! ```ignore
//! let docker = Engine::start(&scene.bench, "first");
//! docker.run(&["push", &scene.server.repository("team/app:one")]);
//! let refused = docker.refused(&["login", "-u", "u", "-p", "wrong", &scene.server.address().to_string()]);
//! ```
//!
//! Starting one takes a third of a second, so each test has its own. A test has a second one if its pulls must come
//! from the registry alone. Engines use plain HTTP for registries on 127.0.0.0/8.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use libtest_mimic::Trial;
use registry_conformance::tools::{self, Process};

use crate::program::{Printed, Workbench, argument, output_of};

/// Programs that must be installed, for the lists of tests.
pub(crate) const PROGRAMS: [&str; 2] = ["docker", "dockerd"];

/// Address of the machine that an engine with networks runs on. It is not a loopback address, so that clients treat a
/// registry there like any other: over HTTPS, with a certificate that they verify.
pub(crate) const MACHINE: &str = "192.0.2.1";

/// Script that runs on that machine before its engine starts.
const BOOT: &str = r#"
ip link set lo up
ip address add "$1/32" dev lo
shift
mount -t tmpfs tmpfs /run
if test -e /etc/alternatives; then cp -a /etc/alternatives "$0"; fi
mount --bind "$0" /etc
exec dockerd "$@"
"#;

/// Settings of an engine with networks, in its directory.
const SETTINGS: &str = "etc/docker/daemon.json";

/// Message of an engine that is ready.
const READY: &str = "API listen on ";

/// A running engine with a storage of its own. On drop it is stopped; if the test is failing, its log is shown.
pub(crate) struct Engine<'a> {
    bench: &'a Workbench,
    directory: PathBuf,
    process: Process,
}

impl<'a> Engine<'a> {
    /// Starts an engine that stores everything below `name` in the test's directory, and waits until it is ready.
    pub(crate) fn start(bench: &'a Workbench, name: &str) -> Self {
        Self::start_with(bench, name, &[])
    }

    /// Starts an engine as [`Self::start`] does, with more arguments for dockerd.
    pub(crate) fn start_with(bench: &'a Workbench, name: &str, options: &[&str]) -> Self {
        Self::start_in(bench, name, |directory| {
            let mut command = Self::daemon(bench, directory);
            command.args(options);
            command
        })
    }

    /// Starts an engine with networks for containers, on a machine of its own: with the address [`MACHINE`], an `/etc`
    /// that begins with little more than the users, and an empty `/run`. Ports that it publishes occupy no port
    /// elsewhere, and are reachable by [`Self::inside`] only.
    pub(crate) fn start_with_networks(bench: &'a Workbench, name: &str) -> Self {
        Self::start_in(bench, name, |directory| {
            make_etc(&directory.join("etc"));
            Self::daemon_with_networks(bench, directory)
        })
    }

    fn start_in(bench: &'a Workbench, name: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let directory = bench.path(name);
        fs::create_dir(&directory).expect("an engine's directory is its own");
        let engine = Self {
            bench,
            process: Process::start(&mut command(&directory)).expect("dockerd can be started"),
            directory,
        };
        if let Err(error) = engine.process.wait_for_output(READY) {
            panic!("dockerd does not start: {error}");
        }
        engine
    }

    fn daemon(bench: &Workbench, directory: &Path) -> Command {
        // Mounts in a name space of its own end with the engine, however that ends.
        let mut command = bench.command("unshare");
        command.args(["--mount", "--propagation", "private", "dockerd", "--bridge=none"]);
        Self::configure(&mut command, directory, &directory.join("daemon.json"));
        command
    }

    fn daemon_with_networks(bench: &Workbench, directory: &Path) -> Command {
        let mut command = bench.command("unshare");
        command.args(["--net", "--mount", "--propagation", "private"]);
        command.args(["sh", "-ec", BOOT]);
        command.arg(directory.join("etc"));
        command.args([MACHINE, "--bip=172.30.0.1/24"]);
        // Where everybody looks for it, and where containers are told to mount it from.
        command.args(["--host", "unix:///run/docker.sock"]);
        Self::configure(&mut command, directory, &directory.join(SETTINGS));
        command
    }

    fn configure(command: &mut Command, directory: &Path, settings: &Path) {
        // The machine's own settings decide nothing.
        fs::write(settings, "{}").expect("an engine's directory is its own");
        command.arg("--config-file").arg(settings);
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",
            "--debug",
        ]);
        for (option, file) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(option).arg(directory.join(file));
        }
        command.arg("--host").arg(Self::host(directory));
    }

    /// Returns a command on the machine of an engine with networks. It reaches the ports that containers publish, and
    /// its docker commands go to this engine.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let mut command = self.bench.command("nsenter");
        for (option, space) in [("net", "net"), ("mount", "mnt")] {
            command.arg(format!("--{option}=/proc/{}/ns/{space}", self.process.id()));
        }
        command.arg(format!("--wdns={}", self.bench.path("").display()));
        command.arg(program);
        command
    }

    /// Makes an engine with networks read its settings again, as `systemctl reload docker` does.
    pub(crate) fn reload(&self) {
        let mut command = self.bench.command("kill");
        command.args(["-HUP", &self.process.id().to_string()]);
        output_of(command).expect("dockerd runs");
        let reloaded = self.process.wait_for_output("Reloaded configuration");
        reloaded.expect("the settings are ones that can change");
    }

    /// Returns the socket of the containerd that the engine has started.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.directory.join("exec/containerd/containerd.sock")
    }

    /// Returns the path of a file in the `/etc` of an engine with networks.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.directory.join("etc").join(name)
    }

    fn host(directory: &Path) -> String {
        format!("unix://{}", argument(&directory.join("docker.sock")))
    }

    /// Runs `docker` on this engine and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Printed {
        self.run_with(&[], arguments)
    }

    /// Runs `docker` as [`Self::run`] does, with these variables set.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Printed {
        self.attempt_with(variables, arguments).unwrap_or_else(|failed| {
            panic!("docker {}: {failed}", arguments.join(" "));
        })
    }

    /// Runs a `docker` command that must fail, and returns its message.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        match self.attempt(arguments) {
            Err(message) => message,
            Ok(printed) => panic!("docker {} succeeds: {}", arguments.join(" "), printed.text()),
        }
    }

    /// Loads an archive and returns the id of its image, which is the digest of its configuration.
    pub(crate) fn load(&self, archive: &[u8]) -> String {
        let file = self.directory.join("load.tar");
        fs::write(&file, archive).expect("the test's directory is writable");
        let loaded = self.run(&["load", "--quiet", "--input", argument(&file)]);
        let name = loaded.text().rsplit_once(": ").map(|(_, name)| name);
        self.id(name.expect("docker says what it has loaded"))
    }

    /// Returns the id of an image, which is the digest of its configuration.
    pub(crate) fn id(&self, image: &str) -> String {
        let inspected = self.run(&["image", "inspect", "--format", "{{.Id}}", image]);
        inspected.text().to_owned()
    }

    /// Runs a `docker` command that may fail; the error is its message.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<Printed, String> {
        self.attempt_with(&[], arguments)
    }

    /// Returns the command line of `docker` on this engine.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command("docker");
        command.arg("--host").arg(Self::host(&self.directory));
        command.args(arguments);
        command
    }

    fn attempt_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Printed, String> {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        output_of(command)
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        // Asked first: it has a containerd to take along.
        let stopped = self.process.stop();
        if thread::panicking() || stopped.is_err() {
            self.show_log();
        }
    }
}

impl Engine<'_> {
    #[expect(clippy::print_stderr, reason = "a test is failing, and this is why")]
    fn show_log(&self) {
        eprintln!(
            "dockerd in {}:\n{}",
            self.directory.display(),
            self.process.output()
        );
    }
}

/// Fills an `/etc` with the files about users and names that programs need.
fn make_etc(directory: &Path) {
    for part in ["docker", "ssl"] {
        fs::create_dir_all(directory.join(part)).expect("an engine's directory is its own");
    }
    fs::write(directory.join("hosts"), "127.0.0.1 localhost\n").expect("as above");
    fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\n").expect("as above");
    for name in ["group", "nsswitch.conf", "passwd", "ssl/openssl.cnf"] {
        // What a machine lacks, its programs do without.
        _ = fs::copy(Path::new("/etc").join(name), directory.join(name));
    }
}

/// Returns the same tests if an engine can be started, and otherwise tests that report that it cannot.
pub(crate) fn where_engines_start(trials: Vec<Trial>) -> Vec<Trial> {
    if rustix::process::geteuid().is_root() {
        return trials;
    }
    let unavailable = |trial: Trial| tools::unavailable(trial.name(), "an engine is started by root only");
    trials.into_iter().map(unavailable).collect()
}
