//! `registry`: an OCI / Docker registry server, made from the public API of the registry crates.

mod access;
mod cli;
mod debug;
mod expiry;
mod files;
mod health;
mod htpasswd;
mod serve;
mod tls;
mod users;

use clap::Parser as _;
use std::{ffi::OsStr, io::Write as _, path::Path, process::ExitCode};

fn main() -> ExitCode {
    // A link of that name is all that a container needs for `--entrypoint htpasswd`.
    if called("htpasswd") {
        return htpasswd::run(htpasswd::Program::parse().options);
    }
    let cli::Cli { command } = cli::Cli::parse();
    let (result, failure) = match command {
        cli::Command::Serve(options) => (
            serve::run(&options).map(|()| ExitCode::SUCCESS),
            ExitCode::FAILURE,
        ),
        cli::Command::Health(options) => (
            health::run(&options).map(|()| ExitCode::SUCCESS),
            ExitCode::FAILURE,
        ),
        cli::Command::Htpasswd(options) => return htpasswd::run(options),
        // 1 is an answer there.
        cli::Command::Access(cli::Access::Explain(options)) => (access::explain(&options), ExitCode::from(2)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // Nothing is left to tell it to if standard error is gone.
            let _ = writeln!(std::io::stderr(), "registry: {message}");
            failure
        }
    }
}

/// Whether this program was called by that name.
fn called(name: &str) -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|path| Path::new(&path).file_name() == Some(OsStr::new(name)))
}
