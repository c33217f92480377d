//! An OCI / Docker registry server, made from the public API of the registry crates.
//!
//! [`main`] is the binary `registry`.

mod absent;
mod access;
mod access_log;
mod admission;
mod announce;
mod backend;
mod causes;
mod cli;
mod command;
mod config;
mod debug;
mod denied;
mod files;
mod headers;
mod health;
mod htpasswd;
mod layer_urls;
mod links;
mod listen;
mod log;
mod printable;
mod prompt;
mod proxies;
mod root;
mod serve;
mod socket;
mod tls;
mod transfers;
mod users;

use causes::with_causes;
use clap::Parser as _;
use config::{Config, Sources};
use std::{
    error::Error,
    ffi::OsStr,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs the command line of the binary `registry`, and returns the exit code of the process.
#[must_use]
pub fn main() -> ExitCode {
    // A link of that name is all that a container needs for `--entrypoint htpasswd`.
    if called("htpasswd") {
        return htpasswd::run(htpasswd::Program::parse().options);
    }
    let cli::Cli { command, .. } = cli::Cli::parse_from(cli::arguments(std::env::args_os()));
    let done = |result: Result<(), _>| result.map(|()| ExitCode::SUCCESS);
    let (result, failure) = match command {
        cli::Command::Serve(options) => (done(serve::run(options)), ExitCode::FAILURE),
        cli::Command::Config(cli::Config::Check { config }) => (done(check(config)), ExitCode::FAILURE),
        cli::Command::Health(options) => (done(health::run(options)), ExitCode::FAILURE),
        // 1 is an answer there, and below.
        cli::Command::Doctor(options) => (command::doctor::run(options), ExitCode::from(2)),
        cli::Command::Htpasswd(options) => return htpasswd::run(options),
        cli::Command::Access(cli::Access::Explain(options)) => (access::explain(&options), ExitCode::from(2)),
        cli::Command::GarbageCollect(_) => (Err(NO_COLLECTION.into()), ExitCode::FAILURE),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            for line in printable::Lines(with_causes(&*error)).to_string().lines() {
                // Nothing is left to tell it to if standard error is gone.
                let _ = writeln!(io::stderr(), "registry: {line}");
            }
            failure
        }
    }
}

const NO_COLLECTION: &str = "garbage collection is not available yet, and nothing was removed; deleted content stays on the disk until then";

/// Runs `registry config check`: prints the effective configuration to standard output, and notices to standard error.
///
/// Checks that the files of users and rules can be read. A file of users that the server would create may be missing.
fn check(file: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let config = Config::load(Sources {
        file,
        variables: config::variables(),
        flags: Vec::new(),
    })?;
    let mut out = io::stdout().lock();
    out.write_all(config::render(&config).as_bytes())?;
    out.flush()?;
    let mut err = io::stderr().lock();
    for notice in &config.notices {
        writeln!(err, "{notice}")?;
    }
    let login = config.settings.login.as_ref();
    let users = users::open(login.filter(|login| !login.autocreate))?;
    let mut remarks = config.notices.len();
    if let Some(path) = &config.settings.access {
        let rules = access::open(path)?.rules();
        // What a file of users will hold that the server makes is not known.
        if users.is_some() || login.is_none() {
            for remark in access::remarks(&rules, users.as_ref()) {
                writeln!(err, "access rules: {}", printable::Line(remark))?;
                remarks += 1;
            }
        }
    }
    match remarks {
        0 => {}
        1 => writeln!(err, "1 remark above; it does not prevent a start")?,
        remarks => writeln!(err, "{remarks} remarks above; they do not prevent a start")?,
    }
    Ok(())
}

/// Returns true if this program was started under that name.
fn called(name: &str) -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|path| Path::new(&path).file_name() == Some(OsStr::new(name)))
}
