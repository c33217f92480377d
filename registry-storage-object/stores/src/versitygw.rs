//! [`Versitygw`]: an S3 gateway in front of a directory.

use crate::{
    keys::KEYS,
    process::Program,
    s3::{self, S3Server},
};
use std::{fs, io, net::SocketAddr, path::Path, process::Command};

/// versitygw, of the Go module `github.com/versity/versitygw`, with its posix backend.
///
/// It keeps every condition except `If-None-Match` of a copy, and lists in the order of bytes. A key cannot be both an
/// object and a directory of others.
#[derive(Debug)]
pub struct Versitygw;

impl Versitygw {
    /// Name of the program, in `PATH`.
    pub const PROGRAM: &'static str = "versitygw";

    /// Starts a server, and waits until it stores objects.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the program is not installed. Otherwise the process cannot be started, ends, or
    /// stores nothing for a minute; the message contains its output.
    pub fn start() -> io::Result<S3Server> {
        S3Server::start(Self)
    }
}

impl Program for Versitygw {
    fn name(&self) -> &'static str {
        Self::PROGRAM
    }

    fn ports(&self) -> usize {
        1
    }

    fn prepare(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory.join("data"))
    }

    fn command(&self, program: &Path, directory: &Path, ports: &[SocketAddr]) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env("ROOT_ACCESS_KEY", KEYS.access_key)
            .env("ROOT_SECRET_KEY", KEYS.secret)
            .args(["--keep-alive", "--quiet"]);
        for address in ports {
            command.arg("--port").arg(address.to_string());
        }
        command.args(["posix", "data"]);
        command
    }

    fn stores(&self, address: SocketAddr) -> io::Result<()> {
        s3::stores(address)
    }
}
