//! The command line of the binary `registry`: sets up the log, waits for signals, reads the environment and prints.
//!
//! The rest of the crate does none of this. A host that has a command line of its own starts a server from a
//! configuration instead.

mod announce;
mod buckets;
mod check;
mod cli;
mod doctor;
mod explain;
mod files;
mod health;
mod htpasswd;
mod images;
mod log;
mod log_queue;
mod operator;
mod prompt;
mod serve;
mod signals;
mod sources;
mod storage;

use crate::{causes::with_causes, printable};
use clap::Parser as _;
use std::{
    error::Error,
    ffi::OsStr,
    io::{self, Write as _},
    path::Path,
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
    if command.is_of_operators() {
        log::print_warnings();
    }
    let is_quiet = command.only_reads();
    let (result, failure) = match command {
        cli::Command::Serve(options) => (done(serve::run(options)), ExitCode::FAILURE),
        cli::Command::Config(cli::Config::Check { config }) => {
            (done(check::run(config).map_err(plain)), ExitCode::FAILURE)
        }
        cli::Command::Health(options) => (done(health::run(options)), ExitCode::FAILURE),
        // 1 is an answer there, and below.
        cli::Command::Doctor(options) => (doctor::run(options), ExitCode::from(2)),
        cli::Command::Htpasswd(options) => return htpasswd::run(options),
        cli::Command::Access(cli::Access::Explain(options)) => (explain::run(&options), ExitCode::from(2)),
        cli::Command::Ls(options) => (operator::list(options).map_err(plain), ExitCode::FAILURE),
        cli::Command::Du(options) => (operator::usage(options).map_err(plain), ExitCode::FAILURE),
        cli::Command::Rm(options) => (done(operator::remove(options).map_err(plain)), ExitCode::FAILURE),
        cli::Command::History(options) => {
            (done(operator::history(options).map_err(plain)), ExitCode::FAILURE)
        }
        cli::Command::Restore(options) => {
            (done(operator::restore(options).map_err(plain)), ExitCode::FAILURE)
        }
        cli::Command::Uploads(options) => (operator::uploads(options).map_err(plain), ExitCode::FAILURE),
        cli::Command::Verify(options) => (operator::verify(options).map_err(plain), ExitCode::from(2)),
        cli::Command::GarbageCollect(options) => {
            (operator::collect(options).map_err(plain), ExitCode::FAILURE)
        }
        cli::Command::Import(options) => return images::import(options),
        cli::Command::Export(options) => return images::export(options),
        cli::Command::Cp(options) => return images::copy(options),
        cli::Command::Storage(command) => (buckets::storage(&command).map_err(plain), ExitCode::from(2)),
        cli::Command::CopyStorage(options) => {
            (buckets::copy_storage(&options).map_err(plain), ExitCode::from(2))
        }
        cli::Command::Retention(command) => (operator::retention(command).map_err(plain), ExitCode::FAILURE),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_quiet && is_closed_pipe(&*error) => failure,
        Err(error) => {
            for line in printable::Lines(with_causes(&*error)).to_string().lines() {
                // Nothing is left to tell it to if standard error is gone.
                let _ = writeln!(io::stderr(), "registry: {line}");
            }
            failure
        }
    }
}

/// Returns true if whoever reads the output has seen enough, such as `head`. Other errors of this kind have a context.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns an error that is not sent to another thread.
fn plain(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error> {
    error
}

/// Returns true if this program was started under that name.
fn called(name: &str) -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|path| Path::new(&path).file_name() == Some(OsStr::new(name)))
}
