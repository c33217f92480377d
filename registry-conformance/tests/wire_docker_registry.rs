//! Proof that the wire suite can fail: Debian's `docker-registry` 2.8.2 fails exactly the cases that
//! `known-failures/docker-registry-2.8.2.txt` lists, each for a reason that the list states.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its server has failed"
)]

use libtest_mimic::{Arguments, Failed, Trial};
use registry_conformance::{
    tools::{self, Process},
    wire::{self, KnownFailures, Options},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, OnceLock},
};

const PROGRAM: &str = "docker-registry";

/// The version whose failures are listed; other versions have others.
const VERSION: &str = "2.8.2";

const KNOWN_FAILURES: &str = include_str!("../known-failures/docker-registry-2.8.2.txt");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut options = Options::default();
    options.known_failures = KNOWN_FAILURES.parse::<KnownFailures>().unwrap();

    let server = Arc::new(OnceLock::new());
    let running = Arc::clone(&server);
    let mut trials = match tools::find(PROGRAM) {
        Some(program) => wire::trials(move || base_url(&running, &program), &options),
        None => wire::cases()
            .iter()
            .map(|case| tools::absent(case.name(), PROGRAM))
            .collect(),
    };
    trials.push(tools::trial(
        "the program is the version that the list is about",
        &[PROGRAM],
        is_the_version,
    ));
    trials.push(Trial::test(
        "every known failure has a reason",
        every_failure_has_a_reason,
    ));

    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit_code` runs no destructors, so the server is stopped here.
    drop(server);
    conclusion.exit_code()
}

/// The server of all tests, and its data directory.
#[derive(Debug)]
struct Server {
    process: Process,
    root: PathBuf,
    base_url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Starts the server with the first test that needs it.
fn base_url(server: &OnceLock<Result<Server, String>>, program: &Path) -> Result<String, Failed> {
    match server.get_or_init(|| start(program).map_err(|error| error.to_string())) {
        Ok(server) => Ok(server.base_url.clone()),
        Err(error) => Err(Failed::from(error)),
    }
}

fn start(program: &Path) -> std::io::Result<Server> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docker-registry-{}", std::process::id()));
    fs::create_dir_all(&root)?;
    let (process, address) = Process::listening(|address| {
        let config = root.join("config.yml");
        fs::write(&config, configuration(&root, &address.to_string())).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(config);
        command
    })?;
    Ok(Server {
        process,
        root,
        base_url: format!("http://{address}"),
    })
}

/// Returns a configuration with deletion, without an access log, and without purging of uploads during the tests.
fn configuration(root: &Path, address: &str) -> String {
    format!(
        "version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {root}
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
      age: 168h
      interval: 24h
      dryrun: false
http:
  addr: {address}
",
        root = root.join("data").display(),
    )
}

fn is_the_version() -> Result<(), Failed> {
    let output = Command::new(PROGRAM).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains(VERSION) {
        return Ok(());
    }
    Err(format!("{text:?} is not {VERSION}").into())
}

/// Checks that each group of names has a comment.
fn every_failure_has_a_reason() -> Result<(), Failed> {
    for group in KNOWN_FAILURES
        .split("\n\n")
        .filter(|group| !group.trim().is_empty())
    {
        if !group.trim_start().starts_with('#') {
            return Err(format!("a group without a comment:\n{group}").into());
        }
    }
    Ok(())
}
