//! External programs in tests. They are found or reported as missing, started, waited for, and killed at the end.
//!
//! `cargo test` passes on a machine that has only Rust, without hiding what was not tested. A test that needs a missing
//! program is *ignored*, with the reason in its name. If [`required`] returns true, as in CI, the test fails instead.
//!
//! ```no_run
//! use registry_conformance::tools::{self, Process};
//! use std::process::Command;
//!
//! /// A test target with `harness = false`.
//! fn main() {
//!     let arguments = libtest_mimic::Arguments::from_args();
//!     let trial = tools::trial("a registry answers", &["docker-registry"], || {
//!         let (_server, address) = Process::listening(|address| {
//!             let mut command = Command::new("docker-registry");
//!             command.args(["serve", "config.yml"]).env("REGISTRY_HTTP_ADDR", address.to_string());
//!             command
//!         })?;
//!         println!("it listens on {address}, until `_server` is dropped");
//!         Ok(())
//!     });
//!     libtest_mimic::run(&arguments, vec![trial]).exit();
//! }
//! ```

use libtest_mimic::{Failed, Trial};
use std::{
    env, fmt,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The variable that turns the absence of a program into a failure, when it is `1`.
pub const REQUIRE_TOOLS: &str = "REGISTRY_TEST_REQUIRE_TOOLS";

/// Number of times that [`Process::listening`] tries to connect to a new process.
const CONNECT_TRIES: u32 = 1500;

/// Pause between two such attempts; together they bound the wait to half a minute.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Maximum time for which [`Process::wait_for_output`] waits.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(60);

/// Time that [`Process::stop`] gives a process to clean up.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Number of ports that [`Process::listening`] tries: a free port may be taken before its process binds it.
const PORT_TRIES: u32 = 3;

/// Returns the path of `program`, if it is an executable file in one of the directories of `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Returns true if a missing program is a failure here: [`REQUIRE_TOOLS`] is `1`.
#[must_use]
pub fn required() -> bool {
    env::var_os(REQUIRE_TOOLS).is_some_and(|value| value == "1")
}

/// Returns the first of `programs` that is missing.
#[must_use]
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    programs.iter().copied().find(|program| find(program).is_none())
}

/// Returns a test that needs `programs`. If one is missing, the test is ignored and names it, or fails if [`required`]
/// returns true.
pub fn trial<F>(name: impl Into<String>, programs: &[&str], test: F) -> Trial
where
    F: FnOnce() -> Result<(), Failed> + Send + 'static,
{
    let name = name.into();
    match missing(programs) {
        None => Trial::test(name, test),
        Some(program) => absent(&name, program),
    }
}

/// Returns the replacement for the test `name` without `program`: ignored, or failed if [`required`] returns true.
///
/// If it is run all the same (`--ignored`), it fails, since nothing was tested.
#[must_use]
pub fn absent(name: &str, program: &str) -> Trial {
    unavailable(name, &format!("{program} is not installed"))
}

/// Returns the replacement for the test `name` on a machine that lacks something else, named by `reason`. It is
/// ignored, or failed if [`required`] returns true, as with [`absent`].
#[must_use]
pub fn unavailable(name: &str, reason: &str) -> Trial {
    let failure = format!("{reason}; the test was selected by name, or {REQUIRE_TOOLS}=1 requires it");
    Trial::test(format!("{name} ({reason})"), move || Err(Failed::from(failure)))
        .with_ignored_flag(!required())
}

/// Returns a TCP port on the loopback interface that was free a moment ago.
///
/// # Errors
///
/// An error of binding a socket.
pub fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A child process, killed and reaped on drop. Its output is kept for the report of a failed test.
///
/// ```
/// use registry_conformance::tools::Process;
/// use std::process::Command;
///
/// let mut process = Process::start(Command::new("cargo").arg("--version"))?;
/// process.wait_for_output("cargo ")?;
/// assert!(process.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Process {
    child: Child,
    output: Arc<Kept>,
    readers: Vec<JoinHandle<()>>,
}

