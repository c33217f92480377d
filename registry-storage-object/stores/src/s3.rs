//! [`S3Server`]: a real S3 server as a process.

use crate::{
    bucket,
    keys::{KEYS, REGION},
};
use object_store::aws::AmazonS3Builder;
use registry_conformance::tools::{self, Process};
use rustix::process::{Pid, Signal};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Number of times that a new process is asked to store something.
const TRIES: u32 = 600;

/// Pause between two such attempts; together they bound the wait to a minute, unless answers take long.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of sets of ports that are tried: a free port may be taken before the process binds it.
const PORT_TRIES: u32 = 3;

/// Bucket of the start-up check, which no test uses.
const READY: &str = "is-it-ready";

/// A program that is an S3 server, with its options.
pub(crate) trait Program: Send + Sync + 'static {
    /// Name of the program, in `PATH`.
    fn name(&self) -> &'static str;

    /// Number of ports that it binds. The first is that of its S3 API.
    fn ports(&self) -> usize;

    /// Prepares an empty directory for [`Self::command`].
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn prepare(&self, directory: &Path) -> io::Result<()>;

    /// Returns the command that serves the data in a directory. It is the same at each restart.
    fn command(&self, program: &Path, directory: &Path, ports: &[SocketAddr]) -> Command;

    /// Returns files outside of its directory that it may leave behind.
    fn leavings(&self, ports: &[SocketAddr]) -> Vec<PathBuf>;
}

/// A real S3 server on a loopback address, with an empty directory of its own. It is killed on drop.
///
/// It knows one user, with all permissions, and checks signatures. Buckets are addressed by path.
pub struct S3Server {
    // Killed before its directory is removed.
    process: Process,
    directory: TempDir,
    started: Box<dyn Program>,
    path: PathBuf,
    ports: Vec<SocketAddr>,
}

impl S3Server {
    /// Starts a server, and waits until it stores objects.
    pub(crate) fn start(program: impl Program) -> io::Result<Self> {
        let path = tools::find(program.name()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} is not installed", program.name()),
            )
        })?;
        let mut tries = 1;
        loop {
            let directory = TempDir::new()?;
            program.prepare(directory.path())?;
            let ports = free_ports(program.ports())?;
            let process = Process::start(&mut program.command(&path, directory.path(), &ports))?;
            match ready(process, &ports) {
                Ok(process) => {
                    return Ok(Self {
                        process,
                        directory,
                        started: Box::new(program),
                        path,
                        ports,
                    });
                }
                Err(ended) if ended.kind() == io::ErrorKind::BrokenPipe && tries < PORT_TRIES => tries += 1,
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Returns the name of the program.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.started.name()
    }

    /// Returns the address of its S3 API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.ports.first().expect("a server has at least one port")
    }

    /// Returns the URL of its S3 API.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the access key of the only user.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        KEYS.access_key
    }

    /// Returns the secret of the only user.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        KEYS.secret
    }

    /// Returns the region that signatures name.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Makes a bucket, unless it exists, and returns the settings of a client.
    ///
    /// # Errors
    ///
    /// An error of the connection, or the server's refusal.
    pub fn bucket(&self, name: &str) -> io::Result<AmazonS3Builder> {
        bucket::create(self.address(), &KEYS, name)?;
        Ok(self.client(name))
    }

    /// Returns the settings of a client for a bucket.
    #[must_use]
    pub fn client(&self, bucket: &str) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_access_key_id(KEYS.access_key)
            .with_secret_access_key(KEYS.secret)
            .with_bucket_name(bucket)
    }

    /// Returns the id of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns the output of the process so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Stops the process where it is (SIGSTOP): connections are accepted by the system, and nothing is answered.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process continue (SIGCONT).
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills the process at once (SIGKILL). Its data and its ports remain its own, for [`Self::restart`].
    ///
    /// # Errors
    ///
    /// An error of killing or waiting.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts the server again after [`Self::kill`], with the same data and address, and waits until it stores objects.
    ///
    /// # Errors
    ///
    /// The process cannot be started, ends, or stores nothing for a minute; the message contains its output.
    pub fn restart(&mut self) -> io::Result<()> {
        let mut command = self
            .started
            .command(&self.path, self.directory.path(), &self.ports);
        self.process = ready(Process::start(&mut command)?, &self.ports)?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let id = id.expect("a child has a process id");
        Ok(rustix::process::kill_process(id, signal)?)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Fails if it has ended already. Only the files of a process that has ended may be removed.
        let _ = self.process.kill();
        for file in self.started.leavings(&self.ports) {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server")
            .field("program", &self.program())
            .field("pid", &self.pid())
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// Waits until a new process stores objects.
fn ready(mut process: Process, ports: &[SocketAddr]) -> io::Result<Process> {
    let address = *ports.first().expect("a server has at least one port");
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        // Fails at once if the process has ended, also if another program has taken its port.
        process.wait_for_connections(address)?;
        match bucket::create(address, &KEYS, READY)
            .and_then(|()| bucket::store(address, &KEYS, READY, "object"))
        {
            Ok(()) => return Ok(process),
            Err(refused) => failed = refused,
        }
        thread::park_timeout(PAUSE);
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "process {} stores nothing: {failed}; it printed:\n{}",
            process.id(),
            process.output()
        ),
    ))
}

/// Returns addresses with ports that were free a moment ago.
fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are bound at the same time, so that they differ.
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}
