//! `registry`: an OCI / Docker registry server, made from the public API of the registry crates.

mod access;
mod cli;
mod debug;
mod files;
mod serve;

use clap::Parser as _;
use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let cli::Cli { command } = cli::Cli::parse();
    let (result, failure) = match command {
        cli::Command::Serve(options) => (
            serve::run(&options).map(|()| ExitCode::SUCCESS),
            ExitCode::FAILURE,
        ),
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
