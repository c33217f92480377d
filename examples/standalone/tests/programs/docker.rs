//! A docker engine of the test's own: started by hand, without systemd, networks or containers; and its client.
//!
//! ```ignore
//! let docker = Engine::start(&scene.bench, "first");
//! docker.run(&["push", &scene.server.repository("team/app:one")]);
//! let refused = docker.refused(&["login", "-u", "u", "-p", "wrong", &scene.server.address().to_string()]);
//! ```
//!
//! Starting one takes a third of a second, so that each test has its own, and a second one where what is pulled
//! must come from the registry alone. Registries on 127.0.0.0/8 are spoken to in plain HTTP.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use libtest_mimic::Trial;
use registry_testkit::tools::{self, Process};

use crate::program::{Printed, Workbench, argument, output_of};

/// What has to be installed, for the lists of tests.
pub(crate) const PROGRAMS: [&str; 2] = ["docker", "dockerd"];

/// What an engine says when it is ready.
const READY: &str = "API listen on ";

/// A running engine with a storage of its own. Dropped, it is stopped; if the test is failing, its log is shown.
pub(crate) struct Engine<'a> {
    bench: &'a Workbench,
    directory: PathBuf,
    process: Process,
}

impl<'a> Engine<'a> {
    /// Starts an engine that keeps everything below `name` in the test's directory, and waits until it is ready.
    pub(crate) fn start(bench: &'a Workbench, name: &str) -> Self {
        Self::start_with(bench, name, &[])
    }

    /// As [`Self::start`], with more on dockerd's command line.
    pub(crate) fn start_with(bench: &'a Workbench, name: &str, options: &[&str]) -> Self {
        Self::start_in(bench, name, |directory| {
            let mut command = Self::daemon(bench, directory);
            command.args(options);
            command
        })
    }

    /// As [`Self::start`], with networks for containers, in a name space of the engine's own: ports that it publishes
    /// are taken nowhere else, and found by [`Self::inside`] only.
    pub(crate) fn start_with_networks(bench: &'a Workbench, name: &str) -> Self {
        Self::start_in(bench, name, |directory| {
            Self::daemon_with_networks(bench, directory)
        })
    }

    fn start_in(bench: &'a Workbench, name: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let directory = bench.path(name);
        fs::create_dir(&directory).expect("an engine's directory is its own");
        // The machine's own settings decide nothing.
        fs::write(directory.join("daemon.json"), "{}").expect("the test's directory is writable");
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
        Self::configure(&mut command, directory);
        command
    }

    fn daemon_with_networks(bench: &Workbench, directory: &Path) -> Command {
        let mut command = bench.command("unshare");
        command.args(["--net", "--mount", "--propagation", "private"]);
        command.args([
            "sh",
            "-c",
            "ip link set lo up && exec dockerd \"$@\"",
            "dockerd",
            "--bip=172.30.0.1/24",
        ]);
        Self::configure(&mut command, directory);
        command
    }

    fn configure(command: &mut Command, directory: &Path) {
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",
            "--debug",
        ]);
        for (option, file) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(option).arg(directory.join(file));
        }
        command.arg("--host").arg(Self::host(directory));
    }

    /// A command that finds the ports which containers of this engine publish.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let mut command = self.bench.command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.process.id()));
        command.arg(program);
        command
    }

    fn host(directory: &Path) -> String {
        format!("unix://{}", argument(&directory.join("docker.sock")))
    }

    /// Runs `docker` on this engine and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Printed {
        self.run_with(&[], arguments)
    }

    /// As [`Self::run`], with these variables set.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Printed {
        self.attempt_with(variables, arguments).unwrap_or_else(|failed| {
            panic!("docker {}: {failed}", arguments.join(" "));
        })
    }

    /// Runs `docker` on this engine for something that has to fail, and returns what it says.
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

    /// The id of an image, which is the digest of its configuration.
    pub(crate) fn id(&self, image: &str) -> String {
        let inspected = self.run(&["image", "inspect", "--format", "{{.Id}}", image]);
        inspected.text().to_owned()
    }

    /// Runs `docker` on this engine for something that may fail; then the error is what it says.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<Printed, String> {
        self.attempt_with(&[], arguments)
    }

    /// The command line of `docker` on this engine.
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

/// The same tests where an engine can be started, and otherwise what says that it cannot.
pub(crate) fn where_engines_start(trials: Vec<Trial>) -> Vec<Trial> {
    if rustix::process::geteuid().is_root() {
        return trials;
    }
    let unavailable = |trial: Trial| tools::unavailable(trial.name(), "an engine is started by root only");
    trials.into_iter().map(unavailable).collect()
}
