//! dockerd and containerd for one test, without networks and containers. They end with the test.

use crate::bench::{Bench, argument, output};
use registry_conformance::tools::Process;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A running docker engine.
pub(crate) struct Docker<'a> {
    bench: &'a Bench,
    host: String,
    process: Process,
}

impl<'a> Docker<'a> {
    pub(crate) fn start(bench: &'a Bench) -> Self {
        let directory = bench.path("docker");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("daemon.json"), "{}").unwrap();
        let host = format!("unix://{}", argument(&directory.join("docker.sock")));
        // Mounts in a name space of its own end with the engine, however that ends.
        let mut command = bench.command("unshare");
        command.args(["--mount", "--propagation", "private", "dockerd", "--bridge=none"]);
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",
            "--host",
            &host,
        ]);
        for (option, file) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(option).arg(directory.join(file));
        }
        let process = Process::start(&mut command).unwrap();
        process.wait_for_output("API listen on ").unwrap();
        Self { bench, host, process }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.bench.command("docker");
        command.args(["--host", &self.host]).args(arguments);
        output(command)
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        // Asked first: it has a containerd to take along.
        let _ = self.process.stop();
    }
}

/// A running containerd.
pub(crate) struct Containerd<'a> {
    bench: &'a Bench,
    socket: PathBuf,
    process: Process,
}

impl<'a> Containerd<'a> {
    pub(crate) fn start(bench: &'a Bench) -> Self {
        let directory = bench.path("containerd");
        fs::create_dir(&directory).unwrap();
        let socket = directory.join("socket");
        let at = |name: &str| argument(&directory.join(name)).to_owned();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
             \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            argument(&socket),
            at("ttrpc"),
        );
        fs::write(directory.join("config.toml"), config).unwrap();
        let mut command = bench.command("unshare");
        command.args(["--mount", "--propagation", "private", "containerd", "--config"]);
        let process = Process::start(command.arg(directory.join("config.toml"))).unwrap();
        process.wait_for_output("containerd successfully booted").unwrap();
        Self {
            bench,
            socket,
            process,
        }
    }

    /// Imports an archive, with all its images.
    pub(crate) fn import(&self, archive: &Path) {
        let options = ["--all-platforms", "--no-unpack", argument(archive)];
        self.run(&[&["images", "import"], &options[..]].concat());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        self.bench.run(
            "ctr",
            &[&["--address", argument(&self.socket)], arguments].concat(),
        )
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        let _ = self.process.stop();
    }
}