/// Output of a process, and the number of its outputs that are still open.
#[derive(Default)]
struct Kept {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    open: usize,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, Printed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `met` returns true, but no longer than `patience`.
    fn wait(&self, patience: Duration, met: impl Fn(&Printed) -> bool) -> MutexGuard<'_, Printed> {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), patience, |printed| !met(printed));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Process {
    /// Starts a command without input, and keeps its two outputs as one.
    ///
    /// # Errors
    ///
    /// An error of starting a process.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::<Kept>::default();
        let readers = [
            child.stdout.take().map(|out| keep(out, &output)),
            child.stderr.take().map(|err| keep(err, &output)),
        ];
        Ok(Self {
            child,
            output,
            readers: readers.into_iter().flatten().collect(),
        })
    }

    /// Starts a server that `command` makes listen on a loopback address, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// The process cannot be started, ends, or accepts nothing for half a minute; the message contains its output. If
    /// the process ends, it is started again on another port, since the first may have been taken.
    pub fn listening(command: impl Fn(SocketAddr) -> Command) -> io::Result<(Self, SocketAddr)> {
        let mut tries = 1;
        loop {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let mut process = Self::start(&mut command(address))?;
            match process.wait_for_connections(address) {
                Ok(()) => return Ok((process, address)),
                Err(ended) if ended.kind() == io::ErrorKind::BrokenPipe && tries < PORT_TRIES => tries += 1,
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Waits until something at `address` accepts connections, for at most half a minute.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] if the process ended, [`io::ErrorKind::TimedOut`] after the last attempt; the
    /// message contains its output.
    pub fn wait_for_connections(&mut self, address: SocketAddr) -> io::Result<()> {
        for _ in 0..CONNECT_TRIES {
            let connected = TcpStream::connect(address).is_ok();
            // Checked after the connection: if the process has ended, another program may have taken its port.
            if let Some(status) = self.child.try_wait()? {
                self.join_readers();
                return Err(self.failed(io::ErrorKind::BrokenPipe, &format!("ended with {status}")));
            }
            if connected {
                return Ok(());
            }
            thread::park_timeout(CONNECT_PAUSE);
        }
        Err(self.failed(io::ErrorKind::TimedOut, "accepts no connection"))
    }

    /// Waits until the process has printed `text`, on one of its outputs, for at most a minute.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] if it closed its outputs first, which a process does when it ends;
    /// [`io::ErrorKind::TimedOut`] after a minute. The message contains its output.
    pub fn wait_for_output(&self, text: &str) -> io::Result<()> {
        // Each search begins at the start. The output of a server until it is ready is short.
        let state = self.output.wait(OUTPUT_PATIENCE, |printed| {
            printed.open == 0 || String::from_utf8_lossy(&printed.bytes).contains(text)
        });
        let kind = if String::from_utf8_lossy(&state.bytes).contains(text) {
            return Ok(());
        } else if state.open == 0 {
            io::ErrorKind::BrokenPipe
        } else {
            io::ErrorKind::TimedOut
        };
        drop(state);
        Err(self.failed(kind, &format!("did not print {text:?}")))
    }

    fn failed(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        io::Error::new(
            kind,
            format!("process {} {what}; it printed:\n{}", self.id(), self.output()),
        )
    }

    /// Returns the id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the output so far, both outputs in the order of arrival.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.state().bytes).into_owned()
    }

    /// Kills the process at once, and waits for its end.
    ///
    /// # Errors
    ///
    /// An error of killing or waiting.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.wait()
    }

    /// Asks the process to end (SIGTERM). Kills it only if it, or a child that shares its outputs, has not ended half
    /// a minute later. For programs that leave processes or mounts behind when they are killed, such as container
    /// engines.
    ///
    /// # Errors
    ///
    /// An error of signalling, killing or waiting.
    #[cfg(unix)]
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let ended = self.child.try_wait()?;
        let id = i32::try_from(self.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let (None, Some(id)) = (ended, id) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        drop(self.output.wait(STOP_PATIENCE, |printed| printed.open == 0));
        self.child.kill()?;
        self.child.wait()
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    ///
    /// An error of waiting.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.join_readers();
        Ok(status)
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // The output that a reader stored before a panic is kept.
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The readers are not joined: a grandchild may keep the outputs open.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Reads `from` to its end on a thread of its own, so that the process never waits for a full pipe.
fn keep(mut from: impl Read + Send + 'static, to: &Arc<Kept>) -> JoinHandle<()> {
    let to = Arc::clone(to);
    to.state().open += 1;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let read = buffer.get(..count).unwrap_or_default();
            to.state().bytes.extend_from_slice(read);
            to.changed.notify_all();
        }
        to.state().open -= 1;
        to.changed.notify_all();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_exists_is_found_and_another_is_missing() {
        assert!(find("cargo").is_some());
        assert_eq!(missing(&["cargo", "no-such-program"]), Some("no-such-program"));
    }

    #[test]
    fn a_test_without_its_program_says_so_and_does_not_pass() {
        let trial = trial("copies", &["no-such-program"], || Ok(()));

        assert_eq!(trial.name(), "copies (no-such-program is not installed)");
        assert_eq!(trial.has_ignored_flag(), !required());
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_output() {
        let failed = Process::listening(|_| {
            let mut command = Command::new("cargo");
            command.arg("no-such-subcommand");
            command
        })
        .unwrap_err();

        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
        assert!(failed.to_string().contains("no-such-subcommand"), "{failed}");
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_is_stopped_may_tidy_up() {
        let mut command = Command::new("sh");
        // The signal interrupts the `wait` for the child.
        command.args([
            "-c",
            "sleep 600 & trap 'kill $!; echo tidied; exit 7' TERM; echo ready; wait",
        ]);
        let mut process = Process::start(&mut command).unwrap();
        process.wait_for_output("ready").unwrap();

        let status = process.stop().unwrap();

        assert_eq!(
            (status.code(), process.output().as_str()),
            (Some(7), "ready\ntidied\n")
        );
    }

    #[test]
    fn output_is_waited_for_until_it_comes_or_cannot_come_any_more() {
        let mut command = Command::new("cargo");
        command.arg("--version");
        let process = Process::start(&mut command).unwrap();

        process.wait_for_output("cargo ").unwrap();
        let ended = process.wait_for_output("no such output").unwrap_err();

        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
        assert!(ended.to_string().contains("printed:\ncargo "), "{ended}");
    }
}
