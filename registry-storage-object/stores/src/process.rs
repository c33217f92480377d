//! [`StoreProcess`]: a program that is an object store, with its data in a directory of its own.

use registry_conformance::tools::{self, Process};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::{
    fmt, fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
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

/// Ports of servers. Linux gives clients those from 32768 on.
const PORTS: RangeInclusive<u16> = 12_000..=32_000;

/// Number of ports that are tried for one set.
const BIND_TRIES: u32 = 1000;

/// A program that is an object store, with its options.
pub(crate) trait Program: Send + Sync + 'static {
    /// Name of the program, in `PATH`.
    fn name(&self) -> &'static str;

    /// Number of ports that it binds. The first is that of its API.
    fn ports(&self) -> usize;

    /// Prepares an empty directory for [`Self::command`].
    ///
    /// # Errors
    ///
    /// An error of the file system.
    fn prepare(&self, directory: &Path) -> io::Result<()>;

    /// Returns the command that serves the data in a directory. It is the same at each restart.
    fn command(&self, program: &Path, directory: &Path, ports: &[SocketAddr]) -> Command;

    /// Asks a process that accepts connections to store something.
    ///
    /// # Errors
    ///
    /// It does not, yet.
    fn stores(&self, address: SocketAddr) -> io::Result<()>;

    /// Returns files outside of its directory that it may leave behind. Most leave none.
    fn leavings(&self, _ports: &[SocketAddr]) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// An object store as a process, with an empty directory of its own. It is killed on drop.
pub(crate) struct StoreProcess {
    // Killed before its directory is removed.
    process: Process,
    directory: TempDir,
    program: Box<dyn Program>,
    path: PathBuf,
    ports: Vec<SocketAddr>,
}

impl StoreProcess {
    /// Starts a program, and waits until it stores objects.
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
            match ready(&program, process, &ports) {
                Ok(process) => {
                    return Ok(Self {
                        process,
                        directory,
                        program: Box::new(program),
                        path,
                        ports,
                    });
                }
                Err(ended) if ended.kind() == io::ErrorKind::BrokenPipe && tries < PORT_TRIES => tries += 1,
                Err(failed) => return Err(failed),
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.program.name()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        first(&self.ports)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts the program again after [`Self::kill`], and waits until it stores objects.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        let mut command = self
            .program
            .command(&self.path, self.directory.path(), &self.ports);
        self.process = ready(self.program.as_ref(), Process::start(&mut command)?, &self.ports)?;
        Ok(())
    }

    /// Stops the process where it is, and waits until all of its threads have stopped.
    pub(crate) fn pause(&self) -> io::Result<()> {
        let id = self.pid();
        kill_process(id, Signal::STOP)?;
        waitid(WaitId::Pid(id), WaitIdOptions::STOPPED)?;
        Ok(())
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        Ok(kill_process(self.pid(), Signal::CONT)?)
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        id.expect("a child has a process id")
    }
}

impl Drop for StoreProcess {
    fn drop(&mut self) {
        // Fails if it has ended already. Only the files of a process that has ended may be removed.
        let _ = self.process.kill();
        for file in self.program.leavings(&self.ports) {
            let _ = fs::remove_file(file);
        }
    }
}

impl fmt::Debug for StoreProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreProcess")
            .field("program", &self.name())
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// Waits until a new process stores objects.
fn ready(program: &dyn Program, mut process: Process, ports: &[SocketAddr]) -> io::Result<Process> {
    let address = first(ports);
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        // Fails at once if the process has ended, also if another program has taken its port.
        process.wait_for_connections(address)?;
        match program.stores(address) {
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
///
/// They are not among those that the system gives to clients: a server that is killed finds its ports free again.
fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are bound at the same time, so that they differ.
    let mut listeners = Vec::new();
    for _ in 0..BIND_TRIES {
        let port = PORTS.start() + random() % (PORTS.end() - PORTS.start());
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if listeners.len() == count {
            return listeners.iter().map(TcpListener::local_addr).collect();
        }
    }
    let message = format!(
        "no {count} free ports between {} and {}",
        PORTS.start(),
        PORTS.end()
    );
    Err(io::Error::new(io::ErrorKind::AddrInUse, message))
}

fn random() -> u16 {
    let [first, second, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u16::from_le_bytes([first, second])
}

fn first(ports: &[SocketAddr]) -> SocketAddr {
    *ports.first().expect("a store has at least one port")
}
